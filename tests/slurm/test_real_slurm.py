"""A sweep of eight runs on a real Slurm of one node: two are cut and requeued, one fails for good, the bits are equal.

`pytest -m slurm`; Debian's packages are slurm-wlm and munge. The faults are planted in the runs themselves, by an
extension that changes nothing else, so that they strike in the middle of a training however slow the machine is.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cgro.cli import main
from cgro.runs import Run

HERE = Path(__file__).parent
pytestmark = pytest.mark.slurm
PLANTED = """
import os, subprocess, sys
from cgro.training.extensions import Extension

class Faults(Extension):
    n = 0

    def after_step(self, model, k):
        self.n += 1
        job = os.environ.get("SLURM_JOB_ID")
        if job is None:
            return
        is_first = os.environ.get("SLURM_RESTART_COUNT", "0") == "0"
        if "--seed=5" in sys.argv:
            raise ValueError("planted")
        if self.n == 3 and is_first and "--seed=1" in sys.argv:  # as a job of higher priority does
            subprocess.run(["scontrol", "requeue", job], check=True)
        if self.n == 3 and is_first and "--seed=2" in sys.argv:  # as the time limit does, some time ahead
            subprocess.run(["scancel", "--batch", "--signal=USR1", job], check=True)
"""
TRAINING = [
    *("train", "--data", "digits", "--n-train", "60", "--n-test", "30", "--model", "mlp", "--width", "8"),
    *("--radius", "0.1", "--attack", "pgd2", "--eval-attack", "pgd2", "--epochs", "3", "--batch-size", "20"),
    *("--device", "cpu", "--threads", "1", "--extension", "planted_faults:Faults"),
]
FAILING = 5


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which Slurm's commands reach the daemons of this test."""
    folder = tmp_path_factory.mktemp("slurm")
    begun = subprocess.run(["bash", HERE / "start.sh", folder], capture_output=True, text=True, check=False)
    try:
        if begun.returncode:
            pytest.skip(f"no Slurm: {begun.stderr.strip()}")
        yield {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    finally:
        subprocess.run(["bash", HERE / "stop.sh", folder], check=False)


def begin_at_once(environment: dict[str, str]) -> None:
    """Slurm lets what was requeued wait for two minutes."""
    waiting = ["squeue", "--noheader", "--states=PENDING", "--format=%i %r"]
    for line in subprocess.run(
        waiting, capture_output=True, text=True, env=environment, check=True
    ).stdout.splitlines():
        number, _, reason = line.partition(" ")
        if reason == "BeginTime":
            words = ["scontrol", "update", f"jobid={number}", "starttime=now"]
            subprocess.run(words, env=environment, check=False, capture_output=True)


def test_a_sweep_on_slurm_ends_in_the_bits_of_runs_on_this_machine(
    cluster: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planted_faults.py").write_text(PLANTED)
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "sweep"
    command = [sys.executable, "-m", "cgro", *TRAINING, "--seeds", "8"]
    process = subprocess.Popen(
        [*command, "--executor", "slurm", "--slurm-options", "warning=30 time=30", "--out", str(out)],
        env=cluster,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None:
        begin_at_once(cluster)
        time.sleep(0.2)
    said = process.communicate()[1]
    assert process.returncode == 1, said
    assert "1 of 8 runs failed: seed-5; the others are finished" in said
    assert "seed-5  seed-5: cgro train: --extension planted_faults:Faults: " in said
    for seed in (1, 2):
        log = (out / f"slurm/seed-{seed}.log").read_text()
        assert "start 0" in log
        assert "start 1" in log
    for seed in range(8):
        run = Run(out / f"seed-{seed}")
        assert run.finished == (seed != FAILING)
        if run.finished:
            local = tmp_path / f"local-{seed}"
            assert main([*TRAINING, "--seed", str(seed), "--out", str(local), "--quiet"]) == 0
            assert run.summary["metrics"] == Run(local).summary["metrics"]
            for name in ("last", "best_validation"):
                file = f"checkpoints/{name}.safetensors"
                assert (run.path / file).read_bytes() == (local / file).read_bytes()
