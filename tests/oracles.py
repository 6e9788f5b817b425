"""Slow truths by other means than the package's: constrained optimisers, linear programs, duality."""

import math

import numpy as np
from scipy.optimize import linprog, minimize, minimize_scalar


def _bounds(center: np.ndarray, box: tuple[float, float] | None) -> list[tuple[float | None, float | None]]:
    return [(None, None) if box is None else (box[0] - c, box[1] - c) for c in center]


def project(x: np.ndarray, center: np.ndarray, p: float, radius: float, box: tuple[float, float] | None) -> np.ndarray:
    """argmin ‖z - x‖^2 over ball and box by SLSQP, in z = center + a - b with a, b >= 0 (which makes l_1 linear)."""
    n, v = len(x), x - center
    low, high = (
        np.array([b[k] if b[k] is not None else s * np.inf for b in _bounds(center, box)]) for k, s in ((0, -1), (1, 1))
    )

    def split(ab: np.ndarray) -> np.ndarray:
        return ab[:n] - ab[n:]

    norm: list[dict] = []  # for p = inf the bounds below say everything
    if p == 1:
        norm = [{"type": "ineq", "fun": lambda ab: radius - ab.sum()}]
    elif p == 2:
        norm = [{"type": "ineq", "fun": lambda ab: radius**2 - (split(ab) ** 2).sum()}]
    cap = np.concatenate([np.minimum(high, radius), np.minimum(-low, radius)])
    start = np.zeros(2 * n)
    result = minimize(
        lambda ab: ((split(ab) - v) ** 2).sum(),
        start,
        bounds=[(0, c) for c in cap],
        constraints=norm,
        jac=lambda ab: np.concatenate([2 * (split(ab) - v), -2 * (split(ab) - v)]),
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    return center + split(result.x)


def linear_worst_case(g: np.ndarray, x: np.ndarray, p: float, radius: float, box: tuple[float, float] | None) -> float:
    """max <g, v> over ‖v‖_p <= radius with x + v in the box: a linear program (p = 1, inf), Lagrange duality (p = 2)."""
    n, bounds = len(g), _bounds(x, box)
    if p == math.inf:
        limits = [
            (max(-radius, low if low is not None else -radius), min(radius, high if high is not None else radius))
            for low, high in bounds
        ]
        return float(-linprog(-g, bounds=limits).fun)
    if p == 1:
        up = [(0, radius if high is None else high) for _, high in bounds]
        down = [(0, radius if low is None else -low) for low, _ in bounds]
        return float(-linprog(np.concatenate([-g, g]), A_ub=np.ones((1, 2 * n)), b_ub=[radius], bounds=up + down).fun)

    def dual(log_mu: float) -> float:
        mu = math.exp(log_mu)
        v = g / mu
        if box is not None:
            v = np.clip(v, box[0] - x, box[1] - x)
        return float((g * v - mu / 2 * v**2).sum() + mu / 2 * radius**2)

    return float(minimize_scalar(dual, bounds=(-20, 20), method="bounded", options={"xatol": 1e-12}).fun)
