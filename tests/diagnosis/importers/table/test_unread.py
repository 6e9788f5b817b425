"""Columns that give no curve and tell rows apart: methods, radii, runs, attacks; and those that order epochs all the same."""

import json

import numpy as np
import pytest
from tests.cases import refused
from tests.diagnosis.writers import columns_of, four, table_of

from cgro.diagnosis import Curves
from cgro.diagnosis.importers import Told, parse_map
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.delimited import Delimited
from cgro.diagnosis.importers.json_rows import JsonRows

N = 12
ERRORS = four(N)
NAMES = {"test_acc": "clean_error/test", "test_robust_acc": "robust_error/test"}


def table(epochs: object, **more: object) -> str:
    columns = columns_of(ERRORS, NAMES)
    if epochs is None:
        del columns["epoch"]
    else:
        columns["epoch"] = np.array(epochs)
    return table_of(columns | {name: np.array(values) for name, values in more.items()})


def read(text: str, columns: str = "") -> Curves:
    (found,) = Delimited().read(Text(text, "x"), Told.of(parse_map(columns)))
    return found


# ------------------------------------------------------------------------------------------- rows that are no epochs


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("eps", range(N)),
        ("attack_steps", [1, 2, 3, 5, 7, 10, 20, 30, 50, 100, 200, 500]),
        ("beta", np.linspace(1, 6, N)),
        ("method", [f"AT{chr(65 + k)}" for k in range(N)]),
        ("paper", [f"paper {chr(65 + k)}" for k in range(N)]),
        ("model", ["resnet", "wrn"] * 6),
    ],
)
def test_rows_that_another_column_orders_are_not_numbered_as_epochs(name: str, values: object) -> None:
    refused(lambda: read(table(None, **{name: values})), "no column counts epochs", repr(name))


def test_lists_of_json_are_numbered_by_the_same_rule() -> None:
    lists = {name: (1 - ERRORS[key]).tolist() for name, key in NAMES.items()}
    text = json.dumps({"radius": list(range(N)), **lists})
    refused(lambda: JsonRows().read(Text(text, "x"), Told({})), "'radius'", "--map epoch=radius")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("time", [f"2024-01-01T10:{k:02}:00" for k in range(N)]),
        ("started", [f"Mon {k:02}:00" for k in range(N)]),
        ("grad_norm", np.linspace(1, 2, N)),
        ("saved_model", ["yes", "no"] * 6),
        ("gpu", ["A100"] * N),
        ("train_loss", np.linspace(2, 1, N)),
    ],
)
def test_rows_beside_other_columns_are_numbered(name: str, values: object) -> None:
    assert read(table(None, **{name: values})).epoch.tolist() == list(range(1, N + 1))


@pytest.mark.parametrize("name", ["Name", "method", "paper"])
def test_one_row_a_training_is_no_curve(name: str) -> None:
    """An export of a project: epochs in no order, and another name in every row."""
    epochs = [150, 199, 120, 180, 110, 175, 133, 160, 190, 145, 100, 128]
    names = [f"run {chr(65 + k)}" for k in range(N)]
    refused(lambda: read(table(epochs, **{name: names})), repr(name), "trainings, one a row")


def test_names_of_checkpoints_are_epochs() -> None:
    for names in ([f"epoch_{e:03}.pt" for e in range(N)], [f"ckpt-{e}" for e in range(N)]):
        assert len(read(table(range(N), Name=names))) == N
    assert len(read(table(range(N), note=[f"note {chr(65 + k)}" for k in range(N)]))) == N


# ------------------------------------------------------------------------------------ rows of one epoch told apart


def rows(head: str, *cells: tuple[object, ...]) -> str:
    return "\n".join([head, *(",".join(map(str, row)) for row in cells)])


def test_an_attack_of_some_epochs_is_no_last_record() -> None:
    cells = [(e, attack, 0.5 - e / 1000 - 0.05 * (attack == "aa")) for e in range(60)
             for attack in ("pgd", "aa") if attack == "pgd" or e % 6 == 0]  # fmt: skip
    refused(lambda: read(rows("epoch,attack,test_robust_acc", *cells)), "'attack'", "'pgd' and 'aa'", "epoch 0")
    radii = [(e, 8 + 4 * (attack == "aa"), value) for e, attack, value in cells]
    refused(lambda: read(rows("epoch,eps,test_robust_acc", *radii)), "'eps'", "'8' and '12'")
    notes = [(e, f"by {attack}", value) for e, attack, value in cells]
    refused(lambda: read(rows("epoch,note,test_robust_acc", *notes)), "'note'")


def test_methods_below_each_other_in_few_epochs() -> None:
    cells = [(m, e, 0.5 - k / 25 - e / 5000) for k, m in enumerate(("AT", "TRADES", "MART")) for e in (50, 100, 150)]
    refused(lambda: read(rows("method,epoch,test_robust_acc", *cells)), "'method'", "'TRADES' and 'MART'")
    refused(lambda: read(rows("epoch,test_robust_acc", (200, 0.5), (200, 0.4), (200, 0.3))), "1 of 1 epochs")


def test_a_resumed_training_on_another_host_is_one_training() -> None:
    cells = [(e, "node1", 0.5 + e / 1000) for e in range(20)] + [(e, "node2", 0.51 + e / 1000) for e in range(15, 30)]
    found = read(rows("epoch,host,test_robust_acc", *cells))
    assert found.remarks == ("5 epochs were recorded more than once; the last record counts",)


def test_one_method_in_all_rows_is_no_word_worth() -> None:
    assert read(table(range(N), method=["AT"] * N)).remarks == ()
    found = read(table(range(N), method=["AT"] * 6 + ["AWP"] * 6))
    assert found.remarks == ("column 'method' is not used, and varies: AT, AWP",)


# ------------------------------------------------------------------------------------ what may be the robust error


@pytest.mark.parametrize("name", ["test_asr", "test_attack_success_rate", "PGD success rate"])
def test_a_success_rate_is_asked_for_and_not_denied(name: str) -> None:
    text = table_of(columns_of(ERRORS, {"test_acc": "clean_error/test"}) | {name: ERRORS["robust_error/test"]})
    line = refused(lambda: read(text), repr(name), "success rate")
    option = line.rpartition("--map ")[2].strip("'")
    assert option == f"robust_error/test={name}"
    assert np.allclose(read(text, option)["robust_error/test"], ERRORS["robust_error/test"], atol=1e-6)


def test_a_strange_column_of_held_out_data_is_named_where_no_robust_error_is_found() -> None:
    clean = columns_of(ERRORS, {"test_acc": "clean_error/test"})
    found = read(table_of(clean | {"test_foo": np.ones(N), "test_loss": np.ones(N), "test_time": np.ones(N)}))
    assert found.remarks == ("not understood, and not used: 'test_foo'; one may be a robust error",)
    assert read(table(range(N), test_foo=np.ones(N))).remarks == ()
