"""What surrounds an evaluation inside a training loop of others: left bit for bit as it was, also when it fails."""

import contextlib
import sys
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from cgro._check import bad
from cgro.definitions.attacks import evaluation_flags, preserve_state
from cgro.definitions.inputs import describe, logits_of
from cgro.training.fabric import is_sharded

PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def unwrap(model: object) -> nn.Module:
    """The network itself: without compilation, and without the wrappers that train it on several devices.

    Args:
        model: a module; `torch.compile`, DataParallel, DistributedDataParallel and the wrapper of Lightning Fabric are
            taken off, in any order.

    Returns:
        The module inside, whose state dict has no prefix of a wrapper.

    Raises:
        BadRequest: no module, or one whose weights are sharded or have no values.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> unwrap(nn.DataParallel(net)) is net
        True
    """
    if not isinstance(model, nn.Module):
        raise bad("model", expected="a torch.nn.Module", got=describe(model))
    inner = getattr(model, "_orig_mod", None)  # of torch.compile
    if inner is None and (isinstance(model, PARALLEL) or type(model).__name__ == "_FabricModule"):
        inner = model.module
    if isinstance(inner, nn.Module):
        return unwrap(inner)
    if any(parameter.is_meta for parameter in model.parameters()):
        remedy = "give it values, as by model.to_empty(device=...) and load_state_dict"
        raise bad("model", expected="weights with values", got="weights on the meta device", remedy=remedy)
    if is_sharded(model):
        remedy = "train with DistributedDataParallel, or evaluate its saved weights with cgro evaluate"
        raise bad("model", expected="whole weights in every process", got="sharded ones (FSDP)", remedy=remedy)
    return model


def is_distributed(model: object) -> bool:
    """Whether DistributedDataParallel is among the wrappers of a model.

    Args:
        model: any.

    Returns:
        True if the processes that train it may share its evaluation.
    """
    while isinstance(model, nn.Module):
        if isinstance(model, nn.parallel.DistributedDataParallel):
            return True
        model = getattr(model, "_orig_mod", None) or (model.module if isinstance(model, PARALLEL) else None)
    return False


def device_of(network: nn.Module) -> torch.device:
    """Where a network is.

    Args:
        network: any module.

    Returns:
        The device of its first parameter or buffer; the CPU if it has none.
    """
    for tensor in (*network.parameters(), *network.buffers()):
        return tensor.device
    return torch.device("cpu")


def is_finite(network: nn.Module) -> bool:
    """Whether no parameter is NaN or infinite.

    Args:
        network: any module.

    Returns:
        True also of one without parameters. Reads one value on the host per parameter.

    Example:
        >>> is_finite(nn.Linear(2, 1)), is_finite(nn.Linear(1, 1).requires_grad_(False).half())
        (True, True)
    """
    with torch.no_grad():  # autograd refuses parameters that were made in inference mode
        weights = [parameter for parameter in network.parameters() if not is_lazy(parameter)]
        return all(bool(torch.isfinite(weight).all()) for weight in weights)


@contextlib.contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """Evaluate a network in eval mode, eagerly, and give back all that this changes.

    Nothing is compiled here, and compiled code is passed by, so that no
    guard fails and no graph is compiled anew in the training.

    A network that overrides `train` or `eval` (noise in training alone, adapters that are merged into the weights)
    enters evaluation mode by its own `eval`, on copies of its weights: flags alone would evaluate another function.

    Args:
        network: as `unwrap` gives it. Inside, its buffers are copies.

    Yields:
        Nothing.
    """
    device = device_of(network)
    eager: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
    if "torch._dynamo" in sys.modules:  # else nothing was compiled, and the import takes seconds
        eager = torch.compiler.set_stance("force_eager")
    own = [module for module in network.modules() if _overrides_mode(module)]
    with eager, preserve_state(network, device, weights=bool(own)), _full_precision(network), _own_mode(network, own):
        evaluation_flags(network)
        yield


def _overrides_mode(module: nn.Module) -> bool:
    return type(module).train is not nn.Module.train or type(module).eval is not nn.Module.eval


@contextlib.contextmanager
def _own_mode(network: nn.Module, own: list[nn.Module]) -> Iterator[None]:
    """Evaluation mode by the network's own `eval`, and back; nothing where no module of it overrides the modes.

    Back by its own `train`, which knows what hangs on the mode outside of the modules, and by their attributes, which
    `train` need not undo, such as a count of its calls.
    """
    if not own:
        yield
        return
    before = [(module, module.training, dict(vars(module))) for module in own]
    try:
        network.eval()
        yield
    finally:
        for module, training, _ in before:  # parents first, as a part may be in another mode
            module.train(training)
        for module, _, attributes in before:
            vars(module).clear()
            vars(module).update(attributes)


@contextlib.contextmanager
def _full_precision(network: nn.Module) -> Iterator[None]:
    """Without the forward method that Accelerate puts over a network's own for mixed precision.

    The name under which it keeps the own one is no sign of it: others that patch `forward` use the same, and what they
    put there is part of the network.
    """
    own = getattr(network, "_original_forward", None)
    if own is None or "forward" not in vars(network) or not _is_of_accelerate(network.forward):
        yield
        return
    patched = network.forward
    network.forward = own
    try:
        yield
    finally:
        network.forward = patched


def _is_of_accelerate(method: object) -> bool:
    return str(getattr(method, "__module__", "")).partition(".")[0] == "accelerate"


class Normalized(nn.Module):
    """A network behind the normalization that its training loop does outside of it: images in [0, 1] go in.

    Args:
        network: takes (x - mean) / std.
        mean: one per channel, in units of the image.
        std: likewise.

    Example:
        >>> net = Normalized(nn.Identity(), (0.5,), (0.25,))
        >>> net(torch.full((1, 1, 1, 1), 0.75)).flatten().tolist()
        [1.0]
    """

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.mean = mean
        self.std = std
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        """Normalize and pass on.

        Args:
            x: (B, C, H, W) in [0, 1].

        Returns:
            (B, classes) logits or (B,) scores.
        """
        return logits_of(self.network((x - channels(self.mean, x)) / channels(self.std, x)))


def channels(values: tuple[float, ...], x: Tensor) -> Tensor:
    """Numbers of the channels, shaped to compute with a batch.

    Args:
        values: one per channel, or one for all.
        x: (B, C, ...).

    Returns:
        (C, 1, ...) on the device of x.

    Raises:
        BadRequest: another number of channels.
    """
    if len(values) not in (1, x.shape[1]):
        raise bad("normalize", expected=f"{x.shape[1]} numbers, one per channel, or one", got=len(values))
    return torch.tensor(values, dtype=x.dtype, device=x.device).reshape(-1, *[1] * (x.ndim - 2))
