"""Jobs of Slurm, on three shell scripts in the place of its programs; tests/slurm has the real one."""

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.test_interrupt import wait_for

from cgro._check import BadRequest
from cgro.jobs import slurm
from cgro.jobs.execute import Call
from cgro.jobs.slurm import SlurmJobs, parse_options, slurm_jobs
from cgro.jobs.slurm_queue import Queue

SBATCH = """#!/bin/sh
[ -e {home}/refuse ] && rm {home}/refuse && echo "sbatch: error: Socket timed out" >&2 && exit 1
for word; do case $word in --job-name=*) name=${{word#*=}};; --output=*) log=${{word#*=}};; esac; done
n=1
until mkdir {home}/jobs/$n 2>/dev/null; do n=$((n + 1)); done
job={home}/jobs/$n
cat > $job/script
echo "$@" > $job/words
echo $name > $job/name
echo RUNNING > $job/state
(
    export SLURM_JOB_ID=$n SLURM_RESTART_COUNT=0
    while :; do
        sh -c "echo \\$\\$ > $job/pid; exec sh $job/script" >> $log 2>&1
        [ -e $job/requeued ] || break
        rm $job/requeued
        SLURM_RESTART_COUNT=$((SLURM_RESTART_COUNT + 1))
    done
    cat {home}/last 2>/dev/null > $job/state || echo COMPLETED > $job/state
) < /dev/null > /dev/null 2>&1 &
[ -e {home}/late ] && rm {home}/late && echo "sbatch: error: Socket timed out on send/recv" >&2 && exit 1
echo "$n;loopback"
"""
SQUEUE = """#!/bin/sh
[ -e {home}/silent ] && rm {home}/silent && echo "slurm_load_jobs error: Unable to contact slurm controller" >&2 && exit 1
cd {home}/jobs
for n in *; do [ -e $n/state ] && echo "$n|$(cat $n/state)|$(cat $n/name)"; done
exit 0
"""
SCONTROL = """#!/bin/sh
touch {home}/jobs/$2/requeued
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a pretended Slurm, whose programs are on the path."""
    path = tmp_path / "cluster"
    (path / "jobs").mkdir(parents=True)
    (path / "bin").mkdir()
    for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE), ("scontrol", SCONTROL)):
        program = path / "bin" / name
        program.write_text(text.format(home=path))
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path / 'bin'}:{os.environ['PATH']}")
    return path


def jobs(tmp_path: Path, program: str, **options: str) -> SlurmJobs:
    """What carries calls out, with a shell program in the place of cgro."""
    return SlurmJobs(tmp_path / "logs", options, ("sh", "-c", program), Queue(fastest=0.02))


def call(tmp_path: Path) -> Call:
    return Call("net/seed-0", "train", {"width": 4}, tmp_path / "run")


def submitted(home: Path) -> int:
    return len(list((home / "jobs").iterdir()))


@pytest.mark.parametrize("code", [0, 1])
def test_a_result_is_one_also_where_a_check_failed(code: int, home: Path, tmp_path: Path) -> None:
    carry = jobs(tmp_path, f"echo said; exit {code}", partition="gpu", warning="90")
    assert carry(call(tmp_path)) >= 0
    assert carry.open == {}
    words = (home / "jobs/1/words").read_text().split()
    assert {"--requeue", "--parsable", "--partition=gpu", "--signal=B:USR1@90"} <= set(words)
    assert (tmp_path / "logs/net.seed-0.log").read_text().splitlines()[1:] == ["said"]


def test_a_failure_has_the_last_line_of_its_log(home: Path, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="net/seed-0: the reason$"):
        jobs(tmp_path, "echo first; echo the reason >&2; exit 2")(call(tmp_path))
    assert submitted(home) == 1


@pytest.mark.parametrize(
    ("state", "reason"), [("CANCELLED", "was canceled there"), ("OUT_OF_MEMORY", "needed more memory")]
)
def test_what_a_person_or_the_memory_ended_is_not_submitted_again(
    state: str, reason: str, home: Path, tmp_path: Path
) -> None:
    """Its script is killed, so that nothing is written of its end but the state."""
    (home / "last").write_text(state)
    with pytest.raises(BadRequest, match=f"net/seed-0: Slurm job 1 {reason}"):
        jobs(tmp_path, "kill -9 $PPID")(call(tmp_path))
    assert submitted(home) == 1


@pytest.mark.parametrize("cut", ["kill -9 $PPID", "exit 130", "kill -9 $$"])
def test_what_was_cut_is_submitted_anew_and_only_so_often(
    cut: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "last").write_text("TIMEOUT")
    once = f"[ -e {tmp_path}/begun ] || {{ touch {tmp_path}/begun; {cut}; }}"
    assert jobs(tmp_path, once)(call(tmp_path)) >= 0
    assert submitted(home) == 2
    # What is known first is said: the exit code that the script wrote, or the state that Slurm gives.
    assert re.search(r"cut off: net/seed-0 \((timeout|its job ended with \d+)\); it goes on", capsys.readouterr().err)
    with pytest.raises(BadRequest, match=r"net/seed-0: was cut off 4 times, last (TIMEOUT|\d+);"):
        jobs(tmp_path, cut)(call(tmp_path))
    assert submitted(home) == 6


