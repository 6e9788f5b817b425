"""The rules that lead to a verdict, on samples with known answers."""

import json
from pathlib import Path

import numpy as np
import pytest

from cgro.experiments.claims import (
    DERIVED,
    NOT_REPRODUCED,
    PARTLY,
    REPRODUCED,
    UNDECIDED,
    UNTESTED,
    Statement,
    above,
    below,
    derived,
    holds,
    limited,
    untested,
    value,
    worst,
)
from cgro.results import Measured

SAID = Statement("t/x", "", why="WHY")


def test_the_prediction_interval_holds_one_more_seed_19_times_of_20() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(50.0, 0.5, (2000, 6))
    verdicts = [value(SAID, d[-1], Measured.of(d[:-1].tolist()), resolution=0.0).verdict for d in draws]
    assert 0.935 <= np.mean([v == REPRODUCED for v in verdicts]) <= 0.965


@pytest.mark.parametrize(
    ("paper", "verdict"), [(98.6, REPRODUCED), (100.5, PARTLY), (110.0, NOT_REPRODUCED)], ids=["near", "off", "far"]
)
def test_a_value_near_off_and_far(paper: float, verdict: str) -> None:
    assert value(SAID, paper, Measured((98.0, 98.5, 99.0, 98.5))).verdict == verdict


def test_a_calibrated_value_is_partly_at_best() -> None:
    claim = value(SAID, 98.5, Measured((98.0, 98.5, 99.0)), calibrated=True)
    assert (claim.verdict, "WHY" in claim.reason) == (PARTLY, True)
    assert value(SAID, 10.0, Measured((98.0, 98.5, 99.0)), calibrated=True).verdict == NOT_REPRODUCED


def test_a_spread_too_wide_to_tell_judges_nothing() -> None:
    assert value(SAID, 50.0, Measured((10.0, 50.0, 90.0))).verdict == UNDECIDED


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_seeds_judge_nothing(n: int) -> None:
    sample = Measured((1.0, 2.0)[:n])
    assert value(SAID, 1.0, sample).verdict == UNTESTED
    assert above(SAID, sample).verdict == UNTESTED


def test_a_sign_needs_its_interval() -> None:
    assert above(SAID, Measured((1.0, 1.1, 0.9))).verdict == REPRODUCED
    assert above(SAID, Measured((3.0, -1.0, 1.0))).verdict == PARTLY
    assert above(SAID, Measured((-3.0, 1.0, -1.0))).verdict == UNDECIDED
    assert above(SAID, Measured((-1.0, -1.1, -0.9))).verdict == NOT_REPRODUCED


@pytest.mark.parametrize("limit", [-2.0, 0.0, 0.1])
@pytest.mark.parametrize(
    ("low", "high", "upward", "downward"),
    [
        (0.5, 1.5, REPRODUCED, NOT_REPRODUCED),
        (-0.2, 0.8, PARTLY, UNDECIDED),
        (-0.8, 0.2, UNDECIDED, PARTLY),
        (-1.5, -0.5, NOT_REPRODUCED, REPRODUCED),
    ],
    ids=["above", "around, mean above", "around, mean below", "below"],
)
def test_a_planted_interval_on_each_side_of_the_limit(
    limit: float, low: float, high: float, upward: str, downward: str
) -> None:
    """Three seeds whose 95% interval is [limit + low, limit + high]."""
    middle = limit + (low + high) / 2
    half = (high - low) / 2 * np.sqrt(3) / 4.302652729749464  # t of two degrees of freedom: of a table
    sample = Measured((middle - half, middle, middle + half))
    assert sample.interval == pytest.approx((limit + low, limit + high))
    assert above(SAID, sample, limit=limit).verdict == upward
    assert below(SAID, sample, limit=limit).verdict == downward


