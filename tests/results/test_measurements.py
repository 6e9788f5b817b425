"""What is measured on trained networks: fractions are fractions, epochs whole numbers."""

import msgspec
import pytest

from cgro.results import EpochRecord, FlatnessPart, MemoryRecord, QuarterRecord

EPOCH = {
    "epoch": 3,
    "clean_error": 0.1,
    "wrong": 5,
    "n": 10,
    "bound": "lower",
    "value": 0.5,
    "interval": [0.2, 0.8],
    "attack": None,
    "broken_by": {"clean": 1, "apgd": 4},
    "complete": True,
}


def test_an_epoch_comes_back_as_it_was_written() -> None:
    assert EpochRecord.of(EPOCH).plain() == EPOCH


@pytest.mark.parametrize(
    "change", [{"value": 50.0}, {"epoch": 1.5}, {"epoch": 1 << 60}, {"bound": "about"}, {"eps": 1}]
)
def test_what_is_no_epoch_is_refused(change: dict) -> None:
    with pytest.raises(msgspec.ValidationError):
        EpochRecord.of(EPOCH | change)


def test_parts_that_were_not_measured_are_left_out() -> None:
    assert MemoryRecord(radius=0.1, stages=None).plain() == {"radius": 0.1, "stages": None}
    quarter = QuarterRecord(train=0.5, test=0.25, memory=0.25, interval=(0.2, 0.3))
    assert len(MemoryRecord(radius=0.1, stages=None, quarters=[quarter]).plain()["quarters"]) == 1
    assert FlatnessPart(n=1, loss=float("inf"), slope=0.0, gradient=[], rise=[]).plain()["loss"] == "inf"
