"""What processes exchange is exact, in the order of one, and ends in one line where one of them is gone."""

import os
import signal
from pathlib import Path

import pytest
import torch

from cgro._check import BadRequest
from cgro.ranks import _LAST, ALONE, SMALL, Ranks, joined, launched, local_number, piece_of, together
from tests.ranks import run_ranks, start_ranks, wait_for_ranks

N = 11
LARGE = 2**53 + 1
"""A count that no float64 holds."""


@pytest.mark.parametrize("size", [2, 4])
def test_all_processes_hold_what_one_would(tmp_path: Path, size: int) -> None:
    run_ranks(size, "tests.test_ranks:exchanges", tmp_path)


def exchanges(ranks: Ranks, folder: Path) -> None:
    """In every process."""
    k, n = ranks.number, ranks.size
    assert ranks.writes == (k == 0)
    assert ranks.sums([k, 1, LARGE]) == [n * (n - 1) // 2, n, n * LARGE]
    assert ranks.largest([k, -k]) == [n - 1, 0]
    assert ranks.smallest([k, -k]) == [0, 1 - n]
    assert ranks.of_first([k + 7, 3]) == [7, 3]
    assert ranks.bytes_of_first(b"" if k else b"of the first") == b"of the first"
    assert ranks.bytes_of_first(b"other" if k else b"") == b""
    values = torch.arange(N * 3, dtype=torch.float64).reshape(N, 3).sqrt()
    mine = ranks.piece(N)
    for whole in (values, values > 2, values.to(torch.bfloat16), values[:, 0].long()):
        assert torch.equal(ranks.in_order(whole[mine], torch.arange(N)[mine], N), whole)
    strided = torch.arange(k, N, n)
    assert torch.equal(ranks.in_order(values[strided], strided, N), values)
    assert torch.equal(ranks.in_order(values[:1][ranks.piece(1)], torch.arange(1)[ranks.piece(1)], 1), values[:1])
    with pytest.raises(BadRequest, match="each of 11 examples once"):
        ranks.in_order(values[:1], torch.tensor([0]), N)
    told = torch.full((2,), float(k + 1))
    ranks.add(told)
    assert told.tolist() == [n * (n + 1) / 2] * 2
    tensors = [torch.full((2, 2), float(k)), torch.tensor(k > 0), torch.tensor([k], dtype=torch.bfloat16)]
    ranks.copy_first(tensors)
    assert not any(bool(tensor.any()) for tensor in tensors)
    keeps_small_ones(ranks)
    ranks.wait("the end")
    fails_in_one(ranks)
    ranks.require_same("settings", "alike")
    with pytest.raises(BadRequest, match="settings: expected the same in all"):
        ranks.require_same("settings", f"of {k % 2}")


def keeps_small_ones(ranks: Ranks) -> None:
    """Else the last reference may be that of a thread of gloo, for which a leaving process of torch 2.6 waited for ever."""
    small, large = torch.ones(SMALL // 4), torch.ones(SMALL // 4 + 1)
    ranks.add(small)
    ranks.add(large)
    kept = [tensor is small for tensor in _LAST]
    assert sum(kept) == 1
    assert not any(tensor is large for tensor in _LAST)


def fails_in_one(ranks: Ranks) -> None:
    def work() -> None:
        with ranks.failing_together("an evaluation"):
            if ranks.number == 1:
                raise ValueError("mine")

    if ranks.number == 1:
        with pytest.raises(ValueError, match="mine"):
            work()
    else:
        with pytest.raises(BadRequest, match=f"failed in 1 of {ranks.size} processes"):
            work()
    with ranks.failing_together("an evaluation"):
        pass


def hangs(ranks: Ranks, folder: Path) -> None:
    """The last process never comes; the others say so, and end."""
    if ranks.number == ranks.size - 1:
        (folder / "hangs").touch()
        signal.pause()
    with pytest.raises(BadRequest, match=r"the test: one of 2 processes has not answered for 0\.5 seconds"):
        ranks.wait("the test")
    os._exit(0)


def test_a_process_that_hangs_ends_in_one_line(tmp_path: Path) -> None:
    started = start_ranks(2, "tests.test_ranks:hangs", tmp_path, seconds=0.5)
    assert started[0].wait(timeout=120) == 0, started[0].communicate()
    started[1].kill()
    wait_for_ranks(started)


def dies(ranks: Ranks, folder: Path) -> None:
    if ranks.number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    with pytest.raises(BadRequest, match="one of 2 processes has ended"):  # by its connection, not by the time-out
        ranks.sums([1])
    os._exit(0)


def test_a_process_that_is_killed_is_noticed_at_once(tmp_path: Path) -> None:
    ended = wait_for_ranks(start_ranks(2, "tests.test_ranks:dies", tmp_path, seconds=250.0))
    assert [one.code for one in ended] == [-signal.SIGKILL, 0], ended


def test_pieces_are_contiguous_and_cover_everything() -> None:
    for n in range(20):
        for size in range(1, 7):
            pieces = [list(range(n))[piece_of(n, size, k)] for k in range(size)]
            assert [place for piece in pieces for place in piece] == list(range(n))
            lengths = [len(piece) for piece in pieces]
            assert lengths == sorted(lengths, reverse=True)
            assert max(lengths) - min(lengths) <= 1


def test_one_process_alone_changes_nothing() -> None:
    assert together() == ALONE
    assert ALONE.largest([3]) == ALONE.smallest([3]) == ALONE.of_first([3]) == [3]
    assert ALONE.bytes_of_first(b"x") == b"x"
    value = torch.tensor([1.5])
    ALONE.add(value)
    ALONE.copy_first([value])
    assert value.item() == 1.5
    ALONE.wait("nobody")
    ALONE.require_same("settings", "any")
    with pytest.raises(ValueError, match="mine"), ALONE.failing_together("work"):
        raise ValueError("mine")


def test_a_launcher_is_recognized_by_its_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert (launched(), local_number()) == (1, 0)
    with joined() as ranks:
        assert ranks == ALONE
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BadRequest, match="RANK: expected as torchrun sets it"):
        launched()
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(BadRequest, match="WORLD_SIZE: expected a number"):
        launched()
    for name, value in (("RANK", "3"), ("WORLD_SIZE", "4"), ("MASTER_ADDR", "x"), ("MASTER_PORT", "1"), ("LOCAL_RANK", "1")):  # fmt: skip
        monkeypatch.setenv(name, value)
    assert (launched(), local_number()) == (4, 1)
    for name, value in (("RANK", "4"), ("RANK", "-1"), ("LOCAL_RANK", "one"), ("LOCAL_RANK", "7")):
        with monkeypatch.context() as wrong:
            wrong.setenv(name, value)
            with pytest.raises(BadRequest, match=f"{name}: expected a number below the 4"):
                launched()
