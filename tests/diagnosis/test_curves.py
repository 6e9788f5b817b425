"""Curves as values: rows of a program, copies of clean columns, and what is refused."""

import numpy as np
import pytest
import torch
from tests.cases import refused

from cgro._check import BadRequest
from cgro.definitions import ErrorRate
from cgro.diagnosis import CurveRule, Curves, diagnose
from cgro.diagnosis.importers import Told
from cgro.diagnosis.importers.table import Table, curves_of
from cgro.diagnosis.words import Meaning

QUICK = CurveRule(n_boot=19)


def test_copied_robust_columns_are_refused_in_any_format() -> None:
    rows = [{"epoch": t, "clean_error/test": 0.3 - t / 100, "robust_error/test": 0.3 - t / 100} for t in range(12)]
    assert diagnose(Curves.from_rows(rows)).training == "standard"


def test_a_constant_answer_is_no_copy() -> None:
    rows = [
        {"epoch": t, "clean_error/test": 0.9, "robust_error/test": 0.9, "clean_error/train": 0.9} for t in range(12)
    ]
    found = diagnose(Curves.from_rows(rows))
    assert (found.training, found.label) == ("adversarial", "collapsed")


def test_curves_of_different_lengths_are_refused() -> None:
    with pytest.raises(BadRequest, match="3 values each, one per epoch, got robust_error/test 2"):
        Curves([1, 2, 3], {"robust_error/test": [0.5, 0.4]})


@pytest.mark.parametrize(
    ("epoch", "errors", "words"),
    [("x", [0.5], "epoch: expected numbers, one per epoch, got 'x'"), ([1, 2], [[0.1], [0.1, 0.2]], "robust_error/test: expected numbers"),
     ([1.0], 0.5, "robust_error/test of shape ()"), ([1.0], torch.tensor([0.5], requires_grad=True), "robust_error/test: expected numbers"),
     ([1.0], {"a": 0.5}, "robust_error/test: expected numbers")],
)  # fmt: skip
def test_what_is_no_numbers_is_refused_by_its_name(epoch: object, errors: object, words: str) -> None:
    refused(lambda: Curves(epoch, {"robust_error/test": errors}), words)  # type: ignore[arg-type]


def test_rows_of_a_program() -> None:
    good = {"epoch": 1, "robust_error/test": 0.5}
    for row in ({"epoch": "x"}, {"epoch": None}, {"epoch": 10**400}, {"epoch": 10**5_000}, {}, {"epoch": []}):
        refused(lambda row=row: Curves.from_rows([good, row], {"source": "run"}), "run: epoch")
    refused(lambda: Curves([1.0, float("inf")], {}), "finite")


def test_values_that_are_not_finite_were_not_measured() -> None:
    odd = (0.5, float("inf"), float("nan"), 10**400, None)
    rows = [{"epoch": e, "robust_error/test": v} for e, v in enumerate(odd)]
    assert Curves.from_rows(rows).measured("robust_error/test")[0].tolist() == [0.0]
    assert Curves.from_rows(rows)["robust_error/test"][0] == 0.5
    for value in ("0.5", True, [0.5], {}):
        refused(lambda value=value: Curves.from_rows([{"epoch": 1, "robust_error/test": value}]), "a number")
    rows = [{"epoch": 1, "robust_error/test": "inf"}, {"epoch": 2, "robust_error/test": 0.5}]
    (found,) = curves_of(Table("table", lambda: rows), Told({}))
    assert found.measured("robust_error/test")[1].tolist() == [0.5]  # infinity does not make the others percent
    diagnose(found, rule=QUICK)


def test_error_rates_are_numbers_and_bring_their_n() -> None:
    rows = [
        {"epoch": e, "robust_error/test": ErrorRate(50 + e, 400, "lower"), "clean_error/train": ErrorRate(e, 90)}
        for e in range(12)
    ]
    found = Curves.from_rows(rows)
    assert np.allclose(found["robust_error/test"], (50 + np.arange(12)) / 400)
    assert (found.meta["n/test"], found.meta["n/train"]) == (400, 90)
    assert diagnose(found, rule=QUICK).rise is not None
    direct = Curves([1, 2], {"robust_error/test": [ErrorRate(1, 4), ErrorRate(1, 2)]})
    assert direct["robust_error/test"].tolist() == [0.25, 0.5]


