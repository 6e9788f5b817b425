"""The table of stored networks: accuracies over seeds, and how much PGD flatters them beside the ensemble."""

from collections.abc import Sequence
from pathlib import Path

from cgro.report.markdown import cell, table_of
from cgro.results import EvaluateSummary, Measured, TrainSummary
from cgro.results.keys import CLEAN_TEST, ROBUST_TEST, ROBUST_TRAIN
from cgro.runs import Run

_ACCURACIES = {
    "clean test": CLEAN_TEST,
    "robust test": ROBUST_TEST,
    "robust train": ROBUST_TRAIN,
}


def networks(folder: Path, scale: str) -> list[str]:
    """Every stored network, whether or not its artifacts are complete: mean (sd) over the seeds that are there.

    Args:
        folder: results/SCALE.
        scale: its name.

    Returns:
        Lines of Markdown; none without networks.
    """
    found: dict[str, list[Run]] = {}
    for path in sorted((folder / "runs").glob("*/seed-*/summary.json")):
        run = Run(path.parent)
        if isinstance(run.read(), TrainSummary):
            found.setdefault(path.parts[-3], []).append(run)
    if not found:
        return []
    rows = [_network(folder, name, runs) for name, runs in found.items()]
    columns = ["network", "seeds", *(f"{name} %" for name in _ACCURACIES), "PGD minus ensemble, points"]
    return [
        f"## Networks at scale {scale}, as far as they are trained",
        "",
        "Accuracies, mean (sd) over seeds; robust ones under the recipe's PGD, so upper bounds. Last column: how "
        "much lower the strong ensemble is on the first test images of the same seeds. Settings and curves are in "
        f"the folder of each, `results/{scale}/runs`.",
        "",
        *table_of(columns, rows),
    ]


def _network(folder: Path, name: str, runs: Sequence[Run]) -> list[str | int]:
    """The row of one network."""
    summaries = [run.read(TrainSummary) for run in runs]
    cells = []
    for key in _ACCURACIES.values():
        cells.append(cell([100 - 100 * summary.number(key) for summary in summaries]))
    strong = Measured.of(_beside(folder, run.path) for run in runs)
    beside = cell(strong.values)
    if strong.n == 1:
        beside += ", 1 seed"
    elif strong.n:
        beside += f", {strong.n} seeds"
    return [f"`{name}`", len(runs), *cells, beside]


def _beside(folder: Path, trained: Path) -> float | None:
    """PGD's robust accuracy minus the ensemble's, on the same images, if both are stored."""
    name = "-".join(trained.parts[-2:])
    strong = Run(folder / "runs" / "evaluations" / f"{name}-ensemble")
    weak = Run(folder / "runs" / "evaluations" / f"{name}-pgd")
    if not strong.finished or not weak.finished:
        return None
    key = _ACCURACIES["robust test"]
    return 100 * (strong.read(EvaluateSummary).number(key) - weak.read(EvaluateSummary).number(key))
