"""What one step costs, in passes of one example through the network."""

import math
from dataclasses import dataclass

from cgro.definitions import APGD, PGD, Attack, TargetedAPGD


@dataclass(frozen=True)
class Cost:
    """How often one example passes through the network in one step, by what is differentiated.

    Args:
        n_forward: forward passes alone: clean inputs and end points of an attack, outputs that are taken as constants.
        n_gradients: forward passes with the gradient with respect to the input: the steps of an attack.
        n_updates: forward passes with the gradient with respect to the weights: the terms of the loss.

    Example:
        >>> pgd10, loss = Cost(n_forward=2, n_gradients=10), Cost(n_updates=1)
        >>> (pgd10 + loss).operations
        25
    """

    n_forward: int = 0
    n_gradients: int = 0
    n_updates: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.n_forward + other.n_forward, self.n_gradients + other.n_gradients, self.n_updates + other.n_updates
        )

    @property
    def operations(self) -> int:
        """Floating point operations, in units of those of one forward pass.

        A gradient with respect to the inputs of all layers multiplies as often as the forward pass does, and one with
        respect to their weights as often again, so a step of an attack is 2 and a term of the loss 3 (the latter leaves
        out that the first layer needs no gradient of its input).
        """
        return self.n_forward + 2 * self.n_gradients + 3 * self.n_updates


def attack_cost(attack: Attack) -> Cost:
    """What an attack of training costs.

    Exact for PGD with one start and for FGSM where a search moves by the network itself (precision float32); another
    way adds up to one pass of the points that it proposes. An upper bound for several starts: those after the first
    search only for the examples that are still classified correctly.

    Args:
        attack: any.

    Returns:
        Its gradients, a pass of the clean inputs, and a pass of each start's end point. Ascent in l_1 and l_2 passes
        a second end point through the network, the step of infinite length. An attack by queries is its queries and
        their first point; APGD-T looks at the clean outputs to choose its targets.

    Example:
        >>> from cgro.definitions import NoAttack, PGD, ThreatModel
        >>> attack_cost(PGD(ThreatModel("inf", 0.1), n_steps=5, n_restarts=2))
        Cost(n_forward=3, n_gradients=10, n_updates=0)
        >>> attack_cost(NoAttack())
        Cost(n_forward=1, n_gradients=0, n_updates=0)
    """
    total = Cost(n_forward=1)
    for part in attack.parts:
        total += Cost(n_forward=_n_ends(part), n_gradients=part.n_gradients)
    return total


def _n_ends(attack: Attack) -> int:
    """Forward passes of a search that are neither its first look at the clean inputs nor steps along the gradient."""
    if not attack.uses_gradient:
        n_queries = getattr(attack, "n_queries", None)
        if n_queries is None:
            return 0
        return n_queries + 1
    if isinstance(attack, APGD):
        return _n_ends_of_apgd(attack)
    n_starts = getattr(attack, "n_restarts", 1)
    if isinstance(attack, PGD) and attack.keep == "best" and attack.threat.p != math.inf:
        return 2 * n_starts
    return n_starts


def _n_ends_of_apgd(attack: APGD) -> int:
    """In float32 its steps are certain, the last one too: beside them only the step of infinite length."""
    n_ends = 0
    if attack.threat.p != math.inf:
        n_ends += attack.n_starts
    if isinstance(attack, TargetedAPGD):
        n_ends += 1
    return n_ends
