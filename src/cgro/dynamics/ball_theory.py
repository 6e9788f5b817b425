"""What theory says of the adversary that moves every patch, p = 2: three phases, and where they meet.

Suppose that one filter carries the signal, a w*, and that filters along the noise patches xi_i carry memory with a
response b per unit of length. Along one direction of length c in one patch, an attack of size t lowers that patch by s
and builds the opposite in another patch with the rest; what is left of the response, as a share of c^q, is

    g(t / c),   g(x) = min over angles of phi(1 - x cos) - (x sin)^q,   phi(z) = sign(z) |z|^q.            (1)

The root of g is 1 / sqrt 2 for every q: (1 - x cos) = (x sin) at 45 degrees. With more patches nothing changes, as the
rest is best spent in one of them. The margin of a training example under an attack that spends delta cos on w* and
delta sin on xi_i is

    (a alpha)^q [ g(delta cos / alpha) + kappa g(delta sin sqrt(L) / |xi|) ],   kappa = (b |xi| / (a alpha))^q,   (2)

where L is the number of examples that a memory filter serves: the filter is then sqrt(L) times as long as the response
per example, and so is what a step along it takes. From (1) and (2):

- The signal alone is robust for delta < alpha / sqrt 2 and for no larger delta. Unseen examples have nothing else.
- Memory can be fitted where some kappa makes (2) positive at every angle: `fit_boundary`, |xi| / delta as a function of
  delta / alpha that grows like sqrt(L). Above it the network fits by memory what it cannot generalize: CGRO.
- Below it the signal stalls where its clean and attacked pulls balance: `full_ball_plateau`.
- The noise is faster than the signal from the start where |xi| > alpha N^(1/q) (`clean_boundary`): the data are fitted
  before the signal is learned, and the clean test error is no better than chance.

What is approximated: noise patches orthogonal to each other; examples shared evenly, L = 1 + (N - 1) / m, the mean load
that an example meets if each takes one of m filters at random; one memory direction at a time; the race of the last
item by the clean half of the loss and with equal initial responses per unit of length; training long enough.
"""

import math
from functools import cache

import numpy as np

from cgro._check import bad, number
from cgro.dynamics.rule import sigmoid

ANGLES = np.linspace(0.0, np.pi / 2, 241)
"""Splits of the radius that are compared, 45 degrees among them. g is smooth in them: this spacing costs below 1e-4."""
LARGEST_MARGIN = 700.0
"""Above the root of any balance of pulls that float64 can hold."""
SIGNAL_THRESHOLD = math.sqrt(0.5)
"""delta / alpha up to which the signal alone is robust."""


def remaining(x: float | np.ndarray, power: float = 3.0) -> np.ndarray:
    """Evaluate g(x) of (1): what an attack along one direction leaves of the response, as a share.

    Args:
        x: size of the attack over the length of the patch along that direction.
        power: q.

    Returns:
        The shape of x; 1 at 0, negative above 1 / sqrt 2.

    Example:
        >>> float(remaining(0.0)), bool(remaining(0.70) > 0 > remaining(0.71))
        (1.0, True)
    """
    size = np.asarray(x, float)[..., None]
    left = 1.0 - size * np.cos(ANGLES)
    return (np.sign(left) * np.abs(left) ** power - (size * np.sin(ANGLES)) ** power).min(-1)


def full_ball_plateau(radius_ratio: float, robust_weight: float, power: float = 3.0) -> float:
    """Solve (1 - lambda) sigmoid(-M) = lambda |g| sigmoid(|g| M) for M = alpha^q U, g = g(delta / alpha).

    Args:
        radius_ratio: delta / alpha.
        robust_weight: lambda.
        power: q.

    Returns:
        M while nothing is memorized; infinite where the signal alone is robust, 0 where it dies.

    Raises:
        BadRequest: a robust weight outside [0, 1].

    Example:
        >>> round(full_ball_plateau(0.9, 0.5), 3)
        1.457
    """
    from scipy.optimize import root_scalar  # here, as the import takes half a second and most runs need no root

    number(robust_weight, "robust_weight", low=0.0, high=1.0)
    turned = -float(remaining(radius_ratio, power))
    if turned <= 0 or robust_weight == 0:
        return math.inf
    if 1 - robust_weight <= robust_weight * turned:
        return 0.0

    def balance(margin: float) -> float:
        attacked = robust_weight * turned * sigmoid(np.array(turned * margin))
        return float((1 - robust_weight) * sigmoid(np.array(-margin)) - attacked)

    return float(root_scalar(balance, bracket=(0.0, LARGEST_MARGIN), method="brentq").root)


