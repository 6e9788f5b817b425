"""What libraries wrap around a table: histories, trainers, pandas, seeds under names."""

import json

import numpy as np
import pytest
from tests.cases import refused

from cgro.diagnosis import Curves
from cgro.diagnosis.importers import Told
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.json_rows import JsonRows

LISTS = {"test_acc": [0.6, 0.7, 0.8], "test_adv_acc": [0.4, 0.5, 0.3]}
ROWS = [{"epoch": e, **{name: values[e] for name, values in LISTS.items()}} for e in range(3)]


def read(value: object) -> list[Curves]:
    return JsonRows().read(Text(json.dumps(value), "x"), Told({}))


@pytest.mark.parametrize(
    "value",
    [
        {"history": LISTS}, {"args": {"lr": 0.1}, "results": ROWS}, {"log_history": ROWS, "epoch": 3.0},
        {"metrics": {**LISTS, "note": 3}, "config": {"layers": [1, 2]}}, LISTS, ROWS, {**LISTS, "seed": 0},
        {"columns": list(LISTS), "data": [list(row) for row in zip(*LISTS.values(), strict=True)]},
        {name: dict(enumerate(values)) for name, values in LISTS.items()},
        {f"epoch_{row['epoch']}": {"test": {"acc": row["test_acc"], "pgd_acc": row["test_adv_acc"]}} for row in ROWS},
        dict(enumerate(ROWS)), {"test": {"acc": LISTS["test_acc"], "adv_acc": LISTS["test_adv_acc"]}},
        {"test": {"clean": {"acc": LISTS["test_acc"]}, "pgd": {"acc": LISTS["test_adv_acc"]}}, "config": {"a": {"b": [1]}}},
        {"train": {"acc": [0.9, 0.9, 0.9]}, "test": {"acc": LISTS["test_acc"], "adv_acc": LISTS["test_adv_acc"]}},
    ],
)  # fmt: skip
def test_the_table_is_found(value: object) -> None:
    (found,) = read(value)
    assert np.allclose(found["robust_error/test"], [0.6, 0.5, 0.7])
    assert np.allclose(found["clean_error/test"], [0.4, 0.3, 0.2])


def test_tables_of_one_form_under_several_names_are_runs() -> None:
    found = read({"seed0": LISTS, "seed1": {**LISTS, "test_adv_acc": [0.1, 0.2, 0.3]}})
    assert [one.meta["group"] for one in found] == ["run seed0", "run seed1"]
    assert np.allclose(found[1]["robust_error/test"], [0.9, 0.8, 0.7])


def test_several_tables_of_other_columns_are_asked_for() -> None:
    refused(lambda: read({"a": LISTS, "b": {"test_acc": [0.1]}}), "several tables", "a, b")


def test_an_epoch_that_is_no_number_is_refused_and_not_looked_into() -> None:
    for epoch in ({"a": 1}, [1]):
        refused(lambda epoch=epoch: read([{"epoch": 1, "test_acc": 0.5}, {"epoch": epoch, "test_acc": 0.6}]), "epoch")


@pytest.mark.parametrize(
    "names",
    [("metrics", "test", "robust", "linf"), ("a", "eval", "test", "adv", "pgd"), ("a", "b", "test", "pgd", "x", "y")],
)
def test_a_value_below_many_names_is_not_lost(names: tuple[str, ...]) -> None:
    rows = []
    for e in range(3):
        value: object = {"acc": 0.5 - e / 10}
        for name in reversed(names):
            value = {name: value}
        rows.append({"epoch": e, "test": {"clean": {"acc": 0.8}}, **(value if isinstance(value, dict) else {})})
    if len(names) == 6:
        refused(lambda: read(rows), "'a/b/test/pgd/x/y/acc'", "--map robust_accuracy/test=a/b/test/pgd/x/y/acc")
    elif names[0] == "a":
        refused(lambda: read(rows), "'a/eval/test/adv/pgd/acc'")
    else:
        assert np.allclose(read(rows)[0]["robust_error/test"], [0.5, 0.6, 0.7])


def test_what_lies_too_deep_is_named_and_not_denied() -> None:
    value: dict[str, object] = {"acc": 0.5}
    for name in ("robust", *"abcdefgh", "test"):
        value = {name: value}
    rows = [{"epoch": e, "test_acc": 0.8, "x": value} for e in range(3)]
    assert "not understood" in str(read(rows)[0].remarks)


def test_objects_in_objects_without_end_are_no_columns() -> None:
    value: dict[str, object] = {"acc": 0.5}
    for _ in range(200):
        value = {"test": value}
    refused(lambda: read([{"epoch": 1, **value}]), "no column")


