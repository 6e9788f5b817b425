"""The probability that an unseen example is classified correctly, from the signal learned and the filters."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.special import ndtr

from cgro._check import bad, count, number, one_of
from cgro.data.patches import SMALLEST_POSITIVE
from cgro.dynamics.rule import Array, Rule
from cgro.dynamics.setting import Setting


@dataclass(frozen=True)
class UnseenExamples:
    """Fresh examples of one seed, as far as a network's answer depends on them.

    Args:
        normals: (T, P-1, m) normal numbers with the standard deviation of a noise coordinate. Times the square root of
            the filters' covariance they have the law of the noise activations.
        y: (T,) labels -1 and +1.
        group: (T,) which signal direction an example carries.
    """

    normals: Array
    y: Array
    group: Array


def draw_unseen(setting: Setting, seed: int, n: int, *, stream: int) -> UnseenExamples:
    """Draw fresh examples, the same for every network.

    Args:
        setting: the data and the number of filters.
        seed: of the run.
        n: how many.
        stream: keeps draws for different purposes apart.

    Returns:
        T = n examples.
    """
    rng = np.random.default_rng([seed, stream])
    z = rng.standard_normal((n, setting.data.n_patches - 1, setting.n_filters))
    y = 2 * rng.integers(0, 2, n) - 1
    group = rng.integers(0, setting.data.n_signals, n)
    return UnseenExamples(setting.data.noise_std * z, y, group)


def unseen_margins(rule: Rule, u: Array, covariance: Array, examples: UnseenExamples) -> Array:
    """Clean and robust margins of unseen examples of one seed.

    Args:
        rule: the network and adversary.
        u: (K, m) signal components.
        covariance: (m, m) <w_r, w_s> off the signal.
        examples: T of them.

    Returns:
        (2, T), clean first.
    """
    z = examples.normals @ root(covariance)
    noise = examples.y * (z * rule.slope(z)).sum((1, 2))
    signal = rule.class_signal(u)
    column = (examples.y < 0).astype(int)
    robust = rule.signal_margin(rule.worst_strength(signal), signal)
    clean = rule.signal_margin(rule.strength, signal)
    return np.stack([clean[examples.group, column] + noise, robust[examples.group, column] + noise])


def root(covariance: Array) -> Array:
    """The symmetric square root, which is continuous in the matrix, unlike a Cholesky factor of a singular one.

    Args:
        covariance: (m, m), symmetric; negative eigenvalues, which rounding makes, count as 0.

    Returns:
        (m, m); NaN where the matrix is not finite, as it is once a run has diverged.
    """
    if not np.isfinite(covariance).all():
        return np.full(covariance.shape, np.nan)
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def probability_correct(
    threshold: float,
    covariance: Array,
    *,
    activation_power: float,
    noise_std: float,
    n_patches: int = 2,
    method: Literal["auto", "closed", "radial", "gaussian"] = "auto",
    n_directions: int = 4096,
    seed: int = 0,
) -> float:
    """P[ y f(X) > 0 ] for an unseen example whose signal patch contributes `threshold`, odd form.

    P[ t + V > 0 ], V = y sum_j sum_r phi(<w_r, xi_j>). t = alpha^q U gives clean accuracy, t = phi(alpha - delta) U the
    attacked one. V is symmetric, so at t = 0 the answer is 1/2 whatever the filters have learned.

    `closed`: all filters parallel and P = 2, so that V is a monotone function of one Gaussian:
    Phi( sign(t) (|t| / c)^(1/q) / sigma ) with c = |sum_r phi(s_r)|, s_r the signed lengths. `radial`: V is homogeneous
    of degree q in the k = (P-1) m Gaussian coordinates, so given a direction its law is that of a power of a chi_k
    variable, integrated in closed form; directions are averaged, in pairs +-. `gaussian`: V taken as normal with its
    exact variance, right when many filters and patches contribute alike, and only then.

    Args:
        threshold: t.
        covariance: (m, m) <w_r, w_s> off the signal.
        activation_power: q > 0.
        noise_std: sigma > 0.
        n_patches: P.
        method: "auto" takes `closed` where it is exact, else `radial`.
        n_directions: of `radial`; the standard error is below 0.5 / sqrt(n_directions).
        seed: of the directions.

    Returns:
        A probability.

    Raises:
        BadRequest: `closed` where it is not exact; numbers out of range.

    Example:
        >>> round(probability_correct(1.0, np.eye(1), activation_power=3, noise_std=1.0), 4)  # Phi(1)
        0.8413
    """
    one_of(method, "method", ("auto", "closed", "radial", "gaussian"))
    q, noise_std, n_patches = _checked(activation_power, noise_std, n_patches)
    n_directions = count(n_directions, "n_directions")
    seed = count(seed, "seed", low=0)
    if not np.isfinite(threshold) or not np.isfinite(covariance).all():
        raise bad("threshold and covariance", expected="finite numbers", got="NaN or inf")
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, 0.0)
    parallel = n_patches == 2 and values[:-1].sum() <= 1e-14 * values[-1]
    if method == "closed" and not parallel:
        raise bad("method", expected="closed only for parallel filters and 2 patches", got="others", remedy="radial")
    if parallel and method in ("auto", "closed"):
        return _closed(threshold, vectors[:, -1] * math.sqrt(values[-1]), q, noise_std)
    if method == "gaussian":
        return _gaussian(threshold, noise_variance(covariance, q, noise_std, n_patches=n_patches))
    normals = np.random.default_rng(seed).standard_normal((n_directions, n_patches - 1, len(covariance)))
    normals /= np.sqrt((normals**2).sum((1, 2), keepdims=True))
    return _radial(threshold, noise_std * normals @ (vectors * np.sqrt(values)).T, q)


def _checked(power: float, noise_std: float, n_patches: int) -> tuple[float, float, int]:
    """q, sigma and P of a law of noise margins."""
    return (
        number(power, "activation_power", low=SMALLEST_POSITIVE),
        number(noise_std, "noise_std", low=SMALLEST_POSITIVE),
        count(n_patches, "n_patches", low=2),
    )


def _gaussian(threshold: float, variance: float) -> float:
    if threshold == 0 or variance == 0:
        return _by_sign(threshold)
    return float(ndtr(threshold / math.sqrt(variance)))


def _by_sign(threshold: float) -> float:
    """Where the filters have learned no noise the signal alone decides, and without a signal a coin."""
    return 0.5 if threshold == 0 else float(threshold > 0)


def _closed(threshold: float, lengths: Array, q: float, noise_std: float) -> float:
    """Parallel filters of signed lengths (m,): V = phi(g) sum_r phi(s_r) of one g ~ N(0, sigma^2)."""
    c = abs(float((np.sign(lengths) * np.abs(lengths) ** q).sum()))
    if threshold == 0 or c == 0:
        return _by_sign(threshold)
    at = (abs(threshold) / c) ** (1 / q) / noise_std
    return float(ndtr(math.copysign(at, threshold)))


def _radial(threshold: float, z: Array, q: float) -> float:
    """Average over directions, given as activations z (directions, P-1, m) of points at radius 1.

    At radius R a direction gives V = R^q V(1). The radius that reaches |t| is (|t| / |V(1)|)^(1/q), and R^2 / 2 has a
    gamma law of shape k / 2. The pair +- of directions turns P[ R < reach ] into 1/2 +- P[ R < reach ] / 2.
    """
    if threshold == 0:
        return 0.5
    size = np.abs((z * np.abs(z) ** (q - 1)).sum((1, 2)))
    reach = (abs(threshold) / np.maximum(size, 1e-300)) ** (1 / q)
    k = torch.tensor(z[0].size / 2, dtype=torch.float64)
    # torch's, as scipy's gammainc rounds otherwise and the stored probabilities came from this one.
    inside = torch.special.gammainc(k, torch.from_numpy(reach**2 / 2)).mean().item()
    return 0.5 + math.copysign(0.5 * inside, threshold)


def noise_variance(covariance: Array, power: float, noise_std: float, *, n_patches: int = 2) -> float:
    """Var V = (P-1) sum_{r,s} E[ phi(z_r) phi(z_s) ], z normal with covariance K = sigma^2 <w_r, w_s>, odd form.

    q = 3: E = 9 K_rr K_ss K_rs + 6 K_rs^3. Otherwise by quadrature over the angle in polar coordinates.

    Args:
        covariance: (m, m) <w_r, w_s> off the signal.
        power: q > 0.
        noise_std: sigma > 0.
        n_patches: P.

    Returns:
        The variance of an unseen example's noise margin.

    Raises:
        BadRequest: numbers out of range.

    Example:
        >>> noise_variance(np.eye(1), 3, 1.0)  # E z^6
        15.0
    """
    power, noise_std, n_patches = _checked(power, noise_std, n_patches)
    k = noise_std**2 * covariance
    diagonal = np.diag(k)
    if power == 3:
        pairs = 9 * np.outer(diagonal, diagonal) * k + 6 * k**3
        return float((n_patches - 1) * pairs.sum())
    # phi is homogeneous: E[ phi(z_r) phi(z_s) ] = (K_rr K_ss)^(q/2) times the moment of two standard normals.
    scale = np.sqrt(diagonal)
    sizes = np.outer(scale, scale)
    # A filter that has learned no noise correlates with none.
    rho = np.clip(np.divide(k, sizes, out=np.zeros_like(k), where=sizes > 0), -1.0, 1.0)
    return float((n_patches - 1) * (sizes**power * _odd_moment(rho, power)).sum())


def _odd_moment(rho: Array, power: float, n: int = 400) -> Array:
    """E[ phi(a) phi(b) ] of standard normals with correlation rho: polar quadrature of the angular part.

    With a = R cos t, b = R cos(t - arccos rho) the radius integrates to E R^(2q) = 2^q Gamma(q+1).
    """
    angle = (np.arange(n) + 0.5) * 2 * np.pi / n
    cosine = np.cos(angle)
    shifted = np.cos(angle - np.arccos(rho)[..., None])
    moment = (cosine * np.abs(cosine) ** (power - 1) * shifted * np.abs(shifted) ** (power - 1)).mean(-1)
    return 2.0**power * math.gamma(power + 1) * moment
