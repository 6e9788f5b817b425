"""The exact toy: the memorizer on the worst-case family, where its robust test error is known to the last point."""

from typing import Any

import torch
from torch import Tensor

from cgro.definitions import ThreatModel
from cgro.representation.certificate import certify
from cgro.representation.lower_bound import expected_unseen, grid_side, worst_case_family
from cgro.representation.memorizer import RobustMemorizer


def _clean(x: Tensor) -> Tensor:
    """sign(x_D - 1/2) as a score: 2 parameters, error 0 on the whole family."""
    return 1e3 * (x[:, -1] - 0.5)


def toy(radius: float, dim: int, n_points: int = 300, *, p: float | str = "inf", seed: int = 0) -> dict[str, Any]:
    """Errors of the memorizer trained on N draws from the family, exact over all m points of it.

    Its balls are certified on the points that were drawn. On every other point the adversary moves the last
    coordinate across 1/2, by twice eta = radius / 2, where F is f_clean: robust test error = 1 - |seen| / m.

    Args:
        radius: delta. dim: D. n_points: N draws with replacement. p: norm. seed: of labels and draws.

    Returns:
        dim, m, seen, clean_test, robust_train (certified), robust_test, expected = (1 - 1/m)^N, exact (attack and
        certificate agree on every point).

    Example:
        >>> r = toy(0.2, 4, 20)
        >>> r["exact"], r["clean_test"], round(r["robust_test"], 9) == round(1 - r["seen"] / 27, 9)
        (True, 0.0, True)
    """
    family = worst_case_family(radius, dim, seed=seed)
    m = len(family.points)
    draws = torch.randint(0, m, (n_points,), generator=torch.Generator().manual_seed(seed + 1)).unique()
    x, y = family.points[draws], family.labels[draws]
    memorizer = RobustMemorizer(_clean, x, y, ThreatModel(p, radius))
    certificate = certify(memorizer)
    flipped = family.points.clone()
    flipped[:, -1] = 1 - flipped[:, -1]
    broken = ~(memorizer(flipped) * family.labels > 0)
    seen = torch.zeros(m, dtype=torch.bool)
    seen[draws] = True
    return {
        "dim": dim, "m": m, "n": n_points, "p": str(p), "radius": radius, "seen": int(seen.sum()),
        "clean_test": float((memorizer(family.points) * family.labels <= 0).double().mean()),
        "robust_train": 1 - float((certificate.margin > 0).double().mean()),
        "robust_test": float(broken.double().mean()), "expected": expected_unseen(radius, dim, n_points),
        "exact": bool((broken == ~seen).all()) and certificate.holds,
    }  # fmt: skip


def toy_dims(radius: float, largest: int) -> list[int]:
    """Dimensions from 2 on for which the toy's grid has at most `largest` points."""
    k = grid_side(radius)
    return [d for d in range(2, 64) if k ** (d - 1) <= largest]
