"""What the analysis predicts, in numbers to stand beside the measurements. Odd form, adversary along w*.

rho = 1 - delta/alpha and kappa = delta/alpha - 1. Orders of magnitude in the paper become equations here by setting its
hidden constants to those of the leading term; each function says what was left out. The equations have no numbers of
their own in the paper: they belong to Theorem 5.9 and the lemmas on its stages.

Several signal directions (K, not in the paper): each example carries one of them, so that only N/K examples, up to
chance, pull on a direction. Where noise patches are orthogonal, a direction and the noise of its examples follow the
equations of K = 1 with N/K examples, at 1/K of the step size. Balances of two pulls on the signal stay as they are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cgro._check import bad, number
from cgro.dynamics.rule import Array, raised
from cgro.dynamics.setting import Setting
from cgro.dynamics.simulate import Simulation
from cgro.dynamics.spaces import SPACES, cheapest, seeds_of
from cgro.trajectory import Trajectory

LARGEST_MARGIN = 500.0
"""Among which the root of the plateau is looked for; exp(-500) is near the smallest float64."""
QUIET = 0.05
"""Mean V up to which noise counts as not learned when the plateau is read. A choice: a tenth of `stages.MIN_GAIN`."""


def growth_end(setting: Setting, largest_start: float, learned: float = 1.0) -> float:
    """End of stage I of a signal direction in steps, from its u_0 = max_r u_r(0), when U(0) > 0 (Theorem 5.9).

    q > 2: T1 = K / ( eta (q/2)(q-2) [ (1-lambda) alpha^q + lambda phi(alpha - delta) ] u_0^(q-2) ): the blow-up time of
    du/dt = (q/2)[...] u^(q-1) / K, which holds while all margins are small. K directions share the examples, which is
    the 1/K. q = 2: T1 = K ln(u_I/u_0) / ( eta [...] ) with u_I = learned / alpha. Left out: the other filters, the
    saturation of the loss, U(0) < 0, and that a direction's share of the examples is 1/K on average only.

    Args:
        setting: q, alpha, delta, lambda, eta and K.
        largest_start: u_0 > 0.
        learned: alpha u_I at which growth counts as over, for q = 2 only.

    Returns:
        Steps; infinite when the bracket is not positive: the adversary then wins from the start.

    Example:
        >>> from cgro.data.patches import PatchData
        >>> s = Setting(PatchData(10, signal_strength=1.0), radius_ratio=1.0, robust_weight=0.5, lr=0.1)
        >>> round(growth_end(s, 0.1), 6)  # 1 / (0.1 * 1.5 * 0.5 * 0.1)
        133.333333
        >>> round(growth_end(replace(s, data=PatchData(10, signal_strength=1.0, n_signals=2)), 0.1), 6)
        266.666667
    """
    q = setting.activation_power
    a = setting.strength
    at = a - setting.radius
    drive = (1 - setting.robust_weight) * raised(a, q) + setting.robust_weight * math.copysign(raised(abs(at), q), at)
    drive /= setting.data.n_signals
    if not drive > 0 or largest_start <= 0:  # of two that overflow the attacked one is the larger
        return math.inf
    if q == 2:
        return math.log(max(learned / (a * largest_start), 1.0)) / (setting.lr * drive)
    speed = setting.lr * (q / 2) * (q - 2) * drive * raised(largest_start, q - 2)
    if speed == 0:
        return math.inf
    return 1.0 / speed


def plateau(setting: Setting) -> float | None:
    """The stall of stage II for delta > alpha: M = alpha^q U with V = 0 (Theorem 5.9).

    (1-lambda) sigmoid(-M) = lambda kappa^q sigmoid(kappa^q M): the clean and the attacked pull on the signal cancel.
    Of several signal directions each has this M, if some example carries it: K divides both pulls.

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
    k = raised(kappa, setting.activation_power)

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
    Of several signal directions each has this M*, if some example carries it: K divides both pulls.

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
    q = setting.activation_power
    # As a sum of logarithms: kappa^q itself may be too small for a float.
    balance = math.log(1 - share) - math.log(share) - q * math.log(kappa)
    return max(0.0, balance / (1 + raised(kappa, q)))


def signal_exponent(
    activation_power: float, signal_margin: float, *, init_exponent: float = 0.0, noise_start: float = 0.0
) -> float:
    """Slope of log U on log alpha at delta = alpha, in runs of finite length: what Theta(alpha^-q) hides there.

    d log U / d log alpha = -q + k / (M - 2 + 2/q), M = alpha^q U at the end, k = 2 + e (q-2) / (1 - v_0^(q-2)) for
    filters that start as init_std ~ alpha^(-e): k = 2 for a fixed start and about q for one like 1/alpha. From
        dM/dtau = q^2 alpha^2 (1-lambda) M^(2-2/q) e^(-M),
    up to the time of memorization, tau ~ v_0^(2-q) - 1 (ln(1/v_0) for q = 2), after which margins rest on the noise:
    M - (2-2/q) ln M = ln(alpha^2 tau) + constant. Left out: terms of order 1/M^2. Above the signal strength alpha^q U
    ends at `final_signal`, which does not depend on alpha, and the slope is -q. Several signal directions change the
    constant only.

    Args:
        activation_power: q >= 2.
        signal_margin: M, a mean over the alphas compared; the law is one of large M, and needs M > 2 - 2/q.
        init_exponent: e.
        noise_start: v_0 in [0, 1), the median noise activation at the start; 0 for one that is small beyond counting.

    Returns:
        The slope.

    Raises:
        BadRequest: a value out of its range.

    Example:
        >>> round(signal_exponent(3, 13.1), 3), round(signal_exponent(3, 13.1, init_exponent=1), 3)
        (-2.83, -2.745)
    """
    q = number(activation_power, "activation_power", low=2.0)
    least = 2 - 2 / q
    if not number(signal_margin, "signal_margin") > least:
        raise bad("signal_margin", expected=f"a number above 2 - 2/q = {least:g}", got=signal_margin)
    number(init_exponent, "init_exponent")
    number(noise_start, "noise_start", low=0.0, below=1.0)
    growth = 2.0
    if q > 2:
        growth += init_exponent * (q - 2) / (1 - noise_start ** (q - 2))
    elif noise_start > 0:
        growth += init_exponent / math.log(1 / noise_start)
    return -q + growth / (signal_margin - 2 + 2 / q)


