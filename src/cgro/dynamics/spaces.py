"""Where the filters are carried: as vectors, as coefficients of a Gram matrix, or from the law of that matrix alone.

The iterates stay in span(w*, training noise patches, initial filters), so W = W_0 + C^T Xi off the signal and the noise
activations Z = Xi W^T = Z_0 + G C need only the Gram matrix G = Xi Xi^T: exact, at a cost that does not depend on d.
All spaces hold a batch of seeds; seed s gives the same numbers in every batch.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cgro._check import bad
from cgro.data.patches import PatchSample
from cgro.dynamics.rule import Array, Rule
from cgro.dynamics.setting import Setting
from cgro.models.patch_cnn import PatchCNN, second_layer


@dataclass
class Batch:
    """What every space shares: labels, signal directions by example, and the signal components, over S seeds.

    Args:
        y: (S, N). group: (S, N) which signal direction. u: (S, K, m) <w_r, w*_k>.
        rule: the step. batch_rng: one generator a seed for mini-batches.
    """

    y: Array
    group: Array
    u: Array
    rule: Rule
    batch_rng: list[np.random.Generator]
    batch_size: int | None

    def weights(self, n_steps: int, s: int) -> Array:
        """(1, N) ones, or (n_steps, N) with N/B on each step's mini-batch."""
        n = self.y.shape[1]
        if self.batch_size is None:
            return np.ones((1, n))
        order = self.batch_rng[s].random((n_steps, n)).argpartition(self.batch_size - 1, axis=1)[:, : self.batch_size]
        weights = np.zeros((n_steps, n))
        np.put_along_axis(weights, order, n / self.batch_size, axis=1)
        return weights

    def arguments(self) -> tuple[Any, ...]:
        """The constants of the compiled step."""
        r = self.rule
        return (r.power, r.strength, r.radius, r.robust_weight, r.lr), r.odd, r.signs, r.transfer

    def activations(self) -> Array:
        """Z = <w_r, xi_k>, (S, n, m)."""
        raise NotImplementedError

    def covariance(self) -> Array:
        """<w_r, w_s> off the signal, (S, m, m): the law of an unseen noise patch's activations, over sigma^2."""
        raise NotImplementedError

    def move(self, coefficients: Array) -> None:
        """Add sum_k coefficients_k xi_k to the filters."""
        raise NotImplementedError

    def compiled_steps(self, n_steps: int, s: int, weights: Array) -> None:
        """n steps of seed s in compiled loops."""
        raise NotImplementedError

    def advance(self, n_steps: int, *, compiled: bool, pool: ThreadPoolExecutor | None = None) -> None:
        """n steps of every seed."""
        seeds = range(len(self.y))
        weights = [self.weights(n_steps, s) for s in seeds]
        if compiled:
            run: Callable[[int], None] = lambda s: self.compiled_steps(n_steps, s, weights[s])  # noqa: E731
            list(pool.map(run, seeds) if pool else map(run, seeds))
            return
        stacked = np.stack(weights)
        for t in range(n_steps):
            w = stacked[:, t if stacked.shape[1] > 1 else 0]
            du, coefficients = self.rule.steps(self.u, self.activations(), self.y, self.group, w)
            self.u += du
            self.move(coefficients)


@dataclass
class Direct(Batch):
    """The filters themselves, off the signal and transposed, (S, d, m). noise: (S, n, d)."""

    filters: Array
    noise: Array

    def __post_init__(self) -> None:
        self.noise_t = np.ascontiguousarray(self.noise.transpose(0, 2, 1))

    def activations(self) -> Array:
        """Z."""
        return self.noise @ self.filters

    def covariance(self) -> Array:
        """W W^T off the signal."""
        return self.filters.transpose(0, 2, 1) @ self.filters

    def move(self, coefficients: Array) -> None:
        """Take a step."""
        self.filters += self.noise_t @ coefficients

    def compiled_steps(self, n_steps: int, s: int, weights: Array) -> None:
        """Compiled loops."""
        from cgro.dynamics.compiled import direct_steps

        direct_steps(
            n_steps, self.u[s], self.filters[s], self.noise[s], self.noise_t[s], self.y[s], self.group[s], weights,
            *self.arguments(),
        )  # fmt: skip


@dataclass
class Gram(Batch):
    """Coefficients C (S, n, m) of the noise patches; start: Z_0 (S, n, m); gram: (S, n, n); start_cov: (S, m, m)."""

    coefficients: Array
    start: Array
    gram: Array
    start_cov: Array

    def activations(self) -> Array:
        """Z."""
        return self.start + self.gram @ self.coefficients

    def covariance(self) -> Array:
        """W W^T off the signal."""
        cross = self.start.transpose(0, 2, 1) @ self.coefficients
        grown = self.coefficients.transpose(0, 2, 1) @ self.gram @ self.coefficients
        return self.start_cov + cross + cross.transpose(0, 2, 1) + grown

    def move(self, coefficients: Array) -> None:
        """Take a step."""
        self.coefficients += coefficients

    def compiled_steps(self, n_steps: int, s: int, weights: Array) -> None:
        """Compiled loops."""
        from cgro.dynamics.compiled import gram_steps

        gram_steps(
            n_steps, self.u[s], self.coefficients[s], self.start[s], self.gram[s], self.y[s], self.group[s], weights,
            *self.arguments(),
        )  # fmt: skip


