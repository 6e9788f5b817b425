"""Networks by name, and any module of the user's: `build` is the front door.

To add a network by name, write its constructor and its entry of `NETWORKS`. Inputs are in [0, 1]; normalization, where
there is one, lives inside the network.
"""

import contextlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from cgro._check import BadRequest, bad, count, seed_number
from cgro.models.layout import n_parameters
from cgro.models.lenet import lenet, lenet5, mlp
from cgro.models.other import Logits, from_timm
from cgro.models.resnet import preactresnet, resnet9, wide_resnet
from cgro.named import factory_of
from cgro.reading import require_room
from cgro.trust import PREFIXES, code_of, current_folder, one_line_if_it_fails


@dataclass(frozen=True)
class Network:
    """A network that has a name.

    Args:
        make: its constructor, called as make(shape, n_outputs), with `width=` where one was asked for.
        has_width: whether it takes a width.
    """

    make: Callable[..., nn.Module]
    has_width: bool = True


NETWORKS = {
    "lenet": Network(lenet),
    "lenet5": Network(lenet5, has_width=False),
    "mlp": Network(mlp),
    "resnet9": Network(resnet9),
    "preactresnet": Network(preactresnet),
}
"""Networks that have a name."""
WIDE = re.compile(r"wrn-(?P<depth>\d{1,4})-(?P<widen>\d{1,6})")
"""Wide residual networks, by depth and width."""
DEEPEST = 1000
"""Layers of a wide residual network, at most. A choice: about as deep as He et al. went (ECCV 2016, ResNet-1001)."""
LIBRARIES: dict[str, Callable[[str, tuple[int, ...], int], nn.Module]] = {"timm": from_timm}
"""Networks of libraries, by what stands before the colon; each is in `cgro.trust.PREFIXES`."""
assert set(LIBRARIES) <= set(PREFIXES), "a prefix that is not registered would be taken for code"
NETWORK_NAMES = f"{', '.join(NETWORKS)}, wrn-D-W such as wrn-34-10, timm:NAME, or package.module:name"
"""What a network may be called, in messages and help."""
SHAPES = ("shape", "input_shape", "in_shape", "image_shape", "img_shape")
OUTPUTS = {"n_outputs", "num_outputs", "n_classes", "num_classes", "classes", "num_labels", "nb_classes"}
CHANNELS = ("in_channels", "in_chans", "n_channels", "num_channels", "input_channels", "in_ch")
SIZES = ("image_size", "img_size")
"""Parameters of factories, by the names in use: ours, PyTorch's, torchvision's, timm's and transformers'."""
N = "n"
"""The number of outputs too, where it must be given and nothing else asks for it: elsewhere `n` is often a depth."""
BYTES_PER_PARAMETER = 4
"""Of float32."""


def build(
    name: str,
    shape: tuple[int, ...],
    n_outputs: int,
    *,
    width: int | None = None,
    seed: int = 0,
    stored: int | None = None,
) -> nn.Module:
    """A freshly initialized network. If the name is that of code, it runs: the caller's own, or code that was admitted.

    Every constructor, ours and the user's, draws its weights from the global generator, which is therefore seeded
    here and given back as it was. A network whose output has `.logits`, as those of transformers, is wrapped in
    `Logits`; the keys of its checkpoints stay its own. So is one of two logits z, or of (B, 1) outputs, where the task
    has two classes: its score is z1 - z0, whose logistic loss is the cross-entropy of z, or the output itself.

    Args:
        name: `lenet`, `lenet5`, `mlp`, `resnet9`, `preactresnet`, `wrn-D-W`, `timm:NAME`, or `package.module:name`,
            a class or function called as name(shape, n_outputs), or with no argument if it takes none.
        shape: (C, H, W).
        n_outputs: number of classes, or 1 for (B,) scores.
        width: of lenet, mlp, resnet9 and preactresnet; the others have none, or have it in their name.
        seed: of the initial weights.
        stored: bytes of the checkpoint that the weights will come from. A network by name that needs many times as much
            is refused before it is allocated. None: only the memory that is left counts.

    Returns:
        The module, in training mode.

    Raises:
        BadRequest: an unknown name, a width for a network that has none, no outputs, outputs that do not fit the task,
            code of the caller's that fails or ends the program, a network that the memory does not hold.

    Example:
        >>> x = torch.zeros(2, 1, 8, 8)
        >>> [tuple(build("mlp", (1, 8, 8), n, width=16)(x).shape) for n in (10, 1)]
        [(2, 10), (2,)]
    """
    _require_known(name, width)
    count(n_outputs, "n_outputs")
    is_code = code_of(name) is not None
    # Code of the caller may import from the current folder when it is called, not only when it is imported.
    importable = current_folder() if is_code else contextlib.nullcontext()
    with importable, torch.random.fork_rng():
        if not is_code:
            _require_room(name, shape, n_outputs, width, stored)
        torch.random.manual_seed(seed_number(seed))
        model = _construct(name, shape, n_outputs, width)
        if not isinstance(model, nn.Module):
            raise bad("--model", expected="a torch.nn.Module", got=type(model).__name__)
        out = _blank_output(model, shape, name)
        if hasattr(out, "logits"):
            model = Logits(model, scores=n_outputs == 1)
            out = _blank_output(model, shape, name)
        elif n_outputs == 1 and isinstance(out, torch.Tensor) and tuple(out.shape) in ((1, 1), (1, 2)):
            model = Logits(model, scores=True)
            out = _blank_output(model, shape, name)
    _require_shape(out, n_outputs, name)
    return model


