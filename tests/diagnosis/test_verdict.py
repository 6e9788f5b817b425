"""Verdicts on curves whose truth is planted: onset, size, labels, and silence where there is nothing to say."""

import time
from pathlib import Path

import numpy as np
import pytest
from tests.cases import refused
from tests.diagnosis.writers import four, learning_curve, w_shape, write_log

from cgro.definitions import ErrorRate, VerdictRule, cgro_verdict
from cgro.diagnosis import CurveRule, Curves, diagnose, read_curves, read_log, rise_of
from cgro.diagnosis.verdict import MOST_EPOCHS
from cgro.results import DiagnosisRecord

FAST = CurveRule(n_boot=199)
QUICK = CurveRule(n_boot=19)
T200 = np.arange(200)


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
        "At the end the robust error is",
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


@pytest.mark.parametrize(("given", "remedy"), [
    ("output.log", "read_curves(path)"), (Path("runs/mine"), "read_curves(path)"),
    ([{"epoch": 0, "robust_error/test": 0.5}], "Curves.from_rows(rows)"), ({"epoch": [0]}, "Curves.from_rows(rows)"),
    ([Curves([1], {"robust_error/test": [0.5]})], "diagnose each"), (None, "Curves.from_rows(rows)"),
])  # fmt: skip
def test_what_is_no_curves_is_refused_with_what_makes_them(given: object, remedy: str) -> None:
    refused(lambda: diagnose(given), "curves: expected Curves", remedy)  # type: ignore[arg-type]


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


# ---------------------------------------------------------------- standard training, and what makes numbers doubtful


def four_rates(clean: float, robust: float, n: int = 1000) -> dict[str, ErrorRate]:
    values = {
        "clean_error/train": 0.0,
        "clean_error/test": clean,
        "robust_error/train": robust,
        "robust_error/test": robust,
    }
    return {key: ErrorRate(round(value * n), n) for key, value in values.items()}


def test_a_run_without_an_attack_is_standard_training_with_its_own_remedy() -> None:
    errors = four(40)
    errors["robust_error/test"] = np.linspace(0.9, 0.999, 40)
    errors["robust_error/train"] = np.linspace(0.9, 0.998, 40)
    meta = {"attack": "none", "attacked_in_evaluation": True, "n_classes": 10}
    found = diagnose(Curves(range(40), errors, meta), rule=FAST)
    assert (found.label, found.training, found.scope) == ("standard_training", "standard", "point")
    assert "no defense at this radius" in found.reason
    assert "Train adversarially" in found.remedies[0]
    assert not any("larger network" in remedy for remedy in found.remedies)


@pytest.mark.parametrize(
    ("robust", "attacked", "label"),
    [
        (1.0, None, "standard_training"),  # of weights one does not know how they were trained
        (1.0, True, "underfitting"),
        (0.6, None, "underfitting"),
        (0.6, False, "standard_training"),
        (0.01, False, "robust"),  # a tiny radius
    ],
)
def test_a_point_of_standard_training(robust: float, attacked: bool | None, label: str) -> None:
    assert cgro_verdict(four_rates(0.0, robust), attacked=attacked).label == label


def test_robust_errors_on_two_sides_of_the_limit_are_still_those_of_standard_training() -> None:
    """The training set's alone above the limit is what underfitting looks like; here nothing was attacked."""
    errors = four_rates(0.0, 0.44) | {"robust_error/train": ErrorRate(46, 100)}
    rule = VerdictRule(n_classes=10)
    assert cgro_verdict(errors, attacked=False, rule=rule).label == "standard_training"
    assert cgro_verdict(errors, attacked=True, rule=rule).label == "underfitting"


def test_a_collapse_of_standard_training_is_a_collapse() -> None:
    constant = {key: ErrorRate(900, 1000) for key in four_rates(0, 0)}
    assert cgro_verdict(constant, prediction_share=1.0, attacked=False).label == "collapsed"


def test_the_headline_of_no_gap_does_not_praise() -> None:
    errors = four_rates(0.02, 0.205) | {"robust_error/train": ErrorRate(161, 1000)}
    verdict = cgro_verdict(errors)
    assert verdict.label == "robust"
    assert verdict.reason.startswith("No large robust gap: the robust test error, 20.5%, is 4.4 points [")


