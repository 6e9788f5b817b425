"""From named columns to curves: names, units, seeds, missing values, and what is refused with the option that mends it."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from tests.cases import refused
from tests.diagnosis.writers import columns_of, csv_of, four, table_of

from cgro.diagnosis import CurveRule, Curves, diagnose, read_curves
from cgro.diagnosis.importers import Told, base, parse_map, read_log
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.delimited import Delimited
from cgro.diagnosis.importers.table import Table, curves_of

HEAD = "Epoch \t Train Robust Acc \t Test Robust Acc\n"
QUICK = CurveRule(n_boot=19)
NAMES = {
    "train_acc": "clean_error/train",
    "train_robust_acc": "robust_error/train",
    "test_acc": "clean_error/test",
    "test_robust_acc": "robust_error/test",
}


def jsonl_of(*epochs: str) -> str:
    return "".join(f'{{"epoch": {e}, "robust_error/test": 0.5}}\n' for e in epochs)


@pytest.mark.parametrize("epoch", ["inf", "-inf", "1e999", "Infinity"])
def test_an_epoch_that_is_not_finite(file, epoch: str) -> None:
    refused(lambda: read_curves(file(csv_of(1, epoch))), "epoch", "finite")


@pytest.mark.parametrize(
    "epoch", ["true", '"x"', "[1]", '{"a": 1}', "9" * 400, "Infinity", "-Infinity", '"1e999"', '"\\u001b[31m"']
)
def test_an_epoch_of_json_that_is_none(file, epoch: str) -> None:
    refused(lambda: read_curves(file(jsonl_of("1", epoch, "3"))), "epoch")


def test_an_epoch_that_was_not_written_is_left_out(file) -> None:
    for text in (csv_of(1, "nan", 3), jsonl_of("1", "NaN", "3"), jsonl_of("1", "null", "3")):
        assert read_curves(file(text))[0].epoch.tolist() == [1.0, 3.0]


def test_epochs_may_be_huge_or_negative(file) -> None:
    for epochs in ((1, 1e300), (-3, 2), (1e-300, 1e300)):
        diagnose(read_curves(file(csv_of(*epochs)))[0], rule=QUICK)


def test_rows_and_columns_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_csv(text: str) -> list[Curves]:
        return Delimited().read(Text(text, "x"), Told({}))

    monkeypatch.setattr(base, "MOST_ROWS", 5)
    monkeypatch.setattr(base, "MOST_COLUMNS", 5)
    refused(lambda: read_csv(csv_of(*range(6))), "at most 5 lines")
    refused(lambda: read_log(HEAD + "0 0.5 0.4\n" * 6, "x"), "at most 5 lines")
    refused(lambda: curves_of(Table("x", lambda: [{"epoch": 1}] * 6), Told({})), "at most 5 rows")
    refused(lambda: curves_of(Table("x", lambda: [{k: 1} for k in "abcdef"]), Told({})), "5 columns")
    refused(lambda: read_csv("a,b,c,d,e,f\n1,2,3,4,5,6\n"), "5 columns")


def test_rows_of_other_programs_are_read(file) -> None:
    rows = [{"epoch": e, "robust_error/test": 0.5 + e / 100, "note": "\x1b[31m", "n": None} for e in range(3)]
    assert len(read_curves(file("\n".join(map(json.dumps, rows))))[0]) == 3


@pytest.mark.parametrize("percent", [False, True])
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json"])
def test_tables_give_what_was_written(tmp_path: Path, kind: str, percent: bool) -> None:
    errors, one = four(20), 100 if percent else 1
    names = {"train_acc": "clean_error/train", "train_adv_acc": "robust_error/train", "val/pgd-error": None,
             "Test Accuracy": "clean_error/test", "testRobustErr": "robust_error/test"}  # fmt: skip

    def cell(name: str, t: int) -> float:
        value = errors[names[name] or "robust_error/test"][t]
        return one * (1 - value if "acc" in name.lower() else value)

    rows = [{"epoch": t, "lr": 0.1, "gpu": 3, **{k: cell(k, t) for k in names}} for t in range(20)]
    path = tmp_path / "x.txt"
    if kind in ("csv", "tsv"):
        comma = "," if kind == "csv" else "\t"
        path.write_text("\n".join([comma.join(rows[0]), *(comma.join(map(str, r.values())) for r in rows)]))
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps(r) for r in rows))
    else:
        path.write_text(json.dumps({k: [r[k] for r in rows] for k in rows[0]}))
    (curves,) = read_curves(path)
    for key, values in errors.items():
        assert np.allclose(curves[key], values), key
    assert np.allclose(curves["robust_error/validation"], errors["robust_error/test"])


def test_columns_are_mapped_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("step,a,b\n" + "\n".join(f"{t},{50 + t},{t}" for t in range(12)))
    (curves,) = read_curves(path, parse_map("epoch=step,robust_accuracy/test=a"))
    assert curves["robust_error/test"][:2].tolist() == [0.5, 0.49]


def read(path: Path, columns: str = "") -> Curves:
    (found,) = read_curves(path, parse_map(columns))
    return found


# ---------------------------------------------------------------- meaning and unit of a column


def test_percent_whose_first_and_last_values_are_below_one(file) -> None:
    """A hundred classes, and catastrophic overfitting, in percent."""
    errors = four(40)
    errors["robust_error/test"][:3] = 0.9938, 0.9909, 0.98
    errors["robust_error/test"][-8:] = 0.996
    found = read(file(table_of(columns_of(errors, NAMES, percent=True), "\t")))
    for key, values in errors.items():
        assert np.allclose(found[key], values, atol=1e-7), key
    assert {column.unit for column in found.columns if column.measure == "accuracy"} == {"percent"}


def test_units_that_disagree_are_refused_unless_told(file) -> None:
    columns = columns_of(four(20), NAMES, percent=True)
    columns["test_robust_acc"] = columns["test_robust_acc"] / 100
    path = file(table_of(columns))
    text = refused(
        lambda: read(path), "test_robust_acc as fractions", "--map robust_accuracy/test=test_robust_acc:fraction"
    )
    found = read(path, shlex.split(text.partition("--map ")[2])[0])  # as pasted into a shell
    assert np.allclose(found["robust_error/test"], four(20)["robust_error/test"], atol=1e-7)
    columns["test_robust_acc"] = np.full(20, 0.5)  # of 0.5% or 50%?
    refused(lambda: read(file(table_of(columns))), "as fractions")
    columns["test_robust_acc"] = np.zeros(20)  # the same in both units
    assert (read(file(table_of(columns)))["robust_error/test"] == 1).all()


def test_errors_in_percent_beside_accuracies_as_fractions_are_refused(file) -> None:
    errors = four(20)
    path = file(table_of({"epoch": np.arange(20), "test_acc": 1 - errors["clean_error/test"],
                          "test_robust_error": 100 * errors["robust_error/test"]}))  # fmt: skip
    refused(lambda: read(path), "test_robust_error in percent")
    found = read(path, "robust_error/test=test_robust_error:percent")
    assert np.allclose(found["robust_error/test"], errors["robust_error/test"], atol=1e-7)


def test_percent_signs_decide_and_must_be_everywhere(file) -> None:
    rows = "".join(f"{e},0.{9 - e}%\n" for e in range(5))
    assert np.allclose(read(file("epoch,test_robust_acc\n" + rows))["robust_error/test"][0], 0.991)
    mixed = rows + "5,0.4\n"
    refused(lambda: read(file("epoch,test_robust_acc\n" + mixed)), "with and some without %")


@pytest.mark.parametrize(
    ("name", "curve"),
    [
        ("test_foo_acc", "robust_accuracy/test"),
        ("PGD10 test", "robust_accuracy/test"),
        ("val_pgd", "robust_accuracy/validation"),
        ("clean_bar_err", "clean_error/test"),
    ],
)
def test_an_unknown_error_is_refused_with_the_option_to_paste(file, name: str, curve: str) -> None:
    """Instead of "No robust error was measured" beside a column that holds it."""
    errors = four(20)
    columns = columns_of(errors, {"train_acc": "clean_error/train", name: "robust_error/test"})
    path = file(table_of(columns, ";"))
    text = refused(lambda: read(path), repr(name), f"{curve}=")
    option = text.rpartition("--map ")[2].strip("'")
    assert np.isfinite(read(path, option)[curve.replace("accuracy", "error")]).all()


@pytest.mark.parametrize("name", ["best_test_adv_acc", "running_test_pgd_acc"])
def test_a_best_or_smoothed_value_alone_is_no_curve(file, name: str) -> None:
    columns = columns_of(four(20), {"test_acc": "clean_error/test", name: "robust_error/test"})
    refused(lambda: read(file(table_of(columns))), repr(name), "no curve", "log the value of every epoch")


def test_an_unknown_column_beside_an_understood_robust_one_is_named(file) -> None:
    columns = columns_of(four(20), NAMES) | {"test_foo_acc": np.full(20, 0.3)}
    found = read(file(table_of(columns)))
    assert any("'test_foo_acc' is not used" in remark for remark in found.remarks)


def test_a_best_value_beside_its_curve_is_passed_over(file) -> None:
    columns = columns_of(four(20), NAMES)
    best = {"best_test_robust_acc": np.maximum.accumulate(columns["test_robust_acc"]), "best_acc": np.full(20, 0.9)}
    found = read(file(table_of(columns | best)))
    assert found.remarks == ()
    assert np.allclose(found["robust_error/test"], four(20)["robust_error/test"], atol=1e-6)


def test_a_run_of_any_name_is_no_meaning(file) -> None:
    errors = four(20)
    clean_only = {"adv_wrn/train_acc": "clean_error/train", "adv_wrn/test_acc": "clean_error/test"}
    found = read(file(table_of(columns_of(errors, clean_only))))
    assert not found.has("robust_error/test")
    assert np.allclose(found["clean_error/test"], errors["clean_error/test"], atol=1e-6)
    assert "'adv_wrn'" in found.remarks[0]
    exported = {"pgd_run - test_acc": "clean_error/test", "pgd_run - test_robust_acc": "robust_error/test"}
    found = read(file(table_of(columns_of(errors, exported))))
    assert np.allclose(found["robust_error/test"], errors["robust_error/test"], atol=1e-6)
    assert np.allclose(found["clean_error/test"], errors["clean_error/test"], atol=1e-6)


def test_losses_and_rates_that_look_alike_do_not_stop_the_reading(file) -> None:
    columns = columns_of(four(20), NAMES)
    columns |= {"test_0_loss": np.ones(20), "test_5_loss": np.ones(20), "lr": np.ones(20), "lr-SGD": np.ones(20)}
    found = read(file(table_of(columns)))
    assert set(found.values) == set(NAMES.values())


def test_two_columns_of_one_curve_are_refused_and_chosen(file) -> None:
    errors = four(20)
    columns = columns_of(errors, {"acc1/test": "clean_error/test", "test_acc1": "robust_error/test"}, percent=True)
    path = file(table_of(columns))
    refused(lambda: read(path), "both look like clean_accuracy/test")
    found = read(path, "clean_accuracy/test=acc1/test,robust_accuracy/test=test_acc1")
    assert np.allclose(found["robust_error/test"], errors["robust_error/test"], atol=1e-7)


def test_an_error_and_its_accuracy_must_agree(file) -> None:
    errors = four(20)
    columns = columns_of(errors, {"test_robust_acc": "robust_error/test"})
    right = columns | {"test_robust_error": errors["robust_error/test"]}
    assert np.allclose(read(file(table_of(right)))["robust_error/test"], errors["robust_error/test"], atol=1e-6)
    wrong = columns | {"test_robust_error": errors["robust_error/test"] + 0.1}
    refused(lambda: read(file(table_of(wrong))), "contradict each other")


def test_a_name_that_is_not_there_gets_a_suggestion(file) -> None:
    path = file(table_of(columns_of(four(20), NAMES)))
    refused(lambda: read(path, "robust_accuracy/test=test_robust_ac"), "did you mean 'test_robust_acc'")


# ---------------------------------------------------------------- what must hold


def test_robust_below_clean_is_refused_unless_told(file) -> None:
    errors = four(20)
    swapped = {"test_acc": "robust_error/test", "test_robust_acc": "clean_error/test"}
    path = file(table_of(columns_of(errors, swapped)))
    refused(lambda: read(path), "no attack can do", "20 of 20 epochs")
    found = read(path, "robust_accuracy/test=test_robust_acc")
    assert "no attack can do" in diagnose(found, rule=QUICK).reason


def test_accuracies_under_the_name_of_errors_are_refused_with_the_option(file) -> None:
    errors = four(20)
    columns = {
        "epoch": np.arange(20),
        "val_error": np.full(20, 0.5),
        "val_adv_error": 1 - errors["robust_error/test"] - 0.1,
    }
    text = refused(lambda: read(file(table_of(columns))), "no attack can do")
    assert "--map robust_accuracy/validation=val_adv_error" in text


def test_values_outside_of_their_unit_are_refused(file) -> None:
    for bad in ("101", "-3", "1e9"):
        refused(lambda bad=bad: read(file(csv_of(1, 2) + f"3,{bad}\n")), "test_robust_acc")


# ---------------------------------------------------------------- nothing merged or dropped in silence


def seeds_of(*names: str, n: int = 20) -> str:
    tables = [table_of({name: np.full(n, k) for name in names} | columns_of(four(n, seed=k), NAMES)) for k in range(3)]
    return tables[0] + "".join(table.partition("\n")[2] for table in tables[1:])


@pytest.mark.parametrize("name", ["seed", "run", "Run ID"])
def test_seeds_of_one_table_are_several_trainings(file, name: str) -> None:
    found = read_curves(file(seeds_of(name)))
    assert [len(one) for one in found] == [20, 20, 20]
    for k, one in enumerate(found):
        assert np.allclose(one["robust_error/test"], four(20, seed=k)["robust_error/test"], atol=1e-6)
        assert one.meta["group"] == f"{name} {k}"


def test_seeds_without_a_column_that_tells_them_are_refused(file) -> None:
    refused(lambda: read_curves(file(seeds_of())), "3 trainings", "seed")
    lines = seeds_of().splitlines()
    beside = [lines[0], *(lines[1 + k * 20 + e] for e in range(20) for k in range(3))]
    refused(lambda: read_curves(file("\n".join(beside))), "20 of 20 epochs")
    long = "step,tag,value\n" + "".join(f"{e},{t},0.{4 + t}\n" for t in range(3) for e in range(20))
    refused(lambda: read(file(long), "epoch=step,robust_accuracy/test=value"), "3 trainings")


def test_values_that_are_missing_are_counted_and_an_end_without_any_is_in_the_headline(file) -> None:
    columns = columns_of(four(40), NAMES)
    columns["test_robust_acc"][30:] = np.nan
    columns["train_robust_acc"][::4] = np.nan
    text = table_of(columns)
    empty = read(file(text))
    by_name = {column.name: column for column in empty.columns}
    assert (by_name["test_robust_acc"].n_missing, by_name["train_robust_acc"].n_missing) == (10, 10)
    assert by_name["test_robust_acc"].n_nan == 0
    assert "not measured in the last 10 epochs, 30 to 39" in diagnose(empty, rule=QUICK).reason
    written = read(file(text.replace(",\n", ",nan\n")))
    assert {c.name: c.n_nan for c in written.columns}["test_robust_acc"] == 10
    assert "NaN in the last 10 epochs" in diagnose(written, rule=QUICK).reason


def test_a_loss_that_becomes_nan_is_in_the_headline(file) -> None:
    columns = columns_of(four(40), NAMES) | {"train_loss": np.ones(40)}
    lines = table_of(columns).splitlines()
    lines[31:] = [line.rpartition(",")[0] + ",NaN" for line in lines[31:]]
    found = read(file("\n".join(lines)))
    assert "'train_loss') is NaN from epoch 30 on: training diverged" in diagnose(found, rule=QUICK).reason


def test_rows_without_an_epoch_column_are_numbered_and_that_is_said(file) -> None:
    columns = columns_of(four(20), NAMES)
    del columns["epoch"]
    found = read(file(table_of(columns, "\t")))
    assert found.epoch.tolist() == list(range(1, 21))
    assert "no column counts epochs" in found.remarks[0]
    steps = {"global_step": np.arange(0, 2000, 100)} | columns
    refused(lambda: read(file(table_of(steps))), "epoch=global_step")


def test_validation_serves_as_held_out_data_and_says_so(file) -> None:
    names = {"acc": "clean_error/train", "adv_acc": "robust_error/train", "val_acc": "clean_error/test",
             "val_adv_acc": "robust_error/test"}  # fmt: skip
    found = read(file(table_of(columns_of(four(80), names))))  # as Keras names them
    judged = diagnose(found, rule=CurveRule(n_boot=99))
    assert judged.label == "robust_overfitting"
    assert "validation error" in judged.reason
    assert "test" not in judged.reason.replace("on a test set", "")
    assert "no validation set" not in " ".join(judged.findings)


def test_an_epoch_that_is_lost_is_named(file) -> None:
    assert read(file(csv_of(*range(10), *range(11, 20)))).remarks == (
        "epoch 10 is missing between the first and the last",
    )


def test_parts_of_one_training_under_two_names_are_joined(file) -> None:
    lines = table_of(columns_of(four(20), NAMES) | {"run": np.repeat([0, 1], 10)})
    found = read(file(lines))
    assert np.allclose(found["robust_error/test"], four(20)["robust_error/test"], atol=1e-6)


def below(n_below: int, *, by: float = 0.1, name: str = "train_acc") -> str:
    """A training accuracy below that on the test set in the first epochs, and above it in the others."""
    rows = [
        {"epoch": e, name: 0.7 - by if e < n_below else 0.8, "test_acc": 0.7, "test_pgd_acc": 0.4} for e in range(20)
    ]
    return "\n".join(map(json.dumps, rows))


@pytest.mark.parametrize("name", ["train_acc", "Training Accuracy", "acc/train"])
def test_a_training_accuracy_below_that_of_the_test_may_be_of_attacked_examples(file, name: str) -> None:
    """Read as clean, it was said by no word."""
    path = file(below(12, name=name))
    (said,) = [remark for remark in read(path).remarks if "attacked examples" in remark]
    assert "in 12 of 20 epochs" in said
    found = read(path, said.partition("--map ")[2].strip("'"))
    assert found.has("robust_error/train")
    assert not found.has("clean_error/train")
    assert found.remarks == ()


def test_other_training_accuracies_are_believed(file) -> None:
    for text in (below(8), below(20, by=0.02), below(20, name="train_clean_acc")):
        assert not any("attacked" in remark for remark in read(file(text)).remarks)
    assert read(file(below(20)), "clean_accuracy/train=train_acc").remarks == ()


def test_counts_in_cells_and_columns(file) -> None:
    cells = "".join(f"{e},{6000 + 100 * e}/10000,{4000 + 100 * e}/10000\n" for e in range(5))
    found = read(file("epoch,test_acc,test_robust_acc\n" + cells))
    assert np.allclose(found["robust_error/test"], 0.6 - np.arange(5) / 100)
    counts = "".join(f"{e},{6000 + 100 * e},{4000 + 100 * e},10000\n" for e in range(5))
    path = file("epoch,test_correct,test_robust_correct,test_total\n" + counts)
    text = refused(lambda: read(path, "robust_accuracy/test=test_robust_correct"), "counts of N examples")
    option = shlex.split(text.partition("--map ")[2])[0].replace("//N", "//10000")
    assert np.allclose(read(path, option)["robust_error/test"], 0.6 - np.arange(5) / 100)
    pairs = file("epoch,test_acc,test_robust_acc\n" + "".join(f"{e},80.5,45/4{e}\n" for e in range(5)))
    refused(lambda: read(pairs), "expected a number, got '45/40'")
