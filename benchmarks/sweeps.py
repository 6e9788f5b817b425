"""Eight small trainings one after another, by two workers, and as jobs of Slurm where there is one; the plan's own time.

  python benchmarks/sweeps.py --store

Prediction, before it was measured: a run of a second is lost in the start of its process (an import of torch takes longer
than the training), so that two workers on two free cores are SLOWER than one process; with runs of half a minute they are
1.8 times as fast. The plan itself, everything between two runs but the runs, takes below 20 ms per run.
Measured, with a process that began anew for each run: 0.86 times and 1.64 times as fast. Prediction of 2026-11-30, before it
was measured with workers that are forked: 1.5 times as fast with runs of a few seconds, 1.8 times with runs of half a minute.
Measured: 1.26 and 1.7 times.
Results: benchmarks/results/sweeps.json. Times of a machine that others use are told with its load.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from cgro.jobs.execute import Call, ThisProcess, execute
from cgro.jobs.plan import Job
from cgro.jobs.workspace import Workspace
from cgro.runs import Run, dump_json, environment, write_atomic

SETTINGS = ["--data", "digits", "--model", "mlp", "--width", "64", "--radius", "0.1", "--attack", "pgd10", "--eval-attack", "pgd10", "--eval-every", "10", "--device", "cpu"]  # fmt: skip
N = 8
WAYS = {"one process": ["--threads", "1"], "two workers": ["--workers", "2", "--threads", "2"]}


def timed(words: list[str]) -> dict[str, float]:
    """Wall time and processor time of a command and all of its processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "cgro", *words], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": time.monotonic() - began, "processor": processor, "load": os.getloadavg()[0]}


class Finishing(Executor):
    """Finishes every run at once with the least that a run has, so that what remains is the plan."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return ThisProcess().submit(finish, *args, **kwargs)


def finish(call: Call) -> float:
    with Run.start(call.folder, call.command, call.options) as run:
        result = {"command": call.command, "seed": 0, "threat": None, "verdict": None, "metrics": {}}
        run.finish({"schema": 1, **result, "outcome": {"kind": "completed", "reason": ""}})
    return 1.0


def overhead(n: int) -> dict[str, float]:
    """Processor milliseconds per run: of a plan of n runs, and of those runs alone."""
    jobs = [Job(f"net/seed-{seed}", "train", {"data": "digits", "epochs": 1, "seed": seed}) for seed in range(n)]
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        for job in jobs:
            finish(Call(job.name, job.command, dict(job.settings), Path(folder) / "alone" / job.name))
        alone = time.process_time() - began
        began = time.process_time()
        execute(jobs, Workspace(Path(folder) / "plan", jobs), Finishing(), finish)
        planned = time.process_time() - began
    return {"runs": n, "plan_ms": 1000 * (planned - alone) / n, "bare_run_ms": 1000 * alone / n}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only-overhead", action="store_true")
    parser.add_argument("--store", action="store_true", help="write benchmarks/results/sweeps.json")
    a = parser.parse_args()
    overhead(1)  # imports
    overheads = [overhead(n) for n in (8, 50, 200)]
    print(overheads, flush=True)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    for k in range(0 if a.only_overhead else a.repeats):
        for name, more in WAYS.items():
            with tempfile.TemporaryDirectory() as folder:
                words = ["train", *SETTINGS, "--epochs", str(a.epochs), "--seeds", str(N), *more]
                rows[name].append(timed([*words, "--out", f"{folder}/run"]))
            print(k, name, rows[name][-1], flush=True)
    result = {
        "environment": environment(0),
        "settings": SETTINGS,
        "epochs": a.epochs,
        "runs": N,
        "rows": rows,
        "overhead": overheads,
    }
    if not a.only_overhead:
        wall = {name: statistics.median(row["wall"] for row in found) for name, found in rows.items()}
        result["one_process_over_two_workers"] = wall["one process"] / wall["two workers"]
        print(result["one_process_over_two_workers"])
    if a.store:
        write_atomic(Path(__file__).parent / "results" / "sweeps.json", dump_json(result))


if __name__ == "__main__":
    main()