def test_rates_of_other_sizes_count_as_the_smaller() -> None:
    rows = [{"epoch": e, "robust_error/test": ErrorRate(5, n)} for e, n in enumerate((400, 100))]
    assert Curves.from_rows(rows).meta["n/test"] == 100


@pytest.mark.parametrize("name", ["robust_err/test", "test_acc", "robust_error", "note"])
def test_unknown_names_of_rows_are_refused(name: str) -> None:
    for call in (lambda: Curves.from_rows([{"epoch": 1, name: 0.5}]), lambda: Curves([1], {name: [0.5]})):
        assert "_error/test" in refused(call, name)


@pytest.mark.parametrize(("curve", "words"), [
    ("robust_eror/test", ("did you mean 'robust_error/test'",)),
    ("robust/test", ("did you mean 'robust_error/test'",)),
    ("clean/train", ("did you mean 'clean_error/train'",)),
    ("robust_los/test", ("did you mean 'robust_loss/test'",)),
    ("robust_accuracy/test", ("Meaning('robust_error/test', accuracy=True)",)),
    ("clean_accuracy/train", ("Meaning('clean_error/train', accuracy=True)",)),
])  # fmt: skip
def test_meanings_of_an_importer_that_nothing_reads_are_refused(curve: str, words: tuple[str, ...]) -> None:
    """Planted: a misspelt curve was kept under its name, and the verdict was that there is too little evidence."""
    rows = [{"epoch": e, "a": 0.5, "b": 0.4} for e in range(3)]
    meanings = {"a": Meaning(curve), "b": Meaning("robust_error/train")}
    table = Table("output.log", lambda: rows, ["epoch", "a", "b"], {}, (), meanings)
    refused(lambda: curves_of(table, Told.of(None)), f"output.log: no curve is named {curve!r}", *words)


def test_rows_given_by_columns() -> None:
    columns = {"epoch": [2, 1], "robust_error/test": [0.5, 0.25], "lr": (0.1, None)}
    rows = [{"epoch": 2, "robust_error/test": 0.5, "lr": 0.1}, {"epoch": 1, "robust_error/test": 0.25}]
    expected = Curves.from_rows(rows).rows()
    arrays = {name: np.array(values, float) for name, values in columns.items()}
    for given in (columns, arrays, iter(rows)):
        assert Curves.from_rows(given).rows() == expected  # type: ignore[arg-type]
    pandas = pytest.importorskip("pandas")
    assert Curves.from_rows(pandas.DataFrame(columns)).rows() == expected


@pytest.mark.parametrize(("rows", "words"), [
    ("output.log", ("got 'output.log'", "read_curves(path)")), (None, ("got None",)), (7, ("type int",)),
    ({}, ("a mapping of nothing",)), ({"epoch": 1, "robust_error/test": 0.5}, ("a mapping of epoch, robust",)),
    ({"epoch": [1, 2], "robust_error/test": [0.5]}, ("a mapping of epoch, robust",)),
    ([[1, 0.5]], ("type list among the rows",)), (["epoch"], ("'epoch' among the rows",)),
])  # fmt: skip
def test_what_is_no_rows_is_refused(rows: object, words: tuple[str, ...]) -> None:
    refused(lambda: Curves.from_rows(rows), "curves: expected rows, each a mapping", *words)  # type: ignore[arg-type]


def test_numbers_of_numpy_and_torch_are_numbers() -> None:
    torch = pytest.importorskip("torch")
    for value in (
        np.float32(0.5), np.float64(0.5), torch.tensor(0.5), np.array(0.5), np.array([0.5]), torch.tensor([[0.5]])
    ):  # fmt: skip
        assert Curves.from_rows([{"epoch": 1, "robust_error/test": value}])["robust_error/test"].tolist() == [0.5]


