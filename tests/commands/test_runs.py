"""cgro runs: filter, compare, sort, export."""

import csv
import json
from pathlib import Path

import pytest
from tests.catalogs import write_run

from cgro.cli import main
from cgro.commands._parser import parse
from cgro.commands.runs import Config, run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(tmp_path / "runs" / "narrow", error=0.5, width=2, attack="pgd", radius="8/255")
    write_run(tmp_path / "runs" / "wide", error=0.25, width=16, attack="pgd", radius=0.1)
    write_run(tmp_path / "runs" / "begun", error=None, width=4, attack="pgd", radius=0.1)
    return tmp_path / "runs"


def config_of(*words: str) -> Config:
    return parse("runs", "", Config, list(words))


def names(folder: Path, *words: str) -> list[str]:
    table = run(config_of(str(folder), *words)).read()
    return [Path(row[table["columns"].index("run")]).name for row in table["rows"]]


def test_shown_is_what_differs_and_said_once_is_what_all_share(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", str(folder)]) == 0
    text = capsys.readouterr().out
    header = text.splitlines()[0].split()
    assert header == ["run", "width", "radius", "state", "verdict", "robust_error/test", "note"]
    assert "all: attack=pgd" in text
    assert text.endswith("runs: 3\n")


def test_filter_and_sort(folder: Path) -> None:
    assert names(folder, "--where", "width>2", "--where", "state=finished") == ["wide"]
    assert names(folder, "--sort", "width") == ["narrow", "begun", "wide"]
    assert names(folder, "--sort", "width", "--descending") == ["wide", "begun", "narrow"]
    # a run without the value comes last, whichever way
    assert names(folder, "--sort", "robust_error/test", "--descending") == ["narrow", "wide", "begun"]


def test_export(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder.parent / "table.csv"
    words = ["runs", str(folder), "--columns", "run,width,robust_error/test", "--sort", "width"]
    assert main([*words, "--out", str(out)]) == 0
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["width"] for row in rows] == ["2", "4", "16"]
    assert [row["robust_error/test"] for row in rows] == ["0.5", "", "0.25"]
    capsys.readouterr()
    assert main([*words, "--out", str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*words, "--out", str(out), "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0][1:] == [2, 0.5]


def test_a_parquet_column_has_one_type(folder: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    out = folder.parent / "table.parquet"
    assert main(["runs", str(folder), "--columns", "all", "--out", str(out)]) == 0
    table = parquet.read_table(out).to_pydict()
    assert table["radius"] == ["0.1", "8/255", "0.1"]
    assert table["width"] == [4, 2, 16]
    assert table["robust_error/test"] == [None, 0.5, 0.25]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--columns", "run,widht"], "did you mean width"),
        (["--columns", " , "], "names of columns"),
        (["--sort", "size"], "a setting or a metric"),
        (["--where", "width"], "COLUMN=VALUE"),
        (["--out", "table.xlsx"], ".csv or .parquet"),
    ],
)
def test_wrong_input_is_one_line(
    folder: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", str(folder), *words]) == 2
    line = capsys.readouterr().err
    assert message in line
    assert line.count("\n") == 1


def test_a_folder_without_runs_has_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "runs: 0\n"
    assert main(["runs", str(tmp_path), "--where", "anything=1", "--sort", "width"]) == 0


def test_escape_sequences_of_a_foreign_run_stay_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "a", error=0.5, model="\x1b]0;owned\x07")
    write_run(tmp_path / "b", error=0.5, model="mlp")
    assert main(["runs", str(tmp_path)]) == 0
    assert "\x1b" not in capsys.readouterr().out
