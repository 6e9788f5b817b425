"""Stored certificates of all of MNIST as run directories, for `cgro reproduce theorem44` on a machine that has no half hour.

    python benchmarks/mnist_as_runs.py DIR

Writes DIR/runs/memorize-mnist-inf and -2 from benchmarks/results/representation_mnist_*.json: the numbers, machine, versions
and commit are those of the stored measurement, and the summary names its file under `provenance`. Without this the command
measures them itself (25 minutes on one free core).
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from cgro.commands._common import NOT_STORED
from cgro.commands.memorize import Config
from cgro.definitions import ErrorRate, ThreatModel
from cgro.experiments.memorizers import mnist
from cgro.runs import dump_json, plain, summary, write_atomic

RESULTS = Path(__file__).parent / "results"
VARIANTS = {"inf": "box", "2": "shared"}
"""The first of each norm, which were built."""


def as_run(p: str, folder: Path) -> None:
    name = f"representation_mnist_{p}.json"
    stored = json.loads((RESULTS / name).read_text())
    (row,), job = stored["rows"], mnist(p)
    config: Config = job.config()
    settings = {k: v for k, v in asdict(config).items() if k not in NOT_STORED}
    write_atomic(folder / "environment.json", dump_json({**stored["environment"], "seed": 0}))
    write_atomic(
        folder / "config.yaml", yaml.safe_dump(plain({"command": "memorize", **settings}), sort_keys=False).encode()
    )
    write_atomic(folder / "summary.json", dump_json(_summary(config, row, f"benchmarks/results/{name}")))


def _summary(config: Config, row: dict[str, Any], source: str) -> dict[str, Any]:
    n, m = row["n"], row["n_eval"]
    n_clean = 1000  # test images on which the benchmark measured clean error

    def error(key: str, size: int, bound: Any) -> dict[str, Any]:
        return ErrorRate(round(row[key] * size), size, bound).to_dict()

    metrics = {
        "robust_error/train@certified": ErrorRate(0 if row["certificate"]["holds"] else n, n, "exact").to_dict(),
        "clean_error/test": error("clean_error", n_clean, "exact"),
        "clean_error/test@clean_model": error("clean_error_clean_model", n_clean, "exact"),
        "robust_error/test": error("robust_lower", m, "lower"), "robust_error/test@certified": error("robust_upper", m, "upper"),
        "robust_error/test@naive-pgd": error("naive_pgd", m, "lower"),
    }  # fmt: skip
    reason = "certified" if row["certificate"]["holds"] else "NOT certified"
    return summary(
        "memorize", seed=0, threat=ThreatModel(config.p, config.radius).to_dict(),
        outcome={"kind": "completed", "reason": reason}, verdict=None, metrics=metrics, certificate=row["certificate"],
        data={"name": "mnist", "note": "", "classes": [str(k) for k in range(10)], "n_train": n, "n_validation": 0, "n_test": 10_000},
        # The clean model's parameters were not stored apart from the memory's.
        parameters={"total": row["parameters"], "memorizer": row["parameters"], "clean": None, "formula": row["parameters"],
                    "generic": row["generic"], "dense": None, "measured": False},
        separation=row["separation"], max_radius=row["max_radius"], separation_pair=row["pair"], variant=VARIANTS[config.p],
        checks={}, notes=["parameters of the memory include those of the clean model"], provenance=source,
    )  # fmt: skip


if __name__ == "__main__":
    for norm in ("inf", "2"):
        as_run(norm, Path(sys.argv[1]) / "runs" / f"memorize-mnist-{norm}")
