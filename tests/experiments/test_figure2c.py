"""Figure 2(c): stages of feature learning, and the rates in them."""

import numpy as np
from msgspec.structs import replace
from tests.experiments.cases import Cases, Wrong, judged, spread

from cgro.experiments import figure2c
from cgro.experiments.claims import REPRODUCED
from cgro.experiments.figure2c import PAPER, Boundaries, Findings, Learning, Prediction


def learning(start: list[float | None], end: list[float | None]) -> Learning:
    return Learning(
        stages=Boundaries(signal_growth_end=[20.0, 22.0, 21.0], memorization_start=start, memorization_end=end),
        n_seeds=3,
        rate_first=[0.1] * 3,
        rate_second=[0.001, 0.0012, 0.0011],
        noise_end=spread(8.0),
        theory={"signal_growth_end": Prediction(predicted=20.0)},
        noise_least=spread(6.0),
    )


THEOREM = learning([9e3, 9.5e3, 1e4], [2e4, 2.1e4, 2.2e4])
STAGES = THEOREM.stages
RIGHT = Findings(scale="cpu", theorem=THEOREM, control=learning([None] * 3, [None] * 3))
SWAPPED = replace(STAGES, signal_growth_end=STAGES.memorization_start, memorization_start=STAGES.signal_growth_end)
CASES = Cases(
    right=RIGHT,
    wrong=[
        Wrong(replace(PAPER, order=("memorization_start", "memorization_end", "signal_growth_end")), "figure2c/stages")
    ],
    swapped=replace(RIGHT, theorem=replace(THEOREM, stages=SWAPPED)),
    notices="figure2c/late",
)


def test_a_control_that_memorizes_is_noticed() -> None:
    memorizing = replace(RIGHT, control=THEOREM)
    assert judged(figure2c, memorizing)["figure2c/control"].verdict != REPRODUCED


def test_boundaries_are_shown_beside_their_prediction_and_missing_ones_are_said() -> None:
    (table,) = figure2c.tables(RIGHT)
    rows = {(row[0], row[1]): row[2:] for row in table.rows}
    assert rows["theorem", "end of stage I"] == ["20", "21 (1)", "3 of 3"]
    assert rows["control", "memorization from"] == ["", "not found", "0 of 3"]
    assert np.isclose(float(str(rows["theorem", "mean V_i at the end"][1]).split(" ")[0]), 8.0)