def test_an_interval_around_the_limit_says_what_it_still_excludes_and_explains_nothing() -> None:
    """Standard deviation 1.31, so 4.303 * 1.31 / sqrt(3) = 3.254 on each side of the mean."""
    claim = above(SAID, Measured((-1.91, 0.71, -0.6)), unit=" points")
    assert claim.verdict == UNDECIDED
    assert claim.reason.endswith("contains the limit 0; excluded are values above 2.65 points")
    assert "WHY" not in claim.reason
    mirrored = below(SAID, Measured((1.91, -0.71, 0.6)))
    assert mirrored.reason.endswith("contains the limit 0; excluded are values below -2.65 points")


def test_what_follows_from_a_derivation_is_derived_and_a_reading_that_says_less_is_partly() -> None:
    good = holds(SAID, {"x": True}, ours="", rule="")
    bad = holds(SAID, {"x": False}, ours="", rule="")
    assert (derived(good, "BY").verdict, limited(good, "BY").verdict) == (DERIVED, PARTLY)
    assert derived(good, "BY").reason == limited(good, "BY").reason == "1 of 1 checks hold; BY"
    assert derived(bad, "BY") == limited(bad, "BY") == bad, "an evaluation that fails does refute"


def test_the_worst_claim_names_the_artifact() -> None:
    good = holds(SAID, {"x": True}, ours="", rule="")
    bad = holds(SAID, {"x": False}, ours="", rule="")
    none = holds(SAID, {}, ours="", rule="")
    assert worst([good, none]) == REPRODUCED
    assert worst([none]) == UNTESTED
    assert worst([good, bad, none]) == NOT_REPRODUCED
    open_ = above(SAID, Measured((-3.0, 1.0, -1.0)))
    assert worst([good, derived(good, ""), none]) == DERIVED
    assert worst([good, derived(good, ""), open_, none]) == UNDECIDED
    assert worst([bad, open_]) == NOT_REPRODUCED


def test_below_is_above_of_the_negative() -> None:
    for values in ((1.0, 1.1, 0.9), (3.0, -1.0, 1.0), (-3.0, -1.0, -1.0), (-9.0, -9.1, -9.2)):
        negative = Measured(tuple(-v for v in values))
        assert below(SAID, negative, limit=-0.5).verdict == above(SAID, Measured(values), limit=0.5).verdict


def test_our_explanation_is_said_only_where_a_claim_is_not_reproduced() -> None:
    assert "WHY" not in above(SAID, Measured((1.0, 1.1, 0.9))).reason
    assert above(SAID, Measured((-1.0, -1.1, -0.9))).reason.endswith("; WHY")
    assert holds(SAID, {"a": True, "b": False}, ours="", rule="").reason == "1 of 2 checks hold (not: b); WHY"
    assert untested(SAID, ours="").reason == "WHY"


def test_a_claim_is_recorded_as_it_is() -> None:
    claim = above(SAID, Measured((1.0, 1.1, 0.9)))
    record = claim.record()
    assert (record.name, record.verdict, record.reason) == (claim.name, claim.verdict, claim.reason)
    assert record.numbers["per_seed"] == [1.0, 1.1, 0.9]


def test_no_stored_verdict_of_a_refutation_has_an_interval_that_contains_its_limit() -> None:
    """And the other way round: an interval around the limit is called by one of the two undecided words."""
    root = Path(__file__).parents[2] / "results"
    found = []
    for path in sorted(root.glob("*/*/summary.json")):
        found += json.loads(path.read_text()).get("claims", [])
    intervals = [claim for claim in found if "interval" in claim["numbers"] and "limit" in claim["numbers"]]
    assert len(intervals) > 20
    for claim in intervals:
        low, high = claim["numbers"]["interval"]
        contains = low <= claim["numbers"]["limit"] < high
        decided_otherwise = (PARTLY, DERIVED)  # by more than this one interval
        if claim["verdict"] not in decided_otherwise:
            assert contains == (claim["verdict"] == UNDECIDED), claim["name"]
