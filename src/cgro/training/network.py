"""What `fit` asks of a network before any work."""

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from cgro._check import bad, listed
from cgro.definitions.inputs import describe
from cgro.runs import say


def require_trainable(model: object) -> None:
    """Refuse what cannot be trained: a function, weights without values, weights of inference mode.

    Args:
        model: whatever was given for a network.

    Raises:
        BadRequest: says what to do.
    """
    if not isinstance(model, nn.Module):
        raise bad("model", expected="a torch.nn.Module", got=describe(model))
    for name, weight in model.named_parameters():
        if is_lazy(weight):
            remedy = "call it once on a batch, as by model(x[:2])"
            raise bad("model", expected="weights with shapes", got=f"{name} of a lazy layer", remedy=remedy)
        if weight.is_meta:
            remedy = "give it values, as by model.to_empty(device=...) and load_state_dict"
            raise bad("model", expected="weights with values", got=f"{name} on the meta device", remedy=remedy)
        if weight.is_inference():
            remedy = "make the network outside of torch.inference_mode()"
            raise bad("model", expected="weights that autograd takes", got=f"{name} of inference mode", remedy=remedy)


def require_storable(model: nn.Module) -> None:
    """Refuse a network whose state a checkpoint cannot hold: nothing could go on from it, nor use it.

    Args:
        model: the network.

    Raises:
        BadRequest: its state dict has something else than tensors, such as what `get_extra_state` returns.

    Example:
        >>> require_storable(nn.BatchNorm1d(2))
    """
    for key, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            remedy = "keep it in a buffer, or let get_extra_state return a tensor"
            raise bad("model", expected="a state of tensors", got=f"{describe(value)} as {key}", remedy=remedy)


def say_modes(model: nn.Module) -> None:
    """Say which parts will be in training mode though they were given in evaluation mode, as a frozen BatchNorm is.

    A network that is in evaluation mode as a whole, as after an evaluation, is trained without a word, and so is a
    part whose own `train` keeps its mode. Modes are left as they are.

    Args:
        model: the network.
    """
    if not model.training:
        return
    modes = {part: part.training for part in model.modules()}
    model.train()
    moved: list[str] = []
    for name, part in model.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in moved)
        if part.training and not modes[part] and not inside:
            moved.append(name)
    for part, mode in modes.items():
        part.training = mode
    if moved:
        say(
            f"training: {listed(moved, 3)} had been put into evaluation mode and will be in training mode, as the "
            "whole network; a part whose train() does nothing keeps its mode, such as a frozen BatchNorm"
        )
