"""The protocol of objectives, and what training asks about one."""

from typing import Protocol

from torch import Tensor

from cgro._check import bad
from cgro.definitions import Attack, NoAttack
from cgro.definitions.inputs import describe
from cgro.training.step import Step


class Objective(Protocol):
    """What training minimizes: the mean over the batch of a loss per example.

    An objective is a value that carries nothing from step to step. It may have an attribute `attack`: the default of
    `Step.craft`, whose radius is recorded.
    """

    @property
    def n_gradients(self) -> int:
        """Gradients with respect to the input that one example takes in one step, for estimates of cost."""
        ...

    def __call__(self, step: Step, /) -> Tensor:
        """The loss of each example.

        Args:
            step: model, batch, random streams and `craft`.

        Returns:
            (B,), differentiable in the weights. No value of it may be read on the host here.
        """
        ...


def attack_of(objective: Objective) -> Attack | None:
    """The attack of an objective, or None if it has none."""
    attack = getattr(objective, "attack", None)
    return attack if isinstance(attack, Attack) else None


def attack_gradients(attack: Attack) -> int:
    """Gradients with respect to the input that an attack takes for one example, over all starts.

    Args:
        attack: any; one that says neither `n_steps` nor `n_restarts` counts as one gradient.

    Returns:
        0 for `NoAttack`.

    Example:
        >>> from cgro.definitions import PGD, ThreatModel
        >>> attack_gradients(NoAttack()), attack_gradients(PGD(ThreatModel("inf", 0.1), n_steps=5, n_restarts=2))
        (0, 10)
    """
    if isinstance(attack, NoAttack):
        return 0
    return getattr(attack, "n_steps", 1) * getattr(attack, "n_restarts", 1)


def require_objective(objective: object) -> None:
    """Refuse what is no objective, before any work.

    Args:
        objective: whatever was given for one.

    Raises:
        BadRequest: says how to make one.
    """
    if isinstance(objective, Attack):
        raise bad("objective", expected="an objective", got=describe(objective), remedy="use Adversarial(attack)")
    if isinstance(objective, type) or not callable(objective):
        raise bad("objective", expected="an objective such as Adversarial(attack)", got=describe(objective))
