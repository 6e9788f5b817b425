"""Several jobs at once: the same results as one after the other, needs first, failures by name, interrupts that resume."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.test_interrupt import started, wait_for

from cgro._check import BadRequest
from cgro.cli import main
from cgro.commands import evaluate
from cgro.commands._common import parse
from cgro.experiments import workers
from cgro.experiments.jobs import HERE, Home, Job, is_held
from cgro.experiments.workers import make_all
from cgro.runs import Run

TINY = {"data": "digits", "n_train": 60, "n_test": 30, "model": "mlp", "epochs": 2, "radius": "0.1", "attack": "pgd2",
        "eval_attack": "pgd2", "device": "cpu"}  # fmt: skip


def training(seed: int, **more: object) -> Job:
    return Job(f"net/seed-{seed}", "train", {**TINY, **more, "seed": seed})


def evaluation(name: str, trained: Job, attack: str = "pgd3") -> Job:
    target = f"{HERE}{trained.name}/checkpoints/last.safetensors"
    own = {k: trained.settings[k] for k in ("data", "model", "radius", "seed")}
    return Job(name, "evaluate", {"target": target, "attack": attack, "parts": "test", "n": 20, **own})


def home(path: Path, jobs: list[Job]) -> Home:
    return Home(path, {"threads": 1}, jobs)


def test_the_same_as_one_after_the_other_and_needs_come_first(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    nets = [training(0), training(1)]
    jobs = [evaluation("eval/a", nets[0]), *nets, evaluation("eval/b", nets[1])]
    two, one = home(tmp_path / "two", jobs), home(tmp_path / "one", jobs)
    make_all(two, jobs[:1] + jobs[3:], 2)
    said = capsys.readouterr().err
    assert said.index("net/seed-0") < said.index("eval/a")
    one.finished([*nets, *jobs])
    for job in jobs:
        results = [json.loads((h.runs / job.name / "summary.json").read_text())["metrics"] for h in (one, two)]
        assert results[0] == results[1]
        assert json.loads((two.runs / job.name / "environment.json").read_text())["threads"] == 1
    assert set(json.loads((two.path / "seconds.json").read_text())) == {j.name for j in jobs}
    make_all(two, jobs, 2)
    assert capsys.readouterr().err.count("(cgro train)") == 2  # of the serial home; nothing is made again


def test_two_that_read_one_run_do_not_run_at_once(tmp_path: Path) -> None:
    net = training(0)
    a, b = evaluation("a", net), evaluation("b", net)
    h = home(tmp_path, [net, a, b])
    h.make(net)
    process = subprocess.Popen(["true"])
    process.wait()
    busy = workers._Worker(a, process, subprocess.PIPE, 0.0)  # type: ignore[arg-type]
    assert workers._ready(h, b, [])
    assert not workers._ready(h, b, [busy])


def test_a_failure_has_the_name_and_the_line_of_its_job(tmp_path: Path) -> None:
    jobs = [training(0, lr=-1.0)]
    with pytest.raises(BadRequest, match=r"net/seed-0: cgro train: .*lr"):
        make_all(home(tmp_path, jobs), jobs, 2)


def test_a_job_that_was_finished_meanwhile_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = training(0)
    home(tmp_path, [job]).make(job)
    late = home(tmp_path, [job])
    with monkeypatch.context() as looked_too_early:
        looked_too_early.setattr(Home, "missing", lambda self, jobs: list(jobs))
        make_all(late, [job], 2)
    assert late._make_here(job) == Run(tmp_path / "runs" / job.name)
    assert late._spent == 0.0


def test_a_job_waits_for_the_worker_of_an_earlier_call(tmp_path: Path) -> None:
    job, h = training(0), home(tmp_path, [training(0)])
    folder = h.runs / job.name
    assert workers._ready(h, job, [], patient=True)
    folder.mkdir(parents=True)
    with Run(folder).locked():
        assert is_held(folder)
        assert not workers._ready(h, job, [], patient=True)
    assert workers._ready(h, job, [], patient=True)


def test_settings_reach_the_worker_on_its_command_line(tmp_path: Path) -> None:
    job = Job("a", "evaluate", {"target": f"{HERE}net/seed-0/checkpoints/last.safetensors", "n": 20, "radius": "8/255"})
    command = workers._command(home(tmp_path, [job]), job)
    assert "-P" in command  # modules of the current folder replace none of ours
    name, *rest = command[command.index("cgro.cli") + 1 :]
    found = parse(name, "", evaluate.Config, rest)
    assert (found.target, found.n) == (str(tmp_path / "runs/net/seed-0/checkpoints/last.safetensors"), 20)
    assert (found.radius, found.threads) == ("8/255", 1)


ENDINGS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGKILL]


@pytest.mark.parametrize("number", ENDINGS, ids=lambda s: s.name)
def test_no_worker_outlives_its_parent(number: signal.Signals, tmp_path: Path) -> None:
    """Its parent is the plain library but for SIGINT: most signals end it at once, as SIGKILL does."""
    program = (
        "import signal; from pathlib import Path; from tests.experiments.test_workers import home, training; "
        "from cgro.experiments.workers import make_all; jobs = [training(0, epochs=100000)]; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"make_all(home(Path({str(tmp_path / 'out')!r}), jobs), jobs, 2)"
    )
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )  # fmt: skip
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
    words = ["reproduce", "table2", "--scale", "smoke", "--workers", "2", "--threads", "2", "--out", str(out)]
    process = started(*words, ignoring=(signal.SIGHUP, signal.SIGINT))
    wait_for(lambda: len(list(out.glob("runs/**/config.yaml"))) >= 2, process)
    process.send_signal(signal.SIGTERM)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 130
    assert text.splitlines()[-1] == (
        "cgro reproduce: interrupted by SIGTERM; the same command with the same --out resumes it"
    )
    assert not any(is_held(p.parent) for p in out.glob("runs/**/.lock"))
    assert main(words) == 0
