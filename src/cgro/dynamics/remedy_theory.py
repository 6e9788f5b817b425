"""By what factor a remedy changes the sample threshold of `threshold`, and how long it takes (not in the paper).

With P and R the pulls of the clean and the attacked half of the loss on an example's margins (minus its derivatives by
them), and kappa = (x/alpha)^q, x the attacked strength of the signal, the race of `threshold` becomes
    ds/dtau   = q alpha^2 s^(q-1) A - mu s,            A = mean_k [ P_k + kappa R_k ],
    dv_i/dtau = (q |xi|^2 / N) D(v_i) B_i - mu v_i,    B = P + R,
D(v) = v^(q-1) unless the noise moves. Each remedy changes one of these letters; N at which half of the examples are
memorized follows as there, from q int B dtau up to attacked signal margin 1. No number is fitted. The predictions were
committed before the first of the runs of `cgro reproduce remedies`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from cgro._check import bad, number
from cgro.dynamics.remedies import PLAIN, Remedy, box_of, check_covered
from cgro.dynamics.rule import Array, sigmoid
from cgro.dynamics.setting import Setting
from cgro.dynamics.threshold import HALF
from cgro.dynamics.unseen import probability_correct

POINTS = 4001
"""Of the grids over s, v and quantiles; twice as many change a threshold by less than 1e-3 (tested)."""
NODES = 41
"""Of the Gauss-Hermite rule for E |v + t g|^(q-1)."""
SMALLEST_START = 1e-6
"""Noise activation at which an example counts as one that never grows."""


class Pulls(NamedTuple):
    """Pulls on an example whose noise is not memorized.

    Attributes:
        signal: A.
        noise: B.
    """

    signal: Array
    noise: Array


def pulls(setting: Setting, remedy: Remedy, margin: Array, robust_weight: float | None = None) -> Pulls:
    """A and B at V = 0, for the clean margin a = M and the attacked margin b = kappa M.

    P = (1-lambda) (sigmoid(-a) - eps_c/2) and R = lambda (sigmoid(-b) - eps_a/2); TRADES has
    P = sigmoid(-a) - beta sigmoid(a) sigmoid(-a) (a - b) and R = beta (sigmoid(a) - sigmoid(b)).

    Args:
        setting: alpha, delta, lambda, q.
        remedy: what is changed.
        margin: (...,) M = alpha^q U >= 0.
        robust_weight: lambda now; None for that of the setting.

    Returns:
        Both, with the shape of `margin`.

    Example:
        >>> found = pulls(Setting(radius_ratio=1.0), PLAIN, np.array(0.0))
        >>> float(found.signal), float(found.noise)  # at delta = alpha the attack leaves nothing to pull on
        (0.25, 0.5)
    """
    kept = _kept(setting, setting.rho)
    if remedy.trades == 0:
        weight = setting.robust_weight
        if robust_weight is not None:
            weight = robust_weight
        clean = (1 - weight) * (sigmoid(-margin) - remedy.smoothing_clean / 2)
        attacked = weight * (sigmoid(-kept * margin) - remedy.smoothing_attacked / 2)
        return Pulls(clean + kept * attacked, clean + attacked)
    kappa = np.full(np.shape(margin), kept)
    if remedy.inner == "kl":
        raised = _kept(setting, 1 + setting.radius_ratio)
        kappa = np.where(divergence(margin, raised * margin) > divergence(margin, kept * margin), raised, kept)
    attacked_margin = kappa * margin
    slope = sigmoid(margin) * sigmoid(-margin)
    clean = sigmoid(-margin) - remedy.trades * slope * (margin - attacked_margin)
    attacked = remedy.trades * (sigmoid(margin) - sigmoid(attacked_margin))
    return Pulls(clean + kappa * attacked, clean + attacked)


def divergence(a: Array, b: Array) -> Array:
    """KL( sigmoid(a) || sigmoid(b) ) of two Bernoulli laws by their margins.

    Args:
        a: (...,) margins of the first.
        b: (...,) margins of the second.

    Returns:
        (...,), at least 0.

    Example:
        >>> float(divergence(np.array(0.3), np.array(0.3)))
        0.0
    """
    right = np.logaddexp(0.0, -b) - np.logaddexp(0.0, -a)
    wrong = np.logaddexp(0.0, b) - np.logaddexp(0.0, a)
    return sigmoid(a) * right + sigmoid(-a) * wrong


def _kept(setting: Setting, share: float) -> float:
    """phi(x) / alpha^q at strength x = share alpha."""
    return math.copysign(abs(share) ** setting.activation_power, share)


def remedied_threshold(setting: Setting, remedy: Remedy = PLAIN, share: float = HALF) -> float:
    """N at which this share of the training examples is memorized, under a remedy.

    Averages over weights (`ema`) and an early stop leave the run as it is and change nothing here.
    `fresh` = p: noise grows in 1-p of the steps, and a memorized example still pulls on the signal in the others, so
    that N [ p/(1-p) c* + mean_i min(c_i, c*) ] = push, c the costs without it.
    `weight_decay`: s^(2-q) and v^(2-q) decay alike, and the order of the two blow-ups is that without. But where mu
    exceeds the pull on the signal at its barrier, mu > min_s q alpha^2 s^(q-2) A, the signal stops there, and the noise
    of an example grows only if (q |xi|^2 / N) v_0^(q-2) B > mu.
    `half_life`: also N c* must be within the push that a signal which never wins would give: the clock runs out.
    A signal whose pull vanishes before it wins (TRADES, smoothed clean labels) never wins: any N is memorized.

    Args:
        setting: odd form, one signal direction, adversary along w*, 0 < lambda, delta < alpha.
        remedy: what is changed; PLAIN gives `examples_at_share`.
        share: in (0, 1).

    Returns:
        N, not rounded; infinite where every number of examples is memorized, 0 where none is.

    Raises:
        BadRequest: a setting that the remedies do not cover, or one without a race: delta >= alpha, lambda = 0 without
            `trades`, a single filter, whose median start is 0; a box without a coordinate.
    """
    _check_race(setting, remedy)
    box_of(setting, remedy)
    if remedy.fresh == 1:
        return 0.0
    levels, starts = _starts(setting)
    costs = _costs(setting, remedy, starts)
    last = float(np.interp(1 - share, levels, costs))
    # The costs are those of 1-p of the steps already.
    spent = remedy.fresh * last + (1 - remedy.fresh) * float(np.trapezoid(np.minimum(costs, last), levels))
    if remedy.half_life > 0:
        total, clock = _push_in_time(setting, remedy)
        return min(total / spent, clock / last)
    total, stopped = _push(setting, remedy)
    race = total / spent
    if remedy.weight_decay == 0 or stopped is None:
        return race
    start = float(np.interp(1 - share, levels, starts))
    growth = float(drive(setting, remedy, np.array([start]))[0]) / start
    pull = float(pulls(setting, remedy, np.array(stopped**setting.activation_power)).noise)
    return setting.activation_power * setting.squared_patch * growth * pull / remedy.weight_decay


def _check_race(setting: Setting, remedy: Remedy) -> None:
    """Refuse settings in which signal and noise do not race."""
    check_covered(setting)
    number(setting.radius_ratio, "radius_ratio", low=0.0, high=np.nextafter(1.0, 0.0))
    if remedy.trades == 0:
        number(setting.robust_weight, "robust_weight", low=np.nextafter(0.0, 1.0), high=1.0)


def _starts(setting: Setting) -> tuple[Array, Array]:
    """Levels in (0, 1), and the quantiles of an example's largest noise activation at the start."""
    levels = (np.arange(POINTS) + 0.5) / POINTS
    n = setting.n_filters * (setting.data.n_patches - 1)
    scale = setting.init_std * math.sqrt(setting.squared_patch)
    return levels, np.maximum(scale * ndtri(levels ** (1 / n)), SMALLEST_START)


