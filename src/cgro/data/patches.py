"""Patch data (Definition 5.1): one signal patch, all others noise orthogonal to the signal."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cgro._check import bad, count, count_field, number, one_of

SMALLEST_POSITIVE = 1e-300
"""Of strengths and standard deviations; below it squares underflow. A choice."""
SMALLEST_SINGULAR = 1e-12
"""Singular values of the noise patches below this share of the largest count as zero. A choice: rounding is 1e-16."""


@dataclass(frozen=True)
class PatchSample:
    """Examples of the patch model and the parts they were made of.

    Args:
        x: (B, P, d) inputs.
        y: (B,) labels in {-1, +1}, in the dtype of x.
        signal_position: (B,) which patch carries the signal.
        signal_index: (B,) which of the signal directions it carries.
        noise: (B, P-1, d) the noise patches in their order, each orthogonal to every signal direction.
    """

    x: Tensor
    y: Tensor
    signal_position: Tensor
    signal_index: Tensor
    noise: Tensor


@dataclass(frozen=True)
class Decomposition:
    """A filter bank in three mutually orthogonal parts; they add up to it.

    Args:
        signal: (m, d) in the span of the signal directions.
        memorized: (m, d) in the span of the training noise patches.
        rest: (m, d) orthogonal to both; gradient descent leaves this part as it was initialized.
    """

    signal: Tensor
    memorized: Tensor
    rest: Tensor


@dataclass(frozen=True)
class PatchData:
    """Patch data: X = (X[1], ..., X[P]), X[signal] = alpha y w*, X[j] ~ N(0, sigma^2 (I - w* w*^T)) elsewhere.

    y is uniform on {-1, +1} and ‖w*‖_2 = 1 (Definition 5.1). With several signal directions an example carries one of
    them, chosen uniformly, and the noise is orthogonal to all. The noise does not depend on the label: on an unseen
    example it carries no information about y.

    Args:
        patch_dim: d, coordinates of a patch.
        n_patches: P >= 2.
        signal_strength: alpha > 0; None means d^0.249, the scale of the theorem without its logarithms.
        noise_std: sigma > 0, of one coordinate; None means d^-0.509.
        n_signals: number of orthonormal signal directions; the first coordinate axes are taken, which loses nothing:
            the model is invariant under rotations.
        signal_position: 0 .. P-1, or "random" for a uniform position in each example.
        balanced: give both classes the same number of examples (one more of +1 when odd).

    Raises:
        BadRequest: a size, strength or standard deviation that is not positive, or no room for the noise.

    Example:
        >>> data = PatchData(patch_dim=4, signal_strength=2.0, signal_position=0)
        >>> sample = data.sample(3, torch.Generator().manual_seed(0))
        >>> bool((sample.x[:, 0] @ data.signal_directions[0] == 2 * sample.y).all())
        True
        >>> float((sample.noise @ data.signal_directions.T).abs().max())
        0.0
    """

    patch_dim: int
    n_patches: int = 2
    signal_strength: float = None  # type: ignore[assignment]  # always a number after __post_init__
    noise_std: float = None  # type: ignore[assignment]
    n_signals: int = 1
    signal_position: int | Literal["random"] = "random"
    balanced: bool = False

    def __post_init__(self) -> None:
        count_field(self, "patch_dim", low=2)
        count_field(self, "n_patches", low=2)
        count_field(self, "n_signals", high=self.patch_dim - 1)
        # The class is frozen; defaults that depend on another field are set past that.
        object.__setattr__(self, "signal_strength", self._or_default("signal_strength", self.patch_dim**0.249))
        object.__setattr__(self, "noise_std", self._or_default("noise_std", self.patch_dim**-0.509))
        if isinstance(self.signal_position, str):
            one_of(self.signal_position, "signal_position", ("random",))
        else:
            count_field(self, "signal_position", low=0, high=self.n_patches - 1)

    def _or_default(self, field: str, default: float) -> float:
        given = getattr(self, field)
        if given is None:
            return default
        return _positive(given, field)

    @property
    def signal_directions(self) -> Tensor:
        """w*, (n_signals, d), orthonormal rows, float64."""
        return torch.eye(self.n_signals, self.patch_dim, dtype=torch.float64)

    def sample(self, n: int, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> PatchSample:
        """Draw n independent examples.

        Args:
            n: number of examples.
            generator: source of all randomness.
            dtype: of x and y.

        Returns:
            The examples with their parts.
        """
        n = count(n, "n")
        p = self.n_patches
        y = self._labels(n, generator)
        which = torch.randint(self.n_signals, (n,), generator=generator)
        noise = torch.randn(n, p - 1, self.patch_dim, generator=generator, dtype=torch.float64) * self.noise_std
        # The signal directions are the first axes, so this is the exact projection onto their complement.
        noise[..., : self.n_signals] = 0.0
        if self.signal_position == "random":
            position = torch.randint(p, (n,), generator=generator)
        else:
            position = torch.full((n,), int(self.signal_position))
        # Noise patch j goes to place j in front of the signal, and to place j + 1 from the signal on.
        others = torch.arange(p - 1).expand(n, -1)
        others = others + (others >= position[:, None])
        x = torch.zeros(n, p, self.patch_dim, dtype=torch.float64)
        x.scatter_(1, others[..., None].expand_as(noise), noise)
        x[torch.arange(n), position] = (self.signal_strength * y)[:, None] * self.signal_directions[which]
        return PatchSample(x.to(dtype), y.to(dtype), position, which, noise.to(dtype))

    def _labels(self, n: int, generator: torch.Generator) -> Tensor:
        if self.balanced:
            y = torch.ones(n, dtype=torch.float64)
            y[: n // 2] = -1.0
            return y[torch.randperm(n, generator=generator)]
        return 2.0 * torch.randint(2, (n,), generator=generator).double() - 1.0

    def decompose(self, filters: Tensor, sample: PatchSample) -> Decomposition:
        """Split filters into signal, memorized noise and the rest of their initial value.

        w_r = sum_k <w_r, w*_k> w*_k + (projection onto the training noise patches) + rest.

        Args:
            filters: (m, d).
            sample: the training examples.

        Returns:
            Three (m, d) parts that add up to `filters`.

        Raises:
            BadRequest: filters of another dimension.

        Example:
            >>> data = PatchData(patch_dim=5)
            >>> sample = data.sample(2, torch.Generator().manual_seed(0))
            >>> filters = data.signal_directions + 3 * sample.noise[0]
            >>> parts = data.decompose(filters, sample)
            >>> bool(torch.allclose(parts.memorized, 3 * sample.noise[0])), float(parts.rest.norm()) < 1e-12
            (True, True)
        """
        if filters.ndim != 2 or filters.shape[1] != self.patch_dim:
            raise bad("filters", expected=f"shape (m, {self.patch_dim})", got=tuple(filters.shape))
        directions = self.signal_directions.to(filters)
        signal = filters @ directions.T @ directions
        noise = torch.linalg.svd(sample.noise.to(filters).flatten(0, 1), full_matrices=False)
        # An orthonormal basis of the noise patches; directions that only rounding gave them are left out.
        smallest = SMALLEST_SINGULAR * noise.S.max()
        basis = noise.Vh[noise.S.gt(smallest)]
        memorized = filters @ basis.T @ basis
        return Decomposition(signal, memorized, filters - signal - memorized)


def _positive(value: float, what: str) -> float:
    """A finite number above zero."""
    try:
        return number(value, what, low=SMALLEST_POSITIVE)
    except ValueError:
        raise bad(what, expected="a finite number > 0", got=value) from None
