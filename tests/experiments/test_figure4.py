"""Figure 4: flatness over training, and its correlation with the robust gap."""

from msgspec.structs import replace
from tests.experiments.cases import Cases, Wrong, judged

from cgro.experiments import figure4
from cgro.experiments.claims import PARTLY, UNTESTED
from cgro.experiments.figure4 import PAPER, Correlation, Findings

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


def test_the_gap_by_epoch_is_test_minus_train() -> None:
    (table,) = figure4.tables(RIGHT)
    assert table.rows[0] == [2, "10.800 (1.000)", "13.040 (0.040)", "0.200 (0.000)"]