def drive(setting: Setting, remedy: Remedy, v: Array) -> Array:
    """D(v), relative to which a patch's own activation v = <w, xi> grows.

    With probability p a box of share s holds another patch. Own patch outside of it: activation (1-s) v plus a normal
    part of variance s (2-s) sigma_z^2, the box's share of the start and of the other patch; it moves v by the share
    1-s. As the box in another example: s and 1-s exchanged. `fresh` steps do not move v on average.

    Args:
        setting: start of the filters, |xi| and q.
        remedy: probabilities, and the share of the box.
        v: (K,) activations > 0.

    Returns:
        (K,).

    Example:
        >>> drive(Setting(), PLAIN, np.array([0.5])).tolist()  # q = 3
        [0.25]
    """
    q = setting.activation_power
    own = (1 - remedy.fresh - remedy.mixed) * v ** (q - 1)
    if remedy.mixed == 0:
        return own
    variance = setting.init_std**2 * setting.squared_patch
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    for part in (remedy.share, 1 - remedy.share):
        spread = math.sqrt(variance * part * (2 - part))
        powers = np.abs((1 - part) * v[:, None] + spread * nodes) ** (q - 1)
        own = own + remedy.mixed * (1 - part) * (powers @ weights) / weights.sum()
    return own


def _costs(setting: Setting, remedy: Remedy, starts: Array) -> Array:
    """c_i = int from v_0 to 1 of dv / D(v) / |xi|^2: the push per N that memorizes an example."""
    v = np.geomspace(SMALLEST_START, 1.0, POINTS)
    # In log v, where the integrand is smooth.
    inner = v / drive(setting, remedy, v)
    steps = (inner[1:] + inner[:-1]) / 2 * np.diff(np.log(v))
    left = np.append(np.cumsum(steps[::-1])[::-1], 0.0)
    return np.interp(np.log(starts), np.log(v), left) / setting.squared_patch


