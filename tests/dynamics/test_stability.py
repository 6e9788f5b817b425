"""Overshoots are seen; the largest stable step is bracketed."""

from dataclasses import replace

import numpy as np
import pytest
from tests.dynamics.cases import EASY

from cgro.dynamics import PRESETS, largest_stable_lr
from cgro.dynamics.stability import overshoots


def test_largest_stable_lr_is_bracketed():
    stable = largest_stable_lr(replace(EASY, lr=30.0), 0, 10, accuracy=1.01)
    assert largest_stable_lr(replace(EASY, lr=40.0), 0, 10, accuracy=1.2) == pytest.approx(stable, rel=0.21)


def test_the_presets_are_well_below_their_largest_stable_step():
    for name in ("theorem", "table2"):
        assert largest_stable_lr(replace(PRESETS[name], lr=3.0), 0, 100) > 1.5 * PRESETS[name].lr


def test_a_margin_that_jumps_overshoots():
    margins = np.zeros((4, 3, 2))
    margins[2:, 1, 0] = 25.0
    margins[3, 2, 1] = np.nan
    found = overshoots(margins, np.array([0, 1, 2, 4]))
    assert np.argwhere(found).tolist() == [[2, 1], [3, 2]]
    assert not overshoots(margins[:, :2], np.array([0, 1, 3, 4])).any()  # 25 in two steps
