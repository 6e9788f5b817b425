"""How many training examples are too many to memorize: the sample threshold of CGRO in Section 5 (not in the paper).

Signal and noise race. With rho = 1 - delta/alpha > 0, one filter each, s = alpha u the signal activation, v_i = max_r
y_i <w_r, xi_i> the noise activation of example i, noise patches orthogonal to each other, and tau = eta t:
    ds/dtau   = q alpha^2 s^(q-1) mean_k [ (1-lambda) p_k + lambda rho^q r_k ],
    dv_i/dtau = q |xi|^2 / N v_i^(q-1) [ (1-lambda) p_i + lambda r_i ],
p and r being sigmoid(-margin) of the clean and the attacked example. While the margins of all examples are equal, time
and r drop out and a first integral is left. With the *push* on the noise,
    v_0^(2-q) - v^(2-q) = (q-2) |xi|^2 / N * push,
    push = 1/alpha^2 int_(s_0)^s x^(1-q) [ (1-lambda) p + lambda r ] / [ (1-lambda) p + lambda rho^q r ] dx.
Up to s_I the clean pull lifts the signal and the integrand is small; beyond s_I it is x^(1-q) / rho^q, so that
    push = (s_I^(2-q) - s^(2-q)) / ( (q-2) alpha^2 rho^q ),   s_I^q ~ ln( 2 (1-lambda) / (lambda rho^q) ).
Both activations blow up in finite time for q > 2. The attacked margin that reaches 1 first, rho^q s^q or v^q, wins.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from cgro._check import bad, number
from cgro.dynamics.rule import Array, raised
from cgro.dynamics.setting import Setting
from cgro.dynamics.spaces import direct

HALF = 0.5
"""Share of the examples that are memorized at the threshold."""
RACE_ENDS = 1.0
"""Attacked margin, of signal or noise, at which the race is over: V_i above it counts as memorized. A choice; a larger
one changes N_c by less than the terms rho^(q-2) and v_0^(q-2)."""

LARGEST_LOG = 700.0
"""Above it exp ends in an overflow, and margins that large are all alike."""


@dataclass(frozen=True)
class SampleThreshold:
    """The number of training examples above which the signal wins the race, and the noise is not memorized.

    Args:
        critical: N_c of an example whose noise starts at the median, when no other example is memorized before it;
            infinite where that noise is memorized at the start, v_0 >= 1.
        half: N at which half of the examples are memorized. Larger than `critical`: an example that is memorized no
            longer pulls on the signal.
        signal: s_I = alpha u at the end of stage I; None for delta >= alpha (as floats), where the race has no end.
        noise: v_0, the median over examples of the largest noise activation at the start.
    """

    critical: float
    half: float
    signal: float | None
    noise: float


def sample_threshold(setting: Setting) -> SampleThreshold | None:
    """N_c and N_half of a setting, from its constants alone; n_train is not used, nothing is drawn or fitted.

    N_c = ( |xi|^2 v_0^(q-2) / (alpha^2 rho^q) ) (s_I^(2-q) - rho^(q-2)) / (1 - v_0^(q-2)): the race ends at attacked
    margin 1 on both sides, s = 1/rho and v = 1. q = 2: N_c = |xi|^2 ln(1/(rho s_I)) / (alpha^2 rho^2 ln(1/v_0)).

    Left out: the overlap of noise patches, all filters but the largest, and the spread of |xi|. The first matters
    unless v_0 sqrt(d) >> 1: an example that is memorized moves the activations of the others by about 1/sqrt(d), either
    way, and the largest over the filters rises by it, so that more is memorized than predicted.

    Args:
        setting: data, network, adversary and their weights.

    Returns:
        The threshold, infinite for delta >= alpha and for noise that is memorized at the start; None where the
        derivation says nothing: standard training (see `noise_limit`), an adversary that moves every patch, the halves,
        several signal directions, and a single filter, whose median start is 0.

    Example:
        >>> from cgro.dynamics import PRESETS
        >>> found = sample_threshold(PRESETS["theorem"])
        >>> bool(100 < found.critical < found.half < 300)  # N = 30 is far below
        True
    """
    if _uncovered(setting) or setting.robust_weight == 0 or setting.n_filters == 1:
        return None
    noise = _start_of_noise(setting, HALF)
    if setting.radius_ratio >= 1 or setting.rho**setting.activation_power == 0:
        return SampleThreshold(math.inf, math.inf, None, noise)
    total = push(setting)
    q = setting.activation_power
    lost = setting.strength**2 * setting.rho**q * total
    return SampleThreshold(
        critical=_over_cost(total, _cost(setting, HALF)),
        half=examples_at_share(setting, HALF),
        signal=_power_inverse(_power_of(1 / setting.rho, q) + lost, q),
        noise=noise,
    )


def push(setting: Setting) -> float:
    """The push on the noise from the start of training to attacked signal margin 1; see the head of this module.

    Args:
        setting: odd form, one signal direction, adversary along w*, delta < alpha, and lambda > 0.

    Returns:
        1/alpha^2 times the integral from s_0, the median of alpha max_r u_r(0), to 1/rho; infinite for a single filter,
        whose median start is 0 and never grows, and where rho^q is 0 as a float.

    Raises:
        BadRequest: another setting.
    """
    from scipy.integrate import quad  # here, as the import takes half a second and most runs need no integral

    uncovered = _uncovered(setting)
    if uncovered:
        raise bad("setting", expected="odd form, one signal direction, adversary along w*", got=uncovered)
    number(setting.radius_ratio, "radius_ratio", low=0.0, high=np.nextafter(1.0, 0.0))
    number(setting.robust_weight, "robust_weight", low=np.nextafter(0.0, 1.0), high=1.0)
    q = setting.activation_power
    kept = setting.rho**q
    clean = 1 - setting.robust_weight
    robust = setting.robust_weight

    def density(log_s: float) -> float:
        margin = math.exp(min(q * log_s, LARGEST_LOG))
        # p / r, the clean over the attacked weight of an example, without overflow at large margins.
        ratio = math.exp(np.logaddexp(0.0, kept * margin) - np.logaddexp(0.0, margin))
        return math.exp((2 - q) * log_s) * (clean * ratio + robust) / (clean * ratio + robust * kept)

    first = setting.strength * setting.init_std * _largest_normal(setting.n_filters, HALF)
    if first <= 0 or kept == 0:
        return math.inf
    start = math.log(first)
    end = -math.log(setting.rho)
    if start >= end:
        return 0.0
    # Split where the clean pull gives way: the integrand rises by a factor rho^-q around it.
    turn = min(max(math.log(max(math.log(2 / kept), 1.0)) / q, start), end)
    total = quad(density, start, turn, limit=200)[0] + quad(density, turn, end, limit=200)[0]
    return total / setting.strength**2


def examples_at_share(setting: Setting, share: float) -> float:
    """N at which this share of the examples is memorized before the signal wins.

    An example costs c = (v_0^(2-q) - 1) / ((q-2) |xi|^2) of push per N, and those of low cost are memorized first and
    stop pulling on the signal. With the quantile function c(p) of the costs and c* = c(share),
    N mean_i min(c_i, c*) = push.

    Args:
        setting: as for `push`.
        share: in (0, 1).

    Returns:
        N, not rounded; 0 where examples of this share start with no activation of the right sign, infinite where they
        start memorized or where the push is.

    Raises:
        BadRequest: as `push`; a share out of range.
    """
    from scipy.integrate import quad

    number(share, "share", low=np.nextafter(0.0, 1.0), high=np.nextafter(1.0, 0.0))
    last = _cost(setting, 1 - share)
    if math.isinf(last):
        return 0.0
    # Costs fall as the start rises: the cheapest are the largest starts.
    cheaper = quad(lambda level: _cost(setting, level), 1 - share, 1.0, limit=200)[0]
    return _over_cost(push(setting), cheaper + (1 - share) * last)


def _over_cost(total: float, cost: float) -> float:
    """N of a push, and of what an example costs of it; noise that is memorized at the start costs nothing."""
    if cost == 0:
        return math.inf
    return total / cost


def _uncovered(setting: Setting) -> str:
    """What of a setting the race does not speak of, or nothing."""
    if setting.activation != "odd":
        return f"the {setting.activation}"
    if setting.full_ball:
        return f"adversary {setting.adversary}"
    if setting.data.n_signals > 1:
        return f"{setting.data.n_signals} signal directions"
    return ""


def lone_example_error(setting: Setting, signal_margin: float, noise_learned: float) -> float:
    """Robust test error of a network that has memorized one example: where the window of CGRO begins.

    Phi( -rho sqrt(d') (M / V)^(1/q) ), d' = d - K: a memorized patch leaves a filter w = v xi / |xi|^2, V = v^q, whose
    activation on fresh noise is normal with standard deviation v / sqrt(d'); the attacked signal is rho^q M. It is far
    below 1/2 unless rho sqrt(d) is small; more memorized examples add up to 1/2. A signal of the wrong sign, M < 0, is
    attacked by making it longer: 1 + delta/alpha in place of rho. Left out: the start of the filters, and other
    filters that share the example.

    Args:
        setting: d, q and delta/alpha; odd form, two patches.
        signal_margin: M = alpha^q U at the end of training, of the signal direction that unseen examples carry.
        noise_learned: V of the example; by its size, and 0 leaves the answer to the signal.

    Returns:
        A probability.

    Raises:
        BadRequest: another number of patches, the halves, values that are not finite.

    Example:
        >>> from cgro.data.patches import PatchData
        >>> setting = Setting(PatchData(401), radius_ratio=0.95)
        >>> round(lone_example_error(setting, 8.0, 8.0), 4)  # rho sqrt(400) = 1: Phi(-1)
        0.1587
    """
    if setting.data.n_patches != 2:
        raise bad("n_patches", expected="2: one patch of noise", got=setting.data.n_patches)
    if setting.activation != "odd":
        raise bad("activation", expected="odd", got=setting.activation)
    margin = number(signal_margin, "signal_margin")
    noise = abs(number(noise_learned, "noise_learned"))
    kept = setting.rho
    if margin < 0 and setting.adversary != "transfer":
        kept = 1 + setting.radius_ratio
    attacked = kept * np.sign(margin)
    if attacked == 0:
        return 0.5
    if noise == 0:
        return float(attacked < 0)
    free = setting.data.patch_dim - setting.data.n_signals
    return float(ndtr(-attacked * math.sqrt(free) * (abs(margin) / noise) ** (1 / setting.activation_power)))


def _cost(setting: Setting, level: float) -> float:
    """Push per N that memorizes an example whose start is the quantile at this level; infinite for starts <= 0."""
    q = setting.activation_power
    start = _start_of_noise(setting, level)
    if start <= 0:
        return math.inf
    return max(_power_of(start, q) - _power_of(1.0, q), 0.0) / setting.squared_patch


def _power_of(x: float, q: float) -> float:
    """x^(2-q) / (q-2), the blow-up coordinate: d/dx of it is -x^(1-q). At q = 2, -ln x, which differs by a constant."""
    if q == 2:
        return -math.log(x)
    return raised(x, 2 - q) / (q - 2)


def _power_inverse(value: float, q: float) -> float:
    if q == 2:
        return math.exp(-value)
    return raised((q - 2) * value, 1 / (2 - q))


def _start_of_noise(setting: Setting, level: float) -> float:
    """Quantile of v_0 = max over filters and patches of y <w_r(0), xi>, normal numbers given |xi|."""
    scale = setting.init_std * math.sqrt(setting.squared_patch)
    return scale * _largest_normal(setting.n_filters * (setting.data.n_patches - 1), level)


def _largest_normal(n: int, level: float) -> float:
    """Quantile of the largest of n standard normal numbers.

    >>> round(_largest_normal(2, 0.25), 9)  # both are below 0 in a quarter of the cases
    0.0
    """
    return float(ndtri(level ** (1 / n)))


def noise_limit(setting: Setting, seeds: Sequence[int] = (0,)) -> Array:
    """A bound that no noise activation exceeds, however long the training, for q > 2 and delta < alpha or lambda = 0.

    Let u_0 = max_r u_r(0) > 0, s_0 = alpha u_0, v_0 = max |<w_r(0), xi_ij>|, B = max_(ij, k) sum_l |<xi_ij, xi_kl>|
    (for P = 2 the largest |xi|^2), and kappa = rho^q, or 1 for lambda = 0. Under gradient flow, at all times,
        |<w_r, xi_ij>| <= ( v_0^(2-q) - B / (alpha^2 kappa) s_0^(2-q) )^(-1/(q-2)),
    if the bracket is positive. Proof. Let g_k = (1-lambda) p_k + lambda r_k > 0 and g their mean. No u_r ever falls,
    and the largest has du/dtau >= q kappa alpha^q g u^(q-1), so that the total push is finite:
        q int g dtau <= u_0^(2-q) / ( (q-2) kappa alpha^q ).
    The largest |v| has d|v|/dtau <= q sum_k g_k / N sum_l |<xi_ij, xi_kl>| |v|^(q-1) <= q B g |v|^(q-1). Integrate.

    There is no 1/N in it: cruder than `sample_threshold`, but nothing is assumed about overlap or single filters.

    Args:
        setting: odd form, one signal direction, adversary along w*.
        seeds: whose starts are drawn.

    Returns:
        (S,) the bound on |v|; infinite where there is none.
    """
    start = direct(setting, seeds)
    n_patches = setting.data.n_patches - 1
    kept = 1.0
    if setting.robust_weight > 0:
        kept = max(setting.rho, 0.0) ** setting.activation_power
    covered = not _uncovered(setting)
    limits = np.full(len(seeds), np.inf)
    q = setting.activation_power
    if q == 2 or kept == 0 or not covered:
        return limits
    largest = np.abs(start.activations()).max((1, 2))
    for s, noise in enumerate(start.noise):
        overlap = np.abs(noise @ noise.T)
        pulled = overlap.reshape(len(noise), -1, n_patches).sum(2).max()
        signal = setting.strength * start.u[s].max()
        if signal <= 0:
            continue
        left = largest[s] ** (2 - q) - pulled / (setting.strength**2 * kept) * signal ** (2 - q)
        if left > 0:
            limits[s] = left ** (1 / (2 - q))
    return limits
