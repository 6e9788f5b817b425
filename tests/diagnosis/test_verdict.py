"""Verdicts on curves whose truth is planted: onset, size, labels, and silence where there is nothing to say."""

import numpy as np
import pytest
from tests.diagnosis.writers import four, learning_curve, write_log

from cgro._check import BadRequest
from cgro.definitions import ErrorRate
from cgro.diagnosis import CurveRule, Curves, diagnose, read_log, rise_of, select
from cgro.diagnosis.rise import valley
from cgro.diagnosis.shape import shuffled

FAST = CurveRule(n_boot=199)


def brute_valley(y: np.ndarray) -> float:
    """Smallest squared error of a fall-then-rise curve, by pooling every block by hand."""

    def falling(v: np.ndarray) -> float:
        blocks = [[x] for x in v]
        k = 0
        while k < len(blocks) - 1:
            if np.mean(blocks[k]) < np.mean(blocks[k + 1]):
                blocks[k : k + 2] = [blocks[k] + blocks[k + 1]]
                k = max(0, k - 1)
            else:
                k += 1
        return sum(float(((np.array(b) - np.mean(b)) ** 2).sum()) for b in blocks)

    return min(falling(y[:k]) + falling(y[k:][::-1]) for k in range(1, len(y) + 1))


def test_valley_is_the_least_squares_fall_and_rise() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        y = rng.standard_normal(9)
        assert np.isclose(((y - valley(y)) ** 2).sum(), brute_valley(y))


@pytest.mark.parametrize("ramp", [1.0, 4.0])
def test_onset_within_one_evaluation_and_size_within_noise(ramp: float) -> None:
    covered = [planted_and_found(seed, ramp) for seed in range(8)]
    assert sum(covered) >= 7  # 95% intervals


def planted_and_found(seed: int, ramp: float) -> bool:
    """Through the file: noise, restarts, missing values, duplicated rows."""
    rng, onset, sd = np.random.default_rng(seed), 60 + seed, 0.004
    errors = four(120, seed=seed)
    errors["robust_error/test"], truth = learning_curve(120, onset, 0.06, sd=sd, rng=rng, ramp=ramp)
    missing = tuple(int(m) for m in rng.choice(np.r_[5:40, 80:110], 6, replace=False))
    text = write_log(errors, rng=rng, restarts=(20, 90), drops=(onset - 3,), missing=missing)
    found = diagnose(read_log(text), rule=FAST)
    assert found.label == "robust_overfitting"
    assert found.rise is not None
    assert abs(found.rise.onset - onset) <= 1
    assert abs(found.rise.size - truth) <= 3 * sd
    assert found.aligned == onset - 3
    return found.rise.interval[0] <= truth <= found.rise.interval[1]


def test_the_card_says_what_the_issue_asks() -> None:
    found = diagnose(Curves(range(120), {**four(120), "lr": np.where(np.arange(120) < 47, 0.1, 0.01)}), rule=FAST)
    text = " ".join((found.reason, *found.findings, *found.remedies))
    for words in ("Robust overfitting", "signature of CGRO", "learning-rate drop at epoch 47", "bias of picking a minimum",
                  "opens after the first learning-rate drop", "selected on test", "9.04 to 1.09", "judged as one point"):  # fmt: skip
        assert words in text, words
    assert found.point is not None
    assert found.point.label == "cgro"
    for sentence in (*found.findings, *found.remedies):
        assert "best" not in sentence.lower() or "selected on" in sentence


@pytest.mark.parametrize("seed", range(10))
def test_no_verdict_on_shuffled_curves(seed: int) -> None:
    order = np.random.default_rng(seed).permutation(120)
    found = diagnose(Curves(range(120), {k: v[order] for k, v in four(120, seed=seed).items()}), rule=FAST)
    assert found.label == "too_little_evidence"
    assert "shuffled" in found.reason


def test_no_verdict_on_short_curves() -> None:
    found = diagnose(Curves(range(9), {"robust_error/test": four(9, 4)["robust_error/test"]}))
    assert found.label == "too_little_evidence"
    assert "9 measured epochs are too few" in found.reason


