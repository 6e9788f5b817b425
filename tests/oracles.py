"""Slow truths by other means than the package's: constrained optimizers, linear programs, duality."""

import itertools
import math

import numpy as np
import torch
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


def hidden_layer_worst_case(
    model: torch.nn.Module, x: torch.Tensor, y: int, p: float, radius: float, box: tuple[float, float]
) -> float:
    """min y f(x + v) over ball and box for f = c + a . relu(W x + b), one convex problem for each activation pattern.

    On a pattern s in {0, 1}^h, where (2s - 1) (W z + b) >= 0, the network is affine. Patterns that interval bounds rule
    out are skipped. v = up - down with up, down >= 0, which makes the l_1 norm linear; p = 2 by SLSQP from points
    that a linear program over the circumscribed l_1 ball gives.
    """
    w, b, a, c = (t.detach().double().numpy() for t in (model.w, model.b, model.a, model.c))
    x0, best = x.double().numpy(), math.inf
    low, high = np.maximum(-radius, box[0] - x0), np.minimum(radius, box[1] - x0)
    middle, half = w @ (x0 + (low + high) / 2) + b, np.abs(w) @ ((high - low) / 2)
    choices = [[1] if m > r else [0] if m < -r else [0, 1] for m, r in zip(middle, half)]
    for pattern in itertools.product(*choices):
        on = np.array(pattern)
        sign, g = 2 * on - 1, y * (a * on) @ w
        constant = y * (float((a * on) @ (w @ x0 + b)) + float(c))
        piece = _affine_piece(g, -sign[:, None] * w, sign * (w @ x0 + b), low, high, p, radius)
        best = min(best, constant + piece)
    return best


def _affine_piece(
    g: np.ndarray, rows: np.ndarray, limits: np.ndarray, low: np.ndarray, high: np.ndarray, p: float, radius: float
) -> float:
    """min g . v subject to rows v <= limits, low <= v <= high and ||v||_p <= radius; inf if there is none."""
    n, split = len(g), np.hstack([rows, -rows])
    bounds = [(0, h) for h in high] + [(0, -v) for v in low]
    if p != math.inf:
        split = np.vstack([split, np.ones(2 * n)])
        limits = np.append(limits, radius if p == 1 else radius * math.sqrt(n))
    found = linprog(np.concatenate([g, -g]), A_ub=split, b_ub=limits, bounds=bounds)
    if found.status != 0:
        return math.inf
    if p != 2:
        return float(found.fun)
    direction, limits, ends = found.x[:n] - found.x[n:], limits[:-1], [math.inf]
    for scale in (1.0, 0.3):
        v = scale * direction * min(1.0, radius / max(float(np.linalg.norm(direction)), 1e-12))
        result = minimize(
            lambda v: g @ v, v, jac=lambda v: g, bounds=list(zip(low, high)), method="SLSQP",
            constraints=[
                {"type": "ineq", "fun": lambda v: limits - rows @ v, "jac": lambda v: -rows},
                {"type": "ineq", "fun": lambda v: radius**2 - v @ v, "jac": lambda v: -2 * v},
            ],
            options={"ftol": 1e-12, "maxiter": 300},
        )  # fmt: skip
        if (rows @ result.x <= limits + 1e-7).all() and np.linalg.norm(result.x) <= radius * (1 + 1e-7):
            ends.append(float(result.fun))
    return min(ends)
