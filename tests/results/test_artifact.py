"""Parts of an artifact: tables of any values, machines with their runs."""

import msgspec
import pytest

from cgro.results import MachineRecord, TableRecord


def test_tables_hold_any_values_and_long_ones_say_so() -> None:
    table = {"name": "sizes", "caption": "c", "columns": ["p", "n"], "rows": [["inf", 3], [None, 0.5]]}
    assert TableRecord.of(table).plain() == table
    assert TableRecord.of({**table, "long": True}).long is True
    with pytest.raises(msgspec.ValidationError):
        TableRecord.of({**table, "columns": "p, n"})


def test_a_machine_lists_its_runs() -> None:
    row = {
        "machine": "m",
        "threads": 1,
        "torch": "2.13.0",
        "cgro": "0.1.0",
        "commit": None,
        "source": None,
        "runs": ["a"],
    }
    assert MachineRecord.of(row).runs == ["a"]
