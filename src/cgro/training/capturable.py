"""Which steps may be captured: of code that says so itself, or is ours."""

from collections.abc import Iterator

from torch import nn

from cgro.definitions import Attack
from cgro.training.optimizers import TensorAdam, TensorSGD
from cgro.training.steps import Steps

OURS = "cgro."
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Where torch keeps the hooks of a module. Private names, looked up softly."""


def declares_capturable(value: object) -> bool:
    """Whether an objective, an extension, an attack or a loss says that a step with it may be captured.

    It says so by `capturable = True` in its very class, or as an attribute of a function; a subclass does not inherit
    it, as it may do anything. What it promises: within a step it reads no value of a tensor on the host, and does
    nothing on the host that another step would need anew, apart from what it asks of `Step.decide` and `Step.number`.

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


def obstacle(steps: Steps) -> str:
    """Why the steps of a training are not to be captured.

    Args:
        steps: of the training.

    Returns:
        One sentence; "" if nothing is known against it.
    """
    for reason in _obstacles(steps):
        return reason
    return ""


def _obstacles(steps: Steps) -> Iterator[str]:
    if steps.ranks.shared:
        yield "several processes train together"
    if steps.recipe.accumulate > 1:
        yield "batches are taken in pieces"
    if not isinstance(steps.optimizer.optimizer, TensorSGD | TensorAdam):
        yield f"{type(steps.optimizer.optimizer).__name__} has its learning rate on the host"
    if not declares_capturable(steps.objective):
        yield f"the objective {_name(steps.objective)} does not declare `capturable = True`"
    memory: object = getattr(steps.objective, "memory", None)
    if memory is not None and not declares_capturable(memory):
        yield f"what the objective {_name(steps.objective)} carries does not declare `capturable = True`"
    for extension in steps.extensions:
        if not declares_capturable(extension):
            yield f"the extension {extension.name} does not declare `capturable = True`"
    if steps.attack is not None:
        yield from _of_attack(steps.attack)
    if any(_has_hooks(module) for module in steps.network.modules()):
        yield "the network has hooks, which a graph would not call"


def _of_attack(attack: Attack) -> Iterator[str]:
    for part in attack.parts:
        is_ours = type(part).__module__.startswith(OURS)
        if part.reads_on_host:
            yield f"the attack {part.name} runs code that may read on the host"
        elif not (is_ours or declares_capturable(part)):
            yield f"the attack {part.name} does not declare `capturable = True`"
        loss: object = getattr(part, "loss", None)
        if loss is None or isinstance(loss, str):
            continue
        module = getattr(loss, "__module__", "")
        if not (module.startswith(OURS) or declares_capturable(loss)):
            yield f"the loss {_name(loss)} of the attack {part.name} does not declare `capturable = True`"


def _has_hooks(module: nn.Module) -> bool:
    return any(getattr(module, name, None) for name in HOOKS)


def _name(value: object) -> str:
    return str(getattr(value, "__name__", type(value).__name__))
