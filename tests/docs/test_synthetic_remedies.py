"""The tables of docs/synthetic_remedies.md are those of the stored results."""

import csv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLES = ROOT / "results" / "cpu" / "remedies" / "tables"
PAGE = (ROOT / "docs" / "synthetic_remedies.md").read_text().splitlines()


def lines_of(table: str) -> list[str]:
    with (TABLES / f"{table}.csv").open(newline="") as file:
        return [f"| {' | '.join(row)} |" for row in csv.reader(file)]


@pytest.mark.parametrize("table", ["factors", "errors", "stops"])
def test_every_row_is_on_the_page(table: str) -> None:
    rows = lines_of(table)
    assert len(rows) > 3
    start = PAGE.index(rows[0])
    assert PAGE[start + 2 : start + 1 + len(rows)] == rows[1:]


def test_a_changed_number_is_noticed() -> None:
    assert lines_of("factors")[1].replace("0.", "1.", 1) not in PAGE
