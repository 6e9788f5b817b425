"""The ensemble beside AutoAttack standard: time and strength on six networks, and a series of checkpoints.

  python benchmarks/evaluation.py train                    the networks, once; six minutes of one thread
  python benchmarks/evaluation.py table --threads 2        ours and pyautoattack in turn; 11 minutes at rest
  python benchmarks/evaluation.py series --threads 1       20 checkpoints together and one after another, side by side;
                                                           4 minutes at rest
  python benchmarks/evaluation.py all --threads 2          the last two
  python benchmarks/evaluation.py strength --only mnist --n 1000    once each, with who breaks what the other does not

Each search runs in a process of its own, and its CPU time counts (wall time beside it, which means something at rest
only). With --before SRC also the ensemble of another source tree, such as an older checkout's src. Stored in
benchmarks/results/evaluation-table.json, evaluation-series.json and evaluation-strength.json. Needs pip install 'cgro[autoattack]'.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attacks import compared, machine, network
from torch import Tensor, nn

from cgro.commands import train
from cgro.definitions import standard_ensemble, survey
from cgro.definitions.attacks import evaluated_outputs
from cgro.definitions.attacks.reference import NORMS
from cgro.definitions.losses import margin
from cgro.runs import Run, dump_json, write_atomic
from cgro.training.checkpoint import kept_epochs, read_run_weights
from cgro.training.weights import load_weights

RESULTS = Path(__file__).parent / "results"
RUNS = Path("runs/evaluation-benchmark")
CLOCKS = ("cpu_seconds", "wall_seconds")
MNIST5K = "--data mnist5k"
NETWORKS = {
    "mnist": "--data mnist --n-train 10000 --model lenet --width 4 --radius 0.1 --attack pgd10 --epochs 2",
    "cifar": "--data cifar10 --n-train 3000 --model preactresnet --width 8 --radius 8/255 --attack pgd10 --epochs 4",
    "l2": f"{MNIST5K} --model lenet --width 2 --p 2 --radius 1.5 --attack pgd10 --epochs 6",
    "fgsm": f"{MNIST5K} --model lenet --width 2 --radius 0.2 --attack fgsm --epochs 6",
    "binary": f"{MNIST5K} --classes 3,8 --model mlp --p 2 --radius 1.5 --attack pgd10 --epochs 8",
    "l1": f"{MNIST5K} --model mlp --p 1 --radius 5 --attack pgd10 --epochs 8",
    "series": f"{MNIST5K} --model lenet --width 2 --radius 0.1 --attack pgd5 --epochs 20 --keep-every 1",
}
"""Small and trained briefly. fgsm masks gradients (catastrophic overfitting is common there); binary gives scores."""


def train_all(a: argparse.Namespace) -> None:
    for name, options in NETWORKS.items():
        command = [sys.executable, "-m", "cgro", "train", *options.split(), "--final-n", "200", "--eval-n", "200"]
        if not (a.runs / name / "summary.json").exists():
            subprocess.run([*command, "-q", "--out", str(a.runs / name)], check=True)


class _Logits(nn.Module):
    """Scores as two logits, for a package that knows logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        outputs = self.model(x)
        if outputs.ndim == 2:
            return outputs
        return torch.stack([-outputs / 2, outputs / 2], 1)


def autoattack(model: nn.Module, config: train.Config, x: Tensor, y: Tensor) -> Tensor:
    """(N,) bool, wrong by AutoAttack standard: below four classes without APGD-T, which needs four."""
    import pyautoattack

    logging.getLogger("auto-attack").setLevel(logging.CRITICAL)
    threat, logits = config.threat(), _Logits(model).eval()
    if int(y.min()) < 0:
        y = (y > 0).long()
    outputs = evaluated_outputs(logits, x)
    rows = torch.nonzero(margin(outputs, y) > 0).squeeze(1)
    run = pyautoattack.AutoAttack(logits, norm=NORMS[threat.p], eps=threat.radius, seed=0, device="cpu")
    n_wrong = outputs.shape[1] - 1
    run.apgd_targeted.n_target_classes = min(run.apgd_targeted.n_target_classes, n_wrong)
    run.fab.n_target_classes = min(run.fab.n_target_classes, n_wrong)
    if n_wrong < 3:
        run.attacks_to_run = ["apgd-ce", "fab-t", "square"]
    found, _ = run.run_standard_evaluation(x[rows], y[rows], batch_size=250)
    wrong = torch.ones(len(x), dtype=torch.bool)
    wrong[rows] = ~(margin(evaluated_outputs(logits, threat.project(found.detach(), x[rows])), y[rows]) > 0)
    return wrong


