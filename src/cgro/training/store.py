"""The files of a training: its rows, and the checkpoints from which it is resumed and used."""

import hashlib
import json
import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

from cgro import resuming
from cgro._check import BadRequest
from cgro.data import Dataset
from cgro.definitions import Attack
from cgro.results import read_value
from cgro.results.records import Json
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
from cgro.training.history import EPOCH, History, Position, Row, Selected
from cgro.training.recipe import Recipe
from cgro.writing import write_atomic


class Store:
    """Where a training is kept. Without a run every method does nothing.

    Args:
        run: its directory; None keeps nothing.
        runner: takes the steps, of which network, optimizer and extensions are kept; how it does is recorded.
        task: what is trained, see `task_of`; a checkpoint of another training is refused.

    Several processes call every method together. The first one has the run and writes; the others hear of it.
    """

    def __init__(self, run: Run | None, runner: StepRunner, task: Mapping[str, Json]) -> None:
        self.run = run
        self.task = task
        self.steps = runner.steps
        self._runner = runner
        self.saved_at = time.monotonic()
        self._state: Mapping[str, object] = {}
        self._sizes: list[list[int]] = []

    def resume(self, history: History) -> Position:
        """Load the last checkpoint, if there is one.

        Args:
            history: takes the rows and the selected network.

        Returns:
            Where to go on; the start if there is no checkpoint.

        Raises:
            BadRequest: a damaged checkpoint, one of another network or of other extensions, rows that were changed.
        """
        ranks = self.steps.ranks
        position = Position()
        with ranks.failing_together("the checkpoint"):
            if self.run is not None and (self.run.path / "checkpoints" / LAST).exists():
                check_checkpoints(self.run)
                path = self.run.path / "checkpoints" / LAST
                position = self._load(path, history)
                history.rows = _rows_before(self._state, self.run, position.epoch)
        if ranks.shared:
            position = self._of_first(history, position)
        self._note_size(position)
        return position

    def _load(self, path: Path, history: History) -> Position:
        """Load a checkpoint; the rows are left to the caller."""
        steps = self.steps

        def check(state: Mapping[str, object]) -> None:
            self._require_same_task(path, state.get("task"))

        state = load_checkpoint(path, steps.network, steps.optimizer.optimizer, steps.extensions, check=check)
        try:
            position = _position(state)
            selected = state["selected"]
            if selected is not None:
                selected = Selected(**selected)
            sizes = [[int(number) for number in entry] for entry in state.get("processes", [])]
        except (KeyError, TypeError, ValueError):
            raise BadRequest(
                f"{path}: expected the state of a training, got another; is it {LAST} of this run?"
            ) from None
        self._runner.keep(state.get("compile"))
        self._state = state
        self._sizes = sizes
        history.selected = selected
        return position

    def _require_same_task(self, path: Path, there: object) -> None:
        """Refuse a checkpoint of another training. Those of earlier versions do not say what they are of.

        More epochs than before are the same training, only longer, where the learning rate does not depend on them.
        """
        if not isinstance(there, dict):
            return
        recipe = self.steps.recipe
        before = there.get("epochs")
        if recipe.schedule == "steps" and isinstance(before, int) and recipe.epochs >= before:
            there = {**there, "epochs": recipe.epochs}
        # A recipe of an earlier version lacks the fields that came later, and was trained with their defaults.
        resuming.check_settings(path, there, self.task, _plain_values(Recipe()), otherwise="give another run")

    def _of_first(self, history: History, position: Position) -> Position:
        """Take over what the first process has loaded; the others may not see its files."""
        ranks = self.steps.ranks
        data = b""
        if self.run is not None and self._state:
            data = (self.run.path / "checkpoints" / LAST).read_bytes()
        data = ranks.bytes_of_first(data)
        rows = ranks.bytes_of_first(json.dumps(history.rows).encode())
        if not data or ranks.writes:
            return position
        history.rows = json.loads(rows)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / LAST
            write_atomic(path, data)
            return self._load(path, history)

    def _note_size(self, position: Position) -> None:
        """Remember from where on how many processes trained; of one process throughout nothing is remembered."""
        before = 1
        if self._sizes:
            before = self._sizes[-1][2]
        size = self.steps.ranks.size
        if size != before:
            self._sizes.append([position.epoch, position.step, size])

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
            "task": self.task,
        }
        if self._runner.note:
            state |= {"capture": self._runner.note}
        if self._runner.compiling is not None:
            state |= {"compile": self._runner.compiling.text}
        if self._sizes:
            state |= {"processes": self._sizes}
        steps = self.steps
        path = self.run.file("checkpoints", LAST)
        save_checkpoint(path, steps.network, steps.optimizer.optimizer, state, steps.extensions)
        network = steps.evaluated()
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
            save_checkpoint(self.run.file("checkpoints", name), self.steps.evaluated(), None, state)


def task_of(recipe: Recipe, objective: object, data: Dataset, seed: int) -> dict[str, Json]:
    """What a training is of, by which its checkpoint knows it again.

    Args:
        recipe: the loop.
        objective: its class, and what of it is a number, text or an attack.
        data: by its digest, and that of the places of its training examples.
        seed: of the training.

    Returns:
        Name -> plain value.
    """
    described = [type(objective).__qualname__]
    for name, value in getattr(objective, "__dict__", {}).items():
        if isinstance(value, int | float | str | Attack):
            described.append(f"{name}={value!r}")
    return {
        **_plain_values(recipe),
        "objective": " ".join(described),
        "data": data.sha256,
        "examples": hashlib.sha256(data.train.index.cpu().numpy().tobytes()).hexdigest()[:16],
        "seed": seed,
    }


def _plain_values(recipe: Recipe) -> dict[str, Json]:
    return json.loads(json.dumps(asdict(recipe)))  # tuples are lists in a checkpoint


def _position(state: Mapping[str, object]) -> Position:
    """Where a checkpoint stands; those of earlier versions have no times."""
    if not {"epoch", "step", "loss_sum"} <= state.keys():
        raise KeyError("no position")
    known = {entry.name for entry in fields(Position)}
    return read_value({name: value for name, value in state.items() if name in known}, "the position", Position)


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
