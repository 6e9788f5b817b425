"""From named columns to curves: names, units, seeds, missing values, and what is refused with the option that mends it."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.cases import refused
from tests.diagnosis.writers import csv_of, four

from cgro.diagnosis import CurveRule, Curves, diagnose, read_curves
from cgro.diagnosis.importers import Told, base, from_table, parse_map, read_log
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.delimited import Delimited

HEAD = "Epoch \t Train Robust Acc \t Test Robust Acc\n"
QUICK = CurveRule(n_boot=19)


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
    refused(lambda: from_table([{"epoch": 1}] * 6, "x"), "at most 5 rows")
    refused(lambda: from_table([{k: 1} for k in "abcdef"], "x"), "5 columns")
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
