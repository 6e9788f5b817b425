"""The alarm: once, with its interval, on curves whose truth is known; and how often it is false."""

import numpy as np
import pytest

from cgro.diagnosis.curves import Curves
from cgro.diagnosis.monitor.onset import IN_A_ROW, Alarm, alarm_of
from cgro.diagnosis.rule import CurveRule
from cgro.diagnosis.verdict import diagnose


def rows_of(test: np.ndarray) -> list[dict]:
    """Epochs of a training whose clean errors only fall."""
    n = len(test)
    rows = []
    for epoch in range(n):
        fall = 0.3 * np.exp(-epoch / 10)
        rows.append({
            "epoch": epoch, "robust_error/test": float(test[epoch]), "robust_error/train": float(0.35 * 0.99**epoch + fall),
            "clean_error/test": 0.15 + fall / 2, "clean_error/train": 0.1 + fall / 2, "prediction_share": 0.12, "seconds": 1.0,
        })  # fmt: skip
    return rows


def falling(n: int, seed: int, noise: float = 0.003) -> np.ndarray:
    g = np.random.default_rng(seed)
    return 0.5 + 0.2 * np.exp(-np.arange(n) / 8) + noise * g.standard_normal(n)


def rising(n: int, seed: int, onset: int = 25) -> np.ndarray:
    return falling(n, seed) + 0.004 * np.maximum(0, np.arange(n) - onset)


def first_alarm(test: np.ndarray) -> tuple[int, Alarm] | None:
    rows = rows_of(test)
    for k in range(1, len(rows) + 1):
        found = alarm_of(rows[:k], 10)
        if found is not None:
            return k - 1, found
    return None


def test_it_is_said_after_the_onset_with_the_interval_of_the_rise() -> None:
    epoch, found = first_alarm(rising(50, 0))
    assert 25 < epoch < 45
    low, high = found.entries["alarm/rise_low"], found.entries["alarm/rise_high"]
    assert 0 < low < found.entries["alarm/rise"] < high
    assert 18 <= found.entries["alarm/onset"] <= 32
    assert found.text.startswith(
        f"cgro.Monitor, epoch {epoch}: robust overfitting sets in: the robust test error rose by"
    )
    assert f"95% interval {100 * low:.1f} to {100 * high:.1f}" in found.text
    assert "\n" not in found.text
    # Each of the last looks is a diagnosis like any other.
    for k in range(IN_A_ROW):
        known = [{n: v for n, v in row.items() if n != "seconds"} for row in rows_of(rising(50, 0))[: epoch + 1 - k]]
        assert diagnose(Curves.from_rows(known), rule=CurveRule(n_boot=199)).label == "robust_overfitting"


def test_it_is_said_once() -> None:
    epoch, found = first_alarm(rising(50, 0))
    rows = rows_of(rising(50, 0))
    rows[epoch] |= found.entries
    assert all(alarm_of(rows[:k], 10) is None for k in range(epoch + 1, len(rows) + 1))


def test_short_curves_and_falling_ones_are_silent() -> None:
    assert first_alarm(falling(40, 3)) is None
    assert first_alarm(rising(50, 0)[:9]) is None


def test_nothing_is_refused_in_a_loop_whatever_its_errors_are() -> None:
    """Fractions stay fractions: errors of 0, of 1, and tiny ones that a reader of tables would take for percent."""
    for value in (0.0, 1.0, 0.001):
        assert first_alarm(np.full(14, value)) is None
    rows = rows_of(np.linspace(1, 0, 14))
    for row in rows:
        row |= {"robust_error/train": 0.0, "clean_error/train": 0.0, "lr": 0.0}
    assert alarm_of(rows, 10) is None


def test_catastrophic_overfitting_is_said() -> None:
    test = falling(20, 1)
    test[14:] = 0.97
    epoch, found = first_alarm(test)
    assert 14 < epoch < 19
    assert "catastrophic overfitting sets in" in found.text


@pytest.mark.parametrize("seed", [4])
def test_a_rise_in_clean_error_too_is_no_robust_overfitting(seed: int) -> None:
    rows = rows_of(rising(50, seed))
    for epoch, row in enumerate(rows):
        row["clean_error/test"] += 0.004 * max(0, epoch - 25) + 1e-4 * (epoch % 3)
    assert alarm_of(rows, 10) is None


def test_a_rise_within_a_phase_is_said_with_that_phases_numbers() -> None:
    """The learning rate dropped when the error had just risen: of the whole curve nothing has risen, and its interval
    was said once, with zero in it.
    """
    t = np.arange(60)
    g = np.random.default_rng(0)
    test = 0.5 + 0.2 * np.exp(-t / 6) + 0.008 * np.clip(t - 29, 0, 5) + 0.003 * g.standard_normal(60)
    test[34:] -= 0.08
    rows = [row | {"lr": 0.1 if row["epoch"] < 34 else 0.01} for row in rows_of(test)]
    found = next(one for k in range(35, 61) if (one := alarm_of(rows[:k], 10)) is not None)
    assert found.entries["alarm/rise"] == pytest.approx(0.016, abs=0.008)  # the last five are above it by so much
    assert found.entries["alarm/rise_low"] > 0
    assert 25 <= found.entries["alarm/onset"] <= 33
    assert found.text.endswith("; that was before the learning rate dropped at 34")
