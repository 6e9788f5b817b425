"""Fast adversarial training: Train Acc is of attacked examples, and the only evaluation is at the end."""

import numpy as np
from tests.diagnosis.formats import ERRORS, RTR, N, fast

from cgro.diagnosis import Curves, diagnose
from cgro.diagnosis.importers import Told, read_log
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.fast import Fast


def read(text: str) -> Curves:
    (found,) = Fast().read(Text(text, "x"), Told({}))
    return found


def test_the_training_is_robust_and_the_end_is_a_point() -> None:
    found = read(fast())
    assert not found.has("clean_error/train")
    epochs, values = found.measured("robust_error/test")
    assert epochs.tolist() == [N - 1]
    assert np.isclose(values[0], ERRORS["robust_error/test"][-1], atol=1e-6)
    assert found.meta["attack"] == "fgsm"
    assert "too_little_evidence" in diagnose(found).label


def test_the_three_programs_are_told_apart_by_their_options() -> None:
    for option, attack in (("minibatch_replays=8", "free"), ("attack_iters=7, delta_init='zero'", "pgd")):
        assert read(fast().replace("delta_init='random'", option)).meta["attack"] == attack


def test_columns_of_descendants_are_what_their_names_say() -> None:
    """A test accuracy in every row: the evaluation at the end is not read over it."""
    lines = [line.replace("Train Acc", "Train Acc \t Test Acc \t 20 step PGD test Acc") for line in fast().splitlines()]
    lines = [f"{line} \t 0.7000 \t 0.4000" if "12.3" in line else line for line in lines]
    found = read("\n".join(lines))
    assert np.allclose(found["robust_error/test"], 0.6)
    assert np.allclose(found["robust_error/train"], ERRORS[RTR], atol=1e-6)


def test_without_their_options_the_columns_are_what_their_names_say() -> None:
    text = fast().replace("delta_init='random', ", "")
    assert Fast().recognizes(Text(text, "x")) == 0
    assert np.allclose(read_log(text)["clean_error/train"], ERRORS[RTR], atol=1e-6)


EVALUATION = "Test Loss \t Test Acc \t PGD Loss \t PGD Acc"


def evaluated(text: str) -> str:
    """The log of a descendant such as LAS-AT, which evaluates behind every row."""
    lines: list[str] = []
    for line in text.split("Test Loss")[0].splitlines():
        lines.append(line)
        if "12.3" in line:
            t = len(lines)
            lines += [EVALUATION, f"1.2000 \t \t 0.{7000 + t} \t 1.5000 \t 0.{4000 + t}"]
    return "\n".join(lines)


def test_an_evaluation_behind_every_row_is_of_its_epoch() -> None:
    """Only the last one was read."""
    found = read(evaluated(fast()))
    epochs, values = found.measured("robust_error/test")
    assert len(epochs) == N
    assert np.allclose(-np.diff(values), 3e-4)
    assert f"{N} evaluations are taken for the epochs of the rows above them" in found.remarks
