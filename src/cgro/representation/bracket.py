"""Robust error of a memorizer as a bracket: what an attack that knows its structure breaks, what is certified."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cgro.definitions import PGD, ErrorRate, margin, negative_margin
from cgro.definitions.attacks import judge
from cgro.representation.certificate import certified_robust, require_lowerable
from cgro.representation.memorizer import RobustMemorizer

LEAK = 0.1  # slope of the surrogate indicators where the true ones are flat


@dataclass(frozen=True)
class Bracket:
    """Robust error from below and above on one set of examples.

    Args:
        lower: examples broken by any of the attacks. upper: those not certified; None if the clean model cannot be
            lowered (`reason` says why). naive: PGD through F alone, a gradient-masked number that is far too low.
        transfer: F at the points that break the raw clean model.
    """

    lower: ErrorRate
    upper: ErrorRate | None
    naive: ErrorRate
    transfer: ErrorRate
    reason: str | None = None

    def metrics(self, part: str = "test") -> dict[str, Any]:
        """Entries of `summary.json`."""
        found = {"": self.lower, "@naive-pgd": self.naive, "@transfer": self.transfer, "@certified": self.upper}
        return {f"robust_error/{part}{k}": e.to_dict() for k, e in found.items() if e is not None}


class _Surrogate(nn.Module):
    """The clean output plus leaky indicators: a slope towards every support that the ball can meet."""

    def __init__(self, memorizer: RobustMemorizer) -> None:
        super().__init__()
        self.memorizer = memorizer

    def forward(self, x: Tensor) -> Tensor:
        """(B,) or (B, C)"""
        m = self.memorizer
        outputs = m.clean_model(x)
        with torch.no_grad():
            rows, kept = m.near(x, m.threat.radius)
        if not len(rows):
            return outputs
        height = 1 - m.excess(x, rows, kept) / m.gap[kept]
        height = torch.maximum(height, LEAK * height).to(outputs.dtype)
        cell = rows * m.n_classes + m.classes[m.memorized[kept]]
        memory = torch.zeros(len(x) * m.n_classes, dtype=outputs.dtype).index_add(0, cell, height)
        memory = memory.view(len(x), m.n_classes)
        return outputs + (memory[:, 1] - memory[:, 0] if m.binary else memory)


def _towards_others(memorizer: RobustMemorizer, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """For each (example, support of another class in reach): the point of the ball nearest to its center."""
    m = memorizer
    rows, kept = m.near(x, m.threat.radius)
    other = m._classes(y)[rows] != m.classes[m.memorized[kept]]
    rows, kept = rows[other], kept[other]
    goal = m.centers(kept).to(x.dtype).view(len(rows), *m.shape)
    return rows, m.threat.project(goal, x[rows]) if len(rows) else goal


def broken_by(
    memorizer: RobustMemorizer, x: Tensor, y: Tensor, *, n_steps: int = 20, n_restarts: int = 2,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """Which examples each attack breaks, judged on F itself; (B,) bool each, clean errors included.

    naive: PGD through F, whose gradient is 0 wherever an indicator covers f_clean. transfer: PGD on the raw clean
    model. joint: PGD on the surrogate that sees every support in reach, and the points nearest to other classes'
    centers.
    """
    threat, generator = memorizer.threat, generator or torch.Generator().manual_seed(0)

    def wrong(points: Tensor, labels: Tensor) -> Tensor:
        return ~(margin(judge(memorizer, points), labels) > 0)

    clean = wrong(x, y)
    found = {"clean": clean}
    attack = PGD(threat, n_steps=n_steps, n_restarts=n_restarts, loss=negative_margin)
    naive = PGD(threat, n_steps=n_steps)
    targets = (("naive", naive, memorizer), ("transfer", attack, memorizer.clean_model),
               ("joint", attack, _Surrogate(memorizer)))  # fmt: skip
    for name, search, model in targets:
        found[name] = clean | wrong(search(model, x, y, generator=generator), y)
    rows, goals = _towards_others(memorizer, x, y)
    if len(rows):
        hit = rows[wrong(goals, y[rows])]
        found["joint"][hit] = True
    return found


def bracket(
    memorizer: RobustMemorizer, x: Tensor, y: Tensor, *, n_steps: int = 20, n_restarts: int = 2,
    generator: torch.Generator | None = None,
) -> Bracket:  # fmt: skip
    """Robust error of the memorizer between an attack and a certificate (Definition 3.3 for F).

    The difference of the two is undecided, not robust.

    Args:
        memorizer: whose threat model is asked about. x: (B, *S). y: (B,). n_steps, n_restarts: of PGD.

    Raises:
        AssertionError: an attack broke a certified example, which would be an error of ours.
    """
    found = broken_by(memorizer, x, y, n_steps=n_steps, n_restarts=n_restarts, generator=generator)
    any_ = found["clean"] | found["transfer"] | found["joint"] | found["naive"]
    n = len(x)
    lower, naive, transfer = (ErrorRate(int(w.sum()), n, "lower") for w in (any_, found["naive"], found["transfer"]))
    if reason := require_lowerable(memorizer):
        return Bracket(lower, None, naive, transfer, reason)
    certified = certified_robust(memorizer, x, y)
    assert not bool((certified & any_).any()), "a certified example was broken"
    return Bracket(lower, ErrorRate(int((~certified).sum()), n, "upper"), naive, transfer)
