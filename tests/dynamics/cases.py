"""Settings that reach every branch of a step, and filters as a whole, shared by the tests of this folder."""

from dataclasses import replace

import numpy as np

from cgro.data.patches import PatchData
from cgro.dynamics import Setting
from cgro.dynamics.spaces import Direct

SMALL = Setting(PatchData(14, 3), n_train=5, n_filters=6, radius_ratio=0.9, init_std=0.4)
CASES = {
    "odd, delta < alpha": SMALL,
    "odd, delta > alpha": replace(SMALL, radius_ratio=1.7, robust_weight=0.3),
    "q = 2": replace(SMALL, activation_power=2.0, radius_ratio=1.2),
    "q = 4": replace(SMALL, activation_power=4.0, radius_ratio=1.2),
    "q = 2.5": replace(SMALL, activation_power=2.5),
    "halves, delta < alpha": replace(SMALL, activation="halves"),
    "halves, delta > alpha": replace(SMALL, activation="halves", radius_ratio=1.6, robust_weight=0.7),
    "halves, q = 2": replace(SMALL, activation="halves", activation_power=2.0, radius_ratio=1.3),
    "two signals": replace(SMALL, data=PatchData(14, 3, n_signals=2), radius_ratio=1.4),
    "transfer": replace(SMALL, adversary="transfer", radius_ratio=1.3),
    "standard": replace(SMALL, robust_weight=0.0),
}
EASY = Setting(PatchData(30), n_train=6, n_filters=8, radius_ratio=0.97, init_std=0.1)


def bank(batch: Direct) -> np.ndarray:
    """The whole filters, (S, m, d)."""
    whole = batch.filters.copy()
    whole[:, : batch.u.shape[1]] = batch.u
    return whole.transpose(0, 2, 1)
