"""Which attacks and networks may be captured: code that says so itself, or is ours."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:  # which asks this module
    from cgro.definitions.attacks.base import Attack

OURS = "cgro."
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Where torch keeps the hooks of a module. Private names, looked up softly."""


def declares_capturable(value: object) -> bool:
    """Whether an objective, an extension, an attack or a loss says that what it does may be captured.

    It says so by `capturable = True` in its very class, or as an attribute of a function; a subclass does not inherit
    it, as it may do anything. What it promises: it reads no value of a tensor on the host, and does nothing on the host
    that another step or batch would need anew, apart from what it asks of `Step.decide` and `Step.number`.

    Args:
        value: any.

    Returns:
        True if it does.

    Example:
        >>> from cgro.training import EMA
        >>> class Other(EMA):
        ...     pass
        >>> declares_capturable(EMA()), declares_capturable(Other())
        (True, False)
    """
    own = vars(type(value)).get("capturable", False)
    if not isinstance(value, type) and hasattr(value, "__code__"):
        own = getattr(value, "capturable", False)
    return own is True


def obstacle_of(attack: "Attack") -> str:
    """Why an attack is not to be captured.

    Args:
        attack: any.

    Returns:
        One sentence; "" if nothing is known against it.
    """
    for reason in _obstacles(attack):
        return reason
    return ""


def _obstacles(attack: "Attack") -> Iterator[str]:
    for part in attack.parts:
        if part.reads_on_host:
            yield f"the attack {part.name} runs code that may read on the host"
        elif part.of_others and not declares_capturable(part):
            yield f"the attack {part.name} does not declare `capturable = True`"
        loss: object = getattr(part, "loss", None)
        if loss is None or isinstance(loss, str):
            continue
        module = getattr(loss, "__module__", "")
        if not (module.startswith(OURS) or declares_capturable(loss)):
            yield f"the loss {name_of(loss)} of the attack {part.name} does not declare `capturable = True`"


def has_hooks(network: nn.Module) -> bool:
    """Whether a network or a part of it has hooks, which a graph would not call.

    Args:
        network: any.

    Returns:
        True if there is one.
    """
    return any(getattr(module, name, None) for module in network.modules() for name in HOOKS)


def name_of(value: object) -> str:
    """How a message names an objective or a loss.

    Args:
        value: any.

    Returns:
        Its own name, or that of its class.
    """
    return str(getattr(value, "__name__", type(value).__name__))