def _push(setting: Setting, remedy: Remedy) -> tuple[float, float | None]:
    """q int B dtau up to attacked signal margin 1, and the s at which the signal stops on its way, if it does."""
    q = setting.activation_power
    start = setting.strength * _largest_start(setting)
    s = np.geomspace(start, 1 / setting.rho, POINTS)
    found = pulls(setting, remedy, s**q)
    grows = q * setting.strength**2 * s ** (q - 2) * found.signal
    stops = np.nonzero(grows <= remedy.weight_decay)[0]
    if len(stops):
        return math.inf, float(s[stops[0]])
    # Without the decay: it slows signal and noise alike, see `remedied_threshold`.
    inner = s ** (2 - q) * found.noise / found.signal
    return float(np.trapezoid(inner, np.log(s))) / setting.strength**2, None


def _push_in_time(setting: Setting, remedy: Remedy) -> tuple[float, float]:
    """The push with a robust weight that halves every so many steps, and what it would be if the signal never won."""
    path = signal_path(setting, [_largest_start(setting)], remedy)
    total = float(path.push[-1])
    left = setting.robust_weight * 0.5 ** (path.steps[-1] / remedy.half_life) * remedy.half_life / math.log(2)
    return total, total + setting.activation_power * setting.lr * left / 2


def _largest_start(setting: Setting) -> float:
    """The median of max_r u_r(0); that of one filter is 0, and a signal that starts there never grows."""
    if setting.n_filters == 1:
        raise bad("n_filters", expected=">= 2: the median start of one is 0, and never grows", got=1)
    return setting.init_std * float(ndtri(HALF ** (1 / setting.n_filters)))


class SignalPath(NamedTuple):
    """The signal alone, with no noise memorized.

    Attributes:
        steps: (T,) of gradient descent, increasing.
        margin: (T,) M = alpha^q U.
        push: (T,) q int B dtau so far; N c_i of it memorizes example i.
    """

    steps: Array
    margin: Array
    push: Array


def signal_path(
    setting: Setting, start: Sequence[float], remedy: Remedy = PLAIN, *, n_steps: float | None = None
) -> SignalPath:
    """The signal's own differential equation, with all examples still pulling: what fresh noise leaves of training.

    du_r/dt = eta q alpha^q |u_r|^(q-1) A(M) - eta mu u_r, M = alpha^q sum_r phi(u_r).
    It ends at attacked margin 1, or after n_steps.

    Args:
        setting: as for `remedied_threshold`.
        start: u_r(0) of all filters, or of the largest.
        remedy: what is changed.
        n_steps: where to stop; None for a thousand times the time scale of the attacked pull.

    Returns:
        The path at the points that the solver chose.

    Raises:
        BadRequest: a setting that the remedies do not cover; without n_steps, one without an attacked pull: delta >=
            alpha, or lambda = 0.
    """
    check_covered(setting)
    if n_steps is None:
        number(setting.radius_ratio, "radius_ratio", low=0.0, high=np.nextafter(1.0, 0.0))
        number(setting.robust_weight, "robust_weight", low=np.nextafter(0.0, 1.0), high=1.0)
    from scipy.integrate import solve_ivp  # here, as the import takes half a second and most runs need no integral

    q, a = setting.activation_power, setting.strength
    kept = _kept(setting, setting.rho)
    end = n_steps
    if end is None:
        end = 1000 / (setting.lr * a**2 * kept * setting.robust_weight)

    def flow(t: float, state: Array) -> Array:
        u = state[:-1]
        margin = a**q * float((np.sign(u) * np.abs(u) ** q).sum())
        weight = setting.robust_weight
        if remedy.half_life > 0:
            weight *= 0.5 ** (t / remedy.half_life)
        found = pulls(setting, remedy, np.array(max(margin, 0.0)), weight)
        moved = q * a**q * np.abs(u) ** (q - 1) * found.signal - remedy.weight_decay * u
        return setting.lr * np.append(moved, q * found.noise)

    def wins(_: float, state: Array) -> float:
        u = state[:-1]
        return 1.0 - kept * a**q * float((np.sign(u) * np.abs(u) ** q).sum())

    wins.terminal = True  # how solve_ivp is told
    first = np.append(np.asarray(start, float), 0.0)
    solved = solve_ivp(flow, (0.0, end), first, method="LSODA", events=wins, rtol=1e-7, atol=1e-10)
    u = solved.y[:-1]
    return SignalPath(solved.t, a**q * (np.sign(u) * np.abs(u) ** q).sum(0), solved.y[-1])


