"""One training by one process and by two ranks that torchrun starts: processor and wall time of an epoch, in alternation.

  python benchmarks/distributed.py --repeats 2 --store

What `cgro train` does behind its options is timed (`fit`), in each process, after an epoch that counts for nothing: starts
of Python and of torchrun are left out. Each process has one thread. Prediction, before it was measured: two ranks
together take 1.05 to 1.25 times the processor time of one process (halves of a batch are less work per call, and one
exchange of all gradients a step), so that on two free cores they are 1.6 to 1.9 times as fast. Results:
benchmarks/results/distributed.json, with the load of the machine: under a load above 2 wall times say how it was shared,
and nothing else.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

from cgro.runs import dump_json, environment, write_atomic

N_TRAIN, BATCH, WIDTH, STEPS, EPOCHS, TIMES = 512, 64, 4, 3, 2, 1
SETTINGS = f"{N_TRAIN} images of mnist5k, batches of {BATCH} in all, PreActResNet-18 of width {WIDTH}, PGD-{STEPS}, SGD, float32"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
WAYS: dict[str, list[str]] = {"one process": [], "two ranks": TORCHRUN}
RESULT = Path(__file__).parent / "results" / "distributed.json"
MARK = "measured "


def train() -> None:
    """In each process: time trainings of `EPOCHS` epochs, and print seconds of an epoch."""
    import torch
    from lightning_fabric.utilities.seed import seed_everything

    from cgro.data import load
    from cgro.definitions import PGD, ThreatModel
    from cgro.models import build
    from cgro.ranks import joined
    from cgro.training import Adversarial, Recipe, fit, make_fabric

    torch.set_num_threads(1)
    data = load("mnist5k", n_train=N_TRAIN, n_test=64, validation=0.0)
    objective = Adversarial(PGD(ThreatModel("inf", 0.1), n_steps=STEPS, precision="float32"))
    with joined() as ranks:
        fabric = make_fabric("cpu")
        if ranks.shared:
            fabric.launch()
        for k in range(1 + TIMES):
            seed_everything(0, verbose=False)
            model = build("preactresnet", data.shape, data.n_outputs, width=WIDTH)
            wall, processor = time.perf_counter(), time.process_time()
            epochs = EPOCHS if k else 1
            fit(
                model, data, objective, Recipe(epochs=epochs, batch_size=BATCH, optimizer="sgd", lr=0.05), fabric=fabric
            )
            row = {
                "wall": (time.perf_counter() - wall) / epochs,
                "processor": (time.process_time() - processor) / epochs,
            }
            if k:
                print(MARK + json.dumps(row), flush=True)


def timed(launcher: list[str]) -> dict[str, float]:
    """Seconds of an epoch: processor time of all processes together, wall time of the slowest; medians of the times."""
    told = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    words = [sys.executable, *launcher, __file__, "--one"]
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=told)
    # Lines of two processes may run into one another.
    found = [json.loads(text) for text in re.findall(MARK + r"(\{[^{}]*\})", done.stdout)]
    n_processes = len(found) // TIMES
    return {
        "processes": n_processes,
        "wall": statistics.median(row["wall"] for row in found),
        "processor": n_processes * statistics.mean(row["processor"] for row in found),
        "load": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", action="store_true", help="be one of the processes")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--store", action="store_true", help="write benchmarks/results/distributed.json")
    a = parser.parse_args()
    if a.one:
        train()
        return
    told = environment(0)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    for k in range(a.repeats):
        for name, launcher in WAYS.items():
            rows[name].append(timed(launcher))
            print(k, name, rows[name][-1], flush=True)
    ratios: dict[str, list[float]] = {}
    for unit in ("processor", "wall"):
        pairs = zip(*rows.values(), strict=True)
        ratios[unit] = [two[unit] / one[unit] for one, two in pairs]
    print("two ranks over one process:", ratios)
    if a.store:
        result = {"environment": told, "settings": SETTINGS, "rows": rows, "two_over_one": ratios}
        write_atomic(RESULT, dump_json(result))


if __name__ == "__main__":
    main()
