"""Flatness: strength against a search of 20 times the passes, speed against double backward, cost of the monitor.

  python benchmarks/flatness.py strength RUN --n 32      mean maximum, ours / 20 times the passes; the monitor's search
  python benchmarks/flatness.py speed RUN --n 32         seconds to reach what double backward and a softplus copy reach
  python benchmarks/flatness.py pattern RUN...           train and test inside and outside the radius, from cgro flatness

RUN is a directory of `cgro train` (for `pattern`, of `cgro flatness`). Each step is stored in
benchmarks/results/flatness-STEP-DATA.json. Speeds are ratios within one run of the script; the machine is shared.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cgro.commands import train
from cgro.definitions import ThreatModel, default_loss
from cgro.flatness import Search, flatness, rank_correlation
from cgro.report.flatness import gaps, training_index
from cgro.results import FlatnessRecord, read_value
from cgro.runs import Run, dump_json, environment, read_json, write_atomic
from cgro.training.checkpoint import checkpoint_of
from cgro.training.weights import load_file

FULL, EXPENSIVE, MONITOR = Search(), Search(120, 20, 4), Search(8, 4)
MULTIPLES = (0.5, 1.0, 2.0)


def store(name: str, value: dict[str, Any]) -> None:
    path = Path(__file__).parent / "results" / f"flatness-{name}.json"
    load = Path("/proc/loadavg")
    machine = environment(0) | {"load_average": load.read_text().split()[:3] if load.exists() else None}
    write_atomic(path, dump_json({"environment": machine, **value}))
    print(dump_json(value).decode())


def network(path: str, n: int) -> tuple[train.Config, nn.Module, Tensor, Tensor]:
    source = Run.open(path)
    known = train.Config.__dataclass_fields__
    config = train.Config(**{k: v for k, v in source.config.items() if k in known})
    data, model = train.prepare(config)
    file = checkpoint_of(source)
    load_file(model, file)
    return config, model.eval().requires_grad_(False), data.test.head(n).x, data.test.y[:n]


def strength(path: str, n: int) -> None:
    config, model, x, y = network(path, n)
    radii = [m * config.threat().radius for m in MULTIPLES]
    found, seconds = {}, {}
    for name, search in (("full", FULL), ("monitor", MONITOR), ("expensive", EXPENSIVE)):
        started = time.perf_counter()
        found[name] = flatness(model, x, y, radii, p=config.p, search=search)
        seconds[name] = time.perf_counter() - started
    rows = {}
    for measure in ("gradient", "loss"):
        for k, multiple in enumerate(MULTIPLES):
            best = torch.stack([f.values(measure)[:, k] for f in found.values()]).amax(0)
            rows[f"{measure}@{multiple:g}"] = {
                name: {"mean": f.average(measure, k).value, "sd": f.average(measure, k).sd,
                       "of_best_known": f.average(measure, k).value / float(best.mean())}
                for name, f in found.items()
            }  # fmt: skip
    passes = {k: s.passes for k, s in (("full", FULL), ("monitor", MONITOR), ("expensive", EXPENSIVE))}
    about = {"data": config.data, "model": config.model, "width": config.width, "radius": config.radius, "n": n}
    store(f"strength-{config.data}", {**about, "passes_per_radius": passes, "seconds": seconds, "results": rows})


class Softplus(TorchFunctionMode):
    """ReLU as softplus: the smoothed copy, without copying."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        relus = (torch.relu, F.relu, torch.Tensor.relu, torch.relu_, torch.Tensor.relu_)
        return F.softplus(args[0], 40.0) if func in relus else func(*args, **(kwargs or {}))


def second_derivatives(
    model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel, n_steps: int, *, smooth: bool
) -> Tensor:
    """The obvious loop: ten steps of PGD on the loss, then ascent on the norm by double backward. Highest true norm."""
    current, best = x, torch.zeros(len(x))

    def at(point: Tensor, second: bool) -> tuple[Tensor, Tensor, Tensor]:
        leaf = point.detach().requires_grad_(True)
        loss = default_loss(model(leaf), y).sum()
        (gradient,) = torch.autograd.grad(loss, leaf, create_graph=second)
        return leaf, gradient, threat.dual_norm(gradient)

    for _ in range(10):
        _, gradient, norm = at(current, False)
        best = torch.maximum(best, norm)
        current = threat.project(current + threat.radius / 4 * gradient.sign(), x)
    for step in range(n_steps):
        if smooth:
            with Softplus():
                leaf, _, norm = at(current, True)
            best = torch.maximum(best, at(current, False)[2])
        else:
            leaf, _, norm = at(current, True)
            best = torch.maximum(best, norm.detach())
        (ascent,) = torch.autograd.grad(norm.sum(), leaf)
        current = threat.project(current + threat.radius * (1 - step / n_steps) * ascent.sign(), x)
    return torch.maximum(best, at(current, False)[2])


