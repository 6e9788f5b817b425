"""Several jobs at once: the same results as one after the other, needs first, failures by name, interrupts that resume."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cgro._check import BadRequest
from cgro.experiments import workers
from cgro.experiments.jobs import HERE, Home, Job
from cgro.experiments.workers import make_all

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
    busy = workers._Worker(a, process, tmp_path, subprocess.PIPE, 0.0)  # type: ignore[arg-type]
    assert workers._ready(h, b, [])
    assert not workers._ready(h, b, [busy])


def test_a_failure_has_the_name_and_the_line_of_its_job(tmp_path: Path) -> None:
    jobs = [training(0, lr=-1.0)]
    with pytest.raises(BadRequest, match=r"net/seed-0: cgro train: .*lr"):
        make_all(home(tmp_path, jobs), jobs, 2)


def test_an_interrupt_reaches_the_workers_and_they_resume(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from tests.experiments.test_workers import home, training; "
        "from cgro.experiments.workers import make_all; jobs = [training(0, epochs=100000)]; "
        f"make_all(home(Path({str(tmp_path)!r}), jobs), jobs, 2)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL, start_new_session=True)
    rows, until = tmp_path / "runs/net/seed-0/metrics.jsonl", time.monotonic() + 60
    while time.monotonic() < until and not rows.exists():
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) != 0
    n = len(rows.read_text().splitlines())
    time.sleep(1.0)
    assert len(rows.read_text().splitlines()) == n  # nothing goes on behind our back
    assert not (tmp_path / "runs/net/seed-0/summary.json").exists()
    assert (tmp_path / "runs/net/seed-0/checkpoints/last.safetensors").exists()