def test_what_the_name_above_the_rows_says_is_not_lost() -> None:
    """Robust may be said of a run that is called so; best and ema are said of the values."""
    accuracy = {"test_acc": LISTS["test_acc"]}
    for value in ({"pgd": accuracy}, {"pgd": [{"epoch": e, "test_acc": 0.5} for e in range(3)], "config": {}}):
        refused(lambda value=value: read(value), "'pgd - test_acc' is not understood", "may be the name of a run")
    refused(lambda: read({"best": LISTS}), "a best so far")
    refused(lambda: read({"ema": LISTS}), "'ema' is not known")
    (found,) = read({"train": {"robust_acc": LISTS["test_acc"]}})
    assert np.allclose(found["robust_error/train"], [0.4, 0.3, 0.2])
    (found,) = read({"pgd_at": accuracy})
    assert np.allclose(found["clean_error/test"], [0.4, 0.3, 0.2])


def test_rows_under_numbers_without_an_epoch_may_be_seeds() -> None:
    refused(lambda: read(dict(enumerate([{"test_acc": 0.5}, {"test_acc": 0.6}]))), "0, 1 may be epochs, or seeds")
    for rows in (
        {"0": {"test_acc": 0.5}, "5": {"test_acc": 0.6}},
        {"a": {"1": {"pgd acc": 0.5}, "2": {"pgd acc": 0.6}}},
    ):
        refused(lambda rows=rows: read(rows), "write each as epoch_0")


def test_a_measure_above_lists_of_kinds_belongs_to_them() -> None:
    for name in ("test_acc", "acc/test", "test accuracy"):
        (found,) = read({name: {"clean": [0.5, 0.6], "pgd": [0.3, 0.4]}})
        assert found["robust_error/test"].tolist() == [0.7, 0.6]
        assert found["clean_error/test"].tolist() == [0.5, 0.4]


SERIES = {
    f"test.{name}": {"steps": [0, 1, 2], "timestamps": ["a", "b", "c"], "values": values}
    for name, values in (("acc", LISTS["test_acc"]), ("adv_acc", LISTS["test_adv_acc"]))
}


@pytest.mark.parametrize(
    "value",
    [
        SERIES, {name: {key: one[key] for key in ("steps", "values")} for name, one in SERIES.items()},
        {**SERIES, "test.loss": {"steps": [0, 2], "values": [1.5, 1.2]}, "note": 3},
        [{name: [one] if isinstance(one, float) else one for name, one in row.items()} for row in ROWS],
        [{name: f"tensor({one})" if isinstance(one, float) else one for name, one in row.items()} for row in ROWS],
    ],
)  # fmt: skip
def test_what_is_measured_with_its_own_steps_and_what_a_row_wraps_is_found(value: object) -> None:
    (found,) = read(value)
    assert np.allclose(found["robust_error/test"], [0.6, 0.5, 0.7])
    assert np.allclose(found["clean_error/test"], [0.4, 0.3, 0.2])


def test_steps_of_the_optimizer_are_asked_for() -> None:
    value = {name: {**one, "steps": [390, 780, 1170]} for name, one in SERIES.items()}
    refused(lambda: read(value), "no column for epoch", "epoch=step")


@pytest.mark.parametrize("name", ["seed", "run", "trial"])
@pytest.mark.parametrize("table", [{"history": ROWS}, LISTS, {"results": LISTS}])
def test_trainings_in_a_list_have_their_tables_beside_their_names(name: str, table: dict[str, object]) -> None:
    found = read([{name: 0, **table}, {name: 1, **table}])
    assert [one.meta["group"] for one in found] == [f"{name} 0", f"{name} 1"]
    assert all(np.allclose(one["robust_error/test"], [0.6, 0.5, 0.7]) for one in found)


def test_several_numbers_in_a_cell_are_asked_for() -> None:
    for value in (
        {"test_adv": [[1.8, 0.4], [1.7, 0.5]]},
        [{"epoch": e, "test_adv": [1.8, 0.4 + e / 10]} for e in range(2)],
    ):
        refused(
            lambda value=value: read(value), "several numbers", "where CURVE is robust_accuracy/test or robust_loss"
        )
    second = Told.of({"robust_accuracy/test": "test_adv (second of several)"})
    rows = json.dumps([{"epoch": e, "test_adv": [1.8, 0.4 + e / 10]} for e in range(2)])
    (found,) = JsonRows().read(Text(rows, "x"), second)
    assert np.allclose(found["robust_error/test"], [0.6, 0.5])


def test_objects_and_long_lists_below_a_measure_are_refused() -> None:
    for cell in ({"a": 0.5}, [0.1, 0.2, 0.3, 0.4], ["a"]):
        refused(lambda cell=cell: read([{"epoch": 1, "test_robust_acc": cell}]), "expected a number")