def _require_known(name: str, width: object) -> None:
    """Refuse an unknown name, or a width for a network that has none, before anything is imported."""
    network = NETWORKS.get(name)
    if network is None and ":" not in name and WIDE.fullmatch(name) is None:
        raise bad("--model", expected=f"one of {NETWORK_NAMES}", got=repr(name))
    if width is None:
        return
    if not isinstance(width, int):
        raise bad("width", expected="an integer", got=repr(width))
    if network is None or not network.has_width:
        kind = "a network of your own" if code_of(name) is not None else name
        raise bad("--width", expected=f"no width for {kind}", got=width, remedy="leave it out")


class _NotInitialized(TorchFunctionMode):
    """Leaves out the one initialization whose shape-only version takes a second to import."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Iterable[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        if func is torch.Tensor.normal_:
            return args[0]
        return func(*args, **(kwargs or {}))


def _require_room(name: str, shape: tuple[int, ...], n_outputs: int, width: int | None, stored: int | None) -> None:
    """Count the parameters of a network of ours without allocating them, and ask whether the memory holds them.

    A network of a library is not asked: its sizes are the library's, not a number that somebody wrote.

    Raises:
        BadRequest: it does not.
    """
    what = name if width is None else f"{name} of width {width}"
    try:
        with torch.device("meta"), _NotInitialized():
            model = _named(name, shape, n_outputs, width)
            if model is None:
                return
            n_bytes = BYTES_PER_PARAMETER * n_parameters(model)
    except BadRequest:
        raise
    except (RuntimeError, TypeError, OverflowError):  # a size that no integer of 64 bits holds
        raise bad(what, expected="a network that a memory holds", got="more bytes than 64 bits count") from None
    require_room(n_bytes, n_bytes if stored is None else stored, what)


def _named(name: str, shape: tuple[int, ...], n_outputs: int, width: int | None) -> nn.Module | None:
    """A network of ours; None if the name is that of a library's network or of code."""
    if name in NETWORKS:
        make = NETWORKS[name].make
        if width is None:
            return make(shape, n_outputs)
        return make(shape, n_outputs, width=width)
    wide = WIDE.fullmatch(name)
    if wide is None:
        return None
    depth = int(wide.group("depth"))
    if depth > DEEPEST:
        raise bad(name, expected=f"a depth of at most {DEEPEST}", got=wide.group("depth"))
    return wide_resnet(shape, n_outputs, depth=depth, widen=int(wide.group("widen")))


def _construct(name: str, shape: tuple[int, ...], n_outputs: int, width: int | None) -> object:
    """The network of a name; where that is code of the caller's, whatever the code returns."""
    model = _named(name, shape, n_outputs, width)
    if model is not None:
        return model
    prefix, _, rest = name.partition(":")
    if prefix in LIBRARIES:
        return LIBRARIES[prefix](rest, shape, n_outputs)
    factory = factory_of(name, "--model")
    with one_line_if_it_fails("--model", f"{name}(shape, n_outputs) or {name}()"):
        return _called(factory, name, shape, n_outputs)