def timed(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, {"cpu_seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - wall}


def one(a: argparse.Namespace) -> None:
    """One search, as a line of JSON: for a process of its own."""
    config, model, x, y = network(str(a.runs / a.name), a.n)
    if a.who == "autoattack":
        wrong, seconds = timed(lambda: autoattack(model, config, x, y))
        found: dict[str, Any] = {}
    else:
        record, seconds = timed(lambda: survey(model, x, y, standard_ensemble(config.threat()), batch=500))
        wrong, found = record.wrong, {"broken_by": record.broken_by()}
    print(json.dumps({"wrong": wrong.int().tolist(), **found, **seconds}))


def searched(a: argparse.Namespace, who: str, name: str) -> dict[str, Any]:
    source = a.before if who == "before" else str(Path(__file__).parents[1] / "src")
    command = [sys.executable, __file__, "one", "--who", who, "--name", name, "--n", str(a.n), "--runs", str(a.runs)]
    done = subprocess.run(
        [*command, "--threads", str(a.threads)],
        env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": str(a.threads)},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def quartiles(values: list[float]) -> dict[str, Any]:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": middle, "quartiles": [low, high], "n": len(values)}


def store(name: str, value: dict[str, Any]) -> None:
    write_atomic(RESULTS / f"evaluation-{name}.json", dump_json({"environment": machine(), **value}))


def table(a: argparse.Namespace) -> None:
    others = ["autoattack"] + (["before"] if a.before else [])
    rows: dict[str, Any] = {}
    for name in a.only.split(","):
        runs: dict[str, list[dict[str, Any]]] = {who: [] for who in ("ours", *others)}
        for _ in range(a.repeats):
            for who in runs:
                runs[who].append(searched(a, who, name))
        wrong = {who: np.array(found[0]["wrong"]) for who, found in runs.items()}
        row: dict[str, Any] = {"broken_by": runs["ours"][0]["broken_by"]}
        for who in others:
            row[f"robust error, ours and {who}"] = compared(wrong["ours"], wrong[who])
            for clock in CLOCKS:
                pairs = zip(runs[who], runs["ours"], strict=True)
                row[f"{clock}, {who} / ours"] = quartiles([theirs[clock] / ours[clock] for theirs, ours in pairs])
        for who, found in runs.items():
            row[f"seconds, {who}"] = {clock: [f[clock] for f in found] for clock in CLOCKS}
        rows[name] = row
        print(name, dump_json(row).decode(), flush=True)
        about = {"n": a.n, "repeats": a.repeats, "networks": {key: NETWORKS[key] for key in rows}}
        store("table", {"about": about, "results": rows})


def strength(a: argparse.Namespace) -> None:
    """Ours and AutoAttack once on many examples, at the same time; what other networks gave before is kept."""
    path = RESULTS / "evaluation-strength.json"
    for name in a.only.split(","):
        with ThreadPoolExecutor(2) as pool:
            begun = {who: pool.submit(searched, a, who, name) for who in ("ours", "autoattack")}
        found = {who: one.result() for who, one in begun.items()}
        rows: dict[str, Any] = {}
        if path.exists():
            rows = json.loads(path.read_bytes())["results"]
        wrong = {who: np.array(one["wrong"], dtype=bool) for who, one in found.items()}
        rows[name] = {
            "network": NETWORKS[name],
            "n": len(wrong["ours"]),
            "environment": machine(),
            "robust error, ours and autoattack": compared(wrong["ours"], wrong["autoattack"]),
            "broken by ours alone": int((wrong["ours"] & ~wrong["autoattack"]).sum()),
            "broken by autoattack alone": int((wrong["autoattack"] & ~wrong["ours"]).sum()),
            "broken_by": found["ours"]["broken_by"],
            "seconds": {who: {clock: one[clock] for clock in CLOCKS} for who, one in found.items()},
            "autoattack / ours": {clock: found["autoattack"][clock] / found["ours"][clock] for clock in CLOCKS},
        }
        print(name, dump_json(rows[name]).decode(), flush=True)
        store("strength", {"results": rows})


def checkpoints(a: argparse.Namespace) -> tuple[Callable[[int], nn.Module], int, train.Config, Tensor, Tensor]:
    """The networks of the series by position, and how many they are."""
    run = Run.open(str(a.runs / "series"))
    config, model, x, y = network(str(run.path), a.n_series)
    kept = sorted(kept_epochs(run).items())[a.every - 1 :: a.every][: a.checkpoints]

    def at(position: int) -> nn.Module:
        load_weights(model, read_run_weights(run, kept[position][1]), kept[position][1])
        return model

    return at, len(kept), config, x, y


def together(a: argparse.Namespace) -> None:
    """The series as one, as a line of JSON."""
    from cgro.definitions import survey_series  # here: a source tree that --before names may not have it

    at, n, config, x, y = checkpoints(a)
    attack = standard_ensemble(config.threat())
    records, spent = timed(lambda: survey_series(at, n, x, y, attack, batch=500))
    given = [record.broken_by().get("given", 0) for record in records]
    print(json.dumps({"wrong": [record.wrong.int().tolist() for record in records], "given": given, **spent}))


def alone(a: argparse.Namespace) -> None:
    """Every --of-th checkpoint by itself, and what stands of it once more, the floor, as a line of JSON each."""
    at, n, config, x, y = checkpoints(a)
    attack = standard_ensemble(config.threat())
    for position in range(a.share, n, a.of):
        model = at(position)
        record, spent = timed(partial(survey, model, x, y, attack, batch=500))
        stand = ~record.wrong
        floor = {"cpu_seconds": 0.0}
        if stand.any():
            index = torch.nonzero(stand).squeeze(1)
            _, floor = timed(partial(survey, model, x[stand], y[stand], attack, batch=500, index=index))
        found = {"position": position, "wrong": record.wrong.int().tolist(), "floor": floor["cpu_seconds"], **spent}
        print(json.dumps(found), flush=True)


def _lines(a: argparse.Namespace, step: str, share: int = 0) -> list[dict[str, Any]]:
    options = {"--runs": a.runs, "--n-series": a.n_series, "--checkpoints": a.checkpoints, "--every": a.every}
    options |= {"--threads": a.threads, "--share": share, "--of": a.of}
    command = [sys.executable, __file__, step]
    for name, value in options.items():
        command += [name, str(value)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]


def series(a: argparse.Namespace) -> None:
    """Checkpoints of one training: together, and one after another; what those that stand cost is the floor."""
    with ThreadPoolExecutor(1 + a.of) as pool:
        begun = pool.submit(_lines, a, "together")
        shares = [pool.submit(_lines, a, "alone", share) for share in range(a.of)]
    (both,) = begun.result()
    singles: list[dict[str, Any]] = []
    for share in shares:
        singles += share.result()
    singles.sort(key=lambda one: one["position"])
    wrong = np.array([one["wrong"] for one in singles], dtype=bool)
    total = sum(one["cpu_seconds"] for one in singles)
    floor = sum(one["floor"] for one in singles)
    result = {
        "cpu_seconds": {"together": both["cpu_seconds"], "one after another": total, "standing alone": floor},
        "one after another / together": total / both["cpu_seconds"],
        "one after another / standing alone": total / floor,
        "wrong": {"together": np.sum(both["wrong"], 1).tolist(), "alone": wrong.sum(1).tolist()},
        "broken alone and not together": int((wrong & ~np.array(both["wrong"], dtype=bool)).sum()),
        "given": both["given"],
        "cpu_seconds of each, alone and standing": [[one["cpu_seconds"], one["floor"]] for one in singles],
    }
    print(dump_json(result).decode())
    about = {"n": a.n_series, "checkpoints": len(singles), "every": a.every, "network": NETWORKS["series"]}
    store("series", {"about": about, **result})


def everything(a: argparse.Namespace) -> None:
    train_all(a)
    table(a)
    series(a)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = {"train": train_all, "table": table, "strength": strength, "series": series, "all": everything}
    parts = {"one": one, "together": together, "alone": alone}
    parser.add_argument("step", choices=[*steps, *parts], help=f"{', '.join(parts)}: processes of the other steps")
    parser.add_argument("--runs", type=Path, default=RUNS, help="where the trained networks are")
    parser.add_argument("--only", default=",".join(name for name in NETWORKS if name != "series"))
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--n-series", type=int, default=40)
    parser.add_argument("--checkpoints", type=int, default=20)
    parser.add_argument("--every", type=int, default=1, help="take each so-many-th checkpoint only")
    parser.add_argument("--of", type=int, default=1, help="processes that take the checkpoints one after another")
    parser.add_argument("--share", type=int, default=0, help="for `alone`")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--before", help="src of another checkout, whose ensemble is timed too")
    parser.add_argument("--who", default="ours", help="for `one`")
    parser.add_argument("--name", default="mnist", help="for `one`")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    (steps | parts)[a.step](a)


if __name__ == "__main__":
    main()
