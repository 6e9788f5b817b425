"""The finite-size law of the signal learned."""

import numpy as np
import pytest
from msgspec.structs import replace
from tests.experiments.cases import Cases, Wrong, judged

from cgro.experiments import alpha_law
from cgro.experiments.alpha_law import PAPER, Findings, Start, Sweep
from cgro.experiments.claims import NOT_REPRODUCED

ALPHAS = [2.0, 3.0, 4.0, 6.0]


def sweep(power: float, start: Start, *, beyond: bool = False, slope: float | None = None) -> Sweep:
    """Runs whose slope is the predicted one, or another."""
    found = Sweep(power=power, start=start, beyond=beyond, strengths=ALPHAS, learned=[], noise_start=0.05)
    guess = -power if slope is None else slope
    for _ in range(40):  # the prediction depends on the mean margin, which depends on the slope
        scale = 1.8 if beyond else 12.0
        middle = np.log(ALPHAS) - np.log(ALPHAS).mean()
        learned = [
            [
                float(scale * np.exp(guess * x) * np.exp(-power * np.log(ALPHAS).mean()) * wobble**x)
                for wobble in (0.999, 1, 1.001)
            ]
            for x in middle
        ]
        found = replace(found, learned=learned)
        if slope is None:
            guess = found.predicted(PAPER)
    return found


SWEEPS = [sweep(power, start) for power in (2.0, 3.0, 4.0) for start in ("scaled", "fixed")]
RIGHT = Findings(scale="cpu", sweeps=[*SWEEPS, sweep(3.0, "scaled", beyond=True), sweep(3.0, "fixed", beyond=True)])
CASES = Cases(
    right=RIGHT,
    wrong=[
        Wrong(replace(PAPER, scaled=0.0), "alpha-law/q3_scaled"),
        Wrong(replace(PAPER, fixed=1.0), "alpha-law/q3_fixed"),
        Wrong(replace(PAPER, beyond=0.9), "alpha-law/beyond_scaled"),
    ],
    swapped=Findings(
        scale="cpu",
        sweeps=[replace(part, learned=other.learned) for part, other in zip(SWEEPS, SWEEPS[::-1], strict=True)],
    ),
    notices="alpha-law/q3_scaled",
    drawn=frozenset({"alpha_law"}),
)


def test_a_pure_power_is_noticed() -> None:
    """U = Theta(alpha^-q) read as an equation is not what is claimed at radius = alpha."""
    claim = judged(alpha_law, Findings(scale="cpu", sweeps=[sweep(3.0, "fixed", slope=-3.0)]))["alpha-law/q3_fixed"]
    assert claim.verdict == NOT_REPRODUCED


def test_margins_and_slopes_are_those_of_the_runs() -> None:
    found = replace(SWEEPS[2], strengths=[2.0, 4.0], learned=[[1.0, 2.0], [0.25, 0.25]])
    assert found.slopes == pytest.approx([-2.0, -3.0])
    assert found.margins == pytest.approx(np.array([[8.0, 16.0], [16.0, 16.0]]))


def test_the_start_of_the_noise_follows_the_filters() -> None:
    fixed, scaled = (alpha_law._noise_start(3.0, start, [2.0, 8.0]) for start in ("fixed", "scaled"))
    assert fixed / scaled == pytest.approx(0.03 / (0.03 * 100**0.249 / 4.0))
    assert fixed == pytest.approx(0.03 * 0.95 * 1.72, rel=0.05)  # init_std |xi| times the median of the largest of 16
