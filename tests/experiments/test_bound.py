"""The bound: it holds, and a vacuous one says so."""

from msgspec.structs import replace
from tests.experiments.cases import Cases, Wrong, judged, spread

from cgro.experiments import bound
from cgro.experiments.bound import PAPER, Findings, Sides
from cgro.experiments.claims import DERIVED, NOT_REPRODUCED, PARTLY

SIDES = Sides(
    bound=spread(20.0),
    gap=spread(0.5, 0.1),
    robust_loss=spread(40.0),
    factor=[0.99] * 3,
    vacuous=[False] * 3,
    product=spread(0.5, 0.1),
    rise=spread(0.6, 0.1),
    ratio=spread(1.2, 0.1),
)
RIGHT = Findings(scale="cpu", data={"cifar10": SIDES, "mnist": SIDES})
CASES = Cases(
    right=RIGHT,
    wrong=[Wrong(replace(PAPER, side="below the gap"), "bound/cifar10")],
    swapped=replace(RIGHT, data={**RIGHT.data, "mnist": replace(SIDES, bound=SIDES.gap, gap=SIDES.bound)}),
    notices="bound/mnist",
    expected={"bound/cifar10_first_order": DERIVED, "bound/mnist_first_order": DERIVED},
    drawn=frozenset({"bound"}),
)


def test_a_vacuous_bound_is_partly() -> None:
    found = replace(RIGHT, data={**RIGHT.data, "mnist": replace(SIDES, vacuous=[True] * 3)})
    claim = judged(bound, found)["bound/mnist"]
    assert claim.verdict == PARTLY
    assert "vacuous" in claim.reason


def test_a_ratio_below_the_limit_is_not_reproduced_although_theory_derives_it() -> None:
    found = replace(RIGHT, data={"mnist": replace(SIDES, ratio=spread(0.2, 0.01))})
    assert judged(bound, found)["bound/mnist_first_order"].verdict == NOT_REPRODUCED


def test_the_table_has_both_inequalities() -> None:
    (table,) = bound.tables(RIGHT)
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert row["gap of the loss"] == "0.500 (0.100)"
    assert row["bound"] == "20.000 (0.400)"
    assert row["their ratio"] == "1.200 (0.100)"