def _called(factory: Callable[..., object], name: str, shape: tuple[int, ...], n_outputs: int) -> object:
    """The network of a class or function: called with what its parameters are named after, never by position.

    By position a factory (num_classes, depth) would be given the shape for its number of classes. Only names that it
    must be given and that are not understood are refused; parameters with defaults keep them.
    """
    if getattr(factory, "__init__", None) is nn.Module.__init__:  # a class without a constructor of its own
        return factory()
    known = _arguments(shape, n_outputs)
    parameters = inspect.signature(factory).parameters
    given: dict[str, object] = {}
    unknown: list[str] = []
    for parameter in parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            return factory(shape, n_outputs)
        if parameter.name in known:
            given[parameter.name] = known[parameter.name]
        elif parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD:
            unknown.append(parameter.name)
    if unknown == [N] and not OUTPUTS & given.keys():
        given[N] = n_outputs
        unknown = []
    if unknown:
        got = f"{', '.join(unknown)} without a default"
        remedy = f"write def net(shape, n_outputs): return {name.rpartition(':')[2]}(...) and name that"
        expected = f"parameters named {SHAPES[0]}, {', '.join(sorted(OUTPUTS))}, {CHANNELS[0]} or {SIZES[0]}"
        raise bad("--model", expected=expected, got=got, remedy=remedy)
    return _by_kind(factory, given)


def _by_kind(factory: Callable[..., object], given: Mapping[str, object]) -> object:
    """Call by name, except for parameters that can only be given by position."""
    positional: list[object] = []
    named = dict(given)
    for parameter in inspect.signature(factory).parameters.values():
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.name in named:
            positional.append(named.pop(parameter.name))
    return factory(*positional, **named)


def _arguments(shape: tuple[int, ...], n_outputs: int) -> dict[str, object]:
    """What a factory may ask for, by name; the size of the images only where they are square."""
    values: dict[str, object] = {}
    for key in SHAPES:
        values[key] = shape
    for key in OUTPUTS:
        values[key] = n_outputs
    for key in CHANNELS:
        values[key] = shape[0]
    if len(shape) > 1 and shape[-2] == shape[-1]:
        for key in SIZES:
            values[key] = shape[-1]
    return values


def _blank_output(model: nn.Module, shape: tuple[int, ...], name: str) -> object:
    """What the network returns for one black image, in evaluation mode; its modes are left as they were."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.no_grad():
            return model.eval()(torch.zeros(1, *shape))
    except (Exception, SystemExit) as error:  # whatever a network of the user's raises: it does not fit these images
        lines = str(error).splitlines() or [type(error).__name__]
        raise BadRequest(
            f"{name}: expected a network for inputs of shape {shape}; it failed with: {lines[0]}{_other_type(model)}"
        ) from None
    finally:
        for module, mode in modes:
            module.training = mode


def _other_type(model: nn.Module) -> str:
    """What to do about weights that do not take images in float32, for the end of an error; "" where all do."""
    for parameter in model.parameters():
        if parameter.is_floating_point() and parameter.dtype != torch.float32:
            return f"; its weights are {parameter.dtype}: make it in float32, to which weights of a file are converted"
    return ""


def _require_shape(out: object, n_outputs: int, name: str) -> None:
    if n_outputs == 1:
        task = "(B,) scores for the 2 classes"
        expected = (1,)
    else:
        task = f"{n_outputs} logits for the {n_outputs} classes"
        expected = (1, n_outputs)
    if not isinstance(out, torch.Tensor):
        raise bad(
            f"{name} output",
            expected=f"a tensor of {task}",
            got=type(out).__name__,
            remedy="return the logits alone, or an object with .logits",
        )
    if tuple(out.shape) != expected:
        remedy = "fit the last layer to the classes"
        if n_outputs == 1:
            remedy = "return two logits, or their difference z1 - z0: z[:, 1] - z[:, 0]"
        raise bad(
            f"{name} output",
            expected=f"shape {expected}, {task} of this task",
            got=tuple(out.shape),
            remedy=remedy,
        )
