"""Commands that torchrun itself starts: a signal to the launcher reaches all, and the same command goes on."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cgro.cli import TOGETHER, main
from cgro.runs import Run

SETTINGS = (
    "--data", "digits", "--n-train", "1000", "--n-test", "20", "--model", "mlp", "--width", "8", "--radius", "0.05",
    "--attack", "pgd2", "--eval-attack", "pgd2", "--batch-size", "100", "--eval-n", "20", "--final-n", "20",
)  # fmt: skip
OTHERS = {
    "flatness": ("--n", "20", "--n-steps", "1", "--n-loss-steps", "1"),
    "memory": ("--n", "20", "--attack", "pgd2"),
    "lint": ("--n", "8"),
    "diagnose": ("--lint-n", "8"),
}
"""The commands of torchrun that neither train nor evaluate, and what makes them quick."""
TORCHRUN_FAILED = 1


def torchrun(*words: str) -> "subprocess.Popen[str]":
    """Two processes on this machine, and the launcher, which a signal can be sent to."""
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--", "cgro"]
    told = {"PYTHONPATH": os.pathsep.join(sys.path), "CGRO_RANK_SECONDS": "200", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen(
        [sys.executable, "-m", *launcher, *words], env={**os.environ, **told, "OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, list[str]]:
    """Exit code, stdout, and what cgro itself said on stderr, without progress."""
    try:
        out, errors = process.communicate(timeout=500)
    finally:
        process.kill()
    said = [line for line in errors.splitlines() if re.match("cgro [a-z]+:", line)]
    assert not [line for line in errors.splitlines() if "/cgro/" in line], errors
    return process.returncode, out, said


def stopped(words: tuple[str, ...], number: signal.Signals, is_time: Callable[[], bool]) -> str:
    """What cgro says when the launcher is sent a signal in the middle of a command."""
    process = torchrun(*words)
    while not is_time() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    code, out, said = ended(process)
    assert (code, out, len(said)) == (TORCHRUN_FAILED, "", 1), said
    return said[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that torchrun was told to end, and that the same command took to its end."""
    path = tmp_path_factory.mktemp("torchrun") / "run"
    words = ("train", *SETTINGS, "--epochs", "40", "--eval-every", "40", "--out", str(path))
    said = stopped(words, signal.SIGTERM, (path / "metrics.jsonl").exists)
    assert "interrupted by SIGTERM; everything is saved; cgro train --resume" in said
    assert not Run.open(path).finished
    rows = (path / "metrics.jsonl").read_text().splitlines()
    code, out, said = ended(torchrun(*words))
    assert (code, said) == (0, []), said
    assert str(path) in out
    # A row says how many seconds its epoch took: these epochs were not trained a second time.
    assert (path / "metrics.jsonl").read_text().splitlines()[: len(rows)] == rows
    return path


def test_a_training_ends_and_goes_on(run: Path, tmp_path: Path) -> None:
    assert main(["train", *SETTINGS, "--epochs", "40", "--eval-every", "40", "--out", str(tmp_path / "one"), "-q"]) == 0
    one, two = Run.open(tmp_path / "one").read(), Run.open(run).read()
    assert one.metrics.keys() == two.metrics.keys()
    for key, metric in one.metrics.items():
        assert two.metrics[key].n == metric.n
        # Sums are taken in another order, which may turn an example or two.
        assert two.metrics[key].value == pytest.approx(metric.value, abs=2 / 20), key


def test_an_evaluation_ends_and_goes_on(run: Path) -> None:
    """By Ctrl-C; the training above was sent SIGTERM."""
    attack = "pgd3000"
    folder = run / "evaluations" / attack
    words = ("evaluate", str(run), "--attack", attack, "--parts", "test,train")
    said = stopped(words, signal.SIGINT, (folder / "test.npz").exists)
    assert "interrupted; the same command with the same --out resumes it" in said
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) <= {"train.npz", "test.npz"}  # the second is missing if the signal came before its first image
    code, _, told = ended(torchrun(*words))
    assert (code, told) == (0, [])
    assert (folder / "test.npz").read_bytes() == before["test.npz"]
    assert (folder / "train.npz").read_bytes() != before.get("train.npz")
    metrics = Run.open(run).read().metrics
    n_test, n_train = (metrics[f"robust_error/{part}@{attack}"].n for part in ("test", "train"))
    assert (n_test, n_train) == (20, 1000)


@pytest.mark.parametrize("name", OTHERS)
def test_torchrun_starts_the_other_commands(run: Path, tmp_path: Path, name: str) -> None:
    options = OTHERS[name]
    if name != "flatness":  # which adds to the run
        options = (*options, "--out", str(tmp_path / "out"))
    code, out, said = ended(torchrun(name, str(run), *options, "--json", "--quiet"))
    assert (code, said) == (0, [])
    told = json.loads(out)
    assert told["command"] == name
    assert told["outcome"]["kind"] == "completed"


def test_no_command_of_torchrun_is_left_out() -> None:
    assert {"train", "evaluate", *OTHERS} == set(TOGETHER)
