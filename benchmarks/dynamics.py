"""Steps per second of the simulator against autograd, ten seeds, one core, all in one run.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/dynamics.py

Rows: a plain loop over seeds with autograd (how one would write it first); batched autograd (all seeds in one tensor);
the numpy and the compiled form of this package, direct and Gram. A step is one step of all ten seeds. Each time is the
best of several repeats after a warm-up, so that other load on the machine counts least. Then the Gram form for d = 100
.. 6,400, and d = 1,000,000 from the law; and N = 2,000 with a million steps and all records, as the threshold law
needs it. Some four minutes at rest. Result: benchmarks/results/dynamics.json.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/dynamics.py million

N = 2,000, P = 4, m = 8 and a million steps, preset theorem otherwise: CPU seconds by step, stored at every record in
benchmarks/results/dynamics-million.json, so that a run that is ended early says how far it came.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/dynamics.py turns

CPU time of a step of N = 2,000 by P and m, in turns: benchmarks/results/dynamics-turns.json. Seconds.
"""

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from cgro.data.patches import PatchData
from cgro.dynamics import PRESETS, Setting, simulate
from cgro.dynamics.spaces import SPACES, draw
from cgro.runs import environment, plain

RESULT = Path(__file__).parent / "results" / "dynamics.json"
SIZES = [(100, 2, 20, 16), (100, 2, 50, 64), (100, 4, 200, 64)]
SEEDS = range(10)


def best(step, seconds: float = 0.05, repeats: int = 25) -> float:
    """Steps per CPU second of the one thread: repeats of about `seconds` each, the fastest of them."""
    step(2)
    start = time.process_time()
    step(2)
    n = max(int(2 * seconds / (time.process_time() - start)), 1)
    times = []
    for _ in range(repeats):
        start = time.process_time()
        step(n)
        times.append(time.process_time() - start)
    return n / min(times)


def objective(w: torch.Tensor, noise: torch.Tensor, y: torch.Tensor, setting: Setting) -> torch.Tensor:
    """The loss of one seed (or, with a leading axis, the sum over seeds), restricted adversary in closed form."""
    q, a, low = 3, setting.strength, setting.strength - setting.radius
    u = w[..., 0]
    total = (u * u.abs() ** (q - 1)).sum(-1, keepdim=True)
    z = noise @ w.transpose(-1, -2)
    v = y * (z * z.abs() ** (q - 1)).sum(-1).reshape(*y.shape, -1).sum(-1)
    with torch.no_grad():
        x = torch.where(total >= 0, low, setting.strength + setting.radius)
    clean, robust = a**q * total + v, x * x.abs() ** (q - 1) * total + v
    share, zero = setting.robust_weight, torch.zeros((), dtype=w.dtype)
    loss = (1 - share) * torch.logaddexp(zero, -clean) + share * torch.logaddexp(zero, -robust)
    return loss.mean(-1).sum()


def autograd(setting: Setting, batched: bool):
    """A function that makes n autograd steps."""
    drawn = [draw(setting, s) for s in SEEDS]
    w = torch.stack([net.filters.detach() for _, net in drawn])
    noise = torch.stack([sample.noise.flatten(0, 1) for sample, _ in drawn])
    y = torch.stack([sample.y for sample, _ in drawn])
    parts = [(w, noise, y)] if batched else [(w[s], noise[s], y[s]) for s in SEEDS]
    parts = [(p.clone().requires_grad_(), n, t) for p, n, t in parts]

    def run(n: int) -> None:
        for _ in range(n):
            for p, xi, t in parts:
                (g,) = torch.autograd.grad(objective(p, xi, t, setting), p)
                with torch.no_grad():
                    p -= setting.lr * g

    return run


def ours(setting: Setting, backend: str, compiled: bool):
    """A function that makes n of our steps."""
    batch = SPACES[backend](setting, SEEDS)
    return lambda n: batch.advance(n, compiled=compiled)


