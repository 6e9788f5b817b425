"""Figure 3: kinks and corners of flatness against the radius."""

import pytest
from msgspec.structs import replace
from tests.experiments.cases import Cases, Wrong, judged

from cgro.experiments import figure3
from cgro.experiments.claims import NOT_REPRODUCED, REPRODUCED
from cgro.experiments.figure3 import PAPER, Average, Averages, Curve, Findings

RADII = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)


def average(scale: float) -> Average:
    """Slope 1 within the radius, 4 beyond it."""
    values = [scale * (r if r <= 1 else 1 + 4 * (r - 1)) for r in RADII]
    return Average(loss=0.5, gradient=[10 * (1 + value) for value in values], rise=values)


def curves() -> list[Curve]:
    found = []
    for seed in range(3):
        found.append(
            Curve(
                radii=[0.1 * r for r in RADII],
                names=[],
                training_radius=0.1,
                seed=seed,
                data="cifar10",
                search="",
                parts=Averages(train=average(1 + 0.02 * seed), test=average(2 + 0.05 * seed)),
            )
        )
    return found


def swapped(curve: Curve) -> Curve:
    return replace(curve, parts=Averages(train=curve.parts.test, test=curve.parts.train))


RIGHT = Findings(scale="cpu", data={"cifar10": curves(), "mnist": curves()})
CASES = Cases(
    right=RIGHT,
    wrong=[
        Wrong(replace(PAPER, kink=100.0), "figure3/cifar10_rise_kink"),
        Wrong(replace(PAPER, corner="away from the radius"), "figure3/cifar10_rise_corner"),
    ],
    swapped=replace(RIGHT, data={**RIGHT.data, "cifar10": [swapped(curve) for curve in curves()]}),
    notices="figure3/cifar10_rise_train",
)


def parabola(curve: Curve) -> Curve:
    train = replace(curve.parts.train, rise=[r**2 for r in curve.radii])
    return replace(curve, parts=replace(curve.parts, train=train))


def test_a_parabola_has_a_kink_of_five_thirds_and_no_corner_and_reproduces_neither() -> None:
    assert parabola(curves()[0]).kink("rise") == pytest.approx(5 / 3)
    found = replace(RIGHT, data={"cifar10": [parabola(curve) for curve in curves()]})
    claims = judged(figure3, found)
    assert claims["figure3/cifar10_rise_kink"].verdict != REPRODUCED
    assert claims["figure3/cifar10_rise_corner"].verdict == NOT_REPRODUCED


@pytest.mark.parametrize(("power", "passes"), [(1.0, False), (1.5, False), (1.9, False), (3.0, True)])
def test_flat_inside_and_sharp_outside_needs_more_than_a_parabola(power: float, passes: bool) -> None:
    """Curves r^power with a little spread; ratios (1.5^p - 1) / (1 - 0.5^p) by hand: 1, 1.295, 1.585, 2.714."""
    assert (1.5**power - 1) / (1 - 0.5**power) == pytest.approx({1: 1.0, 1.5: 1.295, 1.9: 1.585, 3: 2.714}[power], 1e-3)
    some = []
    for seed, curve in enumerate(curves()):
        rise = [r ** (power + 0.005 * seed) for r in RADII]
        parts = replace(curve.parts, train=replace(curve.parts.train, rise=rise))
        some.append(replace(curve, parts=parts))
    claim = judged(figure3, replace(RIGHT, data={"cifar10": some}))["figure3/cifar10_rise_kink"]
    assert claim.verdict == (REPRODUCED if passes else NOT_REPRODUCED)


def test_the_nearest_radius_counts_and_nothing_has_risen_at_0() -> None:
    curve = curves()[0]
    assert curve.at("train", "rise", 1.0) == pytest.approx(1.0)
    assert curve.at("train", "rise", 1.1) == pytest.approx(1.0)
    assert curve.at("train", "rise", 0.0) == 0.0
    assert curve.at("train", "gradient", 0.0) == curve.parts.train.gradient[0]
    assert curve.kink("rise") == pytest.approx(4.0)
