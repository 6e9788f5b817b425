"""One training by one process and by two ranks that torchrun starts: processor and wall time of an epoch, in alternation.

  python benchmarks/distributed.py --repeats 3 --store

A training of few epochs is taken from one of many, so that starts of Python, of torchrun and evaluations cancel. Each
process has one thread. Prediction, before it was measured: two ranks take 1.05 to 1.25 times the processor time of one
process (halves of a batch are less work per call, and one exchange of all gradients a step), so that on two free cores
they are 1.6 to 1.9 times as fast. Results: benchmarks/results/distributed.json, with the load of the machine: under a
load above 2 wall times say how it was shared, and nothing else.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from cgro.runs import dump_json, environment, write_atomic

SETTINGS = [
    "--data", "mnist5k", "--n-train", "512", "--n-test", "64", "--model", "preactresnet", "--width", "4", "--radius", "0.1",
    "--attack", "pgd3", "--batch-size", "64", "--eval-attack", "fgsm", "--eval-n", "64", "--final-n", "64", "--eval-every",
    "100", "--keep-every", "100", "--threads", "1", "--device", "cpu", "--train-precision", "float32", "--quiet",
]  # fmt: skip
TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--"]
WAYS: dict[str, list[str]] = {"one process": [], "two ranks": TORCHRUN}
RESULT = Path(__file__).parent / "results" / "distributed.json"


@dataclass(frozen=True)
class Timed:
    """What a command and all of its processes took.

    Attributes:
        wall: seconds.
        processor: seconds, of all processes.
        load: of the machine in the last minute, when it ended.
    """

    wall: float
    processor: float
    load: float


def timed(launcher: list[str], epochs: int) -> Timed:
    """A training from its start to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    told = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        words = ["cgro", "train", *SETTINGS, "--epochs", str(epochs), "--out", f"{folder}/run"]
        subprocess.run([sys.executable, "-m", *launcher, *words], check=True, capture_output=True, env=told)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Timed(time.monotonic() - began, processor, os.getloadavg()[0])


def per_epoch(few: Timed, many: Timed, epochs: int) -> dict[str, float]:
    """What an epoch took, where the second training had so many more."""
    return {"wall": (many.wall - few.wall) / epochs, "processor": (many.processor - few.processor) / epochs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5, help="of the longer training, beyond the one of the shorter")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--store", action="store_true", help="write benchmarks/results/distributed.json")
    a = parser.parse_args()
    rows = []
    for k in range(a.repeats):
        for name, launcher in WAYS.items():
            few, many = timed(launcher, 1), timed(launcher, 1 + a.epochs)
            rows.append({"way": name, "few": asdict(few), "many": asdict(many), **per_epoch(few, many, a.epochs)})
            print(k, json.dumps(rows[-1]), flush=True)
    ratios = {}
    for unit in ("processor", "wall"):
        one, two = ([row[unit] for row in rows if row["way"] == name] for name in WAYS)
        found = [b / a for a, b in zip(one, two, strict=True)]
        ratios[unit] = {"median": statistics.median(found), "lowest": min(found), "highest": max(found)}
    print("two ranks over one process:", ratios)
    if a.store:
        result = {
            "environment": environment(0),
            "settings": SETTINGS,
            "epochs": a.epochs,
            "rows": rows,
            "two_over_one": ratios,
        }
        write_atomic(RESULT, dump_json(result))


if __name__ == "__main__":
    main()
