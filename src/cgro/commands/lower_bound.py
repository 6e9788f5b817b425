"""Theorem 4.7: what robust generalization costs. A counting floor, a network that meets it, and the memorizer between.

The floor holds for the worst labeling of a grid of k^(D-1) points; it is our derivation, its assumptions are printed.

examples:
  cgro lower-bound --radius 0.1 --dims 2:100
  cgro lower-bound --radius 0.2 --dims 2:40 --layers 5 --n-points 10000
"""

import math
from dataclasses import dataclass
from typing import Any

from cgro._check import CheckFailed, bad, count, number
from cgro.commands._common import Output, begin, option
from cgro.report.representation import hierarchy
from cgro.report.representation import toy as toy_figure
from cgro.representation.lower_bound import (
    checkerboard,
    family_margins,
    grid_side,
    log2_construction,
    log2_floor,
    robust_network,
    worst_case_family,
)
from cgro.representation.worst_case import dims_of_grids_up_to, errors_on_family
from cgro.runs import Run, summary

ASSUMPTIONS = (
    "worst case over labelings of the k^(D-1) grid points; some labeling is hard, none is named",
    "uniform distribution on the family's points; supports of the classes are more than 2 radius apart in every l_p",
    "networks with ReLU, L weight layers of any width, W non-zero parameters, real-valued and unbounded",
    "Warren's bound on sign patterns, layer by layer; our derivation with explicit constants, not the paper's text",
)
LARGEST_BUILT, LARGEST_TOY = 4000, 20_000


@dataclass(kw_only=True)
class Config(Output):
    """Options of `cgro lower-bound`."""

    radius: str = option("0.1", "radius, below 1/2")
    dims: str = option("2:100", "dimensions, first:last")
    layers: int = option(3, "weight layers L of the networks that the floor speaks of")
    error: float = option(0.1, "robust error a that they must not exceed")
    n_points: int = option(1000, "N of the memorizer in the comparison")
    toy_points: int = option(300, "N of the exact toy")
    p: str = option("inf", "norm of the toy: 1, 2 or inf")
    seed: int = option(0, "seed of the labelings")


def run(config: Config) -> Run:
    """Compute the floor for every D, build and certify the networks that fit, run the toy."""
    radius = number(config.radius, "--radius", low=1e-6)
    first, last = _dims(config.dims)
    count(config.n_points, "--n-points")
    count(config.toy_points, "--toy-points", low=2)
    rows = [_row(config, radius, dim) for dim in range(first, last + 1)]
    with begin("lower-bound", config) as done:
        built, toys = _measured(config, done, rows, radius, (first, last))
    wrong = [b["dim"] for b in built if not b["certified"]] + [t["dim"] for t in toys if not t["exact"]]
    if wrong:
        raise CheckFailed(f"the construction or the toy is not certified at D = {', '.join(map(str, wrong))}")
    return done


def _measured(
    config: Config, done: Run, rows: list[dict[str, Any]], radius: float, dims: tuple[int, int]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The constructions and the toy networks that are small enough, written with the rows."""
    first, last = dims
    built = [_built(radius, d, config.seed) for d in dims_of_grids_up_to(radius, LARGEST_BUILT) if first <= d <= last]
    toys = [
        errors_on_family(radius, d, config.toy_points, p=config.p, seed=config.seed).to_dict()
        for d in dims_of_grids_up_to(radius, LARGEST_TOY)
        if first <= d <= last
    ]
    above = [r["dim"] for r in rows if r["log2_floor"] is not None and r["log2_floor"] > r["log2_memorizer"]]
    done.write_rows(rows)
    done.finish(
        summary(
            "lower-bound", seed=config.seed, threat={"p": "any", "radius": radius, "box": [0.0, 1.0]},
            outcome={"kind": "completed", "reason": "counted, built and certified"}, verdict=None, metrics={},
            grid_side=grid_side(radius), n_layers=config.layers, error=config.error, n_points=config.n_points,
            crossing=above[0] if above else None, assumptions=list(ASSUMPTIONS), built=built, toy=toys,
            table=[rows[i] for i in sorted({0, len(rows) // 4, len(rows) // 2, 3 * len(rows) // 4, len(rows) - 1})],
        ),
        lambda path: (hierarchy(path), toys and toy_figure(path, toys, config.toy_points)),
    )  # fmt: skip
    return built, toys


def _dims(text: str) -> tuple[int, int]:
    try:
        first, last = (int(v) for v in text.split(":"))
    except ValueError:
        raise bad("--dims", expected="first:last, such as 2:100", got=repr(text)) from None
    if not 2 <= first <= last:
        raise bad("--dims", expected="2 <= first <= last", got=text)
    return first, last


def _row(config: Config, radius: float, dim: int) -> dict[str, Any]:
    memorizer = 6 * config.n_points * dim + config.n_points
    return {
        "dim": dim, "log2_floor": log2_floor(radius, dim, n_layers=config.layers, error=config.error),
        "log2_construction": log2_construction(radius, dim), "log2_memorizer": math.log2(memorizer), "log2_clean": 1.0,
    }  # fmt: skip


def _built(radius: float, dim: int, seed: int) -> dict[str, Any]:
    """Parameters of the robust network on a random labeling and on the checkerboard, both certified by intervals."""
    result: dict[str, Any] = {"dim": dim, "certified": True}
    for name, labels in (("random", None), ("checkerboard", checkerboard(radius, dim))):
        family = worst_case_family(radius, dim, labels, seed=seed)
        projection = family.digits.new_ones(dim - 1) if name == "checkerboard" else None
        layers = robust_network(family, projection=projection)
        least = float(family_margins(layers, family).min())
        result[name] = {"m": len(family.points), "parameters": sum(a.n_nonzero for a in layers), "least_margin": least}
        result["certified"] &= least >= 0.5 - 1e-9
    return result


def describe(result: dict[str, Any]) -> str:
    """The floor, where it passes the memorizer, what was built, and the assumptions."""
    lines = ["  D    floor (log2)   construction   memorizer   clean"]
    for r in result["table"]:
        floor = "vacuous" if r["log2_floor"] is None else f"{r['log2_floor']:.1f}"
        lines.append(f"{r['dim']:4} {floor:>12} {r['log2_construction']:14.1f} {r['log2_memorizer']:11.1f} {1.0:8.1f}")
    where = f"from D = {result['crossing']} on" if result["crossing"] else "nowhere in this range"
    lines += ["", f"The floor passes the memorizer of N = {result['n_points']:,} points {where}."]
    for b in result["built"][-2:]:
        random, easy = b["random"], b["checkerboard"]["parameters"]
        lines.append(
            f"Built at D = {b['dim']}: random labeling {random['parameters']:,} parameters, checkerboard {easy:,}; "
            f"y f >= {random['least_margin']:g} on all {random['m']} balls"
        )
    for t in result["toy"][-3:]:
        lines.append(
            f"Toy at D = {t['dim']}: clean error {t['clean_test']:g}, robust training error {t['robust_train']:g}, "
            f"robust test error {t['robust_test']:.3f} (expected {t['expected']:.3f})"
        )
    return "\n".join([*lines, "", "Assumptions:", *(f"  - {a}" for a in result["assumptions"])])
