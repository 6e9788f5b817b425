"""Commands in several processes, as a launcher starts them: one speaks and writes, all end alike."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.commands import evaluated
from tests.ranks import run_ranks

from cgro.cli import main
from cgro.runs import Run

WORDS = ("train", "--data", "digits", "--n-train", "60", "--n-test", "20", "--model", "mlp", "--width", "8")
SETTINGS = (*WORDS, "--attack", "pgd2", "--eval-attack", "pgd2", "--batch-size", "20")


def start(n: int, *words: str) -> list["subprocess.Popen[str]"]:
    """What torchrun does: each process is told its number, and where they meet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started: list[subprocess.Popen[str]] = []
    for k in range(n):
        told = {"RANK": str(k), "LOCAL_RANK": str(k), "WORLD_SIZE": str(n), "LOCAL_WORLD_SIZE": str(n)}
        told |= {"GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
        environment = {**os.environ, **told, "PYTHONPATH": os.pathsep.join(sys.path), "CGRO_RANK_SECONDS": "200"}
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "cgro", *words], env=environment, text=True, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )  # fmt: skip
    return started


def ends(started: list["subprocess.Popen[str]"]) -> list[tuple[int, str, str]]:
    try:
        told = [process.communicate(timeout=300) for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, *streams) for process, streams in zip(started, told, strict=True)]


def test_two_processes_give_the_counts_of_one(tmp_path: Path) -> None:
    (first, out, _), (second, silent, errors) = ends(
        start(2, *SETTINGS, "--epochs", "2", "--out", str(tmp_path / "two"))
    )
    assert (first, second) == (0, 0), errors
    assert str(tmp_path / "two") in out
    assert (silent, errors) == ("", "")
    assert main([*SETTINGS, "--epochs", "2", "--out", str(tmp_path / "one"), "--quiet"]) == 0
    one, two = Run.open(tmp_path / "one").read(), Run.open(tmp_path / "two").read()
    assert {key: metric.value for key, metric in two.metrics.items()} == {
        key: metric.value for key, metric in one.metrics.items()
    }
    (first, _, told), (second, _, _) = ends(start(2, *SETTINGS, "--epochs", "2", "--out", str(tmp_path / "two")))
    assert (first, second) == (2, 2)
    assert "holds a finished run" in told


def test_a_request_to_one_process_stops_all_after_the_same_step(tmp_path: Path) -> None:
    started = start(2, *SETTINGS, "--epochs", "100000", "--eval-every", "1000", "--out", str(tmp_path / "run"))
    while not (tmp_path / "run" / "metrics.jsonl").exists() and started[0].poll() is None:
        time.sleep(0.05)
    started[1].send_signal(signal.SIGTERM)
    (first, _, told), (second, silent, errors) = ends(started)
    assert (first, second) == (130, 130), (told, errors)
    assert "everything is saved; cgro train --resume" in told
    assert (silent, errors) == ("", "")
    assert not Run.open(tmp_path / "run").finished


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--seeds", "2"), "--seeds: expected 1 in several processes, got 2"),
        (("--lr", "-1"), "--lr: expected a finite number"),
        (("--seeds", "2", "--workers", "2"), "--workers, --executor: expected neither in several processes"),
        (("--n-test", "20000"), "--n-test: expected an integer in"),
        (("--resume", "nowhere"), "nowhere"),
    ],
)
def test_what_does_not_fit_is_told_once(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    (first, _, said), (second, silent, errors) = ends(start(2, *SETTINGS, *words, "--out", str(tmp_path / "run")))
    assert (first, second) == (2, 2), errors
    lines = [line for line in said.splitlines() if "which is written last" not in line]
    assert len(lines) == 1
    assert told in lines[0]
    assert (silent, errors) == ("", "")
    assert not (tmp_path / "run").exists()


SIZES = (2, 4)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every command that evaluates, by one process, two and four, each on a copy of one training."""
    folder = tmp_path_factory.mktemp("evaluated")
    small = (
        "--width",
        "32",
        "--epochs",
        "8",
        "--batch-size",
        "20",
        "--keep-every",
        "4",
        "--n-train",
        "400",
        "--n-test",
        "300",
    )
    words = ("--data", "digits", "--model", "mlp", *small, "--attack", "pgd2", "--eval-attack", "pgd2")
    assert main(["train", *words, "--radius", "0.05", "--out", str(folder / "run"), "--quiet"]) == 0
    for size in (1, *SIZES):
        shutil.copytree(folder / "run", folder / f"run-{size}")
    before = torch.get_num_threads()  # another test's, maybe; products by two threads round otherwise than the ranks'
    torch.set_num_threads(1)
    try:
        evaluated.commands(None, folder)
    finally:
        torch.set_num_threads(before)
    for size in SIZES:
        run_ranks(size, "tests.commands.evaluated:commands", folder)
    return folder


def told(folder: Path, size: int, number: int) -> dict[str, list[object]]:
    return json.loads((folder / f"told-{size}-{number}.json").read_text())


@pytest.mark.parametrize("size", SIZES)
def test_the_first_process_says_what_one_does_and_the_others_nothing(answers: Path, size: int) -> None:
    one, first = told(answers, 1, 0), told(answers, size, 0)
    for name, answer in one.items():
        assert [str(part).replace("-1", f"-{size}") for part in answer][:2] == [
            str(part).replace("-1", f"-{size}") for part in first[name]
        ][:2], name
    for number in range(1, size):
        for name, (code, out, errors) in told(answers, size, number).items():
            assert (code, out, errors) == (first[name][0], "", ""), (name, number)


def summary_of(path: Path, size: int) -> dict[str, object]:
    """Without the name of the run, and without digests: of environment.json too, which has times and paths."""
    summary = json.loads((path / "summary.json").read_text().replace(f"run-{size}", "run"))
    del summary["provenance"]
    return summary


@pytest.mark.parametrize("size", SIZES)
def test_summaries_and_arrays_are_those_of_one_process(answers: Path, size: int) -> None:
    for one in sorted(answers.glob("*-1")):
        several = answers / (one.name[:-1] + str(size))
        assert summary_of(one, 1) == summary_of(several, size), one.name
        arrays = sorted(path.relative_to(one) for path in one.rglob("*.npz"))
        assert sorted(path.relative_to(several) for path in several.rglob("*.npz")) == arrays
        for path in arrays:
            left, right = np.load(one / path), np.load(several / path)
            assert left.files == right.files
            for key in left.files:
                np.testing.assert_array_equal(left[key], right[key], err_msg=f"{path} {key}")
    assert len(list((answers / "run-1").rglob("*.npz"))) > 6


@pytest.mark.parametrize("size", SIZES)
def test_what_cannot_be_divided_is_refused_in_one_line(answers: Path, size: int) -> None:
    for name, words in (
        ("influence", "expected one process"),
        ("data", "expected one process"),
        ("nowhere", "expected"),
    ):
        code, _, errors = told(answers, size, 0)[name]
        assert code == 2
        assert words in str(errors)
        assert str(errors).count("\n") == 1
