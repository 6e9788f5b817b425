"""Texts of programs that only print, by patterns: TRADES, NoiLIn, GradAlign."""

import shlex
import time

import numpy as np
import pytest
from tests.cases import refused
from tests.diagnosis.writers import four

from cgro.diagnosis import Curves
from cgro.diagnosis.importers import Told, parse_map
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.pattern import Pattern, option_for


def read(text: str, columns: str) -> Curves:
    (found,) = Pattern().read(Text(text, "x"), Told.of(parse_map(columns)))
    return found


ERRORS = four(40)
CLEAN, ROBUST = 1 - ERRORS["clean_error/test"], 1 - ERRORS["robust_error/test"]


def test_blocks_between_epochs_with_counts() -> None:
    """As TRADES and MART print: batches, then counts of the test set."""
    lines = ["Namespace(beta=6.0)"]
    for e in range(40):
        lines += [f"Train Epoch: {e + 1} [{b}/50000 ({b // 500}%)]\tLoss: 1.5" for b in (0, 12800, 25600)]
        lines += [f"natural_acc:  tensor({round(10000 * CLEAN[e])}., device='cuda:0')"]
        lines += [f"robust_acc: {round(10000 * ROBUST[e])}/10000"]
    found = read(
        "\n".join(lines),
        r"epoch=/Train Epoch: (\d+)/,clean_accuracy/test=/natural_acc:\s+tensor\(([\d.]+)/"
        r"/10000,robust_accuracy/test=/robust_acc: (\d+)//10000",
    )
    assert found.epoch.tolist() == list(range(1, 41))
    assert np.allclose(found["clean_error/test"], ERRORS["clean_error/test"], atol=6e-5)
    assert np.allclose(found["robust_error/test"], ERRORS["robust_error/test"], atol=6e-5)


def test_all_in_one_line_in_percent() -> None:
    """As GradAlign and NoiLIn print."""
    lines = [f"Epoch: [{e} | 40] | Natural Test Acc {100 * c:.4f}% | PGD10 Test Acc {100 * r:.4f}%"
             for e, (c, r) in enumerate(zip(CLEAN, ROBUST, strict=True))]  # fmt: skip
    columns = r"epoch=/Epoch: \[(\d+)/,clean_accuracy/test=/Natural Test Acc ([\d.]+)/,robust_accuracy/test=/PGD10 Test Acc (\S+)/"
    found = read("\n".join(lines), columns)
    assert np.allclose(found["robust_error/test"], ERRORS["robust_error/test"], atol=1e-6)
    assert {column.unit for column in found.columns if column.measure == "accuracy"} == {"percent"}


def test_without_a_pattern_for_the_epoch_blocks_are_counted() -> None:
    text = "clean 0.8\nrobust 0.4\nclean 0.7\nrobust 0.5\n"
    found = read(text, "clean_accuracy/test=/clean ([0-9.]+)/,robust_accuracy/test=/robust ([0-9.]+)/")
    assert found.epoch.tolist() == [1, 2]
    assert found["robust_error/test"].tolist() == [0.6, 0.5]


def test_of_several_matches_in_an_epoch_the_last_counts_and_that_is_said() -> None:
    text = "".join(f"epoch {e}\n" + "".join(f"acc 0.{b}\n" for b in (1, 2, 3)) for e in range(5))
    found = read(text, r"epoch=/epoch (\d+)/,robust_accuracy/train=/acc ([\d.]+)/")
    assert (found["robust_error/train"] == 0.7).all()
    assert found.remarks == ("robust_accuracy/train: 15 matches in 5 epochs; the last of each epoch counts",)


def test_two_trainings_in_a_text_are_the_last_one_with_a_caveat() -> None:
    text = "".join(f"epoch {e} acc 0.{k}{e:02d}\n" for k in (3, 4) for e in range(12))
    found = read(text, r"epoch=/epoch (\d+)/,robust_accuracy/test=/acc ([\d.]+)/")
    assert found["robust_error/test"][0] == 0.6
    assert "2 trainings" in found.caveats[0]


def test_patterns_that_match_nothing_or_no_number_are_refused() -> None:
    refused(lambda: read("acc 0.5\n", r"robust_accuracy/test=/pgd ([\d.]+)/"), "no match of /pgd", "acc 0.5")
    refused(lambda: read("acc one\n", r"robust_accuracy/test=/acc (\w+)/"), "line 1", "'one'")


def test_a_long_line_is_searched_at_its_beginning() -> None:
    start = time.process_time()
    read("x " * 1_000_000 + "\nacc 0.5\n", r"robust_accuracy/test=/acc ([\d.]+)/")
    assert time.process_time() - start < 5


def test_values_above_the_line_of_their_epoch_are_of_that_epoch() -> None:
    columns = r"epoch=/Epoch (\d+)/,robust_accuracy/test=/PGD ([\d.]+)/"
    for over in ("took 3 s", "done", "is over"):
        found = read("".join(f"PGD 0.{30 + e}\nEpoch {e} {over}\n" for e in range(12)), columns)
        assert np.allclose(found["robust_error/test"], 0.7 - np.arange(12) / 100)
        assert found.epoch.tolist() == list(range(12))
        assert "stand above the line" in found.remarks[0]
    found = read("PGD 0.1\n" + "".join(f"Epoch {e}\nPGD 0.{30 + e}\n" for e in range(12)), columns)
    assert np.allclose(found["robust_error/test"], 0.7 - np.arange(12) / 100)
    assert "before the first epoch are left out" in found.remarks[0]


def test_a_pattern_within_the_line_of_its_epoch_is_of_that_epoch() -> None:
    text = "".join(f"test acc {60 + e}\nEpoch {e} took 3 s, pgd acc {40 + e}\n" for e in range(6))
    found = read(text, r"epoch=/Epoch (\d+)/,clean_accuracy/test=/test acc (\d+)/,robust_accuracy/test=/pgd acc (\d+)/")
    assert np.allclose(found["clean_error/test"], 0.4 - np.arange(6) / 100)
    assert np.allclose(found["robust_error/test"], 0.6 - np.arange(6) / 100)


@pytest.mark.parametrize(
    ("line", "curve"),
    [
        ("Round {e} | clean 80.1 | adv acc {acc}", "robust_accuracy/test"),
        ("[{e}/60] epochs | test acc 40.32 | test adv acc {acc}", "robust_accuracy/test"),
        (
            '10:01:00 | INFO | {{"epoch": {e}, "valid_accuracy": "39.5", "valid_adv_accuracy": "{acc}"}}',
            "robust_accuracy/validation",
        ),
        ("[Epoch] {e} | train adv acc 60.1 | test PGD-20 acc: {acc}%", "robust_accuracy/test"),
    ],
)
def test_the_option_for_a_line_reads_such_lines(line: str, curve: str) -> None:
    """What a refusal advises is pasted: it reads the value and no other."""
    option = option_for(line.format(e=1, acc="41.25"))
    (columns,) = shlex.split(option)[1:]
    text = "".join(line.format(e=e, acc=f"{40 + e}.25") + "\n" for e in range(1, 13))
    found = read(text, columns)
    assert columns.count(curve) == 1
    assert np.allclose(found[curve.replace("accuracy", "error")], 0.5975 - np.arange(1, 13) / 100)


@pytest.mark.parametrize(
    "line",
    ["2024-01-01 adv 4.5", "[train] ep=3 adv acc 45.20", "lr 0.1", "ep=3 [test] clean 80.1 [train] adv acc 45.2", ""],
)
def test_a_line_that_does_not_say_it_gets_the_common_form(line: str) -> None:
    assert "PGD acc:?" in option_for(line)
