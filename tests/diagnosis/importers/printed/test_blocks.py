"""Values between two lines that name an epoch: which of several of one name counts."""

import pytest

from cgro.diagnosis.importers.line.lines import parse_line
from cgro.diagnosis.importers.printed.blocks import Block


@pytest.mark.parametrize(
    ("lines", "value", "twice"),
    [
        (["test adv acc 45.1"], "45.1", False),
        (["test adv acc 45.1", "test adv acc 45.1"], "45.1", False),
        (["test adv acc 45.1", "test adv acc 30.2"], "45.1", True),  # the first stays, and is asked for
        (["train adv acc 45.1", "train adv acc 30.2"], "30.2", False),  # of training the last one counts
    ],
)
def test_one_value_of_a_name(lines: list[str], value: str, twice: bool) -> None:
    block = Block(3)
    for line in lines:
        block.take(parse_line(line), frozenset())
    assert list(block.values.values()) == [value]
    assert bool(block.twice) == twice


def test_a_seed_beside_other_values_is_none_of_the_epoch() -> None:
    block = Block(3)
    block.take(parse_line("seed: 1 test adv acc 45.1"), frozenset())
    assert block.values == {"test adv acc": "45.1"}


def test_a_name_that_means_more() -> None:
    block = Block(3)
    block.take(parse_line("test adv acc 45.1"), frozenset())
    block.rename("test adv acc", "best test adv acc")
    assert block.values == block.below == {"best test adv acc": "45.1"}
