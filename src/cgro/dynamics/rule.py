"""One step of gradient descent in closed form, for a batch of seeds, in numpy. `compiled` is the same in loops.

The objective of Section 5 is (1/N) sum_i [ (1-lambda) loss(X_i) + lambda max_{X'} loss(X') ] with the logistic loss,
and the network f_W(X) = sum_r sum_j a_r phi(<w_r, X[j]>). With phi(z) = z p(z), p(z) = |z|^(q-1) (odd) or
a_r ReLU(z)^(q-1) (halves), and phi' = q p, everything is a function of p at +u, -u and at the noise activations Z.
Per class c = +-1 and signal direction k, at signal strength x,
    y f on the signal patch:  x^q U_c for x >= 0,   -|x|^q U_{-c} for x < 0,   U_c = sum_r u_r p(c u_r).

Sizes: S seeds, N training examples of P patches each, n = N (P-1) noise patches, K signal directions, m filters.
"""

import math
from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Rule(NamedTuple):
    """The constants of a step. A named tuple, as numba compiles loops over one.

    Args:
        power: q of the activation.
        strength: alpha, of the signal patch.
        radius: delta, of the adversary along w*.
        robust_weight: lambda.
        lr: eta.
        odd: whether phi is odd; otherwise ReLU^q in halves of either sign.
        signs: (m,) the second layer a_r.
        transfer: always take x = alpha - delta, the worst case of the linear model <w*, X>.
    """

    power: float
    strength: float
    radius: float
    robust_weight: float
    lr: float
    odd: bool
    signs: Array
    transfer: bool

    def slope(self, z: Array) -> Array:
        """p(z), so that phi = z p and phi' = q p.

        Args:
            z: (..., m) activations.

        Returns:
            (..., m).
        """
        if self.odd:
            return np.abs(z) ** (self.power - 1)
        return self.signs * np.maximum(z, 0.0) ** (self.power - 1)

    def class_signal(self, u: Array) -> Array:
        """(U_+, U_-), what a unit signal patch of either class adds to y f. Equal, and called U, in the odd form.

        Args:
            u: (..., m) signal components <w_r, w*>.

        Returns:
            (..., 2), for y = +1 and y = -1.
        """
        return np.stack([(u * self.slope(u)).sum(-1), (u * self.slope(-u)).sum(-1)], -1)

    def signal_margin(self, strength: Array | float, class_signal: Array) -> Array:
        """y f of the signal patch at strength x, per class.

        Args:
            strength: x, a number or (..., 2); negative where the adversary has turned the signal around.
            class_signal: (..., 2) from `class_signal`.

        Returns:
            (..., 2).
        """
        x = np.asarray(strength)
        return np.where(x >= 0, class_signal, -class_signal[..., ::-1]) * np.abs(x) ** self.power

    def worst_strength(self, class_signal: Array) -> Array:
        """argmin of the signal margin over |x - alpha| <= delta.

        The margin is monotone on both sides of x = 0, so that an end point is the worst, or 0 when it lies inside.

        Args:
            class_signal: (..., 2) from `class_signal`.

        Returns:
            (..., 2), the strength for each class.
        """
        low = self.strength - self.radius
        high = self.strength + self.radius
        if self.transfer:
            return np.full(class_signal.shape, low)
        candidates = [low, high]
        if low < 0 < high:
            candidates.append(0.0)
        margins = np.stack([self.signal_margin(x, class_signal) for x in candidates])
        return np.array(candidates)[margins.argmin(0)]

    def noise_margin(self, z: Array, y: Array) -> Array:
        """V_i = y_i sum_r sum_j phi(<w_r, X_i[j]>), what its noise patches add to an example's margin.

        Args:
            z: (S, n, m) noise activations, the patches of one example in a row.
            y: (S, N) labels -1 and +1.

        Returns:
            (S, N).
        """
        summed = (z * self.slope(z)).sum(-1)
        return y * summed.reshape(*y.shape, -1).sum(-1)

    def margins(self, u: Array, z: Array, y: Array, group: Array) -> tuple[Array, Array]:
        """Clean and robust margins of the training examples: alpha^q U + V_i, and the same at the worst strength.

        Args:
            u: (S, K, m) signal components.
            z: (S, n, m) noise activations.
            y: (S, N) labels.
            group: (S, N) which signal direction an example carries.

        Returns:
            Clean and robust, (S, N) each.
        """
        signal = self.class_signal(u)
        noise = self.noise_margin(z, y)
        seed = np.arange(len(y))[:, None]
        column = (y < 0).astype(int)
        clean = self.signal_margin(self.strength, signal)[seed, group, column]
        robust = self.signal_margin(self.worst_strength(signal), signal)[seed, group, column]
        return clean + noise, robust + noise

    def steps(self, u: Array, z: Array, y: Array, group: Array, weights: Array) -> tuple[Array, Array]:
        """The changes of one step of gradient descent.

        -dL/dw_r = (1/N) sum_i y_i [ (1-lambda) p_i d(clean)/dw_r + lambda r_i d(robust)/dw_r ], where p_i and r_i are
        sigmoid(-margin). Along w* that is
            (1/N) sum_i [ (1-lambda) p_i alpha^q + lambda r_i phi(x) ] phi'(u_r),
        and off it each noise patch moves the filters by a coefficient,
            (1/N) [ (1-lambda) p_i + lambda r_i ] y_i phi'(<w_r, xi_ij>) xi_ij.

        Args:
            u: (S, K, m) signal components.
            z: (S, n, m) noise activations.
            y: (S, N) labels.
            group: (S, N) which signal direction an example carries.
            weights: (S, N), 1 for full batch; N/B on a mini-batch, else 0.

        Returns:
            The change of u, (S, K, m), and the coefficients of the noise patches, (S, n, m).
        """
        clean, robust = self.margins(u, z, y, group)
        scale = self.lr * weights / y.shape[1]
        pull_clean = scale * (1 - self.robust_weight) * sigmoid(-clean)
        pull_robust = scale * self.robust_weight * sigmoid(-robust)
        du = np.zeros_like(u)
        x = self.worst_strength(self.class_signal(u))
        for c, sign in enumerate((1.0, -1.0)):
            for k in range(u.shape[1]):
                # All examples of a direction and class share x, so their pulls on u_r can be summed first.
                of_class = (group == k) & (y * sign > 0)
                a = (pull_clean * of_class).sum(1)[:, None]
                b = (pull_robust * of_class).sum(1)[:, None]
                same = self.slope(sign * u[:, k])
                other = self.slope(-sign * u[:, k])
                at = x[:, k, c, None]
                moved = np.where(at >= 0, same, -other) * np.abs(at) ** self.power
                du[:, k] += self.power * (a * self.strength**self.power * same + b * moved)
        pull = y * (pull_clean + pull_robust)
        per_patch = np.repeat(pull, z.shape[1] // y.shape[1], axis=1)
        return du, self.power * per_patch[..., None] * self.slope(z)

    def loss(self, clean: Array, robust: Array) -> Array:
        """(1-lambda) mean_i loss(X_i) + lambda mean_i loss(X'_i), with loss = log(1 + exp(-margin)).

        Args:
            clean: (..., N) margins.
            robust: (..., N) margins under attack.

        Returns:
            (...,).
        """
        w = self.robust_weight
        # logaddexp, as softplus functions turn linear above 20 and would be off by 1e-10 there.
        return ((1 - w) * np.logaddexp(0.0, -clean) + w * np.logaddexp(0.0, -robust)).mean(-1)


def raised(base: float, power: float) -> float:
    """base^power of a base that is not negative; infinite where Python raises: 0 to a negative power, and overflow.

    Args:
        base: >= 0.
        power: any.

    Returns:
        The power.

    Example:
        >>> raised(2.0, 3.0), raised(1e200, 3.0), raised(0.0, -1.0)
        (8.0, inf, inf)
    """
    try:
        return base**power
    except (OverflowError, ZeroDivisionError):
        return math.inf


def sigmoid(t: Array) -> Array:
    """1 / (1 + exp(-t)) without overflow and without loss of relative precision in the lower tail.

    Args:
        t: any shape.

    Returns:
        The shape of t.
    """
    # Not scipy's expit: it differs in the last bits, and the bits of stored trajectories are kept.
    return np.exp(-np.logaddexp(0.0, -t))
