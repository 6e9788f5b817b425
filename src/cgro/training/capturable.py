"""Which steps may be captured: of code that says so itself, or is ours."""

from collections.abc import Iterator

from cgro.definitions.attacks.capturable import declares_capturable, has_hooks, name_of, obstacle_of
from cgro.training.optimizers import TensorAdam, TensorSGD
from cgro.training.steps import Steps


def obstacle(steps: Steps) -> str:
    """Why the steps of a training are not to be captured.

    Args:
        steps: of the training.

    Returns:
        One sentence; "" if nothing is known against it.
    """
    for reason in (*_around(steps), *_inside(steps)):
        return reason
    return ""


def _around(steps: Steps) -> Iterator[str]:
    """What lies in how batches come and weights are changed."""
    if steps.ranks.shared:
        yield "several processes train together"
    if steps.data.streamed:
        yield "the images are streamed: they come from the host in every step"
    if steps.recipe.accumulate > 1:
        yield "batches are taken in pieces"
    if not isinstance(steps.optimizer.optimizer, TensorSGD | TensorAdam):
        yield f"{type(steps.optimizer.optimizer).__name__} has its learning rate on the host"


def _inside(steps: Steps) -> Iterator[str]:
    """What lies in the parts of a step."""
    if not declares_capturable(steps.objective):
        yield f"the objective {name_of(steps.objective)} does not declare `capturable = True`"
    memory: object = getattr(steps.objective, "memory", None)
    if memory is not None and not declares_capturable(memory):
        yield f"what the objective {name_of(steps.objective)} carries does not declare `capturable = True`"
    for extension in steps.extensions:
        if not declares_capturable(extension):
            yield f"the extension {extension.name} does not declare `capturable = True`"
    if steps.attack is not None:
        reason = obstacle_of(steps.attack)
        if reason:
            yield reason
    if has_hooks(steps.network):
        yield "the network has hooks, which a graph would not call"
