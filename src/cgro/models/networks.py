"""Networks of the paper's experiments. Inputs are in [0, 1]; normalization, where there is one, lives inside."""

import contextlib
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from cgro._check import BadRequest, bad, count
from cgro.models.head import head
from cgro.models.other import Logits, from_timm
from cgro.models.resnet import preactresnet, resnet9, wide_resnet
from cgro.reading import require_room
from cgro.trust import PREFIXES, code_of, current_folder, one_line_if_it_fails, resolve


def lenet(shape: tuple[int, ...], n_outputs: int, *, width: int = 1) -> nn.Sequential:
    """LeNet by width, as in Table 1: 5x5 convolutions with 2w and 4w channels, 64w hidden units.

    A ReLU stands behind its max pooling: the same function and gradients, to the bit, on a quarter of the numbers.

    Args:
        shape: (C, H, W) of the input. n_outputs: classes, or 1 for (B,) scores. width: w; the paper's x1 .. x16.

    Example:
        >>> sum(p.numel() for p in lenet((1, 28, 28), 10, width=1).parameters())
        13514
    """
    channels, height, wide = shape
    w = count(width, "width")
    flat = 4 * w * (height // 4) * (wide // 4)
    return nn.Sequential(
        nn.Conv2d(channels, 2 * w, 5, padding=2), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(2 * w, 4 * w, 5, padding=2), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(flat, 64 * w), nn.ReLU(), *head(64 * w, n_outputs),
    )  # fmt: skip


def lenet5(shape: tuple[int, ...], n_outputs: int) -> nn.Sequential:
    """LeNet-5 (LeCun et al., 1998) with ReLU and max pooling: 6 and 16 channels, 120 and 84 hidden units."""
    channels, height, wide = shape
    h, w = (height // 2 - 4) // 2, (wide // 2 - 4) // 2
    if h < 1 or w < 1:
        raise bad("lenet5", expected="inputs of at least 12x12", got=f"{height}x{wide}", remedy="use lenet")
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=2), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(6, 16, 5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(16 * h * w, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), *head(84, n_outputs),
    )  # fmt: skip


def mlp(shape: tuple[int, ...], n_outputs: int, *, width: int = 64) -> nn.Sequential:
    """A ReLU network D - width - width/2 - outputs; the default clean model of Theorem 4.4 has width 64."""
    n_inputs, half = int(torch.Size(shape).numel()), max(1, width // 2)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(n_inputs, count(width, "width")), nn.ReLU(),
        nn.Linear(width, half), nn.ReLU(), *head(half, n_outputs),
    )  # fmt: skip


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "lenet": lenet, "lenet5": lenet5, "mlp": mlp, "resnet9": resnet9, "preactresnet": preactresnet,
}  # fmt: skip
WITHOUT_WIDTH = ("lenet5",)
WIDE = re.compile(r"wrn-(\d{1,4})-(\d{1,6})")
DEEPEST = 1000
"""Layers of a wide residual network, at most. A choice: about as deep as He et al. went (ECCV 2016, ResNet-1001)."""
LIBRARIES: dict[str, Callable[[str, tuple[int, ...], int], nn.Module]] = {"timm": from_timm}
"""Networks of libraries, by what stands before the colon; each is in `cgro.trust.PREFIXES`."""
assert set(LIBRARIES) <= set(PREFIXES), "a prefix that is not registered would be taken for code"
KINDS = f"{', '.join(NETWORKS)}, wrn-D-W such as wrn-34-10, timm:NAME, or package.module:name"


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
    `Logits`; the keys of its checkpoints stay its own.

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
        BadRequest: an unknown name, a width for a network that has none, outputs that do not fit the task, code of the
            caller's that fails or ends the program, a network that the memory does not hold.
    """
    _require_known(name, width)
    own = current_folder() if code_of(name) is not None else contextlib.nullcontext()
    with own, torch.random.fork_rng():
        if code_of(name) is None:
            _require_room(name, shape, n_outputs, width, stored)
        torch.random.manual_seed(seed)
        model = _construct(name, shape, n_outputs, width)
        if not isinstance(model, nn.Module):
            raise bad("--model", expected="a torch.nn.Module", got=type(model).__name__)
        out = _blank_output(model, shape, name)
        if hasattr(out, "logits"):
            model = Logits(model, scores=n_outputs == 1)
            out = _blank_output(model, shape, name)
    _require_shape(out, n_outputs, name)
    return model


def _require_known(name: str, width: int | None) -> None:
    """Refuse an unknown name, or a width for a network that has none, before anything is imported."""
    if name not in NETWORKS and ":" not in name and WIDE.fullmatch(name) is None:
        raise bad("--model", expected=f"one of {KINDS}", got=repr(name))
    if width is not None and not isinstance(width, int):
        raise bad("width", expected="an integer", got=repr(width))
    if width is not None and (name not in NETWORKS or name in WITHOUT_WIDTH):
        kind = "a network of your own" if code_of(name) is not None else name
        raise bad("--width", expected=f"no width for {kind}", got=width, remedy="leave it out")


class _NotInitialized(TorchFunctionMode):
    """Leaves out the one initialization whose shape-only version takes a second to import."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func is torch.Tensor.normal_ else func(*args, **(kwargs or {}))


