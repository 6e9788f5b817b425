"""Verdicts on curves whose truth is planted: onset, size, labels, and silence where there is nothing to say."""

import time

import numpy as np
import pytest
from tests.diagnosis.writers import four, learning_curve, write_log

from cgro.definitions import ErrorRate
from cgro.diagnosis import CurveRule, Curves, diagnose, read_curves, read_log, rise_of
from cgro.diagnosis.verdict import MOST_EPOCHS

FAST = CurveRule(n_boot=199)
QUICK = CurveRule(n_boot=19)


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


def test_the_card_names_rise_drop_signature_selection_and_remedies() -> None:
    found = diagnose(Curves(range(120), {**four(120), "lr": np.where(np.arange(120) < 47, 0.1, 0.01)}), rule=FAST)
    text = " ".join((found.reason, *found.findings, *found.remedies))
    for words in (
        "Robust overfitting",
        "signature of CGRO",
        "learning-rate drop at epoch 47",
        "picking the best of noisy epochs",
        "opens after the first learning-rate drop",
        "selected on test",
        "9.04 to 1.09",
        "judged as one point",
    ):
        assert words in text, words
    assert found.point is not None
    assert found.point.label == "cgro"


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


def test_the_same_seed_gives_the_same_diagnosis_and_rules_have_effects() -> None:
    curves = Curves(range(120), four(120))
    assert diagnose(curves, rule=FAST).to_dict() == diagnose(curves, rule=FAST).to_dict()
    assert diagnose(curves, rule=CurveRule(n_boot=199, min_epochs=121)).scope == "point"
    assert diagnose(curves, rule=CurveRule(n_boot=199, alpha=0.0)).scope == "point"


def test_many_epochs_are_read_and_judged_in_seconds(file) -> None:
    """The square of 60,000 would be 3.6 GB of ranks and minutes of simulated curves."""
    n = 60_000
    t = np.arange(n) / n
    noise = np.random.default_rng(0).normal(0, 0.01, n)
    test = 0.6 - 0.2 * np.minimum(t, 0.5) + 0.2 * np.maximum(0, t - 0.5) + noise
    text = "epoch,robust_error/test\n" + "".join(f"{e},{v:.5f}\n" for e, v in enumerate(test))
    start = time.process_time()
    found = diagnose(read_curves(file(text))[0], rule=CurveRule(n_boot=99))
    assert time.process_time() - start < 20
    assert found.label == "robust_overfitting"
    assert abs(found.rise.onset - n / 2) < 0.05 * n
    assert abs(found.rise.size - 0.1) < 0.02
    assert f"{n} epochs are judged as {MOST_EPOCHS} means" in found.findings[0]


def test_curves_of_ordinary_length_are_judged_epoch_by_epoch() -> None:
    """Bit for bit the estimate on the values themselves."""
    values = 0.5 + np.random.default_rng(1).normal(0, 0.01, MOST_EPOCHS)
    curves = Curves(np.arange(MOST_EPOCHS), {"robust_error/test": values})
    found = diagnose(curves, rule=QUICK, seed=3)
    alone = rise_of(curves.epoch, values, np.random.default_rng(3), n_boot=19)
    assert (found.rise.size, found.rise.interval, found.rise.p_value) == (alone.size, alone.interval, alone.p_value)
    assert not any("means of neighboring" in line for line in found.findings)