def fits(radius_ratio: float, noise_ratio: float, load: float = 1.0, power: float = 3.0) -> bool:
    """Decide whether some kappa > 0 makes (2) positive at every angle.

    At an angle where memory keeps a positive share, kappa has a lower end; where it is negative, an upper one, and the
    signal must be positive there.

    Args:
        radius_ratio: delta / alpha.
        noise_ratio: |xi| / delta > 0.
        load: L >= 1, examples served by a memory filter.
        power: q.

    Returns:
        Whether the training set can be fitted.

    Raises:
        BadRequest: no noise, or fewer examples than one.

    Example:
        >>> fits(0.9, 0.9), fits(0.9, 1.1)
        (False, True)
    """
    if noise_ratio <= 0 or load < 1:
        raise bad("noise_ratio, load", expected="above 0 and at least 1", got=(noise_ratio, load))
    of_signal = remaining(radius_ratio * np.cos(ANGLES), power)
    of_memory = remaining(np.sin(ANGLES) * math.sqrt(load) / noise_ratio, power)
    helps = of_memory > 0
    if (of_signal[~helps] <= 0).any():
        return False
    least = (-of_signal[helps] / of_memory[helps]).max()
    most = (of_signal[~helps] / np.maximum(-of_memory[~helps], 1e-300)).min(initial=math.inf)
    return bool(least < most)


def fit_boundary(radius_ratio: float, load: float = 1.0, power: float = 3.0) -> float:
    """Find the least |xi| / delta at which memory can fit the training set.

    Args:
        radius_ratio: delta / alpha.
        load: L, examples served by a memory filter.
        power: q.

    Returns:
        |xi| / delta; 0 where the signal alone is robust.

    Example:
        >>> round(fit_boundary(0.9), 2), round(fit_boundary(0.9, load=4.0), 2)
        (1.01, 2.02)
    """
    if radius_ratio <= SIGNAL_THRESHOLD:
        return 0.0
    # (2) depends on load and |xi| through |xi| / sqrt(load) only.
    return _fit_boundary_alone(radius_ratio, power) * math.sqrt(load)


@cache
def _fit_boundary_alone(radius_ratio: float, power: float) -> float:
    """The boundary for L = 1. Above sqrt 2 memory alone is robust, as the signal is below alpha / sqrt 2."""
    low = 0.01
    high = 2.0
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        if fits(radius_ratio, middle, power=power):
            high = middle
        else:
            low = middle
    return high


def mean_load(n_train: int, n_filters: int) -> float:
    """Count the examples on the filter of an example, if each takes one of the filters at random.

    Args:
        n_train: N.
        n_filters: m.

    Returns:
        L = 1 + (N - 1) / m.

    Example:
        >>> mean_load(17, 16)
        2.0
    """
    return 1 + (n_train - 1) / n_filters


def clean_boundary(radius_ratio: float, n_train: int, power: float = 3.0) -> float:
    """Evaluate N^(1/q) alpha / delta, the |xi| / delta above which noise is learned before the signal.

    A response z = <w, X[j]> to a patch of length c that k of N examples share grows like z^(q-1) c^2 k / N and starts
    in proportion to c: the signal's time is 1 / alpha^q, that of one noise patch N / |xi|^q.

    Args:
        radius_ratio: delta / alpha > 0.
        n_train: N.
        power: q > 2.

    Returns:
        |xi| / delta.

    Example:
        >>> round(clean_boundary(0.5, 8), 6)
        4.0
    """
    return n_train ** (1 / power) / radius_ratio
