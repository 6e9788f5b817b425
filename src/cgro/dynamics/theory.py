"""What the analysis predicts, in numbers to stand beside the measurements. Odd form, adversary along w*.

rho = 1 - delta/alpha and kappa = delta/alpha - 1. Orders of magnitude in the paper become equations here by setting its
hidden constants to those of the leading term; each function says what was left out. The equations have no numbers of
their own in the paper: they belong to Theorem 5.9 and the lemmas on its stages.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cgro._check import bad
from cgro.dynamics.rule import Array
from cgro.dynamics.setting import Setting
from cgro.dynamics.spaces import SPACES, cheapest
from cgro.trajectory import Trajectory

LARGEST_MARGIN = 500.0
"""Among which the root of the plateau is looked for; exp(-500) is near the smallest float64."""
QUIET = 0.05
"""Mean V up to which noise counts as not learned when the plateau is read. A choice: a tenth of `stages.MIN_GAIN`."""


def growth_end(setting: Setting, largest_start: float, learned: float = 1.0) -> float:
    """End of stage I in steps, from u_0 = max_r u_r(0), when U(0) > 0 (Theorem 5.9).

    q > 2: T1 = 1 / ( eta (q/2)(q-2) [ (1-lambda) alpha^q + lambda phi(alpha - delta) ] u_0^(q-2) ): the blow-up time of
    du/dt = (q/2)[...] u^(q-1), which holds while all margins are small. q = 2: T1 = ln(u_I/u_0) / ( eta [...] ) with
    u_I = learned / alpha. Left out: the other filters, the saturation of the loss, and U(0) < 0.

    Args:
        setting: q, alpha, delta, lambda and eta.
        largest_start: u_0.
        learned: alpha u_I at which growth counts as over, for q = 2 only.

    Returns:
        Steps; infinite when the bracket is not positive: the adversary then wins from the start.

    Example:
        >>> from cgro.data.patches import PatchData
        >>> s = Setting(PatchData(10, signal_strength=1.0), radius_ratio=1.0, robust_weight=0.5, lr=0.1)
        >>> round(growth_end(s, 0.1), 6)  # 1 / (0.1 * 1.5 * 0.5 * 0.1)
        133.333333
    """
    q = setting.activation_power
    a = setting.strength
    at = a - setting.radius
    drive = (1 - setting.robust_weight) * a**q + setting.robust_weight * math.copysign(abs(at) ** q, at)
    if drive <= 0 or largest_start <= 0:
        return math.inf
    if q == 2:
        return math.log(max(learned / (a * largest_start), 1.0)) / (setting.lr * drive)
    return 1.0 / (setting.lr * (q / 2) * (q - 2) * drive * largest_start ** (q - 2))


def plateau(setting: Setting) -> float | None:
    """The stall of stage II for delta > alpha: M = alpha^q U with V = 0 (Theorem 5.9).

    (1-lambda) sigmoid(-M) = lambda kappa^q sigmoid(kappa^q M): the clean and the attacked pull on the signal cancel.

    Args:
        setting: q, delta/alpha and lambda.

    Returns:
        M; None for delta <= alpha or lambda = 0, where growth only slows down; 0 where the attacked pull wins at M = 0.

    Example:
        >>> round(plateau(Setting(radius_ratio=2.0, robust_weight=0.25)), 6)  # 3 sigmoid(-M) = sigmoid(M): M = ln 3
        1.098612
    """
    from scipy.optimize import root_scalar  # here, as the import takes half a second and most runs need no root

    kappa = setting.radius_ratio - 1
    share = setting.robust_weight
    if kappa <= 0 or share == 0:
        return None
    k = kappa**setting.activation_power

    def pull(m: float) -> float:
        return (1 - share) / (1 + math.exp(m)) - share * k / (1 + math.exp(-k * m))

    if pull(0.0) <= 0:
        return 0.0
    if pull(LARGEST_MARGIN) >= 0:
        return LARGEST_MARGIN
    return float(root_scalar(pull, bracket=(0.0, LARGEST_MARGIN), method="brentq", xtol=1e-15, rtol=1e-15).root)


def final_signal(setting: Setting) -> float | None:
    """alpha^q U at the end for delta > alpha, once the training noise carries every margin (Theorem 5.9).

    M* = ln[ (1-lambda) / (lambda kappa^q) ] / (1 + kappa^q), or 0 beyond delta/alpha = 1 + ((1-lambda)/lambda)^(1/q).

    Args:
        setting: q, delta/alpha and lambda.

    Returns:
        M*; None for delta <= alpha or lambda = 0.

    Example:
        >>> round(final_signal(Setting(radius_ratio=2.0, robust_weight=0.25)), 6)  # kappa = 1: ln(3) / 2
        0.549306
    """
    kappa = setting.radius_ratio - 1
    share = setting.robust_weight
    if kappa <= 0 or share == 0:
        return None
    if share == 1:
        return 0.0
    k = kappa**setting.activation_power
    return max(math.log((1 - share) / (share * k)) / (1 + k), 0.0)


def signal_exponent(
    activation_power: float, signal_margin: float, *, init_exponent: float = 0.0, noise_start: float = 0.0
) -> float:
    """Slope of log U on log alpha at delta = alpha, in runs of finite length: what Theta(alpha^-q) hides there.

    d log U / d log alpha = -q + k / (M - 2 + 2/q), M = alpha^q U at the end, k = 2 + e (q-2) / (1 - v_0^(q-2)) for
    filters that start as init_std ~ alpha^(-e): k = 2 for a fixed start and about q for one like 1/alpha. From
        dM/dtau = q^2 alpha^2 (1-lambda) M^(2-2/q) e^(-M),
    up to the time of memorization, tau ~ v_0^(2-q) - 1 (ln(1/v_0) for q = 2), after which margins rest on the noise:
    M - (2-2/q) ln M = ln(alpha^2 tau) + constant. Left out: terms of order 1/M^2. Above the signal strength alpha^q U
    ends at `final_signal`, which does not depend on alpha, and the slope is -q.

    Args:
        activation_power: q.
        signal_margin: M, a mean over the alphas compared.
        init_exponent: e.
        noise_start: v_0, the median noise activation at the start; 0 for a start that is small beyond counting.

    Returns:
        The slope.

    Example:
        >>> round(signal_exponent(3, 13.1), 3), round(signal_exponent(3, 13.1, init_exponent=1), 3)
        (-2.83, -2.745)
    """
    q = activation_power
    growth = 2.0
    if q > 2:
        growth += init_exponent * (q - 2) / (1 - noise_start ** (q - 2))
    elif noise_start > 0:
        growth += init_exponent / math.log(1 / noise_start)
    return -q + growth / (signal_margin - 2 + 2 / q)


def extinction_ratio(robust_weight: float, activation_power: float) -> float:
    """delta/alpha beyond which the signal dies: 1 + ((1-lambda)/lambda)^(1/q), where `final_signal` reaches 0.

    Args:
        robust_weight: lambda.
        activation_power: q.

    Returns:
        delta/alpha; infinite for lambda = 0.

    Example:
        >>> extinction_ratio(0.5, 3)
        2.0
    """
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
        seeds: the mean over these is returned; they mean the starts that `simulate` gives them.

    Returns:
        delta/alpha in [0, 1]; 1 for lambda = 0.

    Raises:
        BadRequest: an adversary that moves every patch.
    """
    if setting.robust_weight == 0:
        return 1.0
    if setting.adversary not in ("restricted", "transfer"):
        raise bad("adversary", expected="restricted or transfer", got=setting.adversary)
    q = setting.activation_power
    a = setting.strength
    start_of = replace(setting, radius_ratio=1.0, batch_size=None)
    # The space that `simulate` takes. Where that is the law, vectors would need gigabytes; none of them is looked at.
    batch = SPACES[cheapest(start_of)](start_of, seeds)
    start = batch.activations()
    per_example = start.shape[1] // batch.y.shape[1]
    v = (np.repeat(batch.y, per_example, 1)[..., None] * start).max(2)
    square = (setting.data.patch_dim - setting.data.n_signals) * setting.data.noise_std**2
    noise = np.median(square * np.maximum(v, 1e-300) ** (q - 2), axis=1)
    # Long enough for stage I at usual starts: 400 steps at the default step size.
    batch.advance(round(400 * 0.3 / a**2 / setting.lr) or 1, compiled=False)
    learned = a * batch.u.max((1, 2))
    rho = (noise / (setting.n_train * a**2 * np.maximum(learned, 1e-300) ** (q - 2))) ** (1 / q)
    return float(np.clip(1 - rho.mean(), 0.0, 1.0))


