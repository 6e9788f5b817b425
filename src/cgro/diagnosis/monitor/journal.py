"""The run directory of a monitor: rows, weights and summary, whole after every epoch, taken up after a kill."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from msgspec import structs
from torch import nn

from cgro import resuming
from cgro._check import BadRequest, bad
from cgro.definitions import DEFAULT_RULE, FOUR, Attack, cgro_verdict
from cgro.diagnosis.columns import counted
from cgro.diagnosis.monitor.measure import Measurement
from cgro.diagnosis.monitor.parts import TEST, TRAIN, VALIDATION, Parts
from cgro.diagnosis.monitor.settings import Settings
from cgro.report.training import learning_curves
from cgro.results import (
    DatasetRecord,
    Metric,
    ModelRecord,
    MonitorCost,
    MonitorSummary,
    OutcomeRecord,
    SelectedEpoch,
    ThreatRecord,
    VerdictRecord,
)
from cgro.results.keys import CLEAN_TEST, CLEAN_VALIDATION, ON_VALIDATION, ROBUST_TEST, ROBUST_VALIDATION
from cgro.results.records import Json
from cgro.runs import Run, dump_json, plain, read_json, write_atomic
from cgro.training.checkpoint import LAST, SELECTED, epoch_file, kept_epochs, save_checkpoint
from cgro.training.history import EPOCH, LR, PREDICTION_SHARE, Row

COMMAND = "monitor"
SECONDS = "seconds"
MONITOR_SECONDS = "monitor_seconds"
SUMMARY = "summary.json"


@dataclass(frozen=True)
class Journal:
    """Where a monitor writes.

    Attributes:
        run: its directory.
        settings: of the monitor.
        parts: the examples, for the record.
        names: of the data and of the network, as the caller calls them.
    """

    run: Run
    settings: Settings
    parts: Parts
    names: tuple[str, str]

    @classmethod
    def begin(
        cls,
        out: str | Path | None,
        settings: Settings,
        parts: Parts,
        *,
        names: tuple[str, str],
        overwrite: bool = False,
    ) -> "Journal":
        """Begin a run, or take up the one that is there if it has the same settings and examples.

        Args:
            out: the directory; None means a new `runs/monitor-<time>`.
            settings: of the monitor.
            parts: the examples.
            names: of the data and of the network.
            overwrite: delete the run of a monitor that is there.

        Returns:
            The journal, with the epochs that it has already.

        Raises:
            BadRequest: other settings or examples (says which), something that is no run of a monitor.
        """
        config = settings.stored(names)
        run = None
        if out is not None:
            path = Path(out)
            _require_monitor(path)
            if not overwrite:
                run = _taken_up(path, config)
        if run is None:
            with Run.start(out, COMMAND, config, overwrite=overwrite) as begun:
                run = begun
        with run.locked():
            _keep_examples(run, parts)
        return cls(run, settings, parts, names)

    def rows(self) -> list[Row]:
        """The epochs that are evaluated.

        Returns:
            One row each, in their order.
        """
        return self.run.rows()

    def same(self, row: Row, again: Row) -> None:
        """Compare an epoch that is evaluated twice, as a loop does that was resumed from an earlier checkpoint.

        Args:
            row: as recorded.
            again: as evaluated now.

        Raises:
            BadRequest: other errors: the weights are not those that were evaluated.
        """
        for name, value in again.items():
            if name in (SECONDS, MONITOR_SECONDS, LR) or name not in row or row[name] == value:
                continue
            raise BadRequest(
                f"{self.run.path}: epoch {row[EPOCH]:g} was evaluated before with {name} {row[name]:.4g}, and now has "
                f"{value:.4g}: other weights; for a new training give Monitor overwrite=True or another out; after "
                "loading a checkpoint of an earlier epoch e call monitor.rewind(e)"
            )

    def write(self, network: nn.Module, rows: list[Row], found: Measurement, started: float) -> None:
        """Add the last row: its weights as far as they are kept, the rows, and the summary so far.

        The summary is taken away first and comes last: a kill between leaves an unfinished run, never one whose digests
        do not fit. What other commands added to it was about earlier weights, and goes.

        Args:
            network: as `unwrap` gives it.
            rows: all, the one that is new at the end.
            found: the counts behind the new row.
            started: when the evaluation began, by `time.perf_counter`; the row gets its seconds, with those of saving.
        """
        (self.run.path / SUMMARY).unlink(missing_ok=True)
        self._keep_weights(network, rows)
        rows[-1][MONITOR_SECONDS] = time.perf_counter() - started
        self.run.write_rows(rows)
        self.run.write_summary(self._summary(network, rows, found))

    def complete(self, network: nn.Module, rows: list[Row], found: Measurement) -> None:
        """Write what a kill, or `rewind` to an epoch that was not the last one, left out of the last epoch.

        Args:
            network: as `unwrap` gives it.
            rows: all; the last one is known, and was compared with what was measured now.
            found: what was measured now.
        """
        if not self.run.finished:
            self._keep_weights(network, rows)
            self.run.write_summary(self._summary(network, rows, found))

    def _keep_weights(self, network: nn.Module, rows: list[Row]) -> None:
        keep = self.settings.keep
        if keep == "none":
            return
        epoch = int(rows[-1][EPOCH])
        save_checkpoint(self.run.file("checkpoints", LAST), network, None, {EPOCH: epoch})
        if isinstance(keep, int) and len(rows) % keep == 0:
            save_checkpoint(self.run.file("checkpoints", epoch_file(epoch)), network, None, {EPOCH: epoch})
        selected = selected_of(rows)
        if keep != "last" and selected is not None and selected.epoch == epoch:
            state = {EPOCH: epoch, "score": list(selected.score)}
            save_checkpoint(self.run.file("checkpoints", SELECTED), network, None, state)

    def _summary(self, network: nn.Module, rows: list[Row], found: Measurement) -> MonitorSummary:
        settings, samples = self.settings, self.parts.samples
        n_classes = len(found.shares)
        metrics = _metrics(found, settings)
        errors = {key: metrics[key].error for key in FOUR}
        rule = replace(DEFAULT_RULE, n_classes=max(2, n_classes))
        verdict = cgro_verdict(errors, prediction_share=found.shares, rule=rule)  # type: ignore[arg-type]
        selected = selected_of(rows)
        sizes = {name: sample.n_total or len(sample) for name, sample in samples.items()}
        data, model = self.names
        return MonitorSummary(
            command=COMMAND,
            seed=settings.seed,
            threat=ThreatRecord.of(settings.threat.to_dict()),
            outcome=OutcomeRecord(
                kind="interrupted", reason=f"watched so far: {counted(len(rows), 'epoch')}", step=_last(rows)
            ),
            verdict=VerdictRecord.of(verdict.to_dict()),
            metrics={**metrics, **_of_selected(rows, selected)},
            data=DatasetRecord(
                name=data,
                note="the loop's own data, given to cgro.Monitor",
                classes=[str(k) for k in range(n_classes)],
                n_train=sizes[TRAIN],
                n_validation=sizes.get(VALIDATION, 0),
                n_test=sizes[TEST],
                sha256=self.parts.digest(),
            ),
            selected=selected,
            model=ModelRecord(name=model, width=None, n_parameters=found.n_parameters),
            cost=self.cost(rows),
        )

    def cost(self, rows: list[Row]) -> MonitorCost:
        """What the evaluations took.

        Args:
            rows: of the epochs.

        Returns:
            Their cost.
        """
        spent = sum(row.get(MONITOR_SECONDS, 0.0) for row in rows)
        trained = sum(row.get(SECONDS, 0.0) for row in rows)
        share = None
        if trained > 0:
            share = spent / trained
        return MonitorCost(
            evaluations=len(rows),
            seconds=spent,
            training_seconds=trained,
            share=share,
            passes=self.passes([self.settings.cheap]),
        )

    def passes(self, attacks: Iterable[Attack]) -> int:
        """Forward passes of an evaluation, at most; a gradient counts as two.

        Args:
            attacks: of the evaluation.

        Returns:
            Their number, over all parts.
        """
        n_examples = sum(len(sample) for sample in self.parts.samples.values())
        return n_examples * sum(map(self.settings.passes, attacks))

    def finish(self) -> None:
        """Say that the training is over, and draw its curves."""
        if not self.run.finished:
            return
        before = self.run.read(MonitorSummary)
        reason = f"watched: {counted(len(self.rows()), 'epoch')}"
        done = structs.replace(before, outcome=OutcomeRecord(kind="completed", reason=reason))
        self.run.finish(done, learning_curves)

    def rewind(self, epoch: int) -> None:
        """Drop the rows behind an epoch, the weights of later ones and the summary, which is of one.

        Nothing is behind the last epoch: then all stays.

        Args:
            epoch: the last one that stays; -1 for none.
        """
        rows = self.rows()
        if not rows or _last(rows) <= epoch:
            return
        folder = self.run.path / "checkpoints"
        selected = selected_of(rows)
        (self.run.path / SUMMARY).unlink(missing_ok=True)
        (folder / LAST).unlink(missing_ok=True)
        if selected is None or selected.epoch > epoch:
            (folder / SELECTED).unlink(missing_ok=True)
        for of, path in kept_epochs(self.run).items():
            if of > epoch:
                path.unlink()
        self.run.write_rows([row for row in rows if row[EPOCH] <= epoch])


def _require_monitor(path: Path) -> None:
    """Refuse to write into, or to delete, what is no run of a monitor."""
    expected = "a new directory, or a run of cgro.Monitor"
    if path.exists() and not path.is_dir():
        raise bad("out", expected=expected, got=f"{path}, a file")
    run = Run(path)
    if run.is_run() and run.config.get("command") != COMMAND:
        raise bad("out", expected=expected, got=f"a run of cgro {run.config.get('command')}")


def _taken_up(path: Path, config: Mapping[str, Json]) -> Run | None:
    """The run that is there with a summary, which `Run.start` takes for over; None if there is none."""
    run = Run(path)
    if not run.finished:
        return None
    Run.open(path)
    there = run.config
    with run.locked():
        asked = plain({"command": COMMAND, **config})
        run.check_known(there, asked)
        resuming.check_settings(path, there, asked, {})
    return run


def _keep_examples(run: Run, parts: Parts) -> None:
    path = run.file("index_sets.json")
    used = plain(parts.record())
    if path.exists() and read_json(path) != used:
        remedy = "give the same data in the same order, another out, or overwrite=True"
        raise bad("examples", expected=f"those with which {run.path} was begun", got="others", remedy=remedy)
    if not path.exists():
        write_atomic(path, dump_json(used))


def _last(rows: list[Row]) -> int:
    return int(rows[-1][EPOCH])


def selected_of(rows: list[Row]) -> SelectedEpoch | None:
    """The epoch that validation selects: of lowest robust, then clean error; the earliest of equals.

    Args:
        rows: of the epochs.

    Returns:
        It; None without a validation part.

    Example:
        >>> rows = [{"epoch": e, "robust_error/validation": r, "clean_error/validation": 0.1} for e, r in
        ...         ((1, 0.5), (2, 0.4), (3, 0.4))]
        >>> selected_of(rows).epoch
        2
    """
    best: SelectedEpoch | None = None
    for row in rows:
        if ROBUST_VALIDATION not in row:
            continue
        score = (row[ROBUST_VALIDATION], row[CLEAN_VALIDATION])
        if best is None or score < best.score:
            best = SelectedEpoch(epoch=int(row[EPOCH]), score=score)
    return best


def _of_selected(rows: list[Row], selected: SelectedEpoch | None) -> dict[str, Metric]:
    """The test errors at the epoch that validation selected."""
    if selected is None:
        return {}
    (row,) = (row for row in rows if row[EPOCH] == selected.epoch)
    found: dict[str, Metric] = {}
    for key in (CLEAN_TEST, ROBUST_TEST):
        found[f"{key}{ON_VALIDATION}"] = Metric(value=row[key], epoch=float(selected.epoch))
    return found


def _metrics(found: Measurement, settings: Settings) -> dict[str, Metric]:
    """The strongest bound under the plain key, and each robust error under its attack's name."""
    metrics: dict[str, Metric] = {}
    for key, error in found.errors.items():
        if not key.startswith("robust"):
            metrics[key] = Metric.of_error(error)
            continue
        plain_key, _, name = key.partition("@")
        attack = settings.cheap
        if name and settings.thorough is not None:
            attack = settings.thorough
        metric = Metric.of_error(error, attack)
        metrics[f"{plain_key}@{name or settings.attack}"] = metric
        known = metrics.get(plain_key)
        if known is None or (metric.wrong or 0) > (known.wrong or 0):
            metrics[plain_key] = metric
    return metrics


def row_of(epoch: int, found: Measurement, trained: float, lr: float | None) -> Row:
    """The row of an epoch.

    Args:
        epoch: its number, as the loop counts.
        found: what was counted.
        trained: seconds of training since the last evaluation.
        lr: learning rate, where the loop says it.

    Returns:
        Numbers by name, errors as fractions.
    """
    row: Row = {EPOCH: epoch}
    for key, error in found.errors.items():
        row[key] = error.value
    row[PREDICTION_SHARE] = max(found.shares)
    if lr is not None:
        row[LR] = lr
    row[SECONDS] = trained
    return row
