"""How many epochs fit: arithmetic that can be done by hand, and a pace measured on a tiny training."""

import math

import pytest
from tests.gpu.cases import SETTINGS
from tools.gpu.pace import Pace, epochs_that_fit, measured

from cgro._check import BadRequest
from cgro.commands.train import Config
from cgro.experiments import cost
from cgro.training import Extension

# 390 steps of 20 ms are 7.8 s, and a second of evaluation every other epoch: 8.3 s an epoch.
PACE = Pace(0.02, 390, 40.0, 1.0, 1e14, 1.0, None)


@pytest.mark.parametrize(
    ("seconds", "most", "shared", "epochs"),
    [
        (40 + 8.3 * 47.5, 60, 1.0, 45),  # 47 fit, and 45 is a multiple of 5
        (40 + 8.3 * 45.01, 60, 1.0, 45),
        (40 + 8.3 * 44.99, 60, 1.0, 40),
        (40 + 8.3 * 47.5, 47, 1.0, 47),  # all of the plan
        (40 + 8.3 * 47.5, 12, 1.0, 12),
        (40 + 12.2 * 30.5, 60, 1.5, 30),  # beside others a step takes half as long again
    ],
)
def test_epochs_are_those_that_fit(seconds: float, most: int, shared: float, epochs: int) -> None:
    assert epochs_that_fit(PACE, seconds, most=most, every=2, shared=shared) == epochs


@pytest.mark.parametrize("seconds", [-5.0, 10.0, 40 + 8.3 * 4.9])
def test_too_little_time_is_refused_in_one_line(seconds: float) -> None:
    with pytest.raises(BadRequest, match="--minutes: expected time for 5 epochs, got .* s, 8.3 s for each; give more"):
        epochs_that_fit(PACE, seconds, most=60, every=2)


class Slow(Extension):
    """Its first steps work more, as those of a network that is compiled and captured do."""

    def after_step(self, model: object, k: int) -> None:
        if k <= 2:
            math.factorial(60_000)


def test_the_first_short_epoch_does_not_count() -> None:
    config = Config(**SETTINGS, device="cpu", extension=["tests.gpu.test_pace:Slow"])  # type: ignore[arg-type]
    pace = measured(config, n_steps=2)
    assert pace.steps == 4  # of 40 examples in batches of 10
    assert pace.step_seconds > 0
    assert pace.start_seconds > 2 * pace.step_seconds
    assert pace.evaluation_seconds > 0
    assert pace.peak_bytes is None
    assert math.isclose(pace.operations, cost.operations_per_example(config) * 10 / pace.step_seconds)
    assert math.isclose(pace.floor_share, pace.operations / 116e12)
