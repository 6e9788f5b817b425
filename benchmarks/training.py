"""Our engine beside the loop that most code has: float32, NCHW, the attack's float32 gradients. Ratio, and final errors.

  python benchmarks/training.py speed --threads 2     seconds a step, share of the attack, ratio of medians in one run
  python benchmarks/training.py errors --seeds 3      the same short recipe by both: do the final errors agree?
                                                      Goes on where it was stopped; the defaults are short,
                                                      --n 5000 --epochs 30 --name recipe is `small-cifar10` whole: 26 CPU
                                                      minutes in bfloat16 with AMX, 50 without, and 47 to 65 by the common loop
  python benchmarks/training.py memory                WRN-34-10 and PreActResNet-18: parameters, one step's peak memory

CIFAR-10, PreActResNet of base width 16, batch 64, PGD-7 at 8/255 (step 2/255), SGD: the recipe `small-cifar10`.
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cgro.data import load
from cgro.definitions import PGD, ThreatModel
from cgro.definitions.attacks import Precision, bfloat16_pays
from cgro.models import build, fast_layout, n_parameters
from cgro.runs import dump_json, environment, write_atomic
from cgro.speed import common_attack
from cgro.training import Adversarial, Evaluation, Recipe, errors_on, fit, make_fabric
from cgro.training.fabric import step_precision

SHAPE, THREAT, STEP = (3, 32, 32), ThreatModel("inf", "8/255"), 2 / 255
COMMON = PGD(THREAT, n_steps=7, step_size=STEP)


def cpu_flags() -> list[str]:
    cpu = Path("/proc/cpuinfo")
    words = set(cpu.read_text().split()) if cpu.exists() else set()
    return [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in words]


def store(name: str, value: Any, threads: int) -> None:
    load_average = Path("/proc/loadavg")
    about = environment(0) | {
        "threads": threads, "cpu_flags": cpu_flags(),
        "load_average": load_average.read_text().split()[:3] if load_average.exists() else None,
    }  # fmt: skip
    write_atomic(
        Path(__file__).parent / "results" / f"training-{name}.json", dump_json({"environment": about, **value})
    )
    print(dump_json(value).decode())


def common_step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> float:
    started = time.perf_counter()
    model.eval()
    x_adv = common_attack(model, x, y, COMMON)
    attack = time.perf_counter() - started
    model.train()
    loss = nn.functional.cross_entropy(model(x_adv), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return attack


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=5e-4)


def ours(
    data: Any, precision: Precision, epochs: int, seed: int, width: int = 16, drop: int = 0, step: str = "auto"
) -> tuple[nn.Module, Any]:
    model = fast_layout(build("preactresnet", SHAPE, 10, width=width, seed=seed))
    recipe = Recipe(epochs=epochs, batch_size=64, optimizer="sgd", lr=0.05, weight_decay=5e-4,
                    lr_drops=(drop,) if drop else ())  # fmt: skip
    attack = PGD(THREAT, n_steps=7, step_size=STEP, precision=precision)
    evaluation = Evaluation(PGD(THREAT, n_steps=1), n=1, every=epochs)
    fabric = make_fabric("cpu", precision=step_precision(step, "cpu", model))
    return model, fit(model, data, Adversarial(attack), recipe, evaluation=evaluation, seed=seed, fabric=fabric)


def common(data: Any, epochs: int, seed: int, width: int = 16, drop: int = 0) -> tuple[nn.Module, float]:
    """The network, and the share of the attack in the time."""
    model = build("preactresnet", SHAPE, 10, width=width, seed=seed)
    optimizer, attacking = sgd(model), 0.0
    torch.manual_seed(seed)
    started = time.perf_counter()
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = 0.005 if drop and epoch >= drop else 0.05
        for rows in torch.randperm(len(data.train)).split(64):
            attacking += common_step(model, optimizer, *data.train.batch(rows))
    return model, attacking / (time.perf_counter() - started)


def clocked(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds: of the processor with one thread, so that neighbors count for little, else of the wall."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    started = clock()
    value = call()
    return clock() - started, value


def speed(a: argparse.Namespace) -> None:
    """One pass over n examples by each, in turn; the first round is not counted."""
    data = load("cifar10", n_train=a.n, n_test=10)
    calls: dict[str, tuple[Precision, str] | None] = {
        "ours": ("auto", "auto"),
        "ours, step in float32": ("auto", "float32"),
        "ours in float32": ("float32", "float32"),
        "common": None,
    }
    seconds: dict[str, list[float]] = {k: [] for k in calls}
    shares: dict[str, list[float]] = {k: [] for k in seconds}
    for repeat in range(a.repeats + 1):
        for name, how in calls.items():
            if how:
                taken, (_, t) = clocked(lambda how=how: ours(data, how[0], 1, 0, step=how[1]))
                share = float(t["attack_seconds"][0]) / float(t["seconds"][0])
            else:
                taken, (_, share) = clocked(lambda: common(data, 1, 0))
            if repeat:
                seconds[name].append(taken)
                shares[name].append(share)
    base = np.array(seconds["common"])
    ratios = {k: base / np.array(v) for k, v in seconds.items() if k != "common"}
    store("speed" if bfloat16_pays(torch.device("cpu")) else "speed-no_amx", {
        "n": a.n, "repeats": a.repeats,
        "epoch_of_5000_seconds": {k: statistics.median(v) * 5000 / a.n for k, v in seconds.items()},
        "attack_share": {k: statistics.median(v) for k, v in shares.items()},
        "common_over": {k: {"median": np.median(r), "min": r.min(), "max": r.max()} for k, r in ratios.items()},
    }, a.threads)  # fmt: skip


def errors(a: argparse.Namespace) -> None:
    """Both loops on the same examples from the same weights; evaluated by PGD-20 in float32.

    Ours is in bfloat16 also where that is not faster, so that rows of several machines belong together."""
    judge = PGD(THREAT, n_steps=20)
    settings = {k: getattr(a, k) for k in ("n", "n_test", "epochs", "width", "seeds")}
    rows = rows_so_far(settings, a.name)
    for seed in range(a.seeds):
        data = load("cifar10", n_train=a.n, n_test=a.n_test, seed=seed)
        loops = (
            ("ours in bfloat16", partial(ours, data, "bfloat16", step="bfloat16")),
            ("common", partial(common, data)),
        )
        for name, call in loops:
            if any(row["seed"] == seed and row["loop"] == name for row in rows):
                continue
            model = call(a.epochs, seed, a.width, a.epochs // 2)[0].eval()
            found: dict[str, float] = {}
            for part in ("train", "test"):
                values = errors_on(model, getattr(data, part), judge, a.n_test, part)
                found |= {key: error.value for key, error in values.items()}
            rows.append({"seed": seed, "loop": name, "cpu_flags": cpu_flags(), **found})
            print(rows[-1], flush=True)
            store(a.name, {"settings": settings, "rows": rows, "table": table(rows)}, a.threads)


def rows_so_far(settings: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Of an earlier call with the same settings, of which the number of seeds may have been another one."""
    path = Path(__file__).parent / "results" / f"training-{name}.json"
    if not path.exists():
        return []
    before = json.loads(path.read_text())
    if {**before["settings"], "seeds": 0} != {**settings, "seeds": 0}:
        return []
    return list(before["rows"])


