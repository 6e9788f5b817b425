"""What a run of `cgro dynamics` is said to show, within its condition and outside of it."""

from dataclasses import replace

import pytest

from cgro.commands._statements import STATEMENTS, statement_of, unfinished
from cgro.dynamics import PRESETS
from cgro.trajectory import Outcome


def test_a_calibrated_preset_says_so_against_a_full_ball_too():
    ball = replace(PRESETS["table2"], adversary="l2")
    assert statement_of("table2", PRESETS["table2"]) == STATEMENTS["table2"]
    assert "CALIBRATED" in statement_of("table2", ball)
    assert "every patch" in statement_of("table2", ball)


def test_the_statement_of_the_theorem_is_made_only_under_its_condition() -> None:
    theorem = PRESETS["theorem"]
    assert "coin flip" in statement_of("theorem", replace(theorem, radius_ratio=0.9))
    for ratio in (1.0, 1.5):
        said = statement_of("theorem", replace(theorem, radius_ratio=ratio))
        assert "outside the condition of Theorem 5.9" in said
        assert "coin flip" not in said
    assert statement_of("table2", replace(PRESETS["table2"], radius_ratio=1.5)) == STATEMENTS["table2"]


@pytest.mark.parametrize(
    ("preset", "changed", "said"),
    [
        ("theorem", {"radius_ratio": 0.0}, "the attack leaves 100% of the signal"),
        ("theorem", {"radius_ratio": 0.7}, "the attack leaves 30% of the signal"),
        ("theorem", {"robust_weight": 0.0}, "standard training, outside of Theorem 5.9"),
        ("table2", {"radius_ratio": 0.978}, "nothing of what was calibrated holds"),
        ("table2", {"robust_weight": 0.0}, "standard training"),
        ("control", {"robust_weight": 0.5}, "adversarial training"),
    ],
)
def test_a_preset_whose_condition_an_option_leaves_says_that_and_nothing_else(preset, changed, said):
    found = statement_of(preset, replace(PRESETS[preset], **changed))
    assert said in found
    assert found.startswith(f"{preset}, but ")
    assert STATEMENTS[preset] not in found


@pytest.mark.parametrize(
    ("preset", "changed"), [("theorem", {"n_train": 5}), ("table2", {"robust_weight": 0.3}), ("control", {"lr": 0.1})]
)
def test_a_preset_keeps_its_statement_within_its_condition(preset, changed):
    assert statement_of(preset, replace(PRESETS[preset], **changed)) == STATEMENTS[preset]


ENDED, STOPPED = Outcome("completed", "200 steps", 200), Outcome("stopped", "the loss was reached", 90)
DIVERGED, NOT_FINITE = Outcome("diverged", "at step 3", 3), Outcome("non_finite", "at step 4", 4)


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        ([DIVERGED], "Nothing is shown: the training ended as diverged in 1 of 1 seeds"),
        ([NOT_FINITE, NOT_FINITE], "Nothing is shown: the training ended as non_finite in 2 of 2 seeds"),
        ([DIVERGED, NOT_FINITE], "Nothing is shown: the training ended as diverged or non_finite in 2 of 2 seeds"),
    ],
)
def test_of_a_training_that_did_not_end_no_preset_says_anything(outcomes: list[Outcome], said: str) -> None:
    found = unfinished(outcomes, STATEMENTS["theorem"])
    assert found.startswith(said)
    assert STATEMENTS["theorem"] not in found


def test_of_several_seeds_the_statement_holds_for_those_that_ended() -> None:
    found = unfinished([ENDED, DIVERGED, ENDED], STATEMENTS["theorem"])
    assert found.startswith("The training ended as diverged in 1 of 3 seeds")
    assert found.endswith(STATEMENTS["theorem"])
    for outcomes in ([], [ENDED], [ENDED, STOPPED]):
        assert unfinished(outcomes, STATEMENTS["theorem"]) == STATEMENTS["theorem"]
