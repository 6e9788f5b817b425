"""The robust generalization bound (v1, Theorem 6.3) and the lower bound of Proposition 6.4, beside measurements."""

import math
from dataclasses import dataclass

from cgro._check import bad, count, listed, number
from cgro.flatness.search import Flatness


@dataclass(frozen=True)
class GapBound:
    """The bound's right side beside the measured robust generalization gap of the loss.

    Args:
        factor: N^(-1/(D+2)).
        bound: factor * (global flatness + C / sqrt(Delta)), up to an unknown constant.
        gap: measured L_D^adv - L_S^adv.
        robust_loss: measured L_D^adv, which the gap cannot exceed as losses are >= 0.
        n: N, training examples.
        dim: D, coordinates of an input.
    """

    factor: float
    bound: float
    gap: float
    robust_loss: float
    n: int
    dim: int

    @property
    def vacuous(self) -> bool:
        """Whether the bound allows more than any network could have: a gap of the whole robust loss."""
        return self.bound >= self.robust_loss

    @property
    def halving(self) -> float:
        """log10 of the number of examples at which the factor is half of what it is: N * 2^(D + 2)."""
        return math.log10(self.n) + (self.dim + 2) * math.log10(2)

    @property
    def sentence(self) -> str:
        """What the numbers say, in one line."""
        verdict = "not vacuous"
        if self.vacuous:
            verdict = "VACUOUS: no gap could exceed it"
        return (
            f"bound {self.bound:.3g} on a gap of {self.gap:.3g} (robust test loss {self.robust_loss:.3g}): {verdict}; "
            f"the factor {self.factor:.4f} halves at 10^{self.halving:.0f} examples"
        )


def gap_bound(
    train: Flatness, test: Flatness, k: int, *, n: int, dim: int, constant: float = 0.0, failure: float = 0.05
) -> GapBound:
    """The bound of Theorem 6.3 (v1) at the k-th radius: with probability 1 - Delta,

        L_D^adv - L_S^adv  <~  N^(-1/(D+2)) ( E_D max ‖grad L‖_1 + C / sqrt(Delta) ).

    Both sides are measured by a search, so a weak one makes the bound too small. C is not known (it holds the density's
    smoothness); 0 is the most favorable choice. For images the factor is near 1: the bound cannot see N.

    Args:
        train: local flatness, of training examples.
        test: global flatness, of test examples at the same radii.
        k: which of the radii.
        n: N, training examples.
        dim: D, coordinates of an input.
        constant: C >= 0.
        failure: Delta in (0, 1].

    Returns:
        The bound beside the measured gap.

    Raises:
        BadRequest: a size below 1, a constant out of its range, a radius that was not searched or that differs.

    Example:
        >>> import torch
        >>> one = torch.ones(4, 1, dtype=torch.float64)
        >>> a, b = (Flatness((0.1,), g * one, r * one, one[:, 0], one[:, 0]) for g, r in ((2.0, 0.2), (2.4, 0.5)))
        >>> result = gap_bound(a, b, 0, n=16, dim=2)
        >>> result.factor, result.bound, round(result.gap, 6), result.vacuous
        (0.5, 1.2, 0.3, False)
    """
    k = _place(k, test)
    if k >= len(train.radii) or train.radii[k] != test.radii[k]:
        raise bad("radii", expected=f"{listed(test.radii)}, those of the test part", got=listed(train.radii))
    factor = count(n, "n") ** (-1 / (count(dim, "dim") + 2))
    extra = number(constant, "constant", low=0.0) / math.sqrt(number(failure, "failure", low=1e-300, high=1.0))
    robust_test = _robust_loss(test, k)
    bound = factor * (test.average("gradient", k).value + extra)
    return GapBound(factor, bound, robust_test - _robust_loss(train, k), robust_test, n, dim)


def _place(k: int, f: Flatness) -> int:
    """The k-th radius, if there is one."""
    return count(k, "k", low=0, high=len(f.radii) - 1)


def _robust_loss(f: Flatness, k: int) -> float:
    return float((f.loss + f.rise[:, k]).mean())


@dataclass(frozen=True)
class FirstOrder:
    """The two sides of Proposition 6.4 (v1).

    Args:
        product: radius * E ‖grad_x L(f(x), y)‖_q.
        rise: measured E [ max L(f(x')) - L(f(x)) ].
    """

    product: float
    rise: float

    @property
    def ratio(self) -> float:
        """rise / product: at least 1 for losses convex in the input (without the box), and 1 for small radii."""
        if self.product > 0:
            return self.rise / self.product
        return math.inf


def first_order(f: Flatness, k: int) -> FirstOrder:
    """Proposition 6.4 (v1) at the k-th radius: L_D^adv - L_D^clean = Omega( delta E ‖grad_x L‖_1 ).

    The statement has an unknown constant; the measured ratio is what that constant must stay below. The box makes the
    rise smaller: at a face, half of the directions are closed.

    Args:
        f: what a search found on fresh examples.
        k: which of its radii.

    Returns:
        Both sides.

    Raises:
        BadRequest: a radius that was not searched.

    Example:
        >>> import torch
        >>> one = torch.ones(2, 1, dtype=torch.float64)
        >>> first_order(Flatness((0.5,), one, 1.5 * one, one[:, 0], one[:, 0]), 0).ratio
        3.0
    """
    k = _place(k, f)
    return FirstOrder(f.radii[k] * float(f.slope.mean()), float(f.rise[:, k].mean()))
