"""Crafting in bfloat16 against float32, judged in float32: how many verdicts differ, and the ratio of times.

usage: python benchmarks/precision.py RUN [--n 1000] [--repeats 5]    (RUN: a directory of `cgro train`)
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from cgro.commands import train
from cgro.definitions import PGD, wrong_under
from cgro.runs import Run, dump_json, environment, write_atomic
from cgro.training.checkpoint import checkpoint_of, load_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 20])
    parser.add_argument("--out", default="benchmarks/results/precision.json")
    a = parser.parse_args()
    source = Run.open(a.run)
    settings = source.config
    settings.pop("command")
    config = train.Config(**settings)
    data, model = train.prepare(config)
    load_checkpoint(checkpoint_of(source), model)
    model.eval()
    x, y = data.test.head(a.n).x, data.test.y[: a.n]
    results = {}
    for steps in a.steps:
        full = PGD(config.threat(), n_steps=steps)
        attacks = {"float32": full, "bfloat16": replace(full, precision="bfloat16")}
        wrong, seconds = {}, {k: [] for k in attacks}
        for _ in range(a.repeats):
            for name, attack in attacks.items():
                started = time.perf_counter()
                wrong[name] = wrong_under(model, x, y, attack)
                seconds[name].append(time.perf_counter() - started)
        ratio = np.array(seconds["float32"]) / np.array(seconds["bfloat16"])
        results[f"pgd{steps}"] = {
            "n": a.n,
            "wrong": {k: int(v.sum()) for k, v in wrong.items()},
            "verdicts_that_differ": int((wrong["float32"] != wrong["bfloat16"]).sum()),
            "time_ratio_float32_over_bfloat16": {"median": np.median(ratio), "min": ratio.min(), "max": ratio.max()},
            "repeats": a.repeats,
        }
    about = {"data": config.data, "model": config.model, "width": config.width, "radius": config.radius}
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    env = environment(config.seed) | {"cpu_has_bf16": "avx512_bf16" in flags, "threads": torch.get_num_threads()}
    write_atomic(Path(a.out), dump_json({"about": about, "environment": env, "results": results}))
    print(dump_json(results).decode())


if __name__ == "__main__":
    main()
