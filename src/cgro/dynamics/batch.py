"""A batch of seeds in training: its filters as vectors, or as coefficients of a Gram matrix.

The iterates stay in span(w*, training noise patches, initial filters), so W = W_0 + C^T Xi off the signal and the
noise activations Z = Xi W^T = Z_0 + G C need only the Gram matrix G = Xi Xi^T: exact, at a cost that does not depend
on d. Seed s gives the same numbers in every batch.

Sizes as in `rule`: S seeds, N examples of P patches in d dimensions, n = N (P-1) noise patches, K signal directions,
m filters.
"""

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cgro.dynamics.rule import Array, Rule

if TYPE_CHECKING:
    from cgro.dynamics.fused import Rows

MOST_WEIGHTS = 2**20
"""Weights of examples drawn ahead: 8 MiB, and as much for their order. A choice."""


@dataclass
class Batch(ABC):
    """What every space shares: labels, signal directions by example, and the signal components, over S seeds.

    Args:
        y: (S, N) labels -1 and +1.
        group: (S, N) which signal direction an example carries.
        u: (S, K, m) signal components <w_r, w*_k>.
        rule: the constants of a step.
        batch_rng: one generator per seed for mini-batches.
        batch_size: examples per step; None for all.
    """

    y: Array
    group: Array
    u: Array
    rule: Rule
    batch_rng: list[np.random.Generator]
    batch_size: int | None

    def weights(self, n_steps: int, s: int) -> Array:
        """The weight of each example in the next steps: 1 for full batch, N/B on a step's mini-batch and 0 off it.

        Args:
            n_steps: how many; as many mini-batches are drawn.
            s: position of the seed in the batch.

        Returns:
            (n_steps, N), or (1, N) for the same in every step.
        """
        n = self.y.shape[1]
        if self.batch_size is None:
            return np.ones((1, n))
        # The B smallest of N uniform numbers are a draw without replacement, for all steps at once.
        order = self.batch_rng[s].random((n_steps, n)).argpartition(self.batch_size - 1, axis=1)[:, : self.batch_size]
        weights = np.zeros((n_steps, n))
        np.put_along_axis(weights, order, n / self.batch_size, axis=1)
        return weights

    @abstractmethod
    def activations(self) -> Array:
        """Noise activations.

        Returns:
            (S, n, m) Z = <w_r, xi_k>.
        """

    @abstractmethod
    def covariance(self) -> Array:
        """Inner products of the filters off the signal; times sigma^2, the law of an unseen noise patch's activations.

        Returns:
            (S, m, m) <w_r, w_s>.
        """

    @abstractmethod
    def move(self, coefficients: Array) -> None:
        """Add sum_k coefficients_k xi_k to the filters.

        Args:
            coefficients: (S, n, m), from `Rule.steps`.
        """

    @abstractmethod
    def compiled_steps(self, n_steps: int, s: int, weights: Array) -> None:
        """Steps of one seed in compiled loops.

        Args:
            n_steps: how many.
            s: position of the seed in the batch.
            weights: of the examples, from `weights`.
        """

    def advance(self, n_steps: int, *, compiled: bool, pool: ThreadPoolExecutor | None = None) -> None:
        """Steps of every seed.

        Args:
            n_steps: how many.
            compiled: in compiled loops; False for the numpy form of `rule`.
            pool: for seeds at once, compiled loops only; None for one after the other.
        """
        ahead = n_steps
        if self.batch_size is not None:
            # In parts, as the weights of all steps to the next record would be gigabytes; the draws are the same.
            ahead = max(1, MOST_WEIGHTS // self.y.shape[1])
        for first in range(0, n_steps, max(1, ahead)):
            self._advance_part(min(ahead, n_steps - first), compiled, pool)

    def _advance_part(self, n_steps: int, compiled: bool, pool: ThreadPoolExecutor | None) -> None:
        weights = [self.weights(n_steps, s) for s in range(len(self.y))]
        if compiled:
            self._advance_compiled(n_steps, weights, pool)
            return
        stacked = np.stack(weights)
        for t in range(n_steps):
            now = stacked[:, min(t, stacked.shape[1] - 1)]
            du, coefficients = self.rule.steps(self.u, self.activations(), self.y, self.group, now)
            self.u += du
            self.move(coefficients)

    def _advance_compiled(self, n_steps: int, weights: list[Array], pool: ThreadPoolExecutor | None) -> None:
        if pool is None:
            for s, of_seed in enumerate(weights):
                self.compiled_steps(n_steps, s, of_seed)
            return
        waiting = [pool.submit(self.compiled_steps, n_steps, s, of_seed) for s, of_seed in enumerate(weights)]
        for future in waiting:
            future.result()


@dataclass
class Direct(Batch):
    """The filters themselves.

    Args:
        filters: (S, d, m), transposed, and with zeros in the signal coordinates, which `u` holds.
        noise: (S, n, d) the noise patches.
    """

    filters: Array
    noise: Array

    def __post_init__(self) -> None:
        self._rows: dict[int, Rows] = {}

    @cached_property
    def noise_t(self) -> Array:
        """(S, d, n) Xi^T, stored so that products read along rows. Made when it is asked for: loops need none."""
        return np.ascontiguousarray(self.noise.transpose(0, 2, 1))

    def activations(self) -> Array:
        """Noise activations.

        Returns:
            (S, n, m) Z = Xi W^T.
        """
        return self.noise @ self.filters

    def covariance(self) -> Array:
        """Inner products of the filters off the signal.

        Returns:
            (S, m, m) W W^T.
        """
        return self.filters.transpose(0, 2, 1) @ self.filters

    def move(self, coefficients: Array) -> None:
        """W += C^T Xi.

        Args:
            coefficients: (S, n, m) C, from `Rule.steps`.
        """
        self.filters += self.noise_t @ coefficients

    def compiled_steps(self, n_steps: int, s: int, weights: Array) -> None:
        """Steps of one seed in compiled loops.

        Args:
            n_steps: how many.
            s: position of the seed in the batch.
            weights: of the examples, from `weights`.
        """
        from cgro.dynamics.compiled import Examples
        from cgro.dynamics.fused import direct_steps, rows_of

        if s not in self._rows:
            self._rows[s] = rows_of(self.noise[s], self.y.shape[1])
        examples = Examples(self.y[s], self.group[s])
        rows = self._rows[s]
        direct_steps(n_steps, self.u[s], self.filters[s], rows, examples=examples, weights=weights, rule=self.rule)


@dataclass
class Gram(Batch):
    """Coefficient space: W = W_0 + C^T Xi off the signal.

    Args:
        coefficients: (S, n, m) C of the noise patches.
        start: (S, n, m) Z_0 = Xi W_0^T.
        gram: (S, n, n) G = Xi Xi^T.
        start_cov: (S, m, m) W_0 W_0^T.
    """

    coefficients: Array
    start: Array
    gram: Array
    start_cov: Array

    def activations(self) -> Array:
        """Noise activations.

        Returns:
            (S, n, m) Z = Z_0 + G C.
        """
        return self.start + self.gram @ self.coefficients

    def covariance(self) -> Array:
        """Inner products of the filters off the signal.

        Returns:
            (S, m, m) W W^T = W_0 W_0^T + Z_0^T C + C^T Z_0 + C^T G C.
        """
        cross = self.start.transpose(0, 2, 1) @ self.coefficients
        grown = self.coefficients.transpose(0, 2, 1) @ self.gram @ self.coefficients
        return self.start_cov + cross + cross.transpose(0, 2, 1) + grown

    def move(self, coefficients: Array) -> None:
        """C += the coefficients of this step.

        Args:
            coefficients: (S, n, m), from `Rule.steps`.
        """
        self.coefficients += coefficients

    def compiled_steps(self, n_steps: int, s: int, weights: Array) -> None:
        """Steps of one seed in compiled loops.

        Args:
            n_steps: how many.
            s: position of the seed in the batch.
            weights: of the examples, from `weights`.
        """
        from cgro.dynamics.compiled import Examples, NoiseLaw, gram_steps

        noise = NoiseLaw(self.start[s], self.gram[s])
        examples = Examples(self.y[s], self.group[s])
        gram_steps(n_steps, self.u[s], self.coefficients[s], noise, examples, weights, self.rule)
