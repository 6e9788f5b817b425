"""Killed before a file operation drawn at random and called again, a command ends in the same files. Seeded anew each time."""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
QUICK = "train,seeds,evaluate,separation"
PLANTED = """
import sys, tempfile
from pathlib import Path
import torch
from benchmarks.kill_points import Bench

torch.set_num_threads(1)

def flip(out):
    path = out / "checkpoints" / "epoch-0001.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)

def lose(out):
    path = out / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))

def litter(out):
    (out / "figures").mkdir(exist_ok=True)
    (out / "figures" / "other.svg").write_text("")

with tempfile.TemporaryDirectory() as home:
    bench = Bench(Path(home), ["train"])
    late = bench.points["train"] - 3
    print([bool(bench.trial("train", late, tamper)) for tamper in (flip, lose, litter, None)])
"""


def test_commands_killed_at_random_points_end_in_the_same_files() -> None:
    seed = time.time_ns() % 10**6
    done = subprocess.run(
        [sys.executable, "benchmarks/kill_points.py", "--trials", "5", "--commands", QUICK, "--seed", str(seed)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"seed {seed}: {done.stdout}{done.stderr}"
    assert "5 points, 0 faults" in done.stdout


def test_the_comparison_notices_planted_faults() -> None:
    """A flipped bit of a kept checkpoint, a lost row and a file too many; and nothing where nothing was planted."""
    done = subprocess.run([sys.executable, "-c", PLANTED], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[True, True, True, False]", done.stderr
