"""Sentences of a verdict: plain words for every sign of a rise and of its bias."""

from dataclasses import replace

import numpy as np
import pytest

from cgro.diagnosis import Column, CurveRule, Curves, select
from cgro.diagnosis.columns import counted
from cgro.diagnosis.rise import PhaseRise, Rise
from cgro.diagnosis.sentences import (
    caveats_of,
    divergence,
    drop_sentence,
    missed_sentence,
    noise_sentence,
    onset_sentence,
    opening_sentence,
    phase_sentence,
    points,
    selection_sentence,
    verdict_sentence,
    visible_sentence,
)

RISE = Rise(
    size=0.0032, interval=(-0.0198, 0.0427), naive=0.008, bias=0.0048, p_value=0.51, onset=50.0,
    onset_interval=(45.0, 60.0), final=0.5, lowest=0.4968, noise=0.0192, rho=0.8, epochs=np.arange(3.0), fit=np.zeros(3),
)  # fmt: skip


def test_no_rise_in_one_sentence() -> None:
    assert verdict_sentence(RISE, "test", real=False) == (
        "Final robust test error (mean of the last 5 epochs) is 0.8 points above its best epoch; about 0.5 of that comes from "
        "picking the best of noisy epochs; the rest is consistent with no rise: 0.32 points [-1.98, 4.27], p = 0.51."
    )


@pytest.mark.parametrize(
    ("change", "real", "said", "unsaid"),
    [
        ({"bias": -0.0017}, False, "which is consistent with no rise", "picking"),
        ({"size": -0.0032, "naive": 0.0107, "bias": 0.0139}, False, "all of that comes from picking", "-0.3 points"),
        ({"naive": 0.0, "bias": 0.0}, False, "is that of its best epoch", "picking"),
        (
            {"size": 0.07, "naive": 0.074, "bias": 0.004, "p_value": 0.001},
            True,
            "the remaining 7.00 points",
            "consistent",
        ),
        ({"p_value": 0.01}, False, "not established as a rise: p = 0.01, but the interval", "consistent"),
        ({"size": 0.076, "naive": 0.074, "bias": -0.002, "p_value": 0.001}, True, "explains none of it", "-0.2"),
    ],
)
def test_every_sign_has_its_words(change: dict, real: bool, said: str, unsaid: str) -> None:
    text = verdict_sentence(replace(RISE, **change), "validation", real=real)
    assert said in text
    assert unsaid not in text
    assert text.startswith("Final robust validation error")


def test_evaluations_that_lie_epochs_apart_are_called_so() -> None:
    sparse = replace(RISE, epochs=np.arange(9.0, 200, 10), visible=0.042, p_value=0.04, naive=0.041)
    assert "(mean of the last 5 evaluations)" in verdict_sentence(sparse, "test", real=False)
    assert visible_sentence(sparse) == (
        "With 20 evaluations, one every 10 epochs, a rise below 4.2 points would mostly be missed; too few to tell "
        "whether these 4.1 points are one."
    )
    assert visible_sentence(replace(sparse, p_value=0.6)).endswith("mostly be missed.")
    assert visible_sentence(replace(sparse, visible=0.01)) == ""
    assert "lowest epoch may lie between" in missed_sentence(sparse)
    assert missed_sentence(RISE) == ""


def test_noise_onset_and_points() -> None:
    noise = "Noise between epochs: 1.92 points, correlation 0.8 from one to the next"
    named = "so correlated, 5 to 8% of curves without a rise are called one, not 1%."
    assert noise_sentence(RISE) == f"{noise}; {named}"
    assert noise_sentence(replace(RISE, rho=0.5)) == f"{noise.replace('0.8', '0.5')}."
    assert onset_sentence(RISE) == "It begins after epoch 50 (95%: 45 to 60)."
    assert points(RISE) == "0.32 points [-1.98, 4.27]"


def test_drops() -> None:
    rule = CurveRule()
    assert "no sudden drop" in drop_sentence(RISE, (), None, rule)
    assert "(at 10, 90)" in drop_sentence(RISE, (10.0, 90.0), None, rule)
    assert "at epoch 50 lies within" in drop_sentence(RISE, (10.0, 50.0), None, rule)
    assert "begins 1 epoch after the" in drop_sentence(RISE, (49.0,), 49.0, rule)
    assert "begins at the" in drop_sentence(RISE, (50.0,), 50.0, rule)
    assert "begins 2 epochs before the" in drop_sentence(RISE, (52.0,), 52.0, rule)
    assert counted(2, "epoch") == "2 epochs"


def test_the_share_that_opens_after_a_drop_is_a_share() -> None:
    """A gap that was negative before it opens by more than all of its end."""
    test, train = np.full(20, 0.5), np.r_[np.full(10, 0.55), np.full(10, 0.3)]
    curves = Curves(range(20), {"robust_error/test": test, "robust_error/train": train})
    assert "100% of it opens after" in opening_sentence(curves, 10.0, (10.0,), "test")


def test_selection_without_a_validation_set() -> None:
    chosen = select(Curves(range(6), {"robust_error/test": [0.6, 0.5, 0.55, 0.56, 0.57, 0.58]}))
    assert selection_sentence(chosen, "test").endswith("58.00% at the last epoch; no validation set to select on.")
    assert "no other set" in selection_sentence(chosen, "validation")


def test_caveats_and_divergence_come_from_columns() -> None:
    values = {"robust_error/test": np.r_[np.full(10, 0.5), np.full(5, np.nan)]}
    columns = (
        Column("pgd", "robust_error/test", "accuracy", nan_from=10.0),
        Column("loss", "clean_loss/train", "loss", nan_from=8.0),
    )
    curves = Curves(range(15), values, {"caveats": ["the first"]}, columns)
    assert caveats_of(curves) == ("the first", "robust error on test is NaN in the last 5 epochs, 10 to 14")
    assert "from epoch 8 on" in divergence(curves)
    assert divergence(Curves(range(15), values)) == ""


def test_an_interval_of_one_epoch_is_no_interval() -> None:
    at_end = replace(RISE, onset=30.0, onset_interval=(30.0, 30.0), epochs=np.arange(10.0, 31.0))
    text = phase_sentence(PhaseRise(at_end, drop=None, after=None))
    assert "by epoch 30, with no clear beginning, the end" in text
    assert "between" not in text
    before = phase_sentence(PhaseRise(replace(at_end, onset=29.0), drop=31.0, after=0.4))
    assert "between epoch 29 and 30, then fell" in before
    assert onset_sentence(at_end) == "It begins after epoch 30 (95%: 30 alone)."
