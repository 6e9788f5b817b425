"""One step of gradient descent in closed form, for a batch of seeds, in numpy. `compiled` is the same in loops.

With phi(z) = z p(z), p(z) = |z|^(q-1) (odd) or a_r ReLU(z)^(q-1) (halves), and phi' = q p, everything is a function of
p at +u, -u and at the noise activations Z. Per class c = +-1 and signal direction k, at signal strength x,
    y f on the signal patch:  x^q U_c for x >= 0,   -|x|^q U_{-c} for x < 0,   U_c = sum_r u_r p(c u_r).
"""

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Rule:
    """The constants of a step.

    Args:
        power: q. strength: alpha. radius: delta. robust_weight: lambda. lr: eta.
        odd: which activation. signs: (m,) a_r.
        transfer: always take x = alpha - delta.
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
        """p(z), so that phi = z p and phi' = q p. z: (..., m)."""
        if self.odd:
            return np.abs(z) ** (self.power - 1)
        return self.signs * np.maximum(z, 0.0) ** (self.power - 1)

    def class_signal(self, u: Array) -> Array:
        """(U_+, U_-) from signal components u (..., m): (..., 2). Equal in the odd form."""
        return np.stack([(u * self.slope(u)).sum(-1), (u * self.slope(-u)).sum(-1)], -1)

    def signal_margin(self, strength: Array | float, class_signal: Array) -> Array:
        """y f of the signal patch at strength x, per class (last axis)."""
        x = np.asarray(strength)
        return np.where(x >= 0, class_signal, -class_signal[..., ::-1]) * np.abs(x) ** self.power

    def worst_strength(self, class_signal: Array) -> Array:
        """argmin of the signal margin over |x - alpha| <= delta: an end point, or 0 when inside. (..., 2)"""
        low, high = self.strength - self.radius, self.strength + self.radius
        if self.transfer:
            return np.full(class_signal.shape, low)
        candidates = [low, high] + ([0.0] if low < 0 < high else [])
        margins = np.stack([self.signal_margin(x, class_signal) for x in candidates])
        return np.array(candidates)[margins.argmin(0)]

    def noise_margin(self, z: Array, y: Array) -> Array:
        """V_i = y_i sum_r sum_j phi(<w_r, X_i[j]>). z: (S, n, m), y: (S, N) -> (S, N)."""
        summed = (z * self.slope(z)).sum(-1)
        return y * summed.reshape(*y.shape, -1).sum(-1)

    def margins(self, u: Array, z: Array, y: Array, group: Array) -> tuple[Array, Array]:
        """Clean and robust margins of the training examples, each (S, N).

        Args:
            u: (S, K, m) signal components. z: (S, n, m) noise activations.
            y: (S, N). group: (S, N) which signal direction.
        """
        signal, noise = self.class_signal(u), self.noise_margin(z, y)
        seed, column = np.arange(len(y))[:, None], (y < 0).astype(int)
        clean = self.signal_margin(self.strength, signal)[seed, group, column]
        robust = self.signal_margin(self.worst_strength(signal), signal)[seed, group, column]
        return clean + noise, robust + noise

    def steps(self, u: Array, z: Array, y: Array, group: Array, weights: Array) -> tuple[Array, Array]:
        """The changes of one step: of u, (S, K, m), and the coefficients of the noise patches, (S, n, m).

        -dL/dw_r = (1/N) sum_i y_i [ (1-lambda) p_i d(clean)/dw_r + lambda r_i d(robust)/dw_r ], where p_i and r_i are
        sigmoid(-margin). The filters then move by sum_k coefficient_k xi_k off the signal.

        Args:
            weights: (S, N), 1 for full batch; N/B on a mini-batch, else 0.
        """
        clean, robust = self.margins(u, z, y, group)
        scale = self.lr * weights / y.shape[1]
        pull_clean = scale * (1 - self.robust_weight) * sigmoid(-clean)
        pull_robust = scale * self.robust_weight * sigmoid(-robust)
        du = np.zeros_like(u)
        x = self.worst_strength(self.class_signal(u))
        for c, sign in enumerate((1.0, -1.0)):
            for k in range(u.shape[1]):
                mine = (group == k) & (y * sign > 0)
                a, b = ((pull * mine).sum(1)[:, None] for pull in (pull_clean, pull_robust))
                same, other = self.slope(sign * u[:, k]), self.slope(-sign * u[:, k])
                at = x[:, k, c, None]
                moved = np.where(at >= 0, same, -other) * np.abs(at) ** self.power
                du[:, k] += self.power * (a * self.strength**self.power * same + b * moved)
        pull = y * (pull_clean + pull_robust)
        per_patch = np.repeat(pull, z.shape[1] // y.shape[1], axis=1)
        return du, self.power * per_patch[..., None] * self.slope(z)

    def loss(self, clean: Array, robust: Array) -> Array:
        """(1-lambda) mean loss(X_i) + lambda mean loss(X'_i), over the last axis."""
        w = self.robust_weight
        return ((1 - w) * np.logaddexp(0.0, -clean) + w * np.logaddexp(0.0, -robust)).mean(-1)


def sigmoid(t: Array) -> Array:
    """1 / (1 + exp(-t)) without overflow and without loss of relative precision in the lower tail."""
    return np.exp(-np.logaddexp(0.0, -t))