def test_a_job_of_an_earlier_call_is_taken_over(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The caller leaves; the job goes on, and whoever calls again waits for it instead of submitting another."""
    program = f"until [ -e {tmp_path}/go ]; do sleep 0.02; done"
    with slurm_jobs(2, tmp_path / "logs", {}) as (executor, first):
        carry = jobs(tmp_path, program)
        first.open.update({"net/seed-0": 1})
        future = executor.submit(carry, call(tmp_path))
        wait_for((home / "jobs/1/pid").exists)
        carry.stopping.set()
        with pytest.raises(KeyboardInterrupt, match="net/seed-0 was stopped"):
            future.result()
    said = capsys.readouterr().err
    assert "still in Slurm: 1; the same command with the same --out takes over, scancel 1 ends them" in said
    with ThreadPoolExecutor(1) as executor:
        second = jobs(tmp_path, program)
        future = executor.submit(second, call(tmp_path))
        wait_for(lambda: second.open)  # a job that ends before it is looked for would be submitted anew
        (tmp_path / "go").touch()
        assert future.result() >= 0
    assert "taken over: net/seed-0, Slurm job 1" in capsys.readouterr().err
    assert submitted(home) == 1


def test_another_call_or_folder_is_another_job(home: Path, tmp_path: Path) -> None:
    carry = jobs(tmp_path, "exit 0")
    for other in (
        call(tmp_path),
        Call("net/seed-0", "train", {"width": 5}, tmp_path / "run"),
        Call("net/seed-0", "train", {"width": 4}, tmp_path / "other"),
    ):
        carry(other)
    names = {path.read_text() for path in (home / "jobs").glob("*/name")}
    assert len(names) == 3


def test_the_warning_ahead_of_a_limit_puts_a_job_back_into_the_queue(home: Path, tmp_path: Path) -> None:
    """Its script passes the signal on, and the command saves and ends with 130; a cancellation does not come back."""
    program = (
        f"trap 'exit 130' USR1; [ $SLURM_RESTART_COUNT = 1 ] && exit 0; touch {tmp_path}/ready; "
        "while :; do sleep 0.02; done"
    )
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(jobs(tmp_path, program), call(tmp_path))
        wait_for((tmp_path / "ready").exists)
        os.kill(int((home / "jobs/1/pid").read_text()), signal.SIGUSR1)
        assert future.result() >= 0
    assert submitted(home) == 1
    assert "start 1" in (tmp_path / "logs/net.seed-0.log").read_text()


def test_slurm_that_does_not_answer_for_a_while_is_waited_for(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    carry = jobs(tmp_path, f"touch {home}/silent; until [ ! -e {home}/silent ]; do sleep 0.02; done")
    (home / "refuse").touch()
    assert carry(call(tmp_path)) >= 0
    assert "waiting for Slurm: squeue: slurm_load_jobs error" in capsys.readouterr().err
    assert submitted(home) == 1


@pytest.mark.parametrize("silent", [False, True])
def test_a_job_whose_submission_was_not_answered_is_not_submitted_twice(
    silent: bool, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor where the queue does not answer at first; a job that is over when it does is taken as well."""
    monkeypatch.setattr(slurm, "FASTEST", 0.02)
    (home / "late").touch()
    carry = jobs(tmp_path, "exit 0")
    if silent:
        carry.queue.find("any")  # so that the queue is asked again, and does not answer, only after the submission
        (home / "silent").touch()
    assert carry(call(tmp_path)) >= 0
    assert submitted(home) == 1


def test_a_submission_that_fails_and_leaves_no_job_is_tried_again_and_told(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "FASTEST", 0.001)
    (home / "bin/sbatch").write_text(f"#!/bin/sh\necho x >> {home}/asked\necho no such partition >&2\nexit 1\n")
    with pytest.raises(BadRequest, match="sbatch: no such partition"):
        jobs(tmp_path, "exit 0")(call(tmp_path))
    assert (home / "asked").read_text() == "x\n" * slurm.TRIES


def test_without_slurm_it_is_said_what_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    message = "expected sbatch, squeue, scontrol on the PATH, got no sbatch, no squeue"
    with pytest.raises(BadRequest, match=message), slurm_jobs(1, tmp_path, {}):
        pass


def test_a_controller_that_is_not_there_is_told_at_once(home: Path, tmp_path: Path) -> None:
    (home / "silent").touch()
    with pytest.raises(BadRequest, match="Unable to contact slurm controller"), slurm_jobs(1, tmp_path, {}):
        pass


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu", "expected NAME=VALUE"),
        ("partition=", "expected NAME=VALUE"),
        ("output=x", "expected one of account"),
        ("wrap=x", "expected one of account"),
        ("warning=soon", "warning"),
        ("cpus-per-task=0", "cpus-per-task"),
        ("cpus-per-task=2.5", "cpus-per-task: expected an integer"),
        ("warning=0.5", "warning: expected an integer"),
        ("warning=nan", "warning"),
    ],
)
def test_other_options_are_refused(text: str, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        parse_options(text)
