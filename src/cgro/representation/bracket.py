"""Robust error of a memorizer as a bracket: what an attack that knows its structure breaks, what is certified."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cgro.definitions import PGD, ErrorRate, margin, negative_margin
from cgro.definitions.attacks import evaluated_outputs
from cgro.representation.certificate import certified_robust, not_lowerable
from cgro.representation.memorizer import RobustMemorizer

LEAK = 0.1
"""Slope of the surrogate's indicators where the true ones are flat; a choice."""


@dataclass(frozen=True)
class Bracket:
    """Robust error from below and above on one set of examples.

    Args:
        lower: examples broken by any of the attacks.
        upper: those that are not certified; None if the clean model cannot be lowered (`reason` says why).
        naive: PGD through F alone, a gradient-masked number that is far too low.
        transfer: F at the points that break the raw clean model.
        reason: why there is no upper bound.
    """

    lower: ErrorRate
    upper: ErrorRate | None
    naive: ErrorRate
    transfer: ErrorRate
    reason: str | None = None

    def metrics(self, part: str = "test") -> dict[str, dict[str, object]]:
        """Return the entries of `summary.json`.

        Args:
            part: of the data set, in the keys.

        Returns:
            robust_error/PART, with @naive-pgd, @transfer and, if there is one, @certified.
        """
        name = f"robust_error/{part}"
        found: dict[str, dict[str, object]] = {
            name: self.lower.to_dict(),
            f"{name}@naive-pgd": self.naive.to_dict(),
            f"{name}@transfer": self.transfer.to_dict(),
        }
        if self.upper is not None:
            found[f"{name}@certified"] = self.upper.to_dict()
        return found


class _Surrogate(nn.Module):
    """The clean output plus leaky indicators: a slope towards every support that the ball can meet."""

    def __init__(self, memorizer: RobustMemorizer) -> None:
        super().__init__()
        self.memorizer = memorizer

    def forward(self, x: Tensor) -> Tensor:
        """(B, *S) -> (B,) or (B, C)"""
        m = self.memorizer
        outputs = m.clean_model(x)
        with torch.no_grad():
            rows, kept = m.supports.near(x, m.threat.radius)
        if not len(rows):
            return outputs
        height = 1 - m.supports.excess(x, rows, kept) / m.supports.gap[kept]
        height = torch.maximum(height, LEAK * height).to(outputs.dtype)
        memory = m.sum_by_class(height, rows, kept, len(x))
        if m.binary:
            return outputs + m.combination.signed(memory)
        return outputs + memory


def _towards_others(m: RobustMemorizer, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """For each (example, support of another class in reach): the point of the ball nearest to its center."""
    rows, kept = m.supports.near(x, m.threat.radius)
    other = m.class_of(y)[rows] != m.kept_classes(kept)
    rows = rows[other]
    goal = m.supports.centers(kept[other]).to(x.dtype).view(len(rows), *m.shape)
    if not len(rows):
        return rows, goal
    return rows, m.threat.project(goal, x[rows])


def broken_by(
    memorizer: RobustMemorizer,
    x: Tensor,
    y: Tensor,
    *,
    n_steps: int = 20,
    n_restarts: int = 2,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Find which examples each attack breaks, evaluated on F itself, clean errors included.

    Args:
        memorizer: F, whose threat is attacked.
        x: (B, *S) inputs.
        y: (B,) labels.
        n_steps: of PGD.
        n_restarts: of PGD in `transfer` and `joint`.
        generator: of the random starts; None is seeded 0.

    Returns:
        (B,) bool by name. clean: wrong without an attack. naive: PGD through F, whose gradient is 0 wherever an
        indicator covers f_clean. transfer: PGD on the raw clean model. joint: PGD on the surrogate that sees every
        support in reach, and the points nearest to other classes' centers.
    """
    threat = memorizer.threat
    generator = generator or torch.Generator().manual_seed(0)

    def wrong(points: Tensor, labels: Tensor) -> Tensor:
        return ~(margin(evaluated_outputs(memorizer, points), labels) > 0)

    clean = wrong(x, y)
    naive = PGD(threat, n_steps=n_steps, precision="float32")
    strong = PGD(threat, n_steps=n_steps, n_restarts=n_restarts, loss=negative_margin, precision="float32")
    # In this order, as they draw from one generator.
    found = {
        "clean": clean,
        "naive": clean | wrong(naive(memorizer, x, y, generator=generator), y),
        "transfer": clean | wrong(strong(memorizer.clean_model, x, y, generator=generator), y),
    }
    joint = clean | wrong(strong(_Surrogate(memorizer), x, y, generator=generator), y)
    rows, goals = _towards_others(memorizer, x, y)
    if len(rows):
        joint[rows[wrong(goals, y[rows])]] = True
    return {**found, "joint": joint}


def bracket_robust_error(
    memorizer: RobustMemorizer,
    x: Tensor,
    y: Tensor,
    *,
    n_steps: int = 20,
    n_restarts: int = 2,
    generator: torch.Generator | None = None,
) -> Bracket:
    """Put the robust error of the memorizer between an attack and a certificate (Definition 3.3 for F).

    The difference of the two is undecided, not robust.

    Args:
        memorizer: whose threat model is asked about.
        x: (B, *S) inputs.
        y: (B,) labels.
        n_steps: of PGD.
        n_restarts: of PGD.
        generator: of the random starts; None is seeded 0.

    Returns:
        Lower and upper bound, and what a naive attack would have said.

    Raises:
        AssertionError: an attack broke a certified example, which would be an error of ours.
    """
    found = broken_by(memorizer, x, y, n_steps=n_steps, n_restarts=n_restarts, generator=generator)
    broken = torch.stack(list(found.values())).any(0)
    n = len(x)
    lower = ErrorRate(int(broken.sum()), n, "lower")
    naive = ErrorRate(int(found["naive"].sum()), n, "lower")
    transfer = ErrorRate(int(found["transfer"].sum()), n, "lower")
    if reason := not_lowerable(memorizer):
        return Bracket(lower, None, naive, transfer, reason)
    certified = certified_robust(memorizer, x, y)
    if bool((certified & broken).any()):  # no assert statement, which python -O leaves out
        raise AssertionError("a certified example was broken")
    return Bracket(lower, ErrorRate(int((~certified).sum()), n, "upper"), naive, transfer)
