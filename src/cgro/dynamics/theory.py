"""What the analysis predicts, in numbers to stand beside the measurements. Odd form, adversary along w*.

rho = 1 - delta/alpha and kappa = delta/alpha - 1. Orders of magnitude in the paper become equations here by setting its
hidden constants to those of the leading term; each function says what was left out.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cgro._check import bad
from cgro.dynamics.setting import Setting
from cgro.dynamics.spaces import cheapest, direct, gram
from cgro.trajectory import Trajectory


def growth_end(setting: Setting, largest_start: float, learned: float = 1.0) -> float:
    """End of stage I in steps, from u_0 = max_r u_r(0), when U(0) > 0.

    q > 2: T1 = 1 / ( eta (q/2)(q-2) [ (1-lambda) alpha^q + lambda phi(alpha - delta) ] u_0^(q-2) ): the blow-up time of
    du/dt = (q/2)[...] u^(q-1), the law while all margins are small. q = 2: T1 = ln(u_I/u_0) / ( eta [...] ) with
    u_I = learned / alpha. Left out: the other filters, the saturation of the loss, and U(0) < 0.

    Returns:
        Steps; infinite when the bracket is not positive: the adversary then wins from the start.

    Example:
        >>> from cgro.data.patches import PatchData
        >>> s = Setting(PatchData(10, signal_strength=1.0), radius_ratio=1.0, robust_weight=0.5, lr=0.1)
        >>> round(growth_end(s, 0.1), 6)  # 1 / (0.1 * 1.5 * 0.5 * 0.1)
        133.333333
    """
    q, a = setting.activation_power, setting.strength
    at = a - setting.radius
    drive = (1 - setting.robust_weight) * a**q + setting.robust_weight * math.copysign(abs(at) ** q, at)
    if drive <= 0 or largest_start <= 0:
        return math.inf
    if q == 2:
        return math.log(max(learned / (a * largest_start), 1.0)) / (setting.lr * drive)
    return 1.0 / (setting.lr * (q / 2) * (q - 2) * drive * largest_start ** (q - 2))


def plateau(setting: Setting) -> float | None:
    """The stall of stage II for delta > alpha: M = alpha^q U with V = 0.

    (1-lambda) sigmoid(-M) = lambda kappa^q sigmoid(kappa^q M): the clean and the attacked pull on the signal cancel.

    Returns:
        M; None for delta <= alpha or lambda = 0, where growth only slows down; 0 where the attacked pull wins at M = 0.
    """
    kappa, share = setting.radius_ratio - 1, setting.robust_weight
    if kappa <= 0 or share == 0:
        return None
    k = kappa**setting.activation_power

    def pull(m: float) -> float:
        return (1 - share) / (1 + math.exp(m)) - share * k / (1 + math.exp(-k * m))

    low, high = 0.0, 500.0
    if pull(0.0) <= 0:
        return 0.0
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if pull(middle) > 0 else (low, middle)
    return low


def final_signal(setting: Setting) -> float | None:
    """alpha^q U at the end for delta > alpha, once the training noise carries every margin.

    M* = ln[ (1-lambda) / (lambda kappa^q) ] / (1 + kappa^q), or 0 beyond delta/alpha = 1 + ((1-lambda)/lambda)^(1/q).

    Returns:
        M*; None for delta <= alpha or lambda = 0.

    Example:
        >>> round(final_signal(Setting(radius_ratio=2.0, robust_weight=0.25)), 6)  # kappa = 1: ln(3) / 2
        0.549306
    """
    kappa, share = setting.radius_ratio - 1, setting.robust_weight
    if kappa <= 0 or share == 0:
        return None
    if share == 1:
        return 0.0
    k = kappa**setting.activation_power
    return max(math.log((1 - share) / (share * k)) / (1 + k), 0.0)


def extinction_ratio(robust_weight: float, activation_power: float) -> float:
    """delta/alpha beyond which the signal dies: 1 + ((1-lambda)/lambda)^(1/q); infinite for lambda = 0."""
    if robust_weight == 0:
        return math.inf
    return 1 + ((1 - robust_weight) / robust_weight) ** (1 / activation_power)


def onset_ratio(setting: Setting, seeds: Sequence[int] = (0,)) -> float:
    """delta/alpha above which training memorizes (delta < alpha): 1 - rho_c, a heuristic.

    rho_c^q = median_i( |xi_i|^2 v_0i^(q-2) ) / ( N alpha^2 (alpha u_I)^(q-2) ): the attacked signal gradient and one
    example's noise gradient at the end of stage I are equal. xi_i a noise patch, v_0i = max_r y_i <w_r(0), xi_i>,
    u_I = max_r u_r once stage I is over at delta = alpha. Measured onsets lay within 0.85 to 1.2 of rho_c.

    Args:
        setting: its radius_ratio is not used.
        seeds: the mean over these is returned.

    Returns:
        delta/alpha in [0, 1]; 1 for lambda = 0.
    """
    if setting.robust_weight == 0:
        return 1.0
    if setting.adversary not in ("restricted", "transfer"):
        raise bad("adversary", expected="restricted or transfer", got=setting.adversary)
    q, a = setting.activation_power, setting.strength
    short = replace(setting, radius_ratio=1.0, batch_size=None)
    batch = (gram if cheapest(short) == "gram" else direct)(short, seeds)
    start = batch.activations()
    per = start.shape[1] // batch.y.shape[1]
    v = (np.repeat(batch.y, per, 1)[..., None] * start).max(2)
    square = (setting.data.patch_dim - setting.data.n_signals) * setting.data.noise_std**2
    noise = np.median(square * np.maximum(v, 1e-300) ** (q - 2), axis=1)
    batch.advance(round(400 * 0.3 / a**2 / setting.lr) or 1, compiled=False)
    learned = a * batch.u.max((1, 2))
    rho = (noise / (setting.n_train * a**2 * np.maximum(learned, 1e-300) ** (q - 2))) ** (1 / q)
    return float(np.clip(1 - rho.mean(), 0.0, 1.0))


def compare(setting: Setting, run: Trajectory, growth_ends: Sequence[float | None]) -> dict[str, dict]:
    """Predictions beside measurements: name -> {predicted, measured, statement}; measured is a mean over seeds."""
    rows: dict[str, dict] = {}
    if setting.activation != "odd" or setting.full_ball:
        return rows
    u0 = run["filter_signal"][0].max(1)
    known = [t for t in growth_ends if t is not None]
    rows["signal_growth_end"] = _row(
        np.mean([growth_end(setting, u) for u in u0]), np.mean(known) if known else None,
        "end of stage I in steps, order of magnitude",
    )  # fmt: skip
    if (m := plateau(setting)) is not None:
        noise, margin = run["noise_learned"].mean(2), run["signal_margin"]
        still = (noise <= 0.05) & (run.steps[:, None] >= 1)
        last = [int(np.nonzero(column)[0][-1]) for column in still.T]
        measured = np.mean([margin[at, s] for s, at in enumerate(last)])
        rows["plateau"] = _row(m, measured, "alpha^q U of stage II, read at the last record with mean V <= 0.05")
    if (m := final_signal(setting)) is not None:
        rows["final_signal"] = _row(m, run.final("signal_margin").mean(), "alpha^q U at the end")
    return rows


def _row(predicted: Any, measured: Any, statement: str) -> dict[str, Any]:
    measured = None if measured is None else float(measured)
    return {"predicted": float(predicted), "measured": measured, "statement": statement}
