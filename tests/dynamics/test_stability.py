"""Overshoots are seen; the largest stable step is bracketed."""

from dataclasses import replace

import numpy as np
import pytest
from tests.dynamics.cases import EASY

from cgro.dynamics import PRESETS, Setting, largest_stable_lr, simulate, stability
from cgro.dynamics.batch import Gram
from cgro.dynamics.stability import overshoots


def test_largest_stable_lr_is_bracketed():
    stable = largest_stable_lr(replace(EASY, lr=30.0), 0, 10, accuracy=1.01)
    assert stable is not None
    assert largest_stable_lr(replace(EASY, lr=40.0), 0, 10, accuracy=1.2) == pytest.approx(stable, rel=0.21)


def test_the_presets_are_well_below_their_largest_stable_step():
    for name in ("theorem", "table2"):
        stable = largest_stable_lr(replace(PRESETS[name], lr=3.0), 0, 100)
        assert stable is not None
        assert stable > 1.5 * PRESETS[name].lr


def test_a_margin_that_jumps_overshoots():
    margins = np.zeros((4, 3, 2))
    margins[2:, 1, 0] = 25.0
    margins[3, 2, 1] = np.nan
    found = overshoots(margins, np.array([0, 1, 2, 4]))
    assert np.argwhere(found).tolist() == [[2, 1], [3, 2]]
    assert not overshoots(margins[:, :2], np.array([0, 1, 3, 4])).any()  # 25 in two steps


@pytest.mark.parametrize("ratio", [1e4, 1e200])
def test_a_search_for_a_stable_step_ends(ratio: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """At ratio 1e200 nothing is stable; the trials of either are few, and those that diverge are short."""
    trials = []
    is_stable = stability._is_stable

    def counted(setting: Setting, seed: int, time: float) -> bool:
        trials.append(setting.lr)
        return is_stable(setting, seed, time)

    monkeypatch.setattr(stability, "_is_stable", counted)
    setting = replace(PRESETS["theorem"], n_train=4, n_filters=4, radius_ratio=ratio)
    run = simulate(setting, n_steps=50, n_test=5)
    assert len(trials) <= stability.MOST_HALVINGS + 5
    reason = run.outcomes[0].reason
    if ratio > 1e100:
        assert reason.endswith("no stable lr was found in 40 halvings")
        assert min(trials) == setting.lr / 2**40
    else:
        assert "the largest stable lr is about" in reason


def test_a_step_at_the_smallest_floats_is_not_halved_to_zero() -> None:
    assert largest_stable_lr(replace(EASY, lr=1e-300, radius_ratio=1e250), 0, 1) is None


def test_a_trial_that_diverges_takes_no_further_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    advance = Gram.advance

    def counted(self: Gram, n_steps: int, **options: bool) -> None:
        taken.append(n_steps)
        advance(self, n_steps, **options)

    monkeypatch.setattr(Gram, "advance", counted)
    assert not stability._is_stable(replace(EASY, lr=1e3), 0, 1e6)
    assert sum(taken) < 10
