"""Markdown: text of a result begins no other form, and cells say mean and spread."""

import math

import pytest

from cgro.report.markdown import LONGEST_TEXT, anchor, cell, line_of, paragraph, table_of


@pytest.mark.parametrize("text", ["# d", "- b", "| c |", "> e", "![x](y)", "`code`", "= f"])
def test_a_paragraph_begins_no_other_form(text: str) -> None:
    assert paragraph(text) == "\\" + text
    assert paragraph("a " + text) == "a " + text


def test_text_stays_on_one_line_of_bounded_length() -> None:
    assert line_of("a\n# b\r\nc\u2028d").splitlines() == [line_of("a\n# b\r\nc\u2028d")]
    assert len(line_of("a" * 2 * LONGEST_TEXT)) <= LONGEST_TEXT


def test_a_bar_in_a_cell_makes_no_column() -> None:
    head, rule, row, end = table_of(["a|b", "c"], [["1\n2", None]])
    assert [line.replace("\\|", "").count("|") for line in (head, rule, row)] == [3, 3, 3]
    assert end == ""


def test_anchors_are_those_of_github() -> None:
    assert anchor("Figure 2(a, b): the effect, 1/2") == "figure-2a-b-the-effect-12"


def test_cells_over_seeds() -> None:
    spread = math.sqrt(((1 - 2.5) ** 2 + (4 - 2.5) ** 2) / 1)
    assert cell([1.0, None, 4.0], digits=3) == f"2.500 ({spread:.3f})"
    assert (cell([None]), cell([2.0])) == ("", "2.00")