def million(n_steps: int = 1_000_000) -> None:
    """One seed of preset theorem with N = 2,000, P = 4, m = 8; what was measured so far is stored at every record."""
    setting = replace(PRESETS["theorem"], data=PatchData(100, 4), n_train=2000, n_filters=8)
    simulate(setting, n_steps=2, n_test=10)
    result: dict = {"environment": environment(0), "threads": os.environ.get("OMP_NUM_THREADS")}
    result["size"] = f"preset theorem, d=100 P=4 N=2000 m={setting.n_filters}, one seed"
    result["steps"] = []
    result["cpu seconds"] = []
    used = time.process_time()

    def note(step: int, _: str) -> None:
        result["steps"].append(step)
        result["cpu seconds"].append(time.process_time() - used)
        (RESULT.parent / "dynamics-million.json").write_text(json.dumps(plain(result), indent=1) + "\n")

    run = simulate(setting, n_steps=n_steps, progress=note)
    result["outcome"] = run.outcomes[0].reason
    note(int(run.steps[-1]), "")
    print(result["size"], result["steps"][-1], "steps in", result["cpu seconds"][-1], "CPU seconds;", result["outcome"])


def turns(repeats: int = 7) -> None:
    """Milliseconds a step for N = 2,000, one seed, direct: each size in turn, so that the load is the same for all."""
    batches = {}
    for p, m, n_steps in ((2, 8, 500), (4, 8, 500), (4, 48, 100)):
        setting = replace(PRESETS["theorem"], data=PatchData(100, p), n_train=2000, n_filters=m)
        batches[p, m, n_steps] = SPACES["direct"](setting, [0])
        batches[p, m, n_steps].advance(20, compiled=True)
    times: dict = {size: [] for size in batches}
    for _ in range(repeats):
        for size, batch in batches.items():
            start = time.process_time()
            batch.advance(size[2], compiled=True)
            times[size].append(1000 * (time.process_time() - start) / size[2])
    rows = []
    for (p, m, _), found in times.items():
        quartiles = torch.tensor(found).quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
        rows.append({"size": f"d=100 P={p} N=2000 m={m}", "ms a step, quartiles": quartiles, "turns": repeats})
        print(rows[-1])
    result = {"environment": environment(0), "threads": os.environ.get("OMP_NUM_THREADS"), "rows": rows}
    (RESULT.parent / "dynamics-turns.json").write_text(json.dumps(plain(result), indent=1) + "\n")


def main() -> None:
    torch.set_num_threads(1)
    other = {("million",): million, ("turns",): turns}.get(tuple(sys.argv[1:]))
    if other is not None:
        other()
        return
    result: dict = {
        "sizes": [],
        "dimension": [],
        "environment": environment(0),
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }
    for d, p, n, m in SIZES:
        setting = Setting(PatchData(d, p), n_train=n, n_filters=m, radius_ratio=0.978)
        row = {"size": f"d={d} P={p} N={n} m={m}", "autograd loop": best(autograd(setting, False)),
               "autograd batched": best(autograd(setting, True))}  # fmt: skip
        for backend in ("direct", "gram"):
            for compiled in (False, True):
                name = f"{backend} {'compiled' if compiled else 'numpy'}"
                row[name] = best(ours(setting, backend, compiled))
        fastest = max(v for k, v in row.items() if k.startswith(("direct", "gram")))
        row |= {"times the loop": fastest / row["autograd loop"], "times batched": fastest / row["autograd batched"]}
        result["sizes"].append(row)
        print(row, flush=True)
    for d, backend in [(100, "gram"), (400, "gram"), (1600, "gram"), (6400, "gram"), (1_000_000, "law")]:
        setting = Setting(PatchData(d), n_train=20, n_filters=16, radius_ratio=0.978)
        start = time.perf_counter()
        step = ours(setting, backend, True)
        built = time.perf_counter() - start
        result["dimension"].append(
            {"d": d, "backend": backend, "steps per second": best(step), "set-up seconds": built}
        )
        print(result["dimension"][-1], flush=True)
    setting = Setting(PatchData(100), n_train=2000, n_filters=8, radius_ratio=0.978)
    simulate(setting, n_steps=2, n_test=10)
    start, used = time.perf_counter(), time.process_time()
    run = simulate(setting, n_steps=1_000_000)
    result["million steps"] = {
        "size": "d=100 P=2 N=2000 m=8, one seed, 240 records",
        "steps": int(run.steps[-1]),
        "seconds": time.perf_counter() - start,
        "cpu seconds": time.process_time() - used,
        "outcome": run.outcomes[0].reason,
    }
    print(result["million steps"], flush=True)
    RESULT.write_text(json.dumps(plain(result), indent=1) + "\n")


if __name__ == "__main__":
    main()
