"""A fall by more than 15% is told, of shares of the floor and of speed over peers; other settings are refused."""

import msgspec
import pytest
from tests.report.runs import bench_summary, speed_row

from cgro._check import BadRequest
from cgro.results import Spread
from cgro.speed import falls, require_comparable

BEFORE = bench_summary([speed_row(over=1.25, peer=2.0)])


@pytest.mark.parametrize(
    ("over", "peer", "expected"),
    [
        (1.25, 2.0, []),
        (1.25 / 0.86, 2.0 * 0.86, []),
        (1.0, 3.0, []),
        (1.25 / 0.84, 2.0, ["attack, eager, share of the floor: 0.672, was 0.8"]),
        (1.25, 1.6, ["attack, eager, over common loop: 1.6, was 2"]),
    ],
)
def test_falls(over: float, peer: float, expected: list[str]) -> None:
    assert falls(bench_summary([speed_row(over=over, peer=peer)]), BEFORE) == expected


def test_absolute_times_do_not_count() -> None:
    slow = msgspec.structs.replace(speed_row(over=1.25, peer=2.0), seconds=Spread(low=90.0, median=99.0, high=99.0))
    assert falls(bench_summary([slow]), BEFORE) == []


def test_new_ways_and_slow_peers_are_no_fall() -> None:
    rows = [speed_row(over=1.25, peer=2.0), speed_row("captured", 9.0), speed_row("common loop", 9.0, ours=False)]
    assert falls(bench_summary(rows), BEFORE) == []


def test_a_way_that_is_gone_is_told_and_a_peer_that_is_gone_is_not() -> None:
    before = bench_summary([speed_row(over=1.25, peer=2.0), speed_row("captured", 0.5)])
    now = bench_summary([speed_row(over=1.25)], left_out={"attack, captured": "a value was read"})
    assert falls(now, before) == ["attack, captured, share of the floor: not measured, was 2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threads": 2}, "base: expected threads 2, got 1"),
        ({"batch_size": 64}, "expected batch_size 64, got 32"),
        ({"device": "cuda"}, "expected device cuda, got digits"),
        ({"attack": "FGSM"}, "expected attack FGSM, got PGD"),
        ({"flags": {"searches": "bfloat16"}}, "expected flags"),
        ({"text": "mnist"}, "expected mnist on mnist, got digits on digits"),
    ],
)
def test_other_settings_are_refused(change: dict, message: str) -> None:
    require_comparable(BEFORE, BEFORE, "base")
    with pytest.raises(BadRequest, match=message):
        require_comparable(bench_summary(BEFORE.rows, **change), BEFORE, "base")