def extinction_ratio(robust_weight: float, activation_power: float) -> float:
    """delta/alpha beyond which the signal dies: 1 + ((1-lambda)/lambda)^(1/q), where `final_signal` reaches 0.

    It is the same for several signal directions.

    Args:
        robust_weight: lambda in [0, 1].
        activation_power: q >= 2.

    Returns:
        delta/alpha; infinite for lambda = 0.

    Raises:
        BadRequest: a value out of its range.

    Example:
        >>> extinction_ratio(0.5, 3)
        2.0
    """
    share = number(robust_weight, "robust_weight", low=0.0, high=1.0)
    q = number(activation_power, "activation_power", low=2.0)
    if share == 0:
        return math.inf
    return 1 + ((1 - share) / share) ** (1 / q)


def onset_ratio(setting: Setting, seeds: Sequence[int] = (0,)) -> float:
    """delta/alpha above which training memorizes (delta < alpha): 1 - rho_c, a heuristic.

    rho_c^q = K median_i( |xi_i|^2 v_0i^(q-2) ) / ( N alpha^2 (alpha u_I)^(q-2) ): the attacked signal gradient and one
    example's noise gradient at the end of stage I are equal. xi_i a noise patch, v_0i = max_r y_i <w_r(0), xi_i>,
    u_I = max_r u_r once stage I is over at delta = alpha, a mean over the K signal directions. N/K examples pull on
    each of them. Measured onsets lay within 0.85 to 1.2 of rho_c, for K = 2 and 4 as for K = 1.

    Args:
        setting: its radius_ratio is not used.
        seeds: the mean over these is returned; they mean the starts that `simulate` gives them.

    Returns:
        delta/alpha in [0, 1]; 1 for lambda = 0.

    Raises:
        BadRequest: an adversary that moves every patch; no seeds.
    """
    seeds = seeds_of(seeds)
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
    directions = setting.data.n_signals
    square = (setting.data.patch_dim - directions) * setting.data.noise_std**2
    noise = np.median(square * np.maximum(v, 1e-300) ** (q - 2), axis=1)
    # Long enough for stage I at usual starts: 400 steps at the default step size, which each direction has in turn.
    batch.advance(round(400 * 0.3 / a**2 / setting.lr * directions) or 1, compiled=False)
    learned = a * batch.u.max(2).mean(1)
    per_direction = setting.n_train / directions
    rho = (noise / (per_direction * a**2 * np.maximum(learned, 1e-300) ** (q - 2))) ** (1 / q)
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
        which the analysis does not cover. Of several signal directions the records hold the mean: no
        `signal_growth_end`, as each direction has its own (see `growth_end`), and nothing where a direction is carried
        by no example or where that is not known.
    """
    rows: dict[str, Comparison] = {}
    if setting.activation != "odd" or setting.full_ball:
        return rows
    if setting.data.n_signals == 1:
        predicted = np.mean([growth_end(setting, start) for start in run["filter_signal"][0].max(1)])
        known = [step for step in growth_ends if step is not None]
        measured = None
        if known:
            measured = float(np.mean(known))
        statement = "end of stage I in steps, order of magnitude"
        rows["signal_growth_end"] = Comparison(float(predicted), measured, statement)
    elif not _all_carried(setting, run):
        return rows
    stall = plateau(setting)
    if stall is not None:
        statement = "alpha^q U of stage II, read at the last record with mean V <= 0.05"
        rows["plateau"] = Comparison(stall, _measured_plateau(run), statement)
    end = final_signal(setting)
    if end is not None:
        rows["final_signal"] = Comparison(end, float(run.final("signal_margin").mean()), "alpha^q U at the end")
    return rows


def _all_carried(setting: Setting, run: Trajectory) -> bool:
    """Whether in every seed each signal direction is carried by some training example."""
    if not isinstance(run, Simulation):
        return False
    carried = [len(np.unique(group)) for group in run.batch.group]
    return min(carried) == setting.data.n_signals


def _measured_plateau(run: Trajectory) -> float | None:
    """alpha^q U at the last record at which noise is not yet learned; None where a seed has no such record."""
    noise: Array = run["noise_learned"].mean(2)
    quiet = (noise <= QUIET) & (run.steps[:, None] >= 1)
    if not quiet.any(0).all():
        return None
    last = len(quiet) - 1 - quiet[::-1].argmax(0)
    return float(run["signal_margin"][last, np.arange(len(last))].mean())
