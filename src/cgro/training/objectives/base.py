"""The protocol of objectives, and what training asks about one."""

import inspect
import math
from dataclasses import replace
from typing import Protocol

from torch import Tensor, nn

from cgro._check import bad, number
from cgro.definitions import PGD, Attack
from cgro.definitions.inputs import describe
from cgro.training.objectives.cost import Cost
from cgro.training.step import Step

START_STD = 0.001
"""Standard deviation of the start of the attack around X: the published code of TRADES, and of MART."""


class Objective(Protocol):
    """What training minimizes: the mean over the batch of a loss per example.

    An objective is a value that carries nothing from step to step. It may have an attribute `attack`: the default of
    `Step.craft`, whose radius is recorded; and a method `loss_of_guessing`, see the function of this name.
    """

    @property
    def cost(self) -> Cost:
        """What one example costs in one step. Training itself does not ask; estimates of time and operations do."""
        ...

    def __call__(self, step: Step, /) -> Tensor:
        """The loss of each example.

        Args:
            step: model, batch, random streams and `craft`.

        Returns:
            (B,), differentiable in the weights. No value of it may be read on the host here.
        """
        ...


def attack_of(objective: object) -> Attack | None:
    """The attack of an objective.

    Args:
        objective: anything that training accepts as one.

    Returns:
        Its attribute `attack`; None if it has none, or one that is no attack.
    """
    attack = getattr(objective, "attack", None)
    return attack if isinstance(attack, Attack) else None


def loss_of_guessing(objective: object, n_classes: int) -> float:
    """The loss of a network that answers every class alike, the scale by which a training is said to have diverged.

    Args:
        objective: anything that training accepts as one. A method `loss_of_guessing(n_classes)` of its own says it.
        n_classes: 2 or more.

    Returns:
        In nats; log(n_classes), that of cross-entropy, unless the objective says otherwise.

    Raises:
        BadRequest: the objective says something that is no positive number.

    Example:
        >>> round(loss_of_guessing("an objective without the method", 10), 3)
        2.303
    """
    own = getattr(objective, "loss_of_guessing", None)
    if own is None:
        return math.log(n_classes)
    return number(own(n_classes), "loss_of_guessing", above=0.0)


def require_objective(objective: object) -> None:
    """Refuse what is no objective, before any work.

    Args:
        objective: whatever was given for one.

    Raises:
        BadRequest: says how to make one.
    """
    if isinstance(objective, Attack):
        raise bad("objective", expected="an objective", got=describe(objective), remedy="use Adversarial(attack)")
    expected = "an objective such as Adversarial(attack)"
    if isinstance(objective, type) or not callable(objective):
        raise bad("objective", expected=expected, got=describe(objective))
    remedy = "write a class whose __call__(self, step) returns the loss of each example; see docs/extending.md"
    if isinstance(objective, nn.Module):  # such as CrossEntropyLoss, which takes outputs and labels
        raise bad("objective", expected=expected, got=describe(objective), remedy=remedy)
    try:
        inspect.signature(objective).bind(None)
    except TypeError:
        got = f"{describe(objective)} that does not take a step alone"
        raise bad("objective", expected=expected, got=got, remedy=remedy) from None
    except ValueError:  # of C code, whose signature nobody knows
        return


def require_pgd(attack: object, who: str) -> None:
    """Refuse an attack from which an objective cannot make its own search.

    Args:
        attack: whatever was given for it.
        who: the objective, for the message.

    Raises:
        BadRequest: another attack than PGD, or several starts.
    """
    if not isinstance(attack, PGD):
        raise bad(who, expected="PGD as its attack", got=describe(attack), remedy="use pgd10")
    if attack.n_restarts > 1:
        raise bad(who, expected="an attack with one start", got=f"{attack.n_restarts} restarts")


class SearchFromBeside:
    """What TRADES and MART share: projected gradient ascent that starts beside the input and keeps its last iterate."""

    attack: Attack

    @property
    def search(self) -> PGD:
        """The attack in force: from Proj(X + 0.001 N(0, I)), last iterate."""
        assert isinstance(self.attack, PGD), "require_pgd comes first"
        return replace(self.attack, keep="last", start_std=START_STD)
