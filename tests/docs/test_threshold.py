"""The tables of docs/threshold.md and of the finite-size law are those of the stored results."""

import csv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLES = [
    ("threshold.md", "threshold", "halves"),
    ("threshold.md", "threshold", "theorem"),
    ("threshold.md", "threshold-mnist", "sizes"),
    ("threshold.md", "threshold-mnist", "closing"),
    ("dynamics.md", "alpha-law", "slopes"),
]
"""Page, artifact, table."""


def lines_of(artifact: str, table: str) -> list[str]:
    with open(ROOT / "results" / "cpu" / artifact / "tables" / f"{table}.csv", newline="") as file:
        return [f"| {' | '.join(row)} |" for row in csv.reader(file)]


@pytest.mark.parametrize(("page", "artifact", "table"), TABLES)
def test_every_row_is_on_the_page(page: str, artifact: str, table: str) -> None:
    lines = (ROOT / "docs" / page).read_text().splitlines()
    rows = lines_of(artifact, table)
    assert len(rows) > 3
    start = lines.index(rows[0])
    assert lines[start + 2 : start + 1 + len(rows)] == rows[1:]


def test_a_changed_number_is_noticed() -> None:
    lines = (ROOT / "docs" / "dynamics.md").read_text().splitlines()
    assert lines_of("alpha-law", "slopes")[1].replace("1", "2", 1) not in lines