def table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each loop and error the mean, and the paired difference from the common loop with its standard error."""
    found: dict[str, Any] = {}
    of_common = {row["seed"]: row for row in rows if row["loop"] == "common"}
    for name in dict.fromkeys(row["loop"] for row in rows):
        own = [row for row in rows if row["loop"] == name]
        found[name] = {}
        for key in own[0]:
            if "/" not in key:
                continue
            mean = float(np.mean([row[key] for row in own]))
            paired = np.array([row[key] - of_common[row["seed"]][key] for row in own if row["seed"] in of_common])
            found[name][key] = {"mean": mean}
            if len(paired) > 1:
                spread = float(paired.std(ddof=1)) / len(paired) ** 0.5
                found[name][key] |= {"minus_common": float(paired.mean()), "se": spread}
    return found


def memory(a: argparse.Namespace) -> None:
    """One adversarial step (PGD-10) on one batch; the peak is that of the whole process, so networks grow."""
    result = {}
    for name, width, batch in (("preactresnet", 64, 128), ("wrn-34-10", None, 16)):
        model = fast_layout(build(name, SHAPE, 10, width=width))
        x, y = torch.rand(batch, *SHAPE), torch.arange(batch) % 10
        seconds, _ = clocked(lambda m=model, x=x, y=y: one_step(m, x, y))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        result[f"{name}, batch {batch}"] = {
            "parameters": n_parameters(model),
            "peak_GiB_of_the_process": peak,
            "seconds": seconds,
        }
        print(result, flush=True)
    store("memory", result, a.threads)


def one_step(model: nn.Module, x: Tensor, y: Tensor) -> None:
    x_adv = PGD(THREAT, n_steps=10, precision="auto")(model.eval(), x, y)
    model.train()
    optimizer = sgd(model)
    nn.functional.cross_entropy(model(x_adv), y).backward()
    optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["speed", "errors", "memory"])
    parser.add_argument("--n", type=int, default=640)
    parser.add_argument("--n-test", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--name", default="errors", help="of the file of `errors`")
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    globals()[a.step](a)


if __name__ == "__main__":
    main()
