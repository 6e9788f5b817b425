"""Effects: intervals against scipy's paired test, and each way in which a gap can close."""

import re
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from cgro.comparison.effects import effect_of, paired
from cgro.report.compare import GAP
from cgro.results import Metric
from cgro.results.keys import ROBUST_TEST, ROBUST_TRAIN

SEEDS = 4


def metrics(test: Sequence[float | None], train: Sequence[float | None]) -> dict[str, Metric]:
    gap = [None if a is None or b is None else a - b for a, b in zip(test, train, strict=True)]
    values = {ROBUST_TEST: test, ROBUST_TRAIN: train, GAP: gap}
    return {key: Metric.over_seeds(list(numbers)) for key, numbers in values.items()}


def noisy(mean: float, seed: int) -> list[float]:
    """Seeds that differ by far more than the remedies do: only pairs tell them apart."""
    noise = np.random.default_rng(seed).normal(0, 0.001, SEEDS)
    return list(mean + np.array([-0.1, -0.03, 0.02, 0.11]) + noise)


REFERENCE = metrics(noisy(0.6, 0), noisy(0.3, 1))


def test_the_interval_is_that_of_scipy() -> None:
    other = metrics(noisy(0.58, 2), noisy(0.35, 3))
    found = paired(REFERENCE, other)
    for key in (ROBUST_TEST, ROBUST_TRAIN, GAP):
        test = stats.ttest_rel(other[key].by_seed, REFERENCE[key].by_seed)
        assert found[key].interval == pytest.approx(tuple(test.confidence_interval(0.95)))


@pytest.mark.parametrize(
    ("test", "train", "label", "words"),
    [
        (0.55, 0.3, "helps", "the robust test error falls: -5"),
        (0.55, 0.45, "helps", "robust training error \\+1"),
        (0.6, 0.5, "only_fits_less", "no fall of the robust test error is shown"),
        (0.65, 0.55, "only_fits_less", "the robust test error rises as well: \\+5"),
        (0.65, 0.2, "harms", "the robust test error rises"),
        (0.6, 0.3, "no_effect_shown", "contains 0"),
        (0.6, 0.2, "no_effect_shown", "gap \\+10"),
    ],
)
def test_how_a_gap_closes(test: float, train: float, label: str, words: str) -> None:
    found = effect_of(paired(REFERENCE, metrics(noisy(test, 4), noisy(train, 5))))
    assert found.label == label
    assert re.search(words, found.reason)


def test_seeds_that_are_not_paired_would_show_nothing() -> None:
    """The planted fault: the same numbers, the seeds of one of them in another order."""
    other = metrics(noisy(0.55, 4)[::-1], noisy(0.3, 5)[::-1])
    assert effect_of(paired(REFERENCE, other)).label == "no_effect_shown"


def test_a_seed_that_either_lacks_is_left_out() -> None:
    reference = metrics([0.6, None, 0.7], [0.3, 0.3, 0.3])
    found = paired(reference, metrics([0.5, 0.1, 0.61], [0.3, 0.3, 0.3]))[ROBUST_TEST]
    assert found.by_seed[1] is None
    assert found.typical == pytest.approx(-0.095)


def test_one_seed_has_no_interval_and_no_effect() -> None:
    found = paired(metrics([0.6], [0.3]), metrics([0.1], [0.1]))
    assert found[ROBUST_TEST].interval is None
    one = effect_of(found)
    assert one.label == "too_few_seeds"
    assert one.reason.startswith("one seed is trained")
    none = effect_of({})
    assert none.label == "too_few_seeds"
    assert none.reason.startswith("no seed is trained")
    lacking = effect_of(paired(metrics([0.6, None], [0.3, None]), metrics([None, 0.1], [None, 0.1])))
    assert lacking.reason == none.reason


def test_seeds_that_agree_to_the_bit_show_nothing() -> None:
    """Two seeds with the same fall on few images: an interval without width, which would leave out 0."""
    found = paired(metrics([0.5, 0.7], [0.3, 0.3]), metrics([0.4, 0.6], [0.4, 0.4]))
    assert found[ROBUST_TEST].interval == pytest.approx((-0.1, -0.1))
    effect = effect_of(found)
    assert effect.label == "no_effect_shown"
    assert "all seeds have the same difference" in effect.reason


TEST, TRAIN = [0.6, 0.62, 0.58], [0.3, 0.31, 0.29]


@pytest.mark.parametrize(
    ("falls", "rises", "label"),
    [
        ([0.012, 0.03, 0.048], [0.025, 0.02, 0.015], "no_effect_shown"),  # most of it is a fall, which is not shown
        ([0.048, 0.03, 0.012], [0.016, 0.02, 0.024], "no_effect_shown"),
        ([0.03, 0.03, 0.03], [0.009, 0.01, 0.011], "no_effect_shown"),  # seeds that agree show no fall
        ([0.0, 0.01, 0.02], [0.029, 0.03, 0.031], "only_fits_less"),  # most of it is the rise
        ([-0.01, 0.0, 0.01], [0.029, 0.03, 0.031], "only_fits_less"),
    ],
)
def test_fitting_less_is_named_where_it_is_most_of_what_closes_the_gap(
    falls: list[float], rises: list[float], label: str
) -> None:
    """Planted: a gap that closed by 5 points, 3 of them by a lower test error, was said to close by fitting less."""
    lower = [error - fall for error, fall in zip(TEST, falls, strict=True)]
    higher = [error + rise for error, rise in zip(TRAIN, rises, strict=True)]
    found = effect_of(paired(metrics(TEST, TRAIN), metrics(lower, higher)))
    assert found.label == label
    assert ("closes more by a fall" in found.reason) == (label == "no_effect_shown")


@pytest.mark.parametrize("fall", [0.1, 0.0, -0.1])
def test_seeds_that_are_missing_stand_in_the_sentence(fall: float) -> None:
    """A remedy that diverges in most seeds is known by those in which it did not, which are no fair sample."""
    lower = [0.6 - fall + 0.001, None, 0.58 - fall, None]
    found = effect_of(paired(metrics([0.6, 0.6, 0.58, 0.6], [0.3] * 4), metrics(lower, [0.301, None, 0.302, None])))
    assert "of 2 of 4 seeds" in found.reason
    whole = effect_of(paired(metrics(TEST, TRAIN), metrics([0.5, 0.51, 0.49], TRAIN)))
    assert "seeds" not in whole.reason.replace("all seeds have", "")


def test_a_gap_that_closes_as_more_than_fitting_less_says_of_which_seeds() -> None:
    lower = [0.5, 0.55, None]
    found = effect_of(paired(metrics(TEST, TRAIN), metrics(lower, [0.55, 0.562, None])))
    assert found.label == "only_fits_less"
    assert "of 2 of 3 seeds" in found.reason
