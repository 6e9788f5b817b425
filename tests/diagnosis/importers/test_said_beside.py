"""Printed values that the words beside them turn into others: one minus an accuracy, the best, parts under one name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.cases import refused
from tests.diagnosis.importers.test_refused_lines import CLEAN, E, is_right, read

File = Callable[[str], Path]


def text_of(write: str) -> str:
    """One line an epoch: CLEAN and ROBUST are accuracies on the test set, C-ERR and R-ERR their errors."""
    lines: list[str] = []
    for e in E:
        line = write
        values = {"EPOCH": str(e), "CLEAN": f"{60 + e}.10", "ROBUST": f"{40 + e}.25"}
        values |= {"C-ERR": f"{100 - 60.1 - e:.2f}", "R-ERR": f"{100 - 40.25 - e:.2f}", "TRAIN": f"{80 + e / 2:.2f}"}
        values |= {"C-FRAC": f"{0.601 + e / 100:.4f}", "R-FRAC": f"{1 - 0.4025 - e / 100:.4f}"}
        for key, value in values.items():
            line = line.replace(key, value)
        lines.append(line + "\n")
    return "".join(lines)


@pytest.mark.parametrize(
    "write",
    [
        "Epoch EPOCH: test acc C-FRAC 1 - test robust acc R-FRAC",
        "Epoch EPOCH | test acc C-FRAC | 1 - test robust acc: R-FRAC",
        "Epoch EPOCH: 1-test_robust_acc=R-FRAC, test_acc=C-FRAC",
        "Epoch EPOCH, 1.0 \u2212 test robust acc = R-FRAC, test acc = C-FRAC",
        "Epoch EPOCH | test acc: CLEAN | 100 - test robust acc: R-ERR",
        "Epoch EPOCH (1 - robust acc) test: R-FRAC, test acc: C-FRAC",
    ],
)
def test_one_minus_an_accuracy_is_asked_for(file: File, write: str) -> None:
    path = file(text_of(write))
    text = refused(lambda: read(path), "may hold 1 minus its values", "if it is the robust error on test")
    assert is_right(read(path, text.partition("--map '")[2].rstrip("'")))


@pytest.mark.parametrize(
    "write",
    [
        "Epoch EPOCH - loss: 1 - test_acc: CLEAN - test_adv_acc: ROBUST",
        "Epoch EPOCH - accuracy: 1.0000 - test_acc: CLEAN - test_adv_acc: ROBUST",
        "fold 1 - Epoch: EPOCH - test acc CLEAN - 100-step test PGD acc ROBUST",
        "Epoch EPOCH iter 1 - test acc CLEAN, test adv acc: ROBUST",
    ],
)
def test_another_one_before_a_dash_is_none(file: File, write: str) -> None:
    assert is_right(read(file(text_of(write))))


@pytest.mark.parametrize(
    "write",
    [
        "Epoch EPOCH test acc CLEAN, test adv acc ROBUST (best)",
        "Epoch EPOCH test acc CLEAN, test adv acc: ROBUST <- best so far",
        "Epoch EPOCH test adv acc ROBUST (best) test acc CLEAN",
        "Epoch EPOCH | test acc CLEAN | test adv acc ROBUST [max] |",
    ],
)
def test_values_that_are_all_marked_as_the_best_are_no_curve(file: File, write: str) -> None:
    refused(lambda: read(file(text_of(write))), "'best test adv acc' is no curve: a best so far")


def test_a_mark_of_some_values_says_that_they_are_new_best_ones(file: File) -> None:
    text = text_of("Epoch EPOCH test acc CLEAN, test adv acc ROBUST (best)")
    assert is_right(read(file(text.replace("50.25 (best)", "50.25"))))


def test_brackets_behind_a_number_speak_of_it_and_not_of_the_next(file: File) -> None:
    refused(lambda: read(file(text_of("Epoch EPOCH: test adv acc 47.1 (ema) test acc CLEAN"))), "'ema test adv acc'")
    for write in (
        "Epoch EPOCH: test acc CLEAN (last), 61.2 (ema) test adv acc ROBUST",
        "Epoch EPOCH: test adv acc ROBUST (current) test acc CLEAN (current)",
        "Epoch EPOCH: ema test adv acc 47.1 (ema) test adv acc ROBUST test acc CLEAN",
    ):
        assert is_right(read(file(text_of(write)))), write


@pytest.mark.parametrize(
    "write",
    [
        "Epoch EPOCH\nStandard Accuracy-\tTrain: TRAIN%.\tTest: CLEAN%.\nAdversarial Accuracy-\tTrain: 50.1%.\tTest: ROBUST%.",
        "Epoch EPOCH acc train TRAIN test CLEAN; adv acc train 50.1 test ROBUST",
        "Epoch EPOCH, Acc(train/test): TRAIN/CLEAN, Adv Acc(train/test): 50.10/ROBUST",
        "Epoch EPOCH: robust acc train/test: 50.1, ROBUST; clean acc train/test: TRAIN, CLEAN",
        "Epoch EPOCH: Test accuracy: clean CLEAN, pgd ROBUST",
        "Epoch EPOCH: Test error: clean C-ERR, pgd-20 R-ERR",
        "Epoch EPOCH: test clean/adv acc CLEAN/ROBUST",
    ],
)
def test_values_of_several_parts_or_kinds_under_one_name(file: File, write: str) -> None:
    assert is_right(read(file(text_of(write))))


def test_what_a_part_alone_is_of_is_asked_for(file: File) -> None:
    """As is what the measure is where a loss stands before the colon."""
    refused(lambda: read(file(text_of("Epoch EPOCH: Train adv acc TRAIN, Test ROBUST"))), "says several parts")
    refused(lambda: read(file(text_of("Epoch EPOCH: Test loss: clean 1.2, pgd 1.9"))), "neither error nor accuracy")
    assert np.allclose(read(file(text_of("Epoch EPOCH: Test 100 s, test acc CLEAN")))["clean_error/test"], CLEAN)


@pytest.mark.parametrize(
    ("pair", "says"),
    [("4EPOCH/5EPOCH", "since their total changes"), ("80/4EPOCH", "'80/40' behind 'test adv acc' is no count")],
)
def test_pairs_of_whole_numbers_are_no_counts(file: File, pair: str, says: str) -> None:
    text = text_of(f"Epoch EPOCH: test acc CLEAN | test adv acc {pair}").replace("410/510", "42/52")
    refused(lambda: read(file(text.partition("Epoch 10")[0])), says, "behind a name of its own")


def test_counts_of_one_total_are_read(file: File) -> None:
    text = "".join(f"Epoch {e}: test acc {60 + e}/100, test adv acc {40 + e}/100\n" for e in E)
    assert np.allclose(read(file(text))["robust_error/test"], 0.6 - np.arange(12) / 100)


def test_a_second_number_whose_word_says_what_it_is_is_a_value(file: File) -> None:
    for write in ("test acc: CLEAN -> ROBUST under PGD", "test acc CLEAN (ROBUST adversarial)"):
        path = file(text_of(f"Epoch EPOCH: {write}"))
        refused(lambda path=path: read(path), "several numbers stand behind its name")
    assert is_right(read(file(text_of("Epoch EPOCH: test acc CLEAN (30 s) test adv acc ROBUST 12 min"))))
