"""Several jobs at once: the same results as one after the other, failures by name, interrupts that resume."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from tests.jobs.runs import evaluation, make, training, workspace
from tests.test_interrupt import started, wait_for

from cgro._check import BadRequest
from cgro.commands import evaluate
from cgro.commands._common import parse
from cgro.jobs.execute import Call, execute, is_held
from cgro.jobs.fork_server import PROGRAM
from cgro.jobs.plan import HERE, Job
from cgro.jobs.workers import PREFIX, RESTARTS, Begin, Workers, at_once, begin_anew, words
from cgro.jobs.workspace import Workspace


def make_two_at_once(home: Workspace, *jobs: Job) -> None:
    with at_once(2) as (executor, carry):
        execute(jobs, home, executor, carry, at_once=2)


def test_the_same_as_one_after_the_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nets = [training(0), training(1)]
    jobs = [evaluation("eval/a", nets[0]), *nets, evaluation("eval/b", nets[1])]
    two = workspace(tmp_path / "two", jobs)
    one = workspace(tmp_path / "one", jobs)
    make_two_at_once(two, jobs[0], jobs[3])
    said = capsys.readouterr().err
    assert said.index("net/seed-0") < said.index("eval/a")
    make(one, *jobs)
    for job in jobs:
        results = [json.loads((home.folder(job) / "summary.json").read_text())["metrics"] for home in (one, two)]
        assert results[0] == results[1]
        assert json.loads((two.folder(job) / "environment.json").read_text())["threads"] == 1
    assert set(json.loads((two.path / "seconds.json").read_text())) == {job.name for job in jobs}
    capsys.readouterr()
    make_two_at_once(two, *jobs)
    assert "(cgro train)" not in capsys.readouterr().err  # nothing is made again


def test_a_failure_has_the_name_and_the_line_of_its_job(tmp_path: Path) -> None:
    job = training(0, lr=-1.0)
    with pytest.raises(BadRequest, match=r"net/seed-0: cgro train: .*lr"):
        make_two_at_once(workspace(tmp_path, [job]), job)


def program(text: str) -> tuple[str, ...]:
    """A program in the place of cgro."""
    return (sys.executable, "-c", text)


def by(text: str) -> Begin:
    return partial(begin_anew, prefix=program(text))


@pytest.fixture
def pipe() -> int:
    reading, _ = os.pipe()
    return reading


@pytest.mark.parametrize(
    ("text", "error", "words_of_it"),
    [
        ("import sys; print('first\\nlast', file=sys.stderr); sys.exit(2)", BadRequest, "a: last"),
        ("import sys; sys.exit(3)", BadRequest, "a: its process ended with 3"),
        ("import os; os.kill(os.getpid(), 9)", BadRequest, "a: its process ended with -9"),
        ("import sys; sys.exit(130)", KeyboardInterrupt, "a was stopped; the same command"),
    ],
)
def test_how_a_process_ended_is_told(
    text: str, error: type[BaseException], words_of_it: str, pipe: int, tmp_path: Path
) -> None:
    carry = Workers(pipe, by(text))
    with pytest.raises(error, match=words_of_it):
        carry(Call("a", "train", {}, tmp_path / "run"))


@pytest.mark.parametrize("cut", ["os.kill(os.getpid(), 9)", "os.kill(os.getpid(), 15)", "sys.exit(130)"])
def test_a_process_that_was_cut_from_outside_is_begun_again(cut: str, pipe: int, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    text = f"import os, sys; os.path.exists({str(begun)!r}) and sys.exit(0); open({str(begun)!r}, 'w'); {cut}"
    assert Workers(pipe, by(text))(Call("a", "train", {}, tmp_path / "run")) > 0


def test_it_is_begun_again_only_so_often(pipe: int, tmp_path: Path) -> None:
    count = tmp_path / "count"
    text = f"import os; open({str(count)!r}, 'a').write('x'); os.kill(os.getpid(), 9)"
    with pytest.raises(BadRequest, match="a: its process ended with -9"):
        Workers(pipe, by(text))(Call("a", "train", {}, tmp_path / "run"))
    assert count.read_text() == "x" * (1 + RESTARTS)


def test_a_process_that_hangs_holds_nobody_for_ever(pipe: int, tmp_path: Path) -> None:
    """Suspended, it notices neither the end of the pipe nor the time that it has for its end."""
    ready = tmp_path / "ready"
    text = f"import os, signal; open({str(ready)!r}, 'w'); os.kill(os.getpid(), signal.SIGSTOP)"
    carry = Workers(pipe, by(text), patience=0.1)
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(carry, Call("a", "train", {}, tmp_path / "run"))
        wait_for(ready.exists)
        carry.stopping.set()
        with pytest.raises(BadRequest, match="a: its process ended with -9"):
            future.result()


@pytest.mark.parametrize("code", [0, 1])
def test_a_failed_check_is_a_result_all_the_same(code: int, pipe: int, tmp_path: Path) -> None:
    carry = Workers(pipe, by(f"import sys; sys.exit({code})"))
    assert carry(Call("a", "train", {}, tmp_path / "run")) > 0


def test_nothing_is_started_while_stopping(pipe: int, tmp_path: Path) -> None:
    carry = Workers(pipe, by(f"open({str(tmp_path / 'started')!r}, 'w')"))
    carry.stopping.set()
    with pytest.raises(KeyboardInterrupt):
        carry(Call("a", "train", {}, tmp_path / "run"))
    assert not (tmp_path / "started").exists()


def test_settings_reach_the_worker_on_its_command_line(tmp_path: Path, pipe: int) -> None:
    settings = {"target": f"{HERE}net/seed-0/checkpoints/last.safetensors", "n": 20, "radius": "8/255"}
    job = Job("a", "evaluate", settings)
    home = workspace(tmp_path, [job])
    name, *rest = words(Call(job.name, job.command, home.options(job), home.folder(job)))
    found = parse(name, "", evaluate.Config, rest)
    assert (found.target, found.n) == (str(tmp_path / "runs/net/seed-0/checkpoints/last.safetensors"), 20)
    assert (found.radius, found.threads) == ("8/255", 1)
    assert "-P" in PREFIX  # modules of the current folder replace none of ours
    assert "-P" in PROGRAM


ENDINGS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGKILL]


@pytest.mark.parametrize("number", ENDINGS, ids=lambda s: s.name)
def test_no_worker_outlives_its_parent(number: signal.Signals, tmp_path: Path) -> None:
    """Its parent is the plain library but for SIGINT: most signals end it at once, as SIGKILL does."""
    text = (
        "import signal; from pathlib import Path; from tests.jobs.runs import workspace, training; "
        "from tests.jobs.test_workers import make_two_at_once; job = training(0, epochs=100000); "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"make_two_at_once(workspace(Path({str(tmp_path / 'out')!r}), [job]), job)"
    )
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    process = subprocess.Popen(
        program(text),
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    run = tmp_path / "out/runs/net/seed-0"
    wait_for((run / "metrics.jsonl").exists, process)
    assert is_held(run)
    process.send_signal(number)
    assert process.wait(timeout=60) != 0
    wait_for(lambda: not is_held(run), seconds=60)
    assert not list(temporary.iterdir())
    assert not (run / "summary.json").exists()
    assert (run / "checkpoints/last.safetensors").exists()
    assert not list(run.rglob("*.tmp"))


def test_a_reproduction_under_nohup_stops_on_sigterm_and_resumes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ["reproduce", "table2", "--scale", "smoke", "--workers", "2", "--threads", "2", "--out", str(out)]
    process = started(*asked, ignoring=(signal.SIGHUP, signal.SIGINT))
    wait_for(lambda: len(list(out.glob("runs/**/config.yaml"))) >= 2, process)
    process.send_signal(signal.SIGTERM)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 130
    assert text.splitlines()[-1] == (
        "cgro reproduce: interrupted by SIGTERM; the same command with the same --out resumes it"
    )
    assert not any(is_held(p.parent) for p in out.glob("runs/**/.lock"))
    process = started(*asked)  # of its own: a command sets the threads of its process
    _, text = process.communicate(timeout=300)
    assert process.returncode == 0, text
