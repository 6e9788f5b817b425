"""The numbers of a comparison, read from the finished runs of its jobs; what is not made, or failed, is None."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cgro._check import bad
from cgro.comparison.effects import Label, effect_of, paired
from cgro.comparison.plan_file import Plan
from cgro.comparison.trials import Jobs, Trial
from cgro.jobs.peaks import read_peaks
from cgro.jobs.plan import Job
from cgro.jobs.workspace import Workspace
from cgro.own_code import changed_code
from cgro.report.compare import COLUMNS, EPOCHS, FLATNESS, GAP, ON_VALIDATION, PASSES, PEAK, SCORE, SECONDS
from cgro.results import Metric, OutcomeRecord, RemedyRecord, Summary, TrainSummary, VerdictRecord
from cgro.results.keys import CLEAN_TEST, ROBUST_TEST, ROBUST_TRAIN

KEYS = tuple(column.key for column in COLUMNS)
"""What is told of each remedy, in this order."""
Numbers = dict[str, float | None]


@dataclass(frozen=True)
class Outcomes:
    """Reads the runs of a comparison.

    Args:
        workspace: where they are.
        jobs: name of the trial -> its jobs, one entry per seed.
        failed: job -> why it failed in this call.
    """

    workspace: Workspace
    jobs: Mapping[str, Sequence[Jobs]]
    failed: Mapping[str, str]

    def can_be_measured(self, training: Job) -> bool:
        """Whether a training ended with a network that can be evaluated.

        Args:
            training: that has ended, or failed.

        Returns:
            False where it failed or its loss was not finite.
        """
        run = self.workspace.here(training)
        return run is not None and bool(run.read(TrainSummary).metrics)

    def skips(self, job: Job) -> bool:
        """Whether a job need not be begun: its training gave nothing to measure, or selected the last epoch.

        Args:
            job: that is ready.

        Returns:
            True of measurements alone.
        """
        for one in self._each_seed():
            if job in (one.last, one.selected, one.flatness, one.memory):
                if not self.can_be_measured(one.training):
                    return True
                return job == one.selected and self._last_is_selected(one)
        return False

    def open(self) -> int:
        """Jobs that are neither made, nor need to be.

        Returns:
            Their number.
        """
        n = 0
        for one in self._each_seed():
            has_ended = self.workspace.here(one.training) is not None
            for job in one.all:
                if self.workspace.here(job) is None and not (has_ended and self.skips(job)):
                    n += 1
        return n

    def require_trainings(self) -> None:
        """Refuse what was measured of a training that is gone: made again, with other code perhaps, it is another one.

        Raises:
            BadRequest: names the measurement.
        """
        for one in self._each_seed():
            if self.workspace.here(one.training) is not None:
                continue
            gone = self.workspace.folder(one.training)
            for job in one.all[1:]:
                if self.workspace.here(job) is not None:
                    expected = f"the finished training that it measured, {gone}"
                    remedy = "restore that, or delete this folder too, and both are made again"
                    raise bad(str(self.workspace.folder(job)), expected=expected, got="none", remedy=remedy)

    def remarks(self) -> list[str]:
        """What must be known of the trainings as a whole: that the caller's own code changed between them.

        Returns:
            A sentence for each module whose file did.
        """
        codes: dict[str, list[Mapping[str, str]]] = {}
        for one in self._each_seed():
            run = self.workspace.here(one.training)
            if run is not None:
                codes[one.training.name] = run.codes
        return changed_code(codes)

    def _each_seed(self) -> list[Jobs]:
        found: list[Jobs] = []
        for jobs in self.jobs.values():
            found += jobs
        return found

    def _last_is_selected(self, jobs: Jobs) -> bool:
        run = self.workspace.read(jobs.training)
        selected = run.read(TrainSummary).selected
        return selected is not None and selected.epoch == len(run.rows())

    def numbers(self, trial: Trial, jobs: Jobs) -> Numbers:
        """What was measured with one seed.

        Args:
            trial: the remedy.
            jobs: of the seed.

        Returns:
            A number for each of `KEYS`; None where it is not known.
        """
        found: Numbers = dict.fromkeys(KEYS)
        run = self.workspace.here(jobs.training)
        if run is None:
            return found
        rows = run.rows()
        found[EPOCHS] = float(len(rows))
        found[PASSES] = float(trial.passes_in(len(rows)))
        found[SECONDS] = sum(float(row.get(SECONDS, 0.0)) for row in rows)
        found[PEAK] = read_peaks(self.workspace.path).get(jobs.training.name)
        last = self._metrics(jobs.last)
        for key in (ROBUST_TEST, CLEAN_TEST, ROBUST_TRAIN):
            found[key] = _typical(last, key)
        test, train = found[ROBUST_TEST], found[ROBUST_TRAIN]
        if test is not None and train is not None:
            found[GAP] = test - train
        selected = self._metrics(jobs.selected)
        if last and self._last_is_selected(jobs):
            selected = last
        for key in (ROBUST_TEST, CLEAN_TEST):
            found[key + ON_VALIDATION] = _typical(selected, key)
        flat = self._metrics(jobs.flatness)
        found[FLATNESS] = _typical(flat, f"{FLATNESS}@{trial.config.radius}")
        found[SCORE] = _typical(self._metrics(jobs.memory), SCORE)
        return found

    def _metrics(self, job: Job | None) -> Mapping[str, Metric]:
        run = None if job is None else self.workspace.here(job)
        return {} if run is None else run.read(Summary).metrics

    def _outcome(self, jobs: Jobs) -> OutcomeRecord:
        """How a training ended; a measurement of it that failed is told as well."""
        run = self.workspace.here(jobs.training)
        reasons = [self.failed[job.name] for job in jobs.all if job.name in self.failed]
        if reasons:
            return OutcomeRecord(kind="failed", reason=reasons[0])
        if run is None:
            return OutcomeRecord(kind="open", reason="not made yet")
        return run.read(TrainSummary).outcome

    def records(self, plan: Plan, trials: Sequence[Trial]) -> dict[str, RemedyRecord]:
        """All remedies with their differences to the reference of the same width.

        Args:
            plan: of the comparison.
            trials: of the plan.

        Returns:
            Name of the trial -> record, in the order of the plan.
        """
        metrics = {trial.name: self._over_seeds(trial) for trial in trials}
        references = {trial.width: metrics[trial.name] for trial in trials if trial.remedy == plan.reference}
        found = {}
        for trial in trials:
            differences: dict[str, Metric] = {}
            effect = VerdictRecord(label=str(Label.REFERENCE), reason="the others are compared with it")
            if trial.remedy != plan.reference:
                differences = paired(references[trial.width], metrics[trial.name])
                effect = effect_of(differences)
            found[trial.name] = RemedyRecord(
                remedy=trial.remedy,
                width=trial.width,
                options=plan.remedies[trial.remedy],
                epochs=trial.config.epochs,
                own_epochs=EPOCHS in plan.remedies[trial.remedy],
                passes=trial.total,
                metrics=metrics[trial.name],
                differences=differences,
                effect=effect,
                outcomes=[self._outcome(one) for one in self.jobs[trial.name]],
            )
        return found

    def _over_seeds(self, trial: Trial) -> dict[str, Metric]:
        rows = [self.numbers(trial, one) for one in self.jobs[trial.name]]
        return {key: Metric.over_seeds([row[key] for row in rows]) for key in KEYS}


def _typical(metrics: Mapping[str, Metric], key: str) -> float | None:
    return metrics[key].typical if key in metrics else None
