"""What training remembers of its epochs: rows, the selected network, when patience is over, and how it ended."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from cgro.results.keys import CLEAN_TEST, CLEAN_VALIDATION, ROBUST_TEST, ROBUST_TRAIN, ROBUST_VALIDATION
from cgro.training.compiling import Decision
from cgro.training.recipe import Recipe
from cgro.trajectory import Outcome, Trajectory

COLLAPSE_SHARE = 0.99
"""A network that gives one class to this share of the test examples, or to more, is called collapsed. A choice."""
DIVERGED_FACTOR = 10.0
"""A mean training loss above this many times that of guessing is called divergence. A choice, without a source."""
CURVES = (ROBUST_TRAIN, ROBUST_TEST, CLEAN_TEST)
"""Drawn in the terminal while training runs."""

EPOCH = "epoch"
LOSS = "train_loss"
LR = "lr"
PREDICTION_SHARE = "prediction_share"

Row = dict[str, float]
"""The numbers of one epoch by name, as a line of `metrics.jsonl`: its steps', its evaluation's if there was one, and
those of the probes."""


@dataclass
class Position:
    """Where training is: all that a checkpoint says of it beside weights and rows.

    Args:
        epoch: epochs that are over.
        step: steps taken in the current epoch.
        loss_sum: of the examples of these steps.
        seconds: that these steps took.
        attack_seconds: of them in the attack; None where that cannot be told, as in a captured step.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    attack_seconds: float | None = 0.0

    def begin(self, epoch: int) -> None:
        """Go to the first step of an epoch.

        Args:
            epoch: epochs that are over.
        """
        self.epoch = epoch
        self.step = 0
        self.loss_sum = 0.0
        self.seconds = 0.0
        self.attack_seconds = 0.0

    def add_attack(self, seconds: float | None) -> None:
        """Count the attack of a step.

        Args:
            seconds: that it took; None where that cannot be told.
        """
        if seconds is None or self.attack_seconds is None:
            self.attack_seconds = None
        else:
            self.attack_seconds += seconds


@dataclass(frozen=True)
class Selected:
    """The network that is selected.

    Args:
        epoch: after which it was evaluated.
        score: robust and clean error on the validation part, compared in this order.
    """

    epoch: int
    score: list[float]


@dataclass
class History:
    """The rows of the epochs so far, and what follows from them. Nothing here looks at a network.

    Args:
        recipe: epochs and patience.
        guessing: loss of a network that answers every class alike, in nats.
        rows: one per epoch.
        selected: None before there is one.

    Example:
        >>> history = History(Recipe(epochs=3), guessing=2.3)
        >>> errors = {"clean_error/validation": 0.1, "robust_error/validation": 0.4}
        >>> history.selects({"epoch": 1, **errors}), history.selects({"epoch": 2, **errors})
        (True, False)
        >>> history.selected
        Selected(epoch=1, score=[0.4, 0.1])
    """

    recipe: Recipe
    guessing: float
    rows: list[Row] = field(default_factory=list)
    selected: Selected | None = None

    def selects(self, row: Mapping[str, float]) -> bool:
        """Note a row that has the lowest validation error so far: robust, then clean; the earliest of equals.

        Args:
            row: of an epoch.

        Returns:
            Whether it has, and its network is the selected one now.
        """
        if ROBUST_VALIDATION not in row:
            return False
        score = [row[ROBUST_VALIDATION], row[CLEAN_VALIDATION]]
        if self.selected is not None and score >= self.selected.score:
            return False
        self.selected = Selected(int(row[EPOCH]), score)
        return True

    def out_of_patience(self) -> bool:
        """Whether patience is over.

        Returns:
            True if `patience` evaluations since the selected network brought no lower validation error.
        """
        if not self.recipe.patience or self.selected is None:
            return False
        n_since = 0
        for row in self.rows:
            if ROBUST_VALIDATION in row and row[EPOCH] > self.selected.epoch:
                n_since += 1
        return n_since >= self.recipe.patience

    def divergence(self, row: Mapping[str, float]) -> Outcome | None:
        """How training ends after an epoch whose loss is far above that of guessing.

        Args:
            row: of the epoch.

        Returns:
            The outcome; None if the loss is not.
        """
        if row[LOSS] <= DIVERGED_FACTOR * self.guessing:
            return None
        reason = (
            f"training loss {row[LOSS]:.3g} in epoch {row[EPOCH]}, more than {DIVERGED_FACTOR:g} times that of "
            f"guessing ({self.guessing:.2f}); lower lr (now {row[LR]:g}), or let an objective of another scale say its "
            "loss_of_guessing"
        )
        return Outcome("diverged", reason, int(row[EPOCH]))

    def ending(self, epoch: int) -> Outcome:
        """How a training ended that nothing broke off.

        Args:
            epoch: epochs that are over.

        Returns:
            Collapsed, stopped by patience, or completed.
        """
        since = self._constant_since()
        if since is not None:
            reason = (
                f"the network has answered one class since {since}: the constant solution; warm the radius up, train "
                "longer, lower lr, or widen the network"
            )
            return Outcome("collapsed", reason, epoch)
        if epoch < self.recipe.epochs and self.selected is not None:
            reason = (
                f"no lower validation robust error in {self.recipe.patience} evaluations since epoch "
                f"{self.selected.epoch}"
            )
            return Outcome("stopped", reason, epoch)
        return Outcome("completed", f"{self.recipe.epochs} epochs", epoch)

    def _constant_since(self) -> str | None:
        """Since when the network has answered one class; None if at the last evaluation it did not."""
        healthy_until = 0
        collapsed = False
        for row in self.rows:
            if PREDICTION_SHARE in row:
                collapsed = row[PREDICTION_SHARE] >= COLLAPSE_SHARE
                if not collapsed:
                    healthy_until = int(row[EPOCH])
        if not collapsed:
            return None
        if healthy_until == 0:
            return "the start"
        return f"epoch {healthy_until + 1}"

    def trajectory(
        self, outcome: Outcome, *, evaluated: bool = True, step: str = "", compiling: Decision | None = None
    ) -> Trajectory:
        """The epochs as columns.

        Args:
            outcome: how it ended.
            evaluated: only the epochs that were evaluated; False for a training without evaluations.
            step: how steps were taken; see `StepRunner.note`.
            compiling: whether the network was compiled for them; None where nobody asked.

        Returns:
            One record per epoch. `meta` has the selected epoch and its score, or None, under `selected`, and `step`
            where something captures, `compile` where compiling was asked for.
        """
        rows = self.rows
        if evaluated:
            rows = [row for row in rows if CLEAN_TEST in row]
        selected = None
        if self.selected is not None:
            selected = asdict(self.selected)
        meta: dict[str, object] = {"selected": selected}
        if step:
            meta |= {"step": step}
        if compiling is not None:
            meta |= {"compile": compiling.text}
        return Trajectory.from_rows(rows, EPOCH, outcome, meta)

    def note(self) -> str:
        """A remark beside the progress bar.

        Returns:
            Empty if there is nothing to remark.
        """
        if self.rows and self.rows[-1].get(PREDICTION_SHARE, 0.0) >= COLLAPSE_SHARE:
            return "stuck at a constant"
        return ""

    def curves(self) -> dict[str, list[float]]:
        """The curves in the terminal.

        Returns:
            Label -> the values so far, as fractions.
        """
        curves: dict[str, list[float]] = {}
        for key in CURVES:
            label = key.replace("_", " ").replace("/", ", ")
            curves[label] = [row[key] for row in self.rows if key in row]
        return curves