def timed(call: Callable[[], Tensor], repeats: int) -> tuple[float, float]:
    times, value = [], 0.0
    for _ in range(repeats):
        started = time.process_time()
        value = float(call().mean())
        times.append(time.process_time() - started)
    return statistics.median(times), value


def speed(path: str, n: int, repeats: int = 3) -> None:
    """CPU seconds of this process (the machine is shared), at the training radius alone."""
    config, model, x, y = network(path, n)
    threat, rows = config.threat(), []
    for smooth, n_steps in ((False, 20), (False, 100), (True, 20)):
        seconds, value = timed(partial(second_derivatives, model, x, y, threat, n_steps, smooth=smooth), repeats)
        ours = None
        for k in (1, 2, 3, 4, 5, 6, 8, 10, 14, 20, 30, 40):
            mine = partial(flatness, model, x, y, [threat.radius], search=Search(k, min(10, k)))
            time_k, value_k = timed(lambda call=mine: call().gradient, 1)
            if value_k >= value:
                time_k, value_k = timed(lambda call=mine: call().gradient, repeats)
                ours = {"n_steps": k, "seconds": time_k, "mean": value_k, "times_faster": seconds / time_k}
                break
        peer = {
            "peer": "softplus 40" if smooth else "double backward",
            "n_steps": n_steps,
            "seconds": seconds,
            "mean": value,
        }
        rows.append({**peer, "ours_at_equal_strength": ours})
    about = {"data": config.data, "model": config.model, "width": config.width, "radius": config.radius, "n": n}
    store(f"speed-{config.data}", {**about, "repeats": repeats, "results": rows})


def pattern(paths: list[str]) -> None:
    curves = [c for path in paths for c in read_json(Path(path) / "flatness" / "curves.json")]
    records = read_value(curves, "curves.json", list[FlatnessRecord])
    first, k = curves[0], training_index(records[0])
    last = [c["checkpoints"][-1]["parts"] for c in curves]
    table = {
        measure: {
            radius: {part: _spread([p[part][measure][i]["value"] for p in last]) for part in ("train", "test")}
            | {
                "test_over_train": _spread(
                    [p["test"][measure][i]["value"] / p["train"][measure][i]["value"] for p in last]
                )
            }
            for i, radius in enumerate(first["names"])
        }
        for measure in ("gradient", "rise")
    }
    points, correlation = gaps(records), None
    if points is not None:
        correlation = rank_correlation(*points, np.random.default_rng(0)).to_dict()
        later = rank_correlation(*(v[:, v.shape[1] // 4 :] for v in points), np.random.default_rng(0)).to_dict()
        correlation = {"all": correlation, "after_a_quarter": later}
    about = {key: first[key] for key in ("data", "note", "model", "width", "training_name", "n_train", "search")}
    n = first["checkpoints"][-1]["parts"]["train"]["n"]
    bounds = [{"bound": c.get("bound"), "first_order": c.get("first_order")} for c in curves]
    store(f"pattern-{first['data']}", {**about, "n": n, "n_seeds": len(curves), "training_index": k, "results": table,
                                       "correlation": correlation, "bounds": bounds})  # fmt: skip


def _spread(values: list[float]) -> dict[str, Any]:
    sd = statistics.stdev(values) if len(values) > 1 else math.nan
    return {"mean": statistics.mean(values), "sd": sd, "per_seed": values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("strength", "speed", "pattern"))
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--n", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.step == "pattern":
        pattern(arguments.runs)
    else:
        {"strength": strength, "speed": speed}[arguments.step](arguments.runs[0], arguments.n)


if __name__ == "__main__":
    main()