def test_one_point_is_judged_where_there_is_one() -> None:
    errors = {"clean_error/train": ErrorRate(0, 1000), "clean_error/test": ErrorRate(20, 1000),
              "robust_error/train": ErrorRate(5, 1000), "robust_error/test": ErrorRate(300, 1000)}  # fmt: skip
    found = diagnose(Curves([1, 2], {"robust_error/test": [0.4, 0.3]}), errors=errors)
    assert (found.label, found.scope) == ("cgro", "point")


def test_catastrophic_overfitting() -> None:
    errors = four(30, 12)
    errors["robust_error/test"] = np.r_[errors["robust_error/test"][:15], 0.97, np.full(14, 0.995)]
    found = diagnose(Curves(range(30), errors), rule=FAST)
    assert found.label == "catastrophic_overfitting"
    assert "at epoch 15" in found.reason


def test_clean_overfitting_collapse_underfitting_robust() -> None:
    t, rng = np.arange(80), np.random.default_rng(0)
    noise = lambda: 0.003 * rng.standard_normal(80)  # noqa: E731
    rising = 0.3 + 0.3 * np.exp(-t / 8) + 0.002 * np.maximum(t - 30, 0)
    both = {"robust_error/test": rising + 0.2 + noise(), "clean_error/test": rising + noise()}
    assert diagnose(Curves(t, both), rule=FAST).label == "clean_overfitting"
    constant = {k: np.full(80, 0.9) for k in ("robust_error/test", "clean_error/test", "clean_error/train")}
    assert diagnose(Curves(t, constant), rule=FAST).label == "collapsed"
    high = {"clean_error/train": 0.5, "clean_error/test": 0.51, "robust_error/train": 0.7, "robust_error/test": 0.71}
    falling = {k: v + 0.2 * np.exp(-t / 10) + noise() for k, v in high.items()}
    assert diagnose(Curves(t, falling), rule=FAST, n_classes=10).label == "underfitting"
    low = {"clean_error/train": 0.01, "clean_error/test": 0.02, "robust_error/train": 0.05, "robust_error/test": 0.08}
    falling = {k: v + 0.5 * np.exp(-t / 10) + np.abs(noise()) for k, v in low.items()}
    assert diagnose(Curves(t, falling), rule=FAST, n_classes=10).label == "robust"


def test_flat_noise_is_no_rise_though_last_minus_minimum_is_positive() -> None:
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(40):
        y, _ = learning_curve(100, 50, 0.0, sd=0.005, rho=0.3, rng=rng)
        rise = rise_of(np.arange(100.0), y, rng, n_boot=199)
        assert rise.naive > 0
        alarms += rise.p_value <= 0.01
    assert alarms <= 2


def test_the_same_seed_gives_the_same_diagnosis_and_rules_have_effects() -> None:
    curves = Curves(range(120), four(120))
    assert diagnose(curves, rule=FAST).to_dict() == diagnose(curves, rule=FAST).to_dict()
    assert diagnose(curves, rule=CurveRule(n_boot=199, min_epochs=121)).scope == "point"
    assert diagnose(curves, rule=CurveRule(n_boot=199, alpha=0.0)).scope == "point"


def test_selection_needs_a_robust_test_error() -> None:
    with pytest.raises(BadRequest, match="none of it measured"):
        select(Curves([1], {"clean_error/test": [0.5]}))


def test_a_short_curve_that_falls_is_not_called_shuffled() -> None:
    """Twelve epochs of a real training on digits: the robust test curve alone was too short for a normal approximation."""
    robust = [0.852, 0.724, 0.721, 0.646, 0.61, 0.565, 0.568, 0.568, 0.526, 0.582, 0.543, 0.54]
    clean = [0.69, 0.44, 0.42, 0.33, 0.31, 0.30, 0.29, 0.26, 0.235, 0.21, 0.17, 0.15]
    both = {"robust_error/test": robust, "clean_error/test": clean}
    assert not shuffled(Curves(range(12), both), CurveRule())
    mixed = np.random.default_rng(0).permutation(12)
    assert shuffled(Curves(range(12), {k: list(np.array(v)[mixed]) for k, v in both.items()}), CurveRule())