@pytest.mark.parametrize("name", ["robust_error/test", "lr", "clean_loss/train"])
@pytest.mark.parametrize(("value", "shape"), [
    (torch.tensor([0.5, 0.6]), "Tensor of shape (2,)"), (np.array([0.1, 0.2, 0.3]), "ndarray of shape (3,)"),
    (torch.zeros(2, 2), "Tensor of shape (2, 2)"), (np.array([]), "ndarray of shape (0,)"),
])  # fmt: skip
def test_several_numbers_of_one_epoch_are_refused(name: str, value: object, shape: str) -> None:
    """Planted: they counted as not measured, and a curve per class or process vanished without a word."""
    rows = [{"epoch": e, name: value} for e in range(3)]
    refused(lambda: Curves.from_rows(rows), f"curves: {name}: expected a number", f"got {shape}; give one number")
    columns = {"epoch": [1, 2], name: [value, value]}
    refused(lambda: Curves.from_rows(columns), f"got {shape}")


def test_what_an_array_masks_was_not_measured() -> None:
    """Planted: the number behind the mask counted."""
    errors = np.ma.masked_array([0.5, 77.0, 0.25], [False, True, False])
    for curves in (
        Curves([1, 2, 3], {"robust_error/test": errors}),
        Curves.from_rows({"epoch": [1, 2, 3], "robust_error/test": errors}),
    ):
        assert curves.measured("robust_error/test")[1].tolist() == [0.5, 0.25]


def test_curves_in_percent_beside_fractions_are_refused() -> None:
    rows = [{"epoch": e, "clean_error/test": 20.0 - e, "robust_error/test": 0.5} for e in range(5)]
    refused(lambda: Curves.from_rows(rows), "clean_error/test in percent", "robust_error/test as fractions")
    percent = [{"epoch": e, "clean_error/test": 20.0 - e, "robust_error/test": 0.4} for e in (0, 1)]
    percent += [{"epoch": 2, "clean_error/test": 0.8, "robust_error/test": 60}]
    assert Curves.from_rows(percent)["robust_error/test"].tolist() == [0.004, 0.004, 0.6]


@pytest.mark.parametrize("columns", [
    {"clean_error/test": [20.0, 19.0], "robust_error/test": [0.5, 0.5]}, {"robust_error/test": [1.2, 0.5]},
    {"robust_error/test": [50.0, 49.0, 48.0, 0.48, 0.47, 0.46]},
], ids=["two columns", "in doubt", "changing"])  # fmt: skip
def test_units_of_rows_are_not_said_on_a_command_line(columns: dict) -> None:
    """Planted: `--map` was advised, which a program cannot say."""
    epochs = range(len(columns["robust_error/test"]))
    text = refused(lambda: Curves.from_rows({"epoch": epochs, **columns}), "write every error as a fraction")
    assert "--map" not in text


def test_several_trainings_in_rows_are_refused() -> None:
    rows = [{"epoch": e, "robust_error/test": 0.5 + s / 10 + e / 100} for s in range(2) for e in range(12)]
    refused(lambda: Curves.from_rows(rows), "2 trainings")


def test_a_constant_answer_with_a_wobbling_training_error_is_no_copy() -> None:
    rng = np.random.default_rng(0)
    train = 0.8876 + 0.003 * rng.standard_normal(40)
    test = np.full(40, 0.8865)
    errors = {
        "clean_error/train": train, "robust_error/train": train, "clean_error/test": test, "robust_error/test": test
    }  # fmt: skip
    found = Curves.from_rows([{"epoch": e, **{k: v[e] for k, v in errors.items()}} for e in range(40)])
    assert not found.standard
    assert diagnose(found, rule=QUICK).label == "collapsed"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("test_robust_acc", "write it as robust_error/test, the error: 1 - accuracy"),
        ("robust_acc/test", "write it as robust_error/test"),
        ("test_adv_error", "write robust_error/test"),
        ("robust_error", "did you mean robust_error/test"),
        ("robust_eror/test", "'robust_error/test'"),
    ],
)
def test_rows_of_other_names_are_told_which_curve_they_are(name: str, said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        Curves.from_rows([{"epoch": 1, name: 0.3}])
    assert said.replace("did you mean ", "") in str(caught.value)


@pytest.mark.parametrize(
    ("values", "remedy"), [([60, 50], True), ([0.4, 1.5], True), ([-0.1, 0.5], False), ([0.5, 200], False)]
)
def test_errors_that_are_no_fractions_are_refused_with_percent_as_a_guess(values: list[float], remedy: bool) -> None:
    said = refused(lambda: Curves([1, 2], {"robust_error/test": values}), "expected fractions in [0, 1], got values in")
    assert ("divide percent by 100" in said) == remedy
