"""Theorem 4.7: the floor, the construction and the toy."""

import numpy as np
from msgspec.structs import replace
from tests.experiments.cases import Cases, Wrong, judged

from cgro.experiments import theorem47
from cgro.experiments.claims import DERIVED, NOT_REPRODUCED, PARTLY
from cgro.experiments.theorem47 import PAPER, Findings, Sizes, is_as_expected
from cgro.results import BuiltRecord, BuiltRow, FamilyRow

DIMS = list(range(2, 60))
BITS = float(np.log2(5))
TOY = FamilyRow(
    dim=9,
    m=6561,
    n=300,
    p="inf",
    radius=0.1,
    seen=295,
    clean_test=0.0,
    robust_train=0.0,
    robust_test=0.955,
    expected=0.955,
    exact=True,
)
SIZES = Sizes(
    dims=DIMS,
    floor=[None if d < 5 else d * BITS - 12 for d in DIMS],
    construction=[d * BITS + 3 for d in DIMS],
    memorizer=[12.5 + float(np.log2(d)) for d in DIMS],
    grid_side=5,
    error=0.1,
    layers=3,
    built=[
        BuiltRow(
            dim=4,
            certified=True,
            random=BuiltRecord(m=27, parameters=60, least_margin=0.5),
            checkerboard=BuiltRecord(m=27, parameters=20, least_margin=0.5),
        )
    ],
    toy=[TOY],
    crossing=14,
    n_points=1000,
    assumptions=[],
)
RIGHT = Findings(scale="cpu", radii={"0.1": SIZES})
CASES = Cases(
    right=RIGHT,
    wrong=[
        Wrong(replace(PAPER, growth="linear"), "theorem47/floor"),
        Wrong(
            replace(PAPER, robust_test_limit=0.0),
            "theorem47/toy",
            PARTLY,
            "1 of 2 checks hold (not: radius 0.1: towards 0)",
        ),
    ],
    swapped=replace(RIGHT, radii={"0.1": replace(SIZES, floor=list(SIZES.memorizer))}),
    notices="theorem47/floor",
    expected={"theorem47/floor": DERIVED},
)


def test_the_growth_of_the_floor_is_that_of_its_upper_half() -> None:
    assert np.isclose(SIZES.bits, BITS)
    bent = [None if d < 5 else float(d) if d < 30 else 2.0 * d for d in DIMS]
    assert np.isclose(replace(SIZES, floor=bent).bits, 2.0, atol=0.3)


def test_a_toy_is_as_expected_within_four_standard_deviations() -> None:
    sd = (0.955 * 0.045 / 6561) ** 0.5
    assert is_as_expected(replace(TOY, robust_test=0.955 + 3.9 * sd))
    assert not is_as_expected(replace(TOY, robust_test=0.955 + 4.1 * sd))
    assert not is_as_expected(replace(TOY, clean_test=0.01))


def test_a_floor_above_the_construction_is_noticed() -> None:
    above = replace(
        SIZES, floor=[size + 1 for size in SIZES.construction], built=[replace(SIZES.built[0], certified=False)]
    )
    assert judged(theorem47, replace(RIGHT, radii={"0.1": above}))["theorem47/construction"].verdict == NOT_REPRODUCED
