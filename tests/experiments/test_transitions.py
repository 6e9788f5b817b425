"""Where memorization ends, per seed."""

import math

import pytest
from tests.jobs.runs import make, workspace

from cgro.experiments.transitions import Cell, Line, last_crossing, line_of
from cgro.jobs.plan import Job


def line(half: float, ratio: float, *, rho: float = 0.05, power: float = 3.0, dim: int = 400, n_seeds: int = 3) -> Line:
    """A transition at ratio times the predicted half, a little elsewhere in every seed; robust above it."""
    cells = []
    for k in range(-8, 9):
        n = round(half * 1.25**k)
        shares, errors = [], []
        for seed in range(n_seeds):
            target = half * ratio * 1.02 ** (seed - 1)
            is_below = n < target
            shares.append(min(max(0.5 - math.log(n / target), 0.0), 1.0))
            errors.append(0.5 - 2.0**-k * 0.01 if is_below and k > -8 else 0.1 * is_below)
        cells.append(
            Cell(
                n=n,
                memorized=shares,
                clean_test=[0.0] * n_seeds,
                robust_test=[max(error, 0.0) for error in errors],
                signal_margin=[11.0] * n_seeds,
                noise_learned=[7.0] * n_seeds,
                noise=[0.2] * n_seeds,
                noise_limit=[],
            )
        )
    return Line(power=power, patch_dim=dim, rho=rho, half=half, overlap=1.0, cells=cells)


def test_the_last_crossing_is_taken_and_none_is_invented() -> None:
    assert last_crossing([(1, 1.0), (2, 0.4), (4, 0.9), (8, 0.1)]) == pytest.approx(4 * 2**0.5)
    assert last_crossing([(1, 1.0), (2, 0.5)]) is None  # half is still memorized at the last
    assert last_crossing([(1, 0.4), (2, 0.1)]) is None
    assert last_crossing([(2, 1.0), (8, 0.0)]) == pytest.approx(4.0)


def test_ratios_leave_out_seeds_without_a_crossing() -> None:
    found = line(40.0, 1.2)
    assert found.ratios == pytest.approx([1.2 / 1.02, 1.2, 1.2 * 1.02], rel=0.01)
    blind = Line(power=3.0, patch_dim=400, rho=0.05, half=40.0, overlap=1.0, cells=found.cells[:4])
    assert blind.halves == [None] * 3
    assert blind.ratios == []


def test_a_line_is_read_from_a_sweep(tmp_path) -> None:
    settings = {"n_filters": 4, "patch_dim": 50, "n_steps": 300, "n_test": 20, "seeds": 2, "sweep": "n_train=2:4:2"}
    jobs = [Job("a", "dynamics", settings), Job("b", "dynamics", {**settings, "robust_weight": 0.0})]
    found = workspace(tmp_path, jobs)
    make(found, *jobs)
    attacked, standard = (line_of(job, found) for job in jobs)
    assert (attacked.power, attacked.patch_dim) == (3.0, 50)
    assert [cell.n for cell in attacked.cells] == [2, 4]
    assert attacked.half is not None
    assert attacked.overlap is not None
    assert attacked.overlap == pytest.approx(
        (attacked.half / 200) ** 0.5 / (0.094 / 50**0.249 * 0.96 * 0.999), rel=0.05
    )
    assert attacked.cells[0].noise_limit == []
    assert standard.half is None
    assert len(standard.cells[0].noise_limit) == 2
    assert standard.transition.predicted != standard.transition.predicted  # NaN
