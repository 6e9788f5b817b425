"""The files of a training: its rows, and the checkpoints from which it is resumed and used."""

import math
import time
from collections.abc import Mapping
from typing import Any

from cgro._check import BadRequest
from cgro.runs import Run
from cgro.seal import digest_of_rows
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
from cgro.training.history import History, Position, Row
from cgro.training.steps import Steps


class Store:
    """Where a training is kept. Without a run every method does nothing.

    Args:
        run: its directory; None keeps nothing.
        steps: network, optimizer and extensions.
    """

    def __init__(self, run: Run | None, steps: Steps) -> None:
        self.run = run
        self.steps = steps
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
            history.selected = state["selected"]
        except (KeyError, TypeError, ValueError):
            raise BadRequest(
                f"{path}: expected the state of a training, got another; is it {LAST} of this run?"
            ) from None
        history.rows = self._rows_before(state, self.run, position.epoch)
        return position

    def write(self, position: Position, history: History) -> None:
        """Write rows, the checkpoint, and the network that extensions have evaluated where it is another one."""
        self.saved_at = time.monotonic()
        if self.run is None:
            return
        self.run.write_rows(history.rows)
        state = {
            "epoch": position.epoch,
            "step": position.step,
            "loss_sum": position.loss_sum,
            "selected": history.selected,
            "rows": _seal(history.rows),
        }
        steps = self.steps
        path = self.run.file("checkpoints", LAST)
        save_checkpoint(path, steps.network, steps.optimizer.optimizer, state, steps.extensions)
        network = evaluated(steps.network, steps.extensions)
        if network is not steps.network:
            save_checkpoint(self.run.file("checkpoints", EVALUATED), network, None, {"epoch": position.epoch})

    def keep(self, epoch: int) -> None:
        """Write the weights after an epoch to a file of their own."""
        self._weights(epoch_file(epoch), {"epoch": epoch})

    def select(self, selected: Mapping[str, Any]) -> None:
        """Write the weights as those selected on the validation part."""
        self._weights(SELECTED, selected)

    def _weights(self, name: str, state: Mapping[str, Any]) -> None:
        if self.run is not None:
            network = evaluated(self.steps.network, self.steps.extensions)
            save_checkpoint(self.run.file("checkpoints", name), network, None, state)

    @staticmethod
    def _rows_before(state: Mapping[str, Any], run: Run, epoch: int) -> list[Row]:
        """The rows that were there when the checkpoint was written; the file may be ahead of it by one."""
        rows = [row for row in run.rows() if row.get("epoch", math.inf) <= epoch]
        if "rows" in state and state["rows"] != _seal(rows):  # without it: of an older version, unchecked
            raise BadRequest(
                f"{run.path / 'metrics.jsonl'}: expected the {state['rows'][0]} rows that {LAST} was saved "
                f"with, got {len(rows)} or changed ones; restore the file"
            )
        return rows


def _seal(rows: list[Row]) -> list[int | str]:
    """Number and digest of rows, by which a checkpoint knows them again."""
    return [len(rows), digest_of_rows(rows)]