@pytest.mark.parametrize(
    ("slope", "said"), [(0.0, "does not change measurably"), (-0.001, "signature of CGRO"), (0.0002, "rises by")]
)
def test_the_signature_needs_a_clean_error_that_falls(slope: float, said: str) -> None:
    t, rng = np.arange(120), np.random.default_rng(0)
    errors = four(120, gap=0.08)
    errors["clean_error/test"] = 0.2 + slope * np.maximum(t - 40, 0) + 0.001 * rng.standard_normal(120)
    text = " ".join(diagnose(Curves(t, errors), rule=FAST).findings)
    assert said in text
    assert ("signature" in text) == (slope < 0)


def test_a_constant_clean_error_is_no_signature() -> None:
    errors = four(120) | {"clean_error/test": np.full(120, 0.2)}
    text = " ".join(diagnose(Curves(range(120), errors), rule=FAST).findings)
    assert "signature" not in text
    assert "does not change measurably: 0.00 points" in text


def test_catastrophic_overfitting_has_no_signature_and_no_bias() -> None:
    errors = four(30, 12)
    errors["robust_error/test"] = np.r_[errors["robust_error/test"][:15], 0.97, np.full(14, 0.995)]
    text = " ".join(diagnose(Curves(range(30), errors), rule=FAST).findings)
    assert "signature" not in text
    assert "picking" not in text


def test_validation_counts_as_validation_in_every_sentence() -> None:
    errors = four(120)
    renamed = {key.replace("/test", "/validation"): value for key, value in errors.items()}
    found = diagnose(Curves(range(120), renamed), rule=FAST)
    same = diagnose(Curves(range(120), errors), rule=FAST)
    assert (found.label, found.rise.size) == (same.label, same.rise.size)
    for sentence in (found.reason.partition(" But ")[0], *found.findings):
        assert "test" not in sentence.replace("at the latest", ""), sentence
    assert "on a test set; these are validation errors" in found.reason


def test_validation_beside_a_robust_test_error_only_selects() -> None:
    errors = four(120)
    errors["robust_error/validation"] = errors["robust_error/test"] + 0.01
    found = diagnose(Curves(range(120), errors), rule=FAST)
    assert "But" not in found.reason
    assert found.selection.on_validation is not None


def test_the_headline_says_what_cannot_be() -> None:
    errors = four(60)
    errors["clean_error/test"], errors["robust_error/test"] = errors["robust_error/test"], errors["clean_error/test"]
    found = diagnose(Curves(range(60), errors), rule=FAST)
    assert "But robust test error lies below the clean one in 60 of 60 epochs" in found.reason
    assert found.evidence["caveats"]


def test_where_both_errors_rise_the_robust_one_is_named_first() -> None:
    """A clean rise of half of the robust one: robust overfitting, the ordinary part behind it; nearly equal: ordinary."""
    t, rng = np.arange(120), np.random.default_rng(1)
    up = np.maximum(t - 60, 0) / 60
    fall = 0.3 * np.exp(-t / 10)
    for share, label in ((0.5, "robust_overfitting"), (1.0, "clean_overfitting")):
        curves = {
            "robust_error/test": 0.6 + fall + 0.06 * up + 0.003 * rng.standard_normal(120),
            "clean_error/test": 0.4 + fall + 0.06 * share * up + 0.003 * rng.standard_normal(120),
        }
        found = diagnose(Curves(t, curves), rule=FAST)
        assert found.label == label
        robust, clean = found.reason.index("the robust test error rises"), found.reason.index("the clean one")
        assert robust < clean
        assert any("Ordinary regularization" in text for text in found.remedies)


def test_a_card_has_one_verdict() -> None:
    """No second label beside it: a wide clean gap at the end is evidence, not another verdict."""
    errors = four(120)
    errors["clean_error/train"] = errors["clean_error/train"] * 0.1
    errors["clean_error/test"] = errors["clean_error/test"] + 0.12
    found = diagnose(Curves(range(120), errors), rule=FAST)
    assert found.label == "robust_overfitting"
    assert found.point is not None
    assert found.point.label == "clean_overfitting"
    text = " ".join((found.reason, *found.findings))
    for words in ("Ordinary", "Underfitting", "judged as one point", "nothing memorized"):
        assert words not in text


