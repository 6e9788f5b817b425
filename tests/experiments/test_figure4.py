"""Figure 4: flatness over training, and its correlation with the robust gap."""

import numpy as np
import pytest
from msgspec.structs import replace
from tests.experiments.cases import Cases, Wrong, judged

from cgro.experiments import figure4
from cgro.experiments.claims import NOT_REPRODUCED, PARTLY, REPRODUCED, UNDECIDED, UNTESTED
from cgro.experiments.figure4 import PAPER, Correlation, Findings, within_epochs

EPOCHS = list(range(2, 31, 2))
CORRELATION = Correlation(value=0.9, interval=(0.7, 0.95), per_seed=[0.9] * 3, n_seeds=3, n_checkpoints=45, block=4)
RIGHT = Findings(
    scale="cpu",
    epochs=EPOCHS,
    after=16,
    correlation=CORRELATION,
    local=[[10 - 0.1 * epoch + seed for epoch in EPOCHS] for seed in range(3)],
    robust_loss_train=[[1.0] * 15] * 3,
    global_flatness=[[12 + (0.5 + 0.02 * seed) * epoch for epoch in EPOCHS] for seed in range(3)],
    robust_loss_test=[[1 + 0.1 * epoch for epoch in EPOCHS]] * 3,
)
CASES = Cases(
    right=RIGHT,
    wrong=[
        Wrong(replace(PAPER, correlation="negative"), "figure4/correlation"),
        Wrong(replace(PAPER, global_flatness="falling"), "figure4/global"),
        Wrong(replace(PAPER, local_flatness="rising"), "figure4/flattens"),
    ],
    swapped=replace(RIGHT, local=RIGHT.global_flatness, global_flatness=RIGHT.local),
    notices="figure4/global",
)


def test_a_correlation_whose_interval_holds_0_is_partly_and_none_is_no_test() -> None:
    wide = replace(RIGHT, correlation=replace(CORRELATION, interval=(-0.1, 0.95)))
    assert judged(figure4, wide)["figure4/correlation"].verdict == PARTLY
    none = replace(RIGHT, correlation=replace(CORRELATION, interval=None))
    assert judged(figure4, none)["figure4/correlation"].verdict == UNTESTED
    assert judged(figure4, replace(RIGHT, correlation=None))["figure4/correlation"].verdict == UNTESTED


def test_an_interval_on_each_side_of_0() -> None:
    for value, interval, verdict in (
        (0.9, (0.7, 0.95), REPRODUCED),
        (0.2, (-0.4, 0.7), PARTLY),
        (-0.2, (-0.7, 0.4), UNDECIDED),
        (-0.9, (-0.95, -0.7), NOT_REPRODUCED),
    ):
        found = replace(RIGHT, correlation=replace(CORRELATION, value=value, interval=interval))
        assert judged(figure4, found)["figure4/correlation"].verdict == verdict


def test_a_local_norm_that_rises_less_than_the_global_one_does_not_flatten() -> None:
    rising = replace(RIGHT, local=[[10 + 0.2 * epoch + seed for epoch in EPOCHS] for seed in range(3)])
    claims = judged(figure4, rising)
    assert claims["figure4/local"].verdict == REPRODUCED
    assert claims["figure4/flattens"].verdict == NOT_REPRODUCED
    assert "from epoch 2 to 30 it changes by 5.6" in claims["figure4/flattens"].reason


def test_two_trends_in_time_are_told_from_networks_that_differ() -> None:
    """Both curves rise in every seed; at each epoch the seed with the larger gap has the smaller norm."""
    trend = np.arange(15.0)
    offsets = np.array([-0.1, 0.0, 0.1])[:, None]
    found = replace(
        RIGHT,
        robust_loss_train=np.zeros((3, 15)).tolist(),
        robust_loss_test=(trend + offsets).tolist(),
        global_flatness=(10 * trend - 5 * offsets).tolist(),
    )
    left = within_epochs(found)
    assert left == pytest.approx(-1.0, abs=0.15)
    assert "without the mean of each epoch -" in judged(figure4, found)["figure4/correlation"].reason
    alone = replace(found, robust_loss_train=found.robust_loss_train[:1], robust_loss_test=found.robust_loss_test[:1],
                    global_flatness=found.global_flatness[:1])  # fmt: skip
    assert within_epochs(alone) is None


def test_the_gap_by_epoch_is_test_minus_train() -> None:
    (table,) = figure4.tables(RIGHT)
    assert table.rows[0] == [2, "10.800 (1.000)", "13.040 (0.040)", "0.200 (0.000)"]
