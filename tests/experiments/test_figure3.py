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


def test_a_parabola_has_a_kink_of_five_thirds_and_no_corner() -> None:
    assert parabola(curves()[0]).kink("rise") == pytest.approx(5 / 3)
    found = replace(RIGHT, data={"cifar10": [parabola(curve) for curve in curves()]})
    claims = judged(figure3, found)
    assert claims["figure3/cifar10_rise_kink"].verdict == REPRODUCED
    assert claims["figure3/cifar10_rise_corner"].verdict == NOT_REPRODUCED


def test_the_nearest_radius_counts_and_nothing_has_risen_at_0() -> None:
    curve = curves()[0]
    assert curve.at("train", "rise", 1.0) == pytest.approx(1.0)
    assert curve.at("train", "rise", 1.1) == pytest.approx(1.0)
    assert curve.at("train", "rise", 0.0) == 0.0
    assert curve.at("train", "gradient", 0.0) == curve.parts.train.gradient[0]
    assert curve.kink("rise") == pytest.approx(4.0)