def _require_room(name: str, shape: tuple[int, ...], n_outputs: int, width: int | None, stored: int | None) -> None:
    """Count the parameters of a network of ours without allocating them, and ask whether the memory holds them.

    A network of a library is not asked: its sizes are the library's, not a number that somebody wrote.

    Raises:
        BadRequest: it does not.
    """
    if ":" in name:
        return
    what = name if width is None else f"{name} of width {width}"
    try:
        with torch.device("meta"), _NotInitialized():
            n_bytes = 4 * sum(p.numel() for p in _construct(name, shape, n_outputs, width).parameters())
    except BadRequest:
        raise
    except (RuntimeError, TypeError, OverflowError):  # a size that no integer of 64 bits holds
        raise bad(what, expected="a network that a memory holds", got="more bytes than 64 bits count") from None
    require_room(n_bytes, n_bytes if stored is None else stored, what)


def _construct(name: str, shape: tuple[int, ...], n_outputs: int, width: int | None) -> nn.Module:
    if name in NETWORKS:
        return NETWORKS[name](shape, n_outputs, **({} if width is None else {"width": width}))
    wide = WIDE.fullmatch(name)
    if wide is not None:
        if int(wide[1]) > DEEPEST:
            raise bad(name, expected=f"a depth of at most {DEEPEST}", got=wide[1])
        return wide_resnet(shape, n_outputs, depth=int(wide[1]), widen=int(wide[2]))
    prefix, _, rest = name.partition(":")
    if prefix in LIBRARIES:
        return LIBRARIES[prefix](rest, shape, n_outputs)
    factory = resolve(name, "--model")
    with one_line_if_it_fails("--model", f"{name}(shape, n_outputs) or {name}()"):
        return factory(shape, n_outputs) if _takes_arguments(factory) else factory()


def _takes_arguments(factory: Callable[..., object]) -> bool:
    import inspect

    if getattr(factory, "__init__", None) is nn.Module.__init__:  # a class without a constructor of its own
        return False
    kinds = [p.kind for p in inspect.signature(factory).parameters.values()]
    return any(k in (k.POSITIONAL_ONLY, k.POSITIONAL_OR_KEYWORD, k.VAR_POSITIONAL) for k in kinds)


def _blank_output(model: nn.Module, shape: tuple[int, ...], name: str) -> Any:
    """What the network returns for one black image, in evaluation mode; its modes and buffers are left as they were."""
    modes = [(m, m.training) for m in model.modules()]
    try:
        with torch.no_grad():
            return model.eval()(torch.zeros(1, *shape))
    except (
        Exception,
        SystemExit,
    ) as error:  # a network of the user's: whatever it raises, it does not fit these images
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadRequest(f"{name}: expected a network for inputs of shape {shape}; it failed with: {line}") from None
    finally:
        for module, mode in modes:
            module.training = mode


def _require_shape(out: Any, n_outputs: int, name: str) -> None:
    task = "(B,) scores for the 2 classes" if n_outputs == 1 else f"{n_outputs} logits for the {n_outputs} classes"
    if not isinstance(out, torch.Tensor):
        raise bad(f"{name} output", expected=f"a tensor of {task}", got=type(out).__name__,
                  remedy="return the logits alone, or an object with .logits")  # fmt: skip
    expected = (1,) if n_outputs == 1 else (1, n_outputs)
    if tuple(out.shape) != expected:
        raise bad(f"{name} output", expected=f"shape {expected}, {task} of this task", got=tuple(out.shape),
                  remedy="fit the last layer to the classes")  # fmt: skip


def fast_layout(model: nn.Module) -> nn.Module:
    """The same module with weights in channels_last, unless training in that layout would corrupt memory.

    oneDNN (issue 6035; torch 2.13, CPUs) writes past its workspace in the weight gradient of a 1x1 convolution with a
    stride whose input has fewer channels than a register block: crashes, hangs, or wrong weights without a word. Seen with
    AVX2 below 8 channels; below 16 is avoided, the block of AVX-512, which was not tried. Such modules keep the layout they
    have. Ours have none: `PreActBlock` takes every other pixel. A module that a caller converts is not looked at.
    """
    unsafe = any(
        isinstance(m, nn.Conv2d) and set(m.kernel_size) == {1} and max(m.stride) > 1 and m.in_channels // m.groups < 16
        for m in model.modules()
    )
    return model if unsafe else model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def n_parameters(model: nn.Module) -> int:
    """Count the parameters, trainable and frozen; buffers are not counted.

    Args:
        model: any module.

    Returns:
        The number of scalars.
    """
    return sum(p.numel() for p in model.parameters())
