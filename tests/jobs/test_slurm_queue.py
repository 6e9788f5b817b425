"""The queue as Slurm shows it, from texts in the place of its answers."""

import math
import sys

import pytest

from cgro._check import BadRequest
from cgro.jobs import slurm_queue
from cgro.jobs.slurm_queue import SLOWEST, Queue, Seen, answer

SHOWN = """
7|COMPLETED|cgro-a
12|PENDING|cgro-a
9|RUNNING|cgro-b|c
slurm_load_jobs: warning
13_1|RUNNING|cgro-d
"""


def test_of_several_jobs_of_a_name_the_latest_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_queue, "answer", lambda command: SHOWN)
    queue = Queue()
    queue.look()
    assert queue.jobs == {"cgro-a": Seen(12, "PENDING"), "cgro-b|c": Seen(9, "RUNNING")}
    assert queue.find("cgro-a", since=-math.inf) == Seen(12, "PENDING")
    assert queue.find("cgro-d") is None
    assert [Seen(1, state).is_active for state in ("PENDING", "COMPLETING", "COMPLETED", "TIMEOUT")] == [
        True,
        True,
        False,
        False,
    ]


def test_looks_grow_rare_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    states = iter(["PENDING"] * 40 + ["RUNNING"])
    monkeypatch.setattr(slurm_queue, "answer", lambda command: f"1|{next(states)}|a")
    queue = Queue(fastest=0.5)
    periods: list[float] = []
    for _ in range(41):
        queue.look()
        periods.append(queue.period)
    assert periods[:2] == [0.5, 0.65]
    assert periods[39] == SLOWEST
    assert periods[40] == 0.5


def test_a_silent_queue_shows_what_it_showed_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    queue = Queue(fastest=0.0)
    monkeypatch.setattr(slurm_queue, "answer", lambda command: "1|RUNNING|a")
    queue.look()
    told = queue.answered

    def silent(command: object) -> str:
        raise BadRequest("squeue: no controller")

    monkeypatch.setattr(slurm_queue, "answer", silent)
    for _ in range(3):
        assert queue.find("a", since=math.inf) == Seen(1, "RUNNING")
    assert queue.answered == told
    assert capsys.readouterr().err.count("waiting for Slurm: squeue: no controller") == 1


def test_what_a_program_says_or_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer([sys.executable, "-c", "print(input())"], "given") == "given\n"
    with pytest.raises(BadRequest, match=r"python.*: last$"):
        answer([sys.executable, "-c", "import sys; print('first\\nlast', file=sys.stderr); sys.exit(3)"])
    with pytest.raises(BadRequest, match="ended with 3"):
        answer([sys.executable, "-c", "import sys; sys.exit(3)"])
    with pytest.raises(BadRequest, match="expected no_such_program on the PATH"):
        answer(["no_such_program"])
    monkeypatch.setattr(slurm_queue, "ANSWER", 0.1)
    with pytest.raises(BadRequest, match="did not answer within 0 s"):
        answer([sys.executable, "-c", "import time; time.sleep(60)"])
