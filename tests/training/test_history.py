"""What follows from rows of numbers: selection, patience, divergence, how it ended. No network is needed."""

import math

import pytest

from cgro.training import Recipe
from cgro.training.history import DIVERGED_FACTOR, History, Row, Selected
from cgro.trajectory import Outcome


def row(epoch: int, robust: float, clean: float = 0.1, share: float = 0.2) -> Row:
    return {
        "epoch": epoch, "train_loss": 1.0, "lr": 0.1, "clean_error/test": clean, "robust_error/test": robust,
        "clean_error/validation": clean, "robust_error/validation": robust, "prediction_share": share,
    }  # fmt: skip


def test_the_lowest_validation_error_is_selected_robust_before_clean_and_early_before_late() -> None:
    history = History(Recipe(), guessing=math.log(10))
    chosen = []
    for epoch, robust, clean in ((1, 0.5, 0.2), (2, 0.6, 0.0), (3, 0.5, 0.2), (4, 0.5, 0.1), (5, 0.4, 0.9)):
        if history.selects(row(epoch, robust, clean)):
            chosen.append(epoch)
    assert chosen == [1, 4, 5]
    assert history.selected == Selected(5, [0.4, 0.9])
    assert not history.selects({"epoch": 6, "train_loss": 0.0})


def test_patience_counts_evaluations_after_the_selected_one() -> None:
    history = History(Recipe(patience=2), guessing=math.log(10))
    for epoch, over in ((1, False), (2, False), (3, False), (4, True)):
        if epoch == 3:
            history.rows.append({"epoch": 3, "train_loss": 1.0, "lr": 0.1})  # not evaluated
        else:
            history.rows.append(row(epoch, robust=0.5))
            history.selects(history.rows[-1])
        assert history.out_of_patience() == over
    without = History(Recipe(patience=0), math.log(10), rows=history.rows, selected=history.selected)
    assert not without.out_of_patience()


@pytest.mark.parametrize(("n_outputs", "guessing"), [(1, math.log(2)), (10, math.log(10))])
def test_divergence_is_measured_in_losses_of_guessing(n_outputs: int, guessing: float) -> None:
    history = History(Recipe(), math.log(max(2, n_outputs)))
    limit = DIVERGED_FACTOR * guessing
    assert history.divergence({"epoch": 2, "train_loss": limit, "lr": 0.1}) is None
    outcome = history.divergence({"epoch": 2, "train_loss": 1.01 * limit, "lr": 0.1})
    assert outcome is not None
    assert (outcome.kind, outcome.step) == ("diverged", 2)
    assert "lower lr (now 0.1)" in outcome.reason


@pytest.mark.parametrize(
    ("shares", "since"),
    [((1.0, 1.0), "since the start"), ((0.3, 1.0, 0.99), "since epoch 2"), ((1.0, 0.5, 1.0), "since epoch 3")],
)
def test_a_network_that_is_constant_at_the_end_has_collapsed(shares: tuple[float, ...], since: str) -> None:
    history = History(Recipe(epochs=len(shares)), guessing=math.log(10))
    for epoch, share in enumerate(shares, 1):
        history.rows.append(row(epoch, 0.9, share=share))
    outcome = history.ending(len(shares))
    assert outcome.kind == "collapsed"
    assert since in outcome.reason
    assert history.note() == "stuck at a constant"


def test_other_endings() -> None:
    history = History(Recipe(epochs=3, patience=1), guessing=math.log(10), rows=[row(1, 0.9, share=1.0), row(2, 0.9)])
    assert history.ending(3) == Outcome("completed", "3 epochs", 3)
    assert history.note() == ""
    history.selects(history.rows[0])
    stopped = history.ending(2)
    assert (stopped.kind, stopped.step) == ("stopped", 2)
    assert "1 evaluations since epoch 1" in stopped.reason


def test_columns_and_curves() -> None:
    bare: Row = {"epoch": 2, "train_loss": 0.5, "lr": 0.1}
    history = History(Recipe(), guessing=math.log(10), rows=[row(1, 0.5), bare, row(3, 0.4)])
    history.selects(history.rows[0])
    end = Outcome("completed", "3 epochs", 3)
    trajectory = history.trajectory(end)
    assert trajectory.steps.tolist() == [1, 3]
    assert trajectory["robust_error/test"].tolist() == [0.5, 0.4]
    assert trajectory.meta == {"selected": {"epoch": 1, "score": [0.5, 0.1]}}
    every = history.trajectory(end, evaluated=False)
    assert every["train_loss"].tolist() == [1.0, 0.5, 1.0]
    assert History(Recipe(), math.log(10)).trajectory(end).meta == {"selected": None}
    curves = history.curves()
    assert curves["robust error, test"] == [0.5, 0.4]
    assert curves["robust error, train"] == []