def untouched_error(setting: Setting, margin: float, *, shrunk: float = 1.0) -> float:
    """Robust test error while the filters still have their start off the signal: P[ V + rho^q M < 0 ].

    Args:
        setting: m, init_std, d and delta < alpha.
        margin: M = alpha^q U, of the signal direction that unseen examples carry.
        shrunk: factor on the filters off the signal, such as exp(-mu tau) of weight decay.

    Returns:
        A probability, by 4,096 directions.

    Example:
        >>> untouched_error(Setting(radius_ratio=0.97), 0.0)
        0.5
    """
    free = setting.data.patch_dim - setting.data.n_signals
    covariance = (shrunk * setting.init_std) ** 2 * free * np.eye(setting.n_filters)
    return 1.0 - probability_correct(
        _kept(setting, setting.rho) * margin,
        covariance,
        activation_power=setting.activation_power,
        noise_std=setting.data.noise_std,
        n_patches=setting.data.n_patches,
    )


class EarlyStop(NamedTuple):
    """Where training is best stopped.

    Attributes:
        step: at which the first of the N examples is memorized; infinite where the signal wins before.
        margin: M = alpha^q U there, or where the signal wins.
        error: robust test error there.
    """

    step: float
    margin: float
    error: float


def stall(setting: Setting, remedy: Remedy) -> float | None:
    """Where the signal stops before it wins: M at which its pull, less the decay, first vanishes.

    Args:
        setting: as for `remedied_threshold`.
        remedy: what is changed; one with a `half_life` never stops the signal altogether.

    Returns:
        M = alpha^q U; None where the signal goes on to attacked margin 1.

    Raises:
        BadRequest: as `remedied_threshold`.

    Example:
        >>> round(stall(Setting(radius_ratio=0.97), Remedy(smoothing_clean=0.1)), 2)  # sigmoid(-M) = eps/2
        2.95
    """
    _check_race(setting, remedy)
    stopped = _push(setting, remedy)[1]
    if stopped is None:
        return None
    return stopped**setting.activation_power


def best_stop(setting: Setting) -> EarlyStop:
    """Until the first example is memorized, signal grows and noise is that of the start: the test error falls.

    The first is the one of the largest start among N examples, at its median, level 0.5^(1/N); it is memorized when
    the push has reached N times its cost.

    Args:
        setting: as for `remedied_threshold`.

    Returns:
        Step, margin and error.

    Raises:
        BadRequest: as `remedied_threshold`.
    """
    path = signal_path(setting, [_largest_start(setting)])
    levels, starts = _starts(setting)
    first = float(np.interp(HALF ** (1 / setting.n_train), levels, starts))
    needed = setting.n_train * float(_costs(setting, PLAIN, np.array([first]))[0])
    if needed >= path.push[-1]:
        return EarlyStop(math.inf, float(path.margin[-1]), untouched_error(setting, float(path.margin[-1])))
    step = float(np.interp(needed, path.push, path.steps))
    margin = float(np.interp(step, path.steps, path.margin))
    return EarlyStop(step, margin, untouched_error(setting, margin))


def fresh_error(setting: Setting, start: Sequence[float], steps: Sequence[float]) -> list[float]:
    """Robust test error under fresh noise after some steps: no noise is ever memorized, the signal grows for ever.

    Args:
        setting: as for `remedied_threshold`.
        start: u_r(0) of all filters.
        steps: increasing.

    Returns:
        One probability per step.

    Raises:
        BadRequest: a setting that the remedies do not cover.
    """
    path = signal_path(setting, start, n_steps=float(max(steps)))
    margins = np.interp(np.asarray(steps, float), path.steps, path.margin)
    return [untouched_error(setting, float(margin)) for margin in margins]
