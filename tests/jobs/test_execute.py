"""The plan on any executor: needs first, no two readers of one run at once, failures and interrupts told."""

import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.jobs.runs import evaluation, make, training, workspace

from cgro._check import BadRequest
from cgro.jobs.execute import Call, ThisProcess, await_release, carry_out_here, execute, is_held
from cgro.jobs.plan import Job
from cgro.jobs.workspace import Workspace
from cgro.runs import Run


@dataclass
class Pretended:
    """Carries a call out by noting it, and finishes its run as a command would; `during` is called in between."""

    home: Workspace
    begun: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    at_once: int = 0
    _running: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, call: Call) -> float:
        with self._lock:
            self.begun.append(call.name)
            self._running += 1
            self.at_once = max(self.at_once, self._running)
        time.sleep(0.02)
        finish(self.home, call)
        with self._lock:
            self._running -= 1
            self.ended.append(call.name)
        return 1.0


def finish(home: Workspace, call: Call) -> None:
    """The least that a finished run of these settings has."""
    with Run.start(call.folder, call.command, call.options) as run:
        result = {"command": call.command, "seed": 0, "threat": None, "verdict": None, "metrics": {}}
        run.finish({"schema": 1, **result, "outcome": {"kind": "completed", "reason": ""}})


def carried_out(path: Path, jobs: list[Job], n: int) -> Pretended:
    home = workspace(path, jobs)
    carry = Pretended(home)
    with ThreadPoolExecutor(n) as executor:
        execute(jobs, home, executor, carry, at_once=n)
    assert home.unfinished() == []
    return carry


def test_needs_come_first_on_any_executor(tmp_path: Path) -> None:
    nets = [training(seed) for seed in range(3)]
    readers = [evaluation(f"on/{seed}", net) for seed, net in enumerate(nets)]
    for n in (1, 3):
        carry = carried_out(tmp_path / str(n), [*readers, *nets], n)
        assert sorted(carry.begun) == sorted(job.name for job in (*nets, *readers))
        for net, reader in zip(nets, readers, strict=True):
            assert carry.begun.index(reader.name) > carry.begun.index(net.name)
        assert carry.at_once <= n


def test_two_that_read_one_run_do_not_run_at_once(tmp_path: Path) -> None:
    net = training(0)
    readers = [evaluation(name, net) for name in "abcd"]
    assert carried_out(tmp_path / "one", [net, *readers], 4).at_once == 1
    nets = [training(seed) for seed in range(4)]
    assert carried_out(tmp_path / "four", nets, 4).at_once > 1


def test_no_more_calls_than_asked_for_are_handed_over(tmp_path: Path) -> None:
    jobs = [training(seed) for seed in range(5)]
    home = workspace(tmp_path, jobs)
    carry = Pretended(home)
    with ThreadPoolExecutor(5) as executor:
        execute(jobs, home, executor, carry, at_once=2)
    assert carry.at_once == 2


def test_nothing_is_made_twice_and_seconds_are_written_down(tmp_path: Path) -> None:
    jobs = [training(seed) for seed in range(2)]
    carried_out(tmp_path, jobs, 2)
    home = workspace(tmp_path, jobs)
    execute(jobs, home, ThisProcess(), lambda call: pytest.fail(f"{call.name} was made again"))
    assert home.ledger.total(jobs) == 2.0
    assert home.ledger.spent == 0.0


def test_a_job_that_another_process_finished_meanwhile_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = training(0)
    home = workspace(tmp_path, [job])

    def beaten(call: Call) -> float:
        finish(home, call)
        raise BadRequest("another process works in this directory")

    execute([job], home, ThisProcess(), beaten)
    assert "taken: net/seed-0" in capsys.readouterr().err
    assert home.ledger.spent == 0.0


def test_a_failure_is_raised_and_what_is_not_begun_stays_so(tmp_path: Path) -> None:
    jobs = [training(0), training(1)]
    home = workspace(tmp_path, jobs)
    begun = []

    def fail(call: Call) -> float:
        begun.append(call.name)
        raise BadRequest("no")

    with pytest.raises(BadRequest, match="no"):
        execute(jobs, home, ThisProcess(), fail)
    assert begun == ["net/seed-0"]


def test_an_interrupt_names_the_job_and_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cgro.commands import train

    def stopped(config: object) -> Run:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "run", stopped)
    job = training(0)
    with pytest.raises(KeyboardInterrupt, match="net/seed-0 was stopped; the same command"):
        make(workspace(tmp_path, [job]), job)


def test_which_job_of_how_many_and_the_time_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [training(0), training(1)]
    carried_out(tmp_path / "one", jobs, 1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "[1/2] net/seed-0 (cgro train); about 20 s of work left"
    assert lines[1].startswith("[2/2] net/seed-1 (cgro train); about")
    carried_out(tmp_path / "two", jobs, 2)
    assert "  done: net/seed-0; about" in capsys.readouterr().err


def test_a_held_run_is_waited_for_within_bounds(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "none")
    with Run.start(tmp_path / "run", "train", {}):
        assert is_held(tmp_path / "run")
        started = time.monotonic()
        await_release(tmp_path / "run", patience=0.3)
        assert time.monotonic() - started >= 0.3
        stopping = threading.Event()
        stopping.set()
        await_release(tmp_path / "run", stopping=stopping)  # at once
    assert not is_held(tmp_path / "run")
    await_release(tmp_path / "run")


def test_a_check_that_failed_is_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cgro._check import CheckFailed
    from cgro.commands import train

    def failed(config: object) -> Run:
        raise CheckFailed("not certified")

    monkeypatch.setattr(train, "run", failed)
    call = Call("net/seed-0", "train", dict(training(0).settings), tmp_path / "run")
    assert carry_out_here(call) >= 0


def test_a_refusal_can_be_sent_from_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a kind with further arguments would break a pool of processes."""
    from cgro.commands import train

    class OfItsOwn(BadRequest):
        def __init__(self, where: str, what: str) -> None:
            super().__init__(f"{where}: {what}")

    def refused(config: object) -> Run:
        raise OfItsOwn("data", "not trusted")

    monkeypatch.setattr(train, "run", refused)
    call = Call("net/seed-0", "train", dict(training(0).settings), tmp_path / "run")
    with pytest.raises(BadRequest, match="^data: not trusted$") as caught:
        carry_out_here(call)
    assert type(pickle.loads(pickle.dumps(caught.value))) is BadRequest


@pytest.mark.parametrize("own", [{}, {"train_precision": "bfloat16"}])
def test_trainings_are_in_float32_unless_their_plan_says_otherwise(own: dict[str, str], tmp_path: Path) -> None:
    """The default looks at the processor, and results that are compared must not."""
    net = training(0, **own)
    jobs = [net, evaluation("on/0", net)]
    home = workspace(tmp_path, jobs)
    seen: dict[str, object] = {}

    def carry(call: Call) -> float:
        seen[call.command] = call.options.get("train_precision")
        finish(home, call)
        return 1.0

    execute(jobs, home, ThisProcess(), carry)
    assert seen == {"train": own.get("train_precision", "float32"), "evaluate": None}
