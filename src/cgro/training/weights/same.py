"""Whether the weights of one network, loaded into another, are the same function there."""

from torch import Tensor, nn

from cgro.training.weights.fit import COUNTERS, WRAPPERS, without_wrappers


def difference(network: nn.Module, model: nn.Module) -> str:
    """In what a network is built otherwise than another, into which its weights will be loaded.

    Compared are names and classes of the parts, and keys and shapes of the state. Torch's own wrappers, which only call
    what is inside, are passed over. What hooks and plain attributes do is not seen.

    Args:
        network: whose weights are saved.
        model: into which they are loaded.

    Returns:
        The first difference, for a message; "" where there is none.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> difference(nn.DataParallel(model), model)
        ''
        >>> difference(nn.Sequential(nn.Tanh(), model), model)
        'a Sequential as the whole'
    """
    there, here = _parts(network), _parts(model)
    for part in there:
        if part not in here:
            return _text(part)
    for part in here:
        if part not in there:
            return f"none that has {_text(part)}"
    return ""


def _parts(network: nn.Module) -> dict[tuple[str, type | tuple[int, ...]], None]:
    """Name -> class of every part, and key -> shape of every tensor of the state; the whole is called ""."""
    found: dict[tuple[str, type | tuple[int, ...]], None] = {}  # in their order
    for name, part in network.named_modules(remove_duplicate=False):
        if not _only_wraps(part):
            found[without_wrappers(name), type(part)] = None
    for key, value in network.state_dict().items():
        if isinstance(value, Tensor) and key.rpartition(".")[2] not in COUNTERS:
            found[without_wrappers(key), tuple(value.shape)] = None
    return found


def _only_wraps(part: nn.Module) -> bool:
    """Whether it is torch's own wrapper: a class of others may compute whatever it likes around its `module`."""
    is_of_torch = type(part).__module__.partition(".")[0] == "torch"
    return is_of_torch and any(name in WRAPPERS for name, _ in part.named_children())


def _text(part: tuple[str, type | tuple[int, ...]]) -> str:
    name, kind = part
    if isinstance(kind, type):
        return f"a {kind.__qualname__} as {name or 'the whole'}"
    return f"{name} of shape {kind}"