def test_a_collapse_just_before_the_end_is_an_alarm() -> None:
    errors = four(25, 24, 0.0)
    robust = errors["robust_error/test"]
    robust[-2:] = 0.88, 0.93
    found = diagnose(Curves(range(25), errors), rule=FAST)
    assert found.label == "catastrophic_overfitting"
    assert "still there in the last evaluation" in found.reason
    robust[-2:] = robust[-3], 0.95
    only_last = diagnose(Curves(range(25), errors), rule=FAST)
    assert only_last.label != "catastrophic_overfitting"
    assert "evaluate again; if it stays, this is catastrophic overfitting" in only_last.reason


@pytest.mark.parametrize("every", [5, 10])
def test_sparse_evaluations_keep_most_of_the_power_and_no_false_alarm(every: int) -> None:
    """A rise of 8 points over 200 epochs, thinned; and falling curves with noise of any correlation."""
    called = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        curve, _ = learning_curve(200, 100, 0.08, sd=0.004, rho=(0.0, 0.3, 0.6)[seed % 3], rng=rng)
        flat, _ = learning_curve(200, 100, 0.0, sd=0.004, rho=(0.0, 0.6, 0.85)[seed % 3], rng=rng)
        start = int(rng.integers(every))
        kept = np.arange(start, 200, every)
        called += diagnose(Curves(kept, {"robust_error/test": curve[kept]}), rule=FAST).label == "robust_overfitting"
        assert diagnose(Curves(kept, {"robust_error/test": flat[kept]}), rule=FAST).label != "robust_overfitting"
    assert called >= 9


def test_too_few_evaluations_say_what_they_cannot_show() -> None:
    kept = np.arange(9, 200, 10)
    noise = np.random.default_rng(0).normal(0, 0.01, len(kept))
    curve = 0.5 + 0.2 * np.exp(-kept / 30) + 0.006 * (kept > 150) + noise
    found = diagnose(Curves(kept, {"robust_error/test": curve}), rule=FAST)
    assert found.rise is not None
    assert found.label != "robust_overfitting"
    shown = f"a rise below {100 * found.rise.visible:.1f} points would mostly be missed"
    assert f"With 20 evaluations, one every 10 epochs, {shown}" in found.reason
    assert "mean of the last 5 evaluations" in found.reason
    dense = 0.5 + 0.2 * np.exp(-np.arange(200) / 30) + np.random.default_rng(3).normal(0, 0.002, 200)
    assert "mostly be missed" not in diagnose(Curves(range(200), {"robust_error/test": dense}), rule=FAST).reason


def test_a_rise_that_the_next_drop_took_back_is_named_with_its_epochs() -> None:
    rate = np.where(T200 < 100, 0.1, np.where(T200 < 150, 0.01, 0.001))
    robust = w_shape(0.04, 1.0, seed=2)
    clean = 0.2 + 0.2 * np.exp(-T200 / 40) + 0.002 * np.random.default_rng(0).standard_normal(200)
    values = {"robust_error/test": robust, "clean_error/test": clean, "lr": rate}
    found = diagnose(Curves(T200, values), rule=CurveRule(n_boot=199))
    assert (found.label, found.scope) == ("robust_overfitting", "curve")
    assert found.phase is not None
    assert (found.phase.drop, found.aligned) == (150, 100)
    low, high = found.phase.rise.interval
    assert low <= 0.04 <= high
    assert "between epoch" in found.reason
    assert "then fell with the learning-rate drop at 150" in found.reason
    assert "at the end no rise above the lowest point is established" in found.reason
    stored = DiagnosisRecord.of(found.to_dict())
    assert stored.risen is not None
    assert stored.risen.onset == found.phase.rise.onset
    flat = diagnose(
        Curves(T200, {**values, "robust_error/test": w_shape(0.0, 0.0, seed=2)}), rule=CurveRule(n_boot=199)
    )
    assert flat.phase is None
    assert "phase" not in flat.to_dict()


def test_a_clean_error_that_rises_as_much_in_the_phase_makes_it_ordinary_overfitting() -> None:
    rate = np.where(T200 < 100, 0.1, np.where(T200 < 150, 0.01, 0.001))
    values = {
        "robust_error/test": w_shape(0.04, 1.0, seed=2),
        "clean_error/test": w_shape(0.05, 1.0, seed=3) - 0.2,
        "lr": rate,
    }
    found = diagnose(Curves(T200, values), rule=CurveRule(n_boot=199))
    assert found.label == "clean_overfitting"
    assert "the clean one by nearly as much or more" in found.reason
