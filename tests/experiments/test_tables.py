"""Tables are filled row by row and written as CSV and into summaries."""

import csv
import io

import pytest

from cgro.experiments.tables import Table


def test_cells_come_back_from_csv_whatever_they_hold() -> None:
    table = Table("t", "caption", ["a", "b, c"])
    table.add('quoted "text"', "two\nlines")
    table.add(1, 2.5)
    assert list(csv.reader(io.StringIO(table.csv().decode()))) == [
        ["a", "b, c"],
        ['quoted "text"', "two\nlines"],
        ["1", "2.5"],
    ]


def test_a_row_of_another_length_is_an_error_of_ours() -> None:
    with pytest.raises(AssertionError):
        Table("t", "", ["a", "b"]).add(1)


def test_long_is_recorded_only_where_it_is_true() -> None:
    assert Table("t", "", ["a"], long=True).record().long is True
    assert Table("t", "", ["a"]).record().long is not True
