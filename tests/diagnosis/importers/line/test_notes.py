"""Notes in brackets beside each of several values: whose they are, and which notes name nothing."""

from pathlib import Path

import pytest

from cgro._check import BadRequest
from cgro.diagnosis import read_curves
from cgro.diagnosis.importers.line.lines import parse_line
from cgro.diagnosis.importers.line.notes import noted


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("train err [41.7] (nat) [31.8] (adv) test err [46.2] (nat) [26.0] (adv)",
         [("nat train err", "41.7"), ("adv train err", "31.8"), ("nat test err", "46.2"), ("adv test err", "26.0")]),
        ("Acc (train) 41.7 (test) 46.2 robust acc (test) 26.5",
         [("train Acc", "41.7"), ("test Acc", "46.2"), ("robust acc (test", "26.5")]),
        ("test acc [clean] = 80.1, [PGD-20] = 45.2", [("clean test acc", "80.1"), ("PGD-20 test acc", "45.2")]),
        ("acc: 80.1% [train] / 79.2% [val]", [("train acc", "80.1%"), ("val acc", "79.2%")]),
    ],
)  # fmt: skip
def test_each_value_is_behind_its_own_note(line: str, values: list[tuple[str, str]]) -> None:
    """(adv) was taken for the beginning of the name behind it, and a clean error for a robust one."""
    assert parse_line(line).values == values


@pytest.mark.parametrize(
    "line",
    ["test acc 47.1 (best) 45.2 (last)", "test acc 45.2 (44.1)", "(train) acc 45 (test) acc 44", "time 3.1 (train) 1.2 (test)",
     "acc 45 (train) 44 ()", "adv acc 45.2 (train) 3 (epochs)", "[3/30] acc 45.2", "test acc 45.2 (ema) 44.1 (10 s)"],
)  # fmt: skip
def test_other_notes_are_left_alone(line: str) -> None:
    assert noted(line) == line


@pytest.mark.parametrize(
    "notes", [("eps 4", "eps 8"), ("4/255", "8/255"), ("Linf 0.01", "Linf 0.03"), ("eps=0.1", "eps=0.3")]
)
def test_of_two_radii_one_is_asked_for(notes: tuple[str, str], tmp_path: Path) -> None:
    """The first, mostly the weaker, was taken without a word."""
    path = tmp_path / "log.txt"
    lines: list[str] = []
    for epoch in range(1, 9):
        lines.append(
            f"epoch {epoch} test acc {60 + epoch} test robust acc {40 + epoch} ({notes[0]}) {30 - epoch} ({notes[1]})\n"
        )
    path.write_text("".join(lines))
    with pytest.raises(BadRequest, match="both look like robust_accuracy/test"):
        read_curves(path)
