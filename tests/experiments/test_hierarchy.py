"""The hierarchy of sizes: clean, CGRO, robust."""

import torch
from msgspec.structs import replace
from tests.experiments.cases import Cases, Wrong, judged
from tests.experiments.test_theorem47 import SIZES

from cgro.definitions import ThreatModel
from cgro.experiments import hierarchy
from cgro.experiments.claims import DERIVED, NOT_REPRODUCED
from cgro.experiments.hierarchy import PAPER, Findings
from cgro.representation import RobustMemorizer
from cgro.representation.lower_bound import robust_network, worst_case_family

CROSSING = next(
    dim
    for dim, floor, memorizer in zip(SIZES.dims, SIZES.floor, SIZES.memorizer, strict=True)
    if floor is not None and floor > memorizer
)
RIGHT = Findings(
    scale="cpu",
    dims=SIZES.dims,
    clean=[1.0] * len(SIZES.dims),
    memorizer=list(SIZES.memorizer),
    floor=SIZES.floor,
    construction=list(SIZES.construction),
    crossing=CROSSING,
    n_points=1000,
)
CASES = Cases(
    right=RIGHT,
    wrong=[Wrong(replace(PAPER, order=("floor", "memorizer", "clean")), "hierarchy/order")],
    swapped=replace(RIGHT, memorizer=RIGHT.floor, floor=RIGHT.memorizer),
    notices="hierarchy/order",
    expected={"hierarchy/order": DERIVED, "hierarchy/widens": DERIVED},
)


def test_the_floor_is_also_said_at_the_depth_of_the_networks_that_it_is_compared_with() -> None:
    ours = judged(hierarchy, RIGHT)["hierarchy/order"].ours
    assert "at L = 5 it is 2^" in ours
    family = worst_case_family(0.2, 3)
    assert len(robust_network(family)) == hierarchy.DEPTH
    clean = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Flatten(0)).double().eval()
    memorizer = RobustMemorizer(clean, family.points, family.labels, ThreatModel("inf", 0.05))
    assert len(memorizer.expand()) == hierarchy.DEPTH


def test_without_a_crossing_there_is_no_order() -> None:
    claims = judged(hierarchy, replace(RIGHT, crossing=None))
    assert claims["hierarchy/order"].verdict == NOT_REPRODUCED
    assert "no D" in claims["hierarchy/order"].reason


def test_a_distance_that_shrinks_is_noticed() -> None:
    assert RIGHT.floor[-1] is not None
    shrunk = replace(RIGHT, floor=[*RIGHT.floor[:-1], RIGHT.floor[-1] - 10])
    claim = judged(hierarchy, shrunk)["hierarchy/widens"]
    assert claim.reason.endswith(f"(not: D = {RIGHT.dims[-1]}); {hierarchy.OURS}")
