"""The rules that lead to a verdict, on samples with known answers."""

import numpy as np
import pytest

from cgro.experiments.claims import NOT_REPRODUCED, PARTLY, REPRODUCED, UNTESTED, Sample, above, holds, value, worst


def test_the_prediction_interval_holds_one_more_seed_19_times_of_20() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(50.0, 0.5, (2000, 6))
    verdicts = [value("t/x", "", d[-1], Sample.of(d[:-1].tolist()), resolution=0.0).verdict for d in draws]
    assert 0.935 <= np.mean([v == REPRODUCED for v in verdicts]) <= 0.965


@pytest.mark.parametrize(
    ("paper", "verdict"), [(98.6, REPRODUCED), (100.5, PARTLY), (110.0, NOT_REPRODUCED)], ids=["near", "off", "far"]
)
def test_a_value_near_off_and_far(paper: float, verdict: str) -> None:
    assert value("t/x", "", paper, Sample((98.0, 98.5, 99.0, 98.5))).verdict == verdict


def test_a_calibrated_value_is_partly_at_best() -> None:
    claim = value("t/x", "", 98.5, Sample((98.0, 98.5, 99.0)), calibrated=True, why="CALIBRATED")
    assert (claim.verdict, "CALIBRATED" in claim.reason) == (PARTLY, True)
    assert value("t/x", "", 10.0, Sample((98.0, 98.5, 99.0)), calibrated=True).verdict == NOT_REPRODUCED


def test_a_spread_too_wide_to_tell_judges_nothing() -> None:
    assert value("t/x", "", 50.0, Sample((10.0, 50.0, 90.0))).verdict == UNTESTED


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_seeds_judge_nothing(n: int) -> None:
    sample = Sample((1.0, 2.0)[:n])
    assert value("t/x", "", 1.0, sample).verdict == UNTESTED
    assert above("t/x", "", sample, paper="").verdict == UNTESTED


def test_a_sign_needs_its_interval() -> None:
    assert above("t/x", "", Sample((1.0, 1.1, 0.9)), paper="").verdict == REPRODUCED
    assert above("t/x", "", Sample((3.0, -1.0, 1.0)), paper="").verdict == PARTLY
    assert above("t/x", "", Sample((-3.0, 1.0, -1.0)), paper="").verdict == NOT_REPRODUCED


def test_the_worst_claim_names_the_artifact() -> None:
    good = holds("a", "", {"x": True}, paper="", ours="", rule="")
    bad = holds("b", "", {"x": False}, paper="", ours="", rule="")
    none = holds("c", "", {}, paper="", ours="", rule="")
    assert worst([good, none]) == REPRODUCED
    assert worst([none]) == UNTESTED
    assert worst([good, bad, none]) == NOT_REPRODUCED
