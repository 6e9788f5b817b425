"""The files of a training: its rows, and the checkpoints from which it is resumed and used."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict

from cgro._check import BadRequest
from cgro.runs import Run
from cgro.seal import digest_of_rows
from cgro.training.capture import StepRunner
from cgro.training.checkpoint import (
    EVALUATED,
    LAST,
    SELECTED,
    check_checkpoints,
    epoch_file,
    load_checkpoint,
    save_checkpoint,
)
from cgro.training.extensions.base import evaluated
from cgro.training.history import EPOCH, History, Position, Row, Selected
from cgro.training.steps import Steps


class Store:
    """Where a training is kept. Without a run every method does nothing.

    Args:
        run: its directory; None keeps nothing.
        steps: network, optimizer and extensions.
        runner: takes the steps; how it does is recorded. None records nothing.
    """

    def __init__(self, run: Run | None, steps: Steps, runner: StepRunner | None = None) -> None:
        self.run = run
        self.steps = steps
        self._runner = runner
        self.saved_at = time.monotonic()

    def resume(self, history: History) -> Position:
        """Load the last checkpoint, if there is one.

        Args:
            history: takes the rows and the selected network.

        Returns:
            Where to go on; the start if there is no checkpoint.

        Raises:
            BadRequest: a damaged checkpoint, one of another network or of other extensions, rows that were changed.
        """
        if self.run is None:
            return Position()
        path = self.run.path / "checkpoints" / LAST
        if not path.exists():
            return Position()
        check_checkpoints(self.run)
        state = load_checkpoint(path, self.steps.network, self.steps.optimizer.optimizer, self.steps.extensions)
        try:
            position = Position(int(state["epoch"]), int(state["step"]), float(state["loss_sum"]))
            selected = state["selected"]
            if selected is not None:
                selected = Selected(**selected)
        except (KeyError, TypeError, ValueError):
            raise BadRequest(
                f"{path}: expected the state of a training, got another; is it {LAST} of this run?"
            ) from None
        if self._runner is not None:
            self._runner.keep(state.get("compile"))
        history.selected = selected
        history.rows = _rows_before(state, self.run, position.epoch)
        return position

    def write(self, position: Position, history: History) -> None:
        """Write rows, the checkpoint, and the network that extensions have evaluated where it is another one.

        Args:
            position: the steps taken.
            history: the rows of the epochs that are over.

        Raises:
            BadRequest: the disk is full; the previous files are intact.
        """
        self.saved_at = time.monotonic()
        if self.run is None:
            return
        self.run.write_rows(history.rows)
        state: dict[str, object] = {
            **asdict(position),
            "selected": _plain(history.selected),
            "rows": _seal(history.rows),
        }
        if self._runner is not None and self._runner.note:
            state |= {"capture": self._runner.note}
        if self._runner is not None and self._runner.compiling is not None:
            state |= {"compile": self._runner.compiling.text}
        steps = self.steps
        path = self.run.file("checkpoints", LAST)
        save_checkpoint(path, steps.network, steps.optimizer.optimizer, state, steps.extensions)
        network = evaluated(steps.network, steps.extensions)
        if network is not steps.network:
            save_checkpoint(self.run.file("checkpoints", EVALUATED), network, None, {"epoch": position.epoch})

    def keep(self, epoch: int) -> None:
        """Write the weights after an epoch to a file of their own.

        Args:
            epoch: number of epochs that are over.
        """
        self._write_weights(epoch_file(epoch), {"epoch": epoch})

    def select(self, selected: Selected) -> None:
        """Write the weights as those selected on the validation part.

        Args:
            selected: their epoch and score, stored beside them.
        """
        self._write_weights(SELECTED, asdict(selected))

    def _write_weights(self, name: str, state: Mapping[str, object]) -> None:
        if self.run is not None:
            network = evaluated(self.steps.network, self.steps.extensions)
            save_checkpoint(self.run.file("checkpoints", name), network, None, state)


def _plain(selected: Selected | None) -> dict[str, object] | None:
    if selected is None:
        return None
    return asdict(selected)


def _rows_before(state: Mapping[str, object], run: Run, epoch: int) -> list[Row]:
    """The rows that were there when the checkpoint was written; the file may be ahead of it by one."""
    rows = [row for row in run.rows() if row.get(EPOCH, math.inf) <= epoch]
    sealed = state.get("rows")
    # Without a seal the checkpoint is of an older version, and the rows are taken unchecked.
    if "rows" in state and sealed != _seal(rows):
        n_rows = sealed[0] if isinstance(sealed, list) and sealed else "other"
        raise BadRequest(
            f"{run.path / 'metrics.jsonl'}: expected the {n_rows} rows that {LAST} was saved with, got {len(rows)} or "
            "changed ones; restore the file"
        )
    return rows


def _seal(rows: list[Row]) -> list[int | str]:
    """Number and digest of rows, by which a checkpoint knows them again."""
    return [len(rows), digest_of_rows(rows)]
