"""Theorem 4.7: what robust generalization costs. A counting floor, a network that meets it, and the memorizer between.

The floor holds for the worst labeling of a grid of k^(D-1) points; it is our derivation, its assumptions are printed.

examples:
  cgro lower-bound --radius 0.1 --dims 2:100
  cgro lower-bound --radius 0.2 --dims 2:40 --layers 5 --n-points 10000
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from cgro._check import CheckFailed, bad, count, number
from cgro.commands._common import Output, begin, option
from cgro.commands._effect import Effects, Only
from cgro.report.representation import hierarchy
from cgro.report.representation import toy as toy_figure
from cgro.representation.lower_bound import (
    Family,
    checkerboard,
    family_margins,
    grid_side,
    log2_construction,
    log2_floor,
    robust_network,
    worst_case_family,
)
from cgro.representation.worst_case import dims_of_grids_up_to, errors_on_family
from cgro.results import BuiltRecord, BuiltRow, FamilyRow, FloorRow, LowerBoundSummary, OutcomeRecord, ThreatRecord
from cgro.runs import Run

ASSUMPTIONS = (
    "worst case over labelings of the k^(D-1) grid points; some labeling is hard, none is named",
    "uniform distribution on the family's points; supports of the classes are more than 2 radius apart in every l_p",
    "networks with ReLU, L weight layers of any width, W non-zero parameters, real-valued and unbounded",
    "Warren's bound on sign patterns, layer by layer; our derivation with explicit constants, not the paper's text",
)
LARGEST_BUILT, LARGEST_TOY = 4000, 20_000
LEAST_DIM = 2
"""Of the family: a grid and the coordinate across it."""
LARGEST_DIM = 100_000
"""Of --dims; counting the floor takes seconds up to it. A choice, above the 3,072 of CIFAR-10."""


@dataclass(kw_only=True)
class Config(Output):
    """Options of `cgro lower-bound`."""

    radius: str = option("0.1", "radius, below 1/2")
    dims: str = option("2:100", "dimensions, first:last")
    layers: int = option(3, "weight layers L of the networks that the floor speaks of", low=1)
    error: float = option(0.1, "robust error a that they must not exceed")
    n_points: int = option(1000, "N of the memorizer in the comparison", low=1)
    toy_points: int = option(300, "N of the exact toy", low=2)
    p: str = option("inf", "norm of the toy: 1, 2 or inf")
    seed: int = option(0, "seed of the labelings", low=0)

    HAS_EFFECT: ClassVar[Effects] = {
        "toy_points": Only("--dims in which a toy is small enough to be made", lambda c: bool(_toy_dims(c)), "none"),
        "p": Only("--dims in which a toy is small enough to be made", lambda c: bool(_toy_dims(c)), "none"),
    }


def _toy_dims(config: Config) -> list[int]:
    """The dimensions of --dims in which the toy is made."""
    first, last = _dims(config.dims)
    radius = number(config.radius, "--radius", low=1e-6)
    return [dim for dim in dims_of_grids_up_to(radius, LARGEST_TOY) if first <= dim <= last]


def run(config: Config) -> Run:
    """Compute the floor for every D, build and certify the networks that fit, run the toy.

    Args:
        config: the options.

    Returns:
        The finished run.

    Raises:
        BadRequest: options out of range.
        CheckFailed: a network that was built is not certified.
    """
    radius = number(config.radius, "--radius", low=1e-6)
    first, last = _dims(config.dims)
    count(config.n_points, "--n-points")
    count(config.toy_points, "--toy-points", low=2)
    rows = [_row(config, radius, dim) for dim in range(first, last + 1)]
    with begin("lower-bound", config) as done:
        built = [
            _built(radius, dim, config.seed)
            for dim in dims_of_grids_up_to(radius, LARGEST_BUILT)
            if first <= dim <= last
        ]
        toys = []
        for dim in _toy_dims(config):
            toys.append(errors_on_family(radius, dim, config.toy_points, p=config.p, seed=config.seed))
        done.write_rows([row.plain() for row in rows])
        result = _summary(config, radius, rows, built, toys)
        done.finish(result, partial(_draw, toys, config.toy_points))
    wrong = [row.dim for row in built if not row.certified] + [row.dim for row in toys if not row.exact]
    if wrong:
        raise CheckFailed(f"the construction or the toy is not certified at D = {', '.join(map(str, wrong))}")
    return done


def _draw(toys: Sequence[FamilyRow], n_points: int, path: Path) -> None:
    hierarchy(path)
    if toys:
        toy_figure(path, [row.plain() for row in toys], n_points)


def _summary(
    config: Config,
    radius: float,
    rows: Sequence[FloorRow],
    built: Sequence[BuiltRow],
    toys: Sequence[FamilyRow],
) -> LowerBoundSummary:
    above = [row.dim for row in rows if row.log2_floor is not None and row.log2_floor > row.log2_memorizer]
    crossing = above[0] if above else None
    last = len(rows) - 1
    shown = sorted({0, len(rows) // 4, len(rows) // 2, 3 * len(rows) // 4, last})
    return LowerBoundSummary(
        command="lower-bound",
        seed=config.seed,
        threat=ThreatRecord(p="any", radius=radius, box=(0.0, 1.0)),
        outcome=OutcomeRecord(
            kind="completed",
            reason=f"counted, built and certified; the floor passes the memorizer {_where(crossing, rows[0].dim)}",
        ),
        verdict=None,
        metrics={},
        grid_side=grid_side(radius),
        n_layers=config.layers,
        error=config.error,
        n_points=config.n_points,
        crossing=crossing,
        assumptions=ASSUMPTIONS,
        built=built,
        toy=toys,
        table=[rows[i] for i in shown],
    )


def _dims(text: str) -> tuple[int, int]:
    try:
        first, last = (int(v) for v in text.split(":"))
    except ValueError:
        raise bad("--dims", expected="first:last, such as 2:100", got=repr(text)) from None
    if not LEAST_DIM <= first <= last:
        raise bad("--dims", expected="2 <= first <= last", got=text)
    if last > LARGEST_DIM:
        raise bad("--dims", expected=f"dimensions up to {LARGEST_DIM:,}", got=text)
    return first, last


def _row(config: Config, radius: float, dim: int) -> FloorRow:
    memorizer = 6 * config.n_points * dim + config.n_points
    return FloorRow(
        dim=dim,
        log2_floor=log2_floor(radius, dim, n_layers=config.layers, error=config.error),
        log2_construction=log2_construction(radius, dim),
        log2_memorizer=math.log2(memorizer),
        log2_clean=1.0,
    )


def _built(radius: float, dim: int, seed: int) -> BuiltRow:
    """Parameters of the robust network on a random labeling and on the checkerboard, both certified by intervals."""
    hard = worst_case_family(radius, dim, None, seed=seed)
    random = _certified(hard, projection=None)
    easy = worst_case_family(radius, dim, checkerboard(radius, dim), seed=seed)
    board = _certified(easy, projection=easy.digits.new_ones(dim - 1))
    least = min(random.least_margin, board.least_margin)
    return BuiltRow(dim=dim, certified=least >= 0.5 - 1e-9, random=random, checkerboard=board)


def _certified(family: Family, projection: Tensor | None) -> BuiltRecord:
    """The robust network on one labeling."""
    layers = robust_network(family, projection=projection)
    least = float(family_margins(layers, family).min())
    n_parameters = sum(layer.n_nonzero for layer in layers)
    return BuiltRecord(m=len(family.points), parameters=n_parameters, least_margin=least)


def _where(crossing: int | None, first: int) -> str:
    """Where the floor passes the memorizer; in the first dimension of a range it may have done so before.

    >>> _where(None, 2), _where(12, 2), _where(50, 50)
    ('nowhere in this range', 'from D = 12 on', 'throughout, from a dimension of at most 50 on')
    """
    if crossing is None:
        return "nowhere in this range"
    if crossing == first > LEAST_DIM:
        return f"throughout, from a dimension of at most {first} on"
    return f"from D = {crossing} on"


def describe(result: LowerBoundSummary) -> str:
    """The floor, where it passes the memorizer, what was built, and the assumptions.

    Args:
        result: of `run`.

    Returns:
        Text for the terminal.
    """
    lines = ["  D    floor (log2)   construction   memorizer   clean"]
    for row in result.table:
        floor = "vacuous" if row.log2_floor is None else f"{row.log2_floor:.1f}"
        lines.append(f"{row.dim:4} {floor:>12} {row.log2_construction:14.1f} {row.log2_memorizer:11.1f} {1.0:8.1f}")
    where = _where(result.crossing, result.table[0].dim)
    lines += ["", f"The floor passes the memorizer of N = {result.n_points:,} points {where}."]
    for row in result.built[-2:]:
        lines.append(
            f"Built at D = {row.dim}: random labeling {row.random.parameters:,} parameters, checkerboard "
            f"{row.checkerboard.parameters:,}; y f >= {row.random.least_margin:g} on all {row.random.m} balls"
        )
    for errors in result.toy[-3:]:
        lines.append(
            f"Toy at D = {errors.dim}: clean error {errors.clean_test:g}, robust training error "
            f"{errors.robust_train:g}, robust test error {errors.robust_test:.3f} (expected {errors.expected:.3f})"
        )
    return "\n".join([*lines, "", "Assumptions:", *(f"  - {text}" for text in result.assumptions)])
