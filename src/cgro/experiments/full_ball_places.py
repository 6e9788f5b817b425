"""Where the artifact `full-ball` measures, and what theory says of each place before it is measured."""

from typing import Literal

import numpy as np

from cgro.dynamics.ball_theory import SIGNAL_THRESHOLD, clean_boundary, fit_boundary, mean_load
from cgro.experiments.findings import Part
from cgro.jobs.plan import Scale

Phase = Literal["robust", "unfitted", "cgro", "clean_overfitting", "between"]
NEAR = 0.1
"""Relative distance from a predicted boundary within which a cell is not judged. A choice made with the predictions."""


class Place(Part, frozen=True, kw_only=True):
    """What is trained in one cell.

    Attributes:
        radius_ratio: delta / alpha.
        noise_ratio: |xi| / delta, of the expected squared length.
        n_train: N.
        n_filters: m.
        patch_dim: d.
        robust_weight: lambda.
    """

    radius_ratio: float
    noise_ratio: float
    n_train: int = 30
    n_filters: int = 16
    patch_dim: int = 100
    robust_weight: float = 0.5

    @property
    def fit(self) -> float:
        """The |xi| / delta from which memory is predicted to fit."""
        return fit_boundary(self.radius_ratio, mean_load(self.n_train, self.n_filters))

    @property
    def clean(self) -> float:
        """The |xi| / delta from which the clean test error is predicted to be that of chance."""
        return clean_boundary(self.radius_ratio, self.n_train)

    def predicted(self, threshold: float = SIGNAL_THRESHOLD) -> Phase:
        """The phase that theory gives.

        Args:
            threshold: delta / alpha up to which the signal alone is robust.

        Returns:
            One of four.
        """
        if self.robust_weight == 0:
            return "unfitted"
        if self.noise_ratio > self.clean:
            return "clean_overfitting"
        if self.radius_ratio <= threshold:
            return "robust"
        if self.noise_ratio > self.fit:
            return "cgro"
        return "unfitted"

    @property
    def is_near(self) -> bool:
        """Whether a predicted boundary is so close that the cell is not judged."""
        if self.robust_weight == 0:
            return False
        boundaries = [self.clean]
        if self.fit > 0:
            boundaries.append(self.fit)
        distances = np.abs(self.noise_ratio / np.array(boundaries) - 1)
        return bool(distances.min() < NEAR)

    @property
    def words(self) -> str:
        """How claims and tables name it: what differs from the map's settings."""
        text = f"delta {self.radius_ratio:g} alpha, noise {self.noise_ratio:g} delta"
        for name, size, usual in (
            ("N", self.n_train, 30),
            ("m", self.n_filters, 16),
            ("d", self.patch_dim, 100),
            ("lambda", self.robust_weight, 0.5),
        ):
            if size != usual:
                text += f", {name} {size:g}"
        return text


NOISES = {
    0.9: (0.8, 1.2, 1.6, 2.2, 3.0, 6.0),
    0.8: (0.8, 1.2, 1.6, 2.2, 3.0, 6.0),
    0.98: (0.8, 1.2, 1.6, 2.2, 3.0, 6.0),
    0.6: (1.2, 3.0, 6.0),
}
"""delta / alpha -> |xi| / delta of the map."""


def _map() -> tuple[Place, ...]:
    found = []
    for ratio, noises in NOISES.items():
        found += [Place(radius_ratio=ratio, noise_ratio=noise) for noise in noises]
    return tuple(found)


MAP = _map()
SIZES = (
    Place(radius_ratio=0.9, noise_ratio=1.6, n_train=8),
    Place(radius_ratio=0.9, noise_ratio=3.0, n_train=8),
    Place(radius_ratio=0.9, noise_ratio=1.6, n_train=60),
    Place(radius_ratio=0.9, noise_ratio=3.0, n_train=60),
    Place(radius_ratio=0.9, noise_ratio=1.6, n_filters=32),
    Place(radius_ratio=0.9, noise_ratio=1.2, patch_dim=400),
    Place(radius_ratio=0.9, noise_ratio=2.2, patch_dim=400),
    Place(radius_ratio=0.9, noise_ratio=6.0, patch_dim=400),
)
CONTROLS = (
    Place(radius_ratio=0.9, noise_ratio=2.2, robust_weight=0.0),
    Place(radius_ratio=0.9, noise_ratio=3.0, robust_weight=0.0),
)
SHORT = tuple(Place(radius_ratio=ratio, noise_ratio=0.3) for ratio in (0.8, 0.9, 0.98))
"""Noise so short that memory does not begin: added after the plateau had been missed at 0.8."""
SMOKE = (
    Place(radius_ratio=0.6, noise_ratio=1.2, n_train=12),
    Place(radius_ratio=0.9, noise_ratio=2.0, n_train=12),
    Place(radius_ratio=0.9, noise_ratio=2.0, n_train=12, robust_weight=0.0),
)


def places(scale: Scale) -> tuple[Place, ...]:
    """The cells of a scale.

    Args:
        scale: of the reproduction.

    Returns:
        Map, sizes, controls, short noise; three of them at scale smoke.
    """
    if scale == "smoke":
        return SMOKE
    return (*MAP, *SIZES, *CONTROLS, *SHORT)