def draw(setting: Setting, seed: int) -> tuple[PatchSample, PatchCNN]:
    """The training examples and the initial network of a seed; the same for every back end that uses vectors."""
    generator = torch.Generator().manual_seed(seed)
    sample = setting.data.sample(setting.n_train, generator)
    network = PatchCNN(
        setting.data.patch_dim, setting.n_filters, activation_power=setting.activation_power,
        activation=setting.activation, init_std=setting.init_std, generator=generator,
    )  # fmt: skip
    return sample, network


def rule_of(setting: Setting) -> Rule:
    """The constants of a step for a setting."""
    return Rule(
        power=float(setting.activation_power), strength=setting.strength, radius=setting.radius,
        robust_weight=float(setting.robust_weight), lr=setting.lr,
        odd=setting.activation == "odd", signs=second_layer(setting.n_filters, setting.activation).numpy(),
        transfer=setting.adversary == "transfer",
    )  # fmt: skip


def _shared(setting: Setting, seeds: Sequence[int], y: Array, group: Array, u: Array) -> dict[str, Any]:
    rngs = [np.random.default_rng([s, 0x5D]) for s in seeds]
    return {
        "y": y,
        "group": group,
        "u": u,
        "rule": rule_of(setting),
        "batch_rng": rngs,
        "batch_size": setting.batch_size,
    }


def direct(setting: Setting, seeds: Sequence[int]) -> Direct:
    """The filters as vectors."""
    drawn = [draw(setting, s) for s in seeds]
    k = setting.data.n_signals
    weights = np.stack([net.filters.detach().numpy().T for _, net in drawn])
    u = np.ascontiguousarray(weights[:, :k])
    weights[:, :k] = 0.0
    noise = np.stack([sample.noise.flatten(0, 1).numpy() for sample, _ in drawn])
    y = np.stack([sample.y.numpy() for sample, _ in drawn])
    group = np.stack([sample.signal_index.numpy() for sample, _ in drawn])
    return Direct(filters=np.ascontiguousarray(weights), noise=noise, **_shared(setting, seeds, y, group, u))


def gram(setting: Setting, seeds: Sequence[int]) -> Gram:
    """Coefficient space, from the same draws as `direct`."""
    d = direct(setting, seeds)
    return Gram(
        d.y, d.group, d.u, d.rule, d.batch_rng, d.batch_size, coefficients=np.zeros_like(d.activations()),
        start=d.activations(), gram=d.noise @ d.noise_t, start_cov=d.covariance(),
    )  # fmt: skip


def law(setting: Setting, seeds: Sequence[int]) -> Gram:
    """Coefficient space, with the Gram matrix drawn from its own law: no vector of length d is ever formed.

    G = sigma^2 A A^T with A the Bartlett factor of a Wishart matrix with d' = d - K degrees of freedom,
    Z_0 = sigma_0 sigma A Y, Y an (n, m) standard normal matrix, and W_0 W_0^T = sigma_0^2 (Y^T Y + Wishart_m(d' - n)).

    Raises:
        BadRequest: more noise patches than dimensions, n > d'.
    """
    free, n, m = setting.data.patch_dim - setting.data.n_signals, setting.n_noise, setting.n_filters
    if n > free:
        raise bad("backend 'law'", expected=f"at most {free} noise patches (d - {setting.data.n_signals})", got=n,
                  remedy="use direct or gram")  # fmt: skip
    std, init = setting.data.noise_std, setting.init_std
    parts: list[tuple[Array, ...]] = []
    for seed in seeds:
        rng = np.random.default_rng([seed, 0xD])
        factor = bartlett(n, free, rng)
        free_part = rng.standard_normal((n, m))
        rest = bartlett(m, free - n, rng)
        y = 2.0 * rng.integers(0, 2, setting.n_train) - 1.0
        if setting.data.balanced:
            y = rng.permutation(np.where(np.arange(setting.n_train) < setting.n_train // 2, -1.0, 1.0))
        group = rng.integers(0, setting.data.n_signals, setting.n_train)
        u = init * rng.standard_normal((setting.data.n_signals, m))
        start_cov = init**2 * (free_part.T @ free_part + rest @ rest.T)
        parts.append((y, group, u, std**2 * factor @ factor.T, init * std * factor @ free_part, start_cov))
    y, group, u, g, start, start_cov = (np.stack(column) for column in zip(*parts, strict=True))
    return Gram(
        coefficients=np.zeros_like(start), start=start, gram=g, start_cov=start_cov,
        **_shared(setting, seeds, y, group, u),
    )  # fmt: skip


def bartlett(size: int, degrees: int, rng: np.random.Generator) -> Array:
    """A with A A^T ~ Wishart_size(I, degrees): lower triangular, or (size, degrees) normal when degrees < size."""
    if degrees < size:
        return rng.standard_normal((size, degrees))
    factor = np.tril(rng.standard_normal((size, size)), -1)
    factor[np.diag_indices(size)] = np.sqrt(rng.chisquare(degrees - np.arange(size)))
    return factor


SPACES: dict[str, Callable[[Setting, Sequence[int]], Batch]] = {"direct": direct, "gram": gram, "law": law}


def cheapest(setting: Setting) -> str:
    """The exact back end with fewer multiplications a step: n^2 m in Gram form, 2 n d m in direct form.

    Where vectors would need more than 64 MiB a seed it is the law, if the noise patches allow it.
    """
    d, n = setting.data.patch_dim, setting.n_noise
    if 8.0 * d * (n + setting.n_filters) > 2.0**26 and n <= d - setting.data.n_signals:
        return "law"
    return "gram" if n <= 2 * d else "direct"
