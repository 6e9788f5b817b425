"""Several names before several values."""

import time

import pytest

from cgro.diagnosis.importers.line.lines import parse_line
from cgro.diagnosis.importers.line.pairs import changing_total, each_of, no_count, paired, with_parts_before


def test_a_list_of_two_kinds_or_parts_names_two_values() -> None:
    assert each_of("Acc (train/test)") == ("Acc (train)", "Acc (test)")
    assert each_of("test nat / PGD20 acc") == ("test nat acc", "test PGD20 acc")
    for name in ("test acc", "val/pgd_acc", "best/current test acc", "adv/pgd acc", "acc clean/test"):
        assert each_of(name) is None, name


def test_a_count_has_one_total_and_is_not_above_it() -> None:
    assert no_count("acc", "10000", "10000") == ""
    assert "'80/45' behind 'acc'" in no_count("acc", "80", "45")
    assert changing_total("acc", [10000]) == ""
    assert changing_total("acc", [128, 10000]) == ""
    assert "47, 48" in changing_total("acc", [48, 47])


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("Epoch 3, acc (clean, adv) = (80.1, 45.2)", [("acc clean", "80.1"), ("acc adv", "45.2")]),
        ("test acc [clean, pgd20, aa]: [80.1,45.2,43.1]",
         [("test acc clean", "80.1"), ("test acc pgd20", "45.2"), ("test acc aa", "43.1")]),
        ("Epoch 3 | test acc, test adv acc: 80, 45", [("test acc", "80"), ("test adv acc", "45")]),
        ("test acc | test adv acc : 80.1% | 45.2%", [("test acc", "80.1%"), ("test adv acc", "45.2%")]),
        ("test acc and test adv acc are 80.1 and 45.2", [("test acc", "80.1"), ("test adv acc", "45.2")]),
        ("Train / Val / Test acc: 80.1 / 70.2 / 60.3",
         [("Train acc", "80.1"), ("Val acc", "70.2"), ("Test acc", "60.3")]),
        ("[nat, pgd] test accuracy: [0.8, 0.45]", [("nat test accuracy", "0.8"), ("pgd test accuracy", "0.45")]),
        ("val acc/adv acc: 80/45 test acc/adv acc: 81/46",
         [("val acc", "80"), ("validation adv acc", "45"), ("test acc", "81"), ("test adv acc", "46")]),
        ("clean/adv acc: 80.1/45.2", [("clean acc", "80.1"), ("adv acc", "45.2")]),
    ],
)  # fmt: skip
def test_as_many_numbers_as_names_belong_to_them_in_order(line: str, values: list[tuple[str, str]]) -> None:
    """The last name had the first number, and the others none."""
    assert parse_line(line).values == values


def test_other_numbers_than_names_are_no_pairs() -> None:
    for line in (
        "Results, test adv acc: 47.1, 45.2",
        "Test, adv acc: 47.1, 45.2",
        "robust, test adv acc = [47.1, 45.2]",
        "acc (clean, adv): 80.1, 45.2, 43.1",
        "acc (mean, std): 80.1, 0.3",
        "PGD, eps: 8/255, acc: 45.2",
        "loss 0.8765, Accuracy: 8000/10000 (80%)",
        "clean acc, adv acc: 45/100",
        "test acc 80.1, test adv acc: 45.2, 43.1",
    ):
        assert paired(line) == line


def test_a_long_line_of_names_takes_no_time() -> None:
    start = time.process_time()
    paired(", ".join(["test adv acc"] * 20_000) + ": 1, " * 20_000)
    assert time.process_time() - start < 5


def test_parts_in_brackets_behind_several_values() -> None:
    moved = with_parts_before("nat acc 80 adv acc 55 (val), nat acc 79 adv acc 45 (test).")
    assert moved == "val: nat acc 80 adv acc 55 | test: nat acc 79 adv acc 45"
    for line in (
        "acc 80 (train) 79 (test)",
        "(train) acc 80 (test) acc 79",
        "acc 80 (train) adv acc 55 (train) acc 79 (test)",
        "train acc 80 (train) test acc 79 (test)",
        "acc 80 (train) acc 79 (best)",
        "acc 80 (train) acc 79 (test) lr 0.1",
    ):
        assert with_parts_before(line) == line


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("test adv loss/acc 1.780/27.92", [("test adv loss", "1.780"), ("test adv acc", "27.92")]),
        ("Epoch 3: test acc/loss 40.3/1.5, test adv acc/loss 27.9/1.8",
         [("test acc", "40.3"), ("test loss", "1.5"), ("test adv acc", "27.9"), ("test adv loss", "1.8")]),
        ("test acc clean/pgd/aa 80/45/43", [("test acc clean", "80"), ("test acc pgd", "45"), ("test acc aa", "43")]),
        ("train/val/test acc 80.1 / 70.2 / 60.3", [("train acc", "80.1"), ("val acc", "70.2"), ("test acc", "60.3")]),
        ("Epoch 3 acc test/train 40.3/35.0 robust acc test/train 27.9/24.9",
         [("acc test", "40.3"), ("acc train", "35.0"), ("robust acc test", "27.9"), ("robust acc train", "24.9")]),
        ("test nat/pgd-20 acc 80.1% 45.2%", [("test nat acc", "80.1%"), ("test pgd-20 acc", "45.2%")]),
        ("clean/adv acc 80/45", [("clean acc", "80"), ("adv acc", "45")]),
        ("acc train/test 80/79", [("acc train", "80"), ("acc test", "79")]),
        ("test loss, acc = (1.2, 80)", [("test loss", "1.2"), ("test acc", "80")]),
        ("test acc 4500/10000", [("test acc", "45%")]),
    ],
)  # fmt: skip
def test_each_number_behind_a_list_of_names_has_its_own(line: str, values: list[tuple[str, str]]) -> None:
    """The loss was proposed as the accuracy, and a third number was lost."""
    assert parse_line(line).values == values


def test_numbers_that_are_not_as_many_as_the_names_of_a_list_are_asked_for() -> None:
    names = [name for name, _ in parse_line("test acc clean/pgd/aa 80.1/45.2").values]
    assert names == ["test acc clean/pgd/aa (first of several)", "test acc clean/pgd/aa (second of several)"]
