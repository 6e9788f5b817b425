"""The tables of docs/full_ball.md and of the dynamics page are what is stored."""

import csv
import json
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "full_ball.md").read_text()
DYNAMICS = (ROOT / "docs" / "dynamics.md").read_text()
BENCHMARKS = ROOT / "benchmarks" / "results"


def percent(value: float) -> str:
    """As on the pages: whole numbers at the ends, else one digit."""
    if value in (0.0, 100.0):
        return f"{value:.0f}"
    return f"{value:.1f}"


def test_every_cell_of_the_artifact_is_on_the_page() -> None:
    with (ROOT / "results" / "cpu" / "full-ball" / "tables" / "cells.csv").open() as file:
        rows = list(csv.reader(file))
    assert len(rows) > 30
    for row in rows[1:]:
        assert f"| {' | '.join(row)} |" in PAGE, row


def test_every_judge_is_on_the_page() -> None:
    cells = json.loads((BENCHMARKS / "full_ball_judges.json").read_text())["cells"]
    for cell in cells:
        shown = [f"{cell['radius_ratio']:g}, {cell['noise_ratio']:g}"]
        for parts in cell["accuracy"].values():
            train = percent(round(float(np.mean(parts["train"])), 1))
            test = percent(round(float(np.mean(parts["test"])), 1))
            shown.append(f"{train} / {test}")
        assert f"| {' | '.join(shown)} |" in PAGE, shown


def test_the_table_of_the_dynamics_page() -> None:
    cells = json.loads((BENCHMARKS / "full_ball.json").read_text())["cells"]
    names = {"l2": "full ball", "restricted": "signal only"}
    for cell in cells:
        train = percent(round(100 * float(np.mean(cell["full_ball_error/train"])), 1))
        test = percent(round(100 * float(np.mean(cell["full_ball_error/test"])), 1))
        start = f"| {cell['radius_ratio']:.3g} | {names[cell['adversary']]} | {train} / {test} | "
        assert start in DYNAMICS, start
