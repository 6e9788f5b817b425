"""What training remembers of its epochs: the rows, which network is selected, when patience is over, and how it ended."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cgro.training.recipe import Recipe
from cgro.trajectory import Outcome, Trajectory

COLLAPSE_SHARE = 0.99
DIVERGED_FACTOR = 10.0
"""A mean training loss above this many times that of guessing is called divergence. A choice, without a source."""
CURVES = ("robust_error/train", "robust_error/test", "clean_error/test")
"""Drawn in the terminal while training runs."""

Row = dict[str, Any]


@dataclass
class Position:
    """Where training is: all that a checkpoint says of it beside weights and rows.

    Args:
        epoch: epochs that are over.
        step: steps taken in the current epoch.
        loss_sum: of the examples of these steps.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0


@dataclass
class History:
    """The rows of the epochs so far, and what follows from them. Nothing here looks at a network.

    Args:
        recipe: epochs and patience.
        n_outputs: 1 for scores, else the number of classes.
        rows: one per epoch.
        selected: epoch and validation errors of the selected network; None before there is one.
    """

    recipe: Recipe
    n_outputs: int
    rows: list[Row] = field(default_factory=list)
    selected: dict[str, Any] | None = None

    def selects(self, row: Mapping[str, Any]) -> bool:
        """Whether a row has the lowest validation error so far (robust, then clean; the earliest of equals); noted if so."""
        if "robust_error/validation" not in row:
            return False
        score = [row["robust_error/validation"], row["clean_error/validation"]]
        if self.selected is not None and score >= self.selected["score"]:
            return False
        self.selected = {"epoch": row["epoch"], "score": score}
        return True

    def out_of_patience(self) -> bool:
        """Whether `patience` evaluations since the selected one brought no lower validation error."""
        if not self.recipe.patience or self.selected is None:
            return False
        after = [r for r in self.rows if "robust_error/validation" in r and r["epoch"] > self.selected["epoch"]]
        return len(after) >= self.recipe.patience

    def divergence(self, row: Mapping[str, Any]) -> Outcome | None:
        """The outcome of an epoch whose loss is far above that of guessing; None otherwise."""
        guessing = math.log(max(2, self.n_outputs))
        if row["train_loss"] <= DIVERGED_FACTOR * guessing:
            return None
        reason = (
            f"training loss {row['train_loss']:.3g} in epoch {row['epoch']}, more than {DIVERGED_FACTOR:g} "
            f"times that of guessing ({guessing:.2f}); lower lr (now {row['lr']:g})"
        )
        return Outcome("diverged", reason, row["epoch"])

    def ending(self, epoch: int) -> Outcome:
        """How a training ended that nothing broke off.

        Args:
            epoch: epochs that are over.

        Returns:
            Collapsed, stopped by patience, or completed.
        """
        shares = [(r["epoch"], r["prediction_share"]) for r in self.rows if "prediction_share" in r]
        if shares and shares[-1][1] >= COLLAPSE_SHARE:
            healthy = [e for e, share in shares if share < COLLAPSE_SHARE]
            since = f"epoch {max(healthy) + 1}" if healthy else "the start"
            reason = (
                f"the network has answered one class since {since}: the constant solution; warm the radius up, "
                "train longer, lower lr, or widen the network"
            )
            return Outcome("collapsed", reason, epoch)
        if epoch < self.recipe.epochs and self.selected:
            reason = (
                f"no lower validation robust error in {self.recipe.patience} evaluations since epoch "
                f"{self.selected['epoch']}"
            )
            return Outcome("stopped", reason, epoch)
        return Outcome("completed", f"{self.recipe.epochs} epochs", epoch)

    def trajectory(self, outcome: Outcome, *, evaluated: bool = True) -> Trajectory:
        """The epochs as columns.

        Args:
            outcome: how it ended.
            evaluated: only the epochs that were evaluated; False for a training without evaluations.
        """
        rows = [r for r in self.rows if "clean_error/test" in r] if evaluated else self.rows
        return Trajectory.from_rows(rows, "epoch", outcome, {"selected": self.selected})

    def note(self) -> str:
        """A remark beside the progress bar."""
        stuck = bool(self.rows) and self.rows[-1].get("prediction_share", 0) >= COLLAPSE_SHARE
        return "stuck at a constant" if stuck else ""

    def curves(self) -> dict[str, list[float]]:
        """The curves in the terminal."""
        return {key.replace("_", " ").replace("/", ", "): [r[key] for r in self.rows if key in r] for key in CURVES}
