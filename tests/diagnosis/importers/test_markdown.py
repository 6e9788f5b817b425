"""Tables between bars: emphasis, alignment, text around them, damaged rows."""

import time

import numpy as np
import pytest
from tests.cases import refused

from cgro.diagnosis import Curves, read_curves
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


def test_tables_in_boxes_are_read(file) -> None:
    """As rich draws them, with heavy and with plain lines."""
    rows = "".join(f"\u2502 {e} \u2502 {40 + e}.25 \u2502\n" for e in range(12))
    heavy = "\u250f\u2501\u2533\u2501\u2513\n\u2503 Epoch \u2503 Test PGD Acc \u2503\n\u2521\u2501\u2547\u2501\u2529\n"
    plain = "\u250c\u2500\u252c\u2500\u2510\n\u2502 Epoch \u2502 Test PGD Acc \u2502\n\u251c\u2500\u253c\u2500\u2524\n"
    double = "\u2554\u2550\u2566\u2550\u2557\n\u2551 Epoch \u2551 Test PGD Acc \u2551\n\u2560\u2550\u256c\u2550\u2563\n"
    for head in (heavy, plain, double):
        (found,) = read_curves(file(f"{head}{rows}\u2514\u2500\u2534\u2500\u2518\n"))
        assert np.allclose(found["robust_error/test"], 0.5975 - np.arange(12) / 100)
