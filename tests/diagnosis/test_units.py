"""Percent or fraction, per column."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.cases import refused

from cgro.diagnosis import Curves, read_curves
from cgro.diagnosis.units import agreed_unit, require_percent_that_vary, unit_change, unit_of

CURVES = {
    "acc %": "clean_accuracy/test", "robust acc %": "robust_accuracy/test", "adv": "robust_accuracy/test",
    "adv err": "robust_error/test",
}  # fmt: skip
"""What `--map` calls some columns."""


def test_units_come_from_the_whole_range() -> None:
    falls = np.array([0.62, 45.0, 0.3, 0.0])  # percent whose first and last values look like fractions
    assert unit_of("acc", falls) == "percent"
    assert unit_of("acc", falls / 100) == "fraction"
    assert unit_of("acc", np.zeros(3)) is None
    assert unit_of("acc", np.full(3, np.nan)) is None
    assert unit_of("acc percent", np.array([0.5])) == "percent"
    assert unit_of("acc", np.array([0.5, 1 + 5e-7])) == "fraction"
    refused(
        lambda: unit_of("acc", np.array([1.2, 0.5]), curve="clean_accuracy/test"),
        "column acc",
        "1.2",
        "--map clean_accuracy/test=acc:percent",
    )
    refused(lambda: unit_of("acc", np.array([101.0])), "101")
    refused(lambda: unit_of("acc", np.array([-0.2])), "-0.2")


def test_columns_agree_or_the_caller_says() -> None:
    assert agreed_unit({"a": "percent", "b": "percent", "c": None}) == "percent"
    assert agreed_unit({"a": None}) == "fraction"
    assert agreed_unit({"a": "percent", "b": "fraction"}, told=["b"]) == "percent"
    refused(
        lambda: agreed_unit({"a": "percent", "b": "fraction", "c": "percent"}),
        "a, c in percent",
        "write every error as a fraction",
    )


@pytest.mark.parametrize("cell", ["{:.4f}", "{:.4f}%"])
def test_fractions_that_call_themselves_percent_are_refused(file: Callable[[str], Path], cell: str) -> None:
    """They would be the accuracies of a network that answers a constant."""
    clean, robust = accuracy(40) / 50, accuracy(40) / 100
    name = "acc (%)" if "%" not in cell else "acc"
    rows = [f"{k},{cell.format(a)},{cell.format(b)}" for k, (a, b) in enumerate(zip(clean, robust, strict=True))]
    path = file("\n".join([f"epoch,clean test {name},robust test {name}", *rows]))
    refused(lambda: read_curves(path), f"column clean test {name}: expected percent, as it says", ":fraction")
    told = {f"{kind}_accuracy/test": f"{kind} test {name}:fraction" for kind in ("clean", "robust")}
    (curves,) = read_curves(path, told)
    assert curves["clean_error/test"] == pytest.approx(1 - clean, abs=1e-4)


@pytest.mark.parametrize("column", ["robust test acc (%)", "clean test error (%)", "robust train error (%)"])
def test_less_than_a_percent_is_believed_where_it_is_common(file: Callable[[str], Path], column: str) -> None:
    """Standard training is hardly robust, and errs on less than one digit of MNIST in a hundred."""
    values = np.array([0.9, 0.7, 0.4, 0.5, 0.2])
    rows = [f"{k},{value}" for k, value in enumerate(values)]
    (curves,) = read_curves(file("\n".join([f"epoch,{column}", *rows])))
    kind, part, what = column.split()[:3]
    expected = values / 100
    if what == "acc":
        expected = 1 - expected
    assert curves[f"{kind}_error/{part}"] == pytest.approx(expected)


def test_a_constant_answer_in_percent_is_one() -> None:
    require_percent_that_vary({"acc %": np.array([1.0, 0.97, 1.0]), "robust acc %": np.zeros(3)}, CURVES)
    require_percent_that_vary({"acc %": np.array([0.2, 90.0]), "robust acc %": np.array([0.0, 0.4])}, CURVES)
    refused(lambda: require_percent_that_vary({"acc %": np.array([0.2, 0.9, np.nan])}, CURVES), "acc %", "[0.2, 0.9]")


def accuracy(n: int) -> np.ndarray:
    """(n,) percent that rise, with noise."""
    return 45 - 20 * np.exp(-np.arange(n) / 10) + np.random.default_rng(0).normal(0, 0.5, n)


@pytest.mark.parametrize("split", [2, 10, 30, 57])
def test_a_unit_that_changes_inside_a_column_is_refused_with_its_epoch(split: int) -> None:
    values, epochs = accuracy(60), np.arange(60.0)
    later, earlier = values.copy(), values.copy()
    later[split:] /= 100
    earlier[:split] /= 100
    refused(lambda: unit_of("acc", later, epochs), f"percent up to epoch {split - 1} and fractions from epoch {split}")
    refused(
        lambda: unit_of("acc", earlier, epochs, curve="clean_error/test"),
        f"fractions up to epoch {split - 1} and percent",
        "acc:percent",
    )


def test_appended_trainings_in_two_units_are_refused_whatever_their_levels() -> None:
    epochs = np.tile(np.arange(20.0), 2)
    both = np.r_[accuracy(20), accuracy(20)[::-1] / 300]
    assert unit_change(both, epochs) == "percent up to epoch 19 and fractions from epoch 0 on"
    assert unit_change(both, np.arange(40.0)) is None  # one training whose accuracy collapses


@pytest.mark.parametrize("end", [(0.3, 0.0, 0.0), (0.9, 0.2, 0.1), (1.0, 1.0, 1.0), (0.05, 0.0, 0.3)])
def test_a_collapse_and_a_slow_start_are_one_unit(end: tuple[float, ...]) -> None:
    values = accuracy(60)
    assert unit_change(np.r_[values, end], np.arange(63.0)) is None
    assert unit_change(np.r_[end, values], np.arange(63.0)) is None
    assert unit_change(np.linspace(60, 0.2, 60), np.arange(60.0)) is None  # an error that falls below 1%


def test_files_and_rows_say_so_and_the_caller_decides(file: Callable[[str], Path]) -> None:
    values = accuracy(30)
    values[20:] /= 100
    lines = "".join(f"{epoch},{value:.4f}\n" for epoch, value in enumerate(values))
    path = file("epoch,test_robust_acc\n" + lines)
    refused(lambda: read_curves(path), "epoch 19 and fractions from epoch 20", "test_robust_acc:percent")
    told = {"robust_accuracy/test": "test_robust_acc:percent"}
    assert read_curves(path, told)[0]["robust_error/test"][-1] > 0.99
    rows = [{"epoch": epoch, "robust_error/test": value} for epoch, value in enumerate(values)]
    refused(lambda: Curves.from_rows(rows), "percent up to epoch 19")


def test_both_readings_of_columns_that_disagree_are_named() -> None:
    """A robust accuracy may stay below 1%, and so may the errors of a good network."""
    text = refused(lambda: agreed_unit({"acc": "percent", "test acc": "percent", "adv": "fraction"}, curves=CURVES))
    assert "if all are in percent, say 'adv:percent'; if not, say so: --map robust_accuracy/test=adv:fraction" in text
    text = refused(
        lambda: agreed_unit({"adv err": "percent", "err": "fraction", "test err": "fraction"}, curves=CURVES)
    )
    assert "say 'err:percent', 'test err:percent'; if not, say so: --map 'robust_error/test=adv err:percent'" in text
    assert agreed_unit({"adv": "fraction", "acc": "percent"}, ["adv"]) == "percent"
