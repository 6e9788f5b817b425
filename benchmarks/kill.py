"""SIGKILL at random moments of real training runs, each resumed: are the final checkpoints bit-equal?

  python benchmarks/kill.py --times 20        CIFAR-10, augmented, adversarial, checkpoints and evaluations every epoch

Each trial starts the same run anew, kills its process at a uniformly random moment of the undisturbed run's duration,
and again at a random moment of what is left, then resumes it to its end. Where each kill struck is told by what the run
directory held. Results: benchmarks/results/kill.json.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from cgro.models import build
from cgro.runs import Run, dump_json, environment, write_atomic
from cgro.training.checkpoint import LAST, load_checkpoint

SETTINGS = ["--data", "cifar10", "--n-train", "600", "--n-test", "200", "--validation", "0.004", "--model", "preactresnet", "--width", "4", "--radius", "8/255", "--attack", "pgd3", "--optimizer", "sgd", "--lr", "0.05", "--schedule", "cyclic", "--augment", "crop-flip", "--epochs", "5", "--batch-size", "50", "--eval-attack", "pgd5", "--eval-n", "200", "--final-n", "200", "--keep-every", "1", "--threads", "1", "--craft-mode", "train"]  # fmt: skip


def start(out: Path, *words: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "cgro.cli", "train", *(words or [*SETTINGS, "--out", str(out)])]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen) -> None:
    _, error = process.communicate()
    if process.returncode:
        raise SystemExit(f"a run failed: {error.decode()}")


def kill_after(process: subprocess.Popen, seconds: float) -> bool:
    """Whether the kill came before the end."""
    time.sleep(seconds)
    alive = process.poll() is None
    if alive:
        os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return alive


def moment(out: Path) -> str:
    """What the directory held when the kill struck."""
    if any(out.rglob("*.tmp")):
        return "while a file was written"
    if not (out / "checkpoints" / LAST).exists():
        return "before the first checkpoint"
    state = load_checkpoint(out / "checkpoints" / LAST, build("preactresnet", (3, 32, 32), 10, width=4))
    if state["epoch"] == 5:
        return "in the final evaluation"
    return "in an evaluation" if state["step"] else "in a step"


def outputs(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((out / "checkpoints").glob("*.safetensors"))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    rng, struck, trials = random.Random(a.seed), Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        whole, started = Path(folder) / "whole", time.monotonic()
        finish(start(whole))
        duration, expected = time.monotonic() - started, outputs(whole)
        for k in range(a.times):
            out = Path(folder) / f"cut-{k}"
            kills = 0
            for _ in range(2):
                fresh = not (out / "config.yaml").exists()
                if kill_after(start(out, *([] if fresh else ["--resume", str(out)])), rng.uniform(0.1, duration)):
                    struck[moment(out)] += 1
                    kills += 1
                if Run(out).finished:
                    break
            if not Run(out).finished:
                finish(start(out, *(["--resume", str(out)] if (out / "config.yaml").exists() else [])))
            trials.append({"kills": kills, "bit_equal": outputs(out) == expected,
                           "summary_equal": Run(out).summary["metrics"] == Run(whole).summary["metrics"]})  # fmt: skip
            print(k, trials[-1], dict(struck), flush=True)
    result = {"environment": environment(a.seed), "settings": SETTINGS, "files": sorted(expected), "struck": struck,
              "trials": trials, "all_bit_equal": all(t["bit_equal"] and t["summary_equal"] for t in trials)}  # fmt: skip
    write_atomic(Path(__file__).parent / "results" / "kill.json", dump_json(result))


if __name__ == "__main__":
    main()
