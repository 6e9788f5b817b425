"""`cgro train` in several processes, as a launcher starts them: one speaks and writes, all end alike."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

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


def test_several_seeds_are_several_calls(tmp_path: Path) -> None:
    for code, _, told in ends(start(2, *SETTINGS, "--seeds", "2", "--out", str(tmp_path / "run"))):
        assert code == 2
        assert "--seeds: expected 1 in several processes, got 2" in told
