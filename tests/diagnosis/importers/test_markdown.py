"""Tables between bars: emphasis, alignment, text around them, damaged rows."""

import time

import pytest
from tests.cases import refused

from cgro.diagnosis import Curves
from cgro.diagnosis.importers import Told
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.markdown import Markdown


def read(text: str) -> list[Curves]:
    return Markdown().read(Text(text, "x"), Told({}))


@pytest.mark.parametrize("rule", ["|---|---|", "|:--|:-:|", " --- | --- ", "+---+---+", "|===|===|"])
def test_rules_of_several_writers(rule: str) -> None:
    text = f"Results | of today\n\n| epoch | test robust acc |\n{rule}\n| 1 | `0.4` |\n| 2 | **0.5** |\n\nThe end | .\n"
    (found,) = read(text)
    assert found["robust_error/test"].tolist() == [0.6, 0.5]


def test_a_second_table_is_left_out_and_that_is_said() -> None:
    table = "| epoch | test robust acc |\n|---|---|\n| 1 | 0.4 |\n| 2 | 0.5 |\n"
    (found,) = read(f"{table}\n## Another\n\n{table.replace('0.4', '0.9')}")
    assert found["robust_error/test"].tolist() == [0.6, 0.5]
    assert found.remarks == ("further tables of the text are not read",)
    assert read(table)[0].remarks == ()
    grid = "+---+---+\n| epoch | test robust acc |\n+---+---+\n| 1 | 0.4 |\n+---+---+\n| 2 | 0.5 |\n+---+---+\n"
    assert read(grid)[0].remarks == ()


def test_seeds_between_bars() -> None:
    rows = "".join(f"| {s} | {e} | 0.{4 + s} |\n" for s in (0, 1) for e in (1, 2))
    found = read(f"| seed | epoch | test adv acc |\n|---|---|---|\n{rows}")
    assert [one["robust_error/test"].tolist() for one in found] == [[0.6, 0.6], [0.5, 0.5]]


@pytest.mark.parametrize("line", [" " * 5_000, "|-" * 5_000, "- " * 5_000, "+" * 5_000])
def test_lines_of_any_length_take_no_time(line: str) -> None:
    start = time.process_time()
    Markdown().recognizes(Text(f"|\n{line}\n" * 300, "x"))
    assert time.process_time() - start < 5


def test_rows_of_another_length_and_none() -> None:
    head = "| epoch | test adv acc |\n|---|---|\n"
    refused(lambda: read(f"{head}| 1 | 0.5 | 0.6 |\n"), "line 3 has 3 cells and the header 2")
    refused(lambda: read(head), "rows below the header")
    assert Markdown().recognizes(Text("a | b\n1 | 2\n", "x")) == 0