@dataclass(frozen=True)
class Comparison:
    """A prediction beside its measurement.

    Args:
        predicted: by the analysis.
        measured: mean over seeds; None where nothing could be measured.
        statement: what the number is.
    """

    predicted: float
    measured: float | None
    statement: str


def compare(setting: Setting, run: Trajectory, growth_ends: Sequence[float | None]) -> Mapping[str, Comparison]:
    """Predictions beside measurements.

    Args:
        setting: what was trained.
        run: from `simulate`.
        growth_ends: end of stage I of each seed in steps, None where it was not found.

    Returns:
        `signal_growth_end`, and for delta > alpha `plateau` and `final_signal`; nothing for the halves or a full ball,
        which the analysis does not cover.
    """
    rows: dict[str, Comparison] = {}
    if setting.activation != "odd" or setting.full_ball:
        return rows
    predicted = np.mean([growth_end(setting, start) for start in run["filter_signal"][0].max(1)])
    known = [step for step in growth_ends if step is not None]
    measured = None
    if known:
        measured = float(np.mean(known))
    statement = "end of stage I in steps, order of magnitude"
    rows["signal_growth_end"] = Comparison(float(predicted), measured, statement)
    stall = plateau(setting)
    if stall is not None:
        statement = "alpha^q U of stage II, read at the last record with mean V <= 0.05"
        rows["plateau"] = Comparison(stall, _measured_plateau(run), statement)
    end = final_signal(setting)
    if end is not None:
        rows["final_signal"] = Comparison(end, float(run.final("signal_margin").mean()), "alpha^q U at the end")
    return rows


def _measured_plateau(run: Trajectory) -> float | None:
    """alpha^q U at the last record at which noise is not yet learned; None where a seed has no such record."""
    noise: Array = run["noise_learned"].mean(2)
    quiet = (noise <= QUIET) & (run.steps[:, None] >= 1)
    if not quiet.any(0).all():
        return None
    last = len(quiet) - 1 - quiet[::-1].argmax(0)
    return float(run["signal_margin"][last, np.arange(len(last))].mean())
