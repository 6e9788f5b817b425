"""Runs of `cgro train` and of `cgro.Monitor`: the curves in their metrics, one training per seed."""

from collections.abc import Mapping
from pathlib import Path

from cgro._check import bad, count
from cgro.diagnosis.columns import CURVES, counted
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.settings import attacks_nothing
from cgro.folder import seed_folders
from cgro.runs import Run


def read_run(path: str | Path) -> list[Curves]:
    """The curves of a run of `cgro train`, one for each seed.

    Args:
        path: of the run directory.

    Returns:
        One value per seed.

    Raises:
        BadRequest: no run, or a run without errors over epochs.
    """
    run = Run.open(path)
    if "eval_attack" not in run.config:
        raise bad(str(path), expected="a run of cgro train", got=f"a run of cgro {run.config.get('command')}")
    parts = seed_folders(run.path) or [run.path]
    return [_one_run(Run.open(part)) for part in parts]


def _one_run(run: Run) -> Curves:
    config, rows = run.config, run.rows()
    if not all(isinstance(row, dict) for row in rows):
        raise bad(f"{run.path}/metrics.jsonl", expected="one JSON object a line", got="something else")
    if not any("robust_error/test" in row for row in rows):
        got = f"{counted(len(rows), 'epoch')} without a robust error on test"
        raise bad(str(run.path), expected="evaluated epochs in metrics.jsonl", got=got)
    keep = [_known(row) for row in rows]
    attack = config.get("attack")
    if attacks_nothing(config):
        attack = "none"
    meta = {
        "source": str(run.path),
        "format": "cgro run",
        "attack": attack,
        "attacked_in_evaluation": True,
        "eval_attack": config["eval_attack"],
        "seed": config.get("seed"),
        **_sizes(run),
    }
    return Curves.from_rows(keep, meta)


def _known(row: Mapping[str, object]) -> dict[str, object]:
    """The curves in a row of metrics, which also holds times and whatever probes add."""
    return {name: row[name] for name in CURVES if row.get(name) is not None}


def _sizes(run: Run) -> Mapping[str, int]:
    """The numbers of examples behind each error, and of classes."""
    if not run.finished:
        return {}
    data = run.summary.get("data")
    if not isinstance(data, dict):
        return {}
    most = count(run.config.get("eval_n", 0), f"{run.path}: eval_n")
    found: dict[str, int] = {}
    for part in ("train", "test"):
        if f"n_{part}" in data:
            found[f"n/{part}"] = min(most, count(data[f"n_{part}"], f"{run.path}: n_{part}"))
    if isinstance(data.get("classes"), list):
        found["n_classes"] = len(data["classes"])
    return found
