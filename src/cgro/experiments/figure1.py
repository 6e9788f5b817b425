"""Figure 1: robust overfitting. After the learning-rate drop robust training error falls, robust test error rises."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from msgspec import field

from cgro.experiments import evaluations, findings, networks
from cgro.experiments.claims import Claim, Statement, above, below
from cgro.experiments.findings import Part
from cgro.experiments.metrics import Row, column, errors, n_examples
from cgro.experiments.seeds import rises
from cgro.experiments.tables import Table
from cgro.jobs.plan import Job, Scale
from cgro.jobs.workspace import Workspace
from cgro.report.experiments import curves_over_epochs
from cgro.report.markdown import cell
from cgro.results import EvaluateSummary, Measured, TrainSummary
from cgro.results.keys import CLEAN_TEST, CLEAN_TRAIN, ROBUST_TEST, ROBUST_TRAIN
from cgro.runs import Run

NAME = "figure1"
TITLE = "Figure 1: learning curves of adversarial training"
NEEDS_TRAINING = True
CAPTIONS = {
    "curves": "Errors over the epochs: mean over seeds, bars one standard deviation; the learning rate drops at the "
    "line."
}
EPOCH = "epoch"
FEWER = "Rice et al. (2020) see a rise of 7.4 points for PreActResNet-18 on all of CIFAR-10 over 100 epochs"
STILL = 1.0
"""Points below which clean test error counts as not rising: a choice, about the spread over seeds."""

Direction = Literal["falling", "rising", "not rising"]


class Paper(Part, frozen=True, kw_only=True):
    """Where the paper says that each error goes after the learning-rate drop."""

    robust_train: Direction = "falling"
    robust_test: Direction = "rising"
    clean_test: Direction = "not rising"


PAPER = Paper()


class Curves(Part, frozen=True, kw_only=True):
    """The four errors in percent: one list per seed, with one number per epoch."""

    clean_train: list[list[float]] = field(name="clean_error/train")
    clean_test: list[list[float]] = field(name="clean_error/test")
    robust_train: list[list[float]] = field(name="robust_error/train")
    robust_test: list[list[float]] = field(name="robust_error/test")


class Findings(findings.Findings, frozen=True, kw_only=True):
    """Curves, and errors after the drop and at the end on the same images, in percent, one per seed.

    Attributes:
        drops: epochs after which the learning rate drops.
        after: the first kept epoch after the first drop.
        epochs: of the curves.
        curves: the four errors.
        data: the data set.
        note: what is particular about it.
        n_curve: images behind a point of the curves.
        n_test: images behind the test errors below.
    """

    drops: list[int]
    after: int
    epochs: list[int]
    curves: Curves
    data: str
    note: str
    n_curve: int
    robust_train_after: list[float]
    robust_train_end: list[float]
    clean_test_after: list[float]
    clean_test_end: list[float]
    n_test: int
    robust_test_after: list[float]
    robust_test_end: list[float]


def jobs(scale: Scale) -> list[Job]:
    """The CIFAR-10 networks of the figures, and their test errors at the first kept checkpoint after the drop.

    Args:
        scale: of the reproduction.

    Returns:
        Trainings and evaluations.
    """
    return [*networks.widest(scale), *_marks(scale)]


def _marks(scale: Scale) -> list[Job]:
    """None at `gpu`: its curves are of so many images that they tell."""
    if scale == "gpu":
        return []
    after = evaluations.after_drop(scale)
    return [evaluations.at_epoch(scale, job, after) for job in networks.widest(scale)]


def run(scale: Scale, workspace: Workspace) -> Findings:
    """Read curves and errors.

    Args:
        scale: of the reproduction.
        workspace: where the runs are found.

    Returns:
        The findings.
    """
    trained = networks.widest(scale)
    config = networks.configuration(workspace.settled(trained[0]))
    after = evaluations.kept_after_drop(config)
    runs = workspace.read_all(trained)
    curves = [_evaluated(run) for run in runs]
    first = runs[0].read(TrainSummary)
    tests = _on_test(scale, workspace, curves, after)
    return Findings(
        scale=scale,
        drops=networks.drops(config),
        after=after,
        epochs=[int(row[EPOCH]) for row in curves[0]],
        curves=Curves(
            clean_train=[column(rows, CLEAN_TRAIN) for rows in curves],
            clean_test=[column(rows, CLEAN_TEST) for rows in curves],
            robust_train=[column(rows, ROBUST_TRAIN) for rows in curves],
            robust_test=[column(rows, ROBUST_TEST) for rows in curves],
        ),
        data=first.data.name,
        note=first.data.note,
        n_curve=config.eval_n,
        robust_train_after=[column(_from(rows, after), ROBUST_TRAIN)[0] for rows in curves],
        robust_train_end=[column(rows, ROBUST_TRAIN)[-1] for rows in curves],
        clean_test_after=tests.clean_after,
        clean_test_end=tests.clean_end,
        n_test=tests.n,
        robust_test_after=tests.robust_after,
        robust_test_end=tests.robust_end,
    )


class _Tests(NamedTuple):
    """Test errors in percent after the drop and at the end, one number per seed, and the images behind them."""

    clean_after: list[float]
    clean_end: list[float]
    robust_after: list[float]
    robust_end: list[float]
    n: int


def _on_test(scale: Scale, workspace: Workspace, curves: Sequence[Sequence[Row]], after: int) -> _Tests:
    """From evaluations of two checkpoints, or from the curves where there are none."""
    ends = [run.read(TrainSummary) for run in workspace.read_all(networks.widest(scale))]
    marks = [run.read(EvaluateSummary) for run in workspace.read_all(_marks(scale))]
    if marks:
        strong = next(key for key in ends[0].metrics if key.startswith("robust_error/test@pgd"))
        return _Tests(
            clean_after=errors(marks, CLEAN_TEST),
            clean_end=errors(ends, CLEAN_TEST),
            robust_after=errors(marks, ROBUST_TEST),
            robust_end=errors(ends, strong),
            n=n_examples(ends[0], strong),
        )
    return _Tests(
        clean_after=[column(_from(rows, after), CLEAN_TEST)[0] for rows in curves],
        clean_end=[column(rows, CLEAN_TEST)[-1] for rows in curves],
        robust_after=[column(_from(rows, after), ROBUST_TEST)[0] for rows in curves],
        robust_end=[column(rows, ROBUST_TEST)[-1] for rows in curves],
        n=networks.configuration(networks.widest(scale)[0]).eval_n,
    )


def _evaluated(run: Run) -> list[Row]:
    """The epochs after which a network was evaluated."""
    return [row for row in run.rows() if ROBUST_TEST in row]


def _from(rows: Sequence[Row], epoch: int) -> list[Row]:
    return [row for row in rows if row[EPOCH] >= epoch]


def check(findings: Findings, paper: Paper = PAPER) -> list[Claim]:
    """From the first checkpoint after the drop to the end, paired by seed and test image.

    Args:
        findings: of `run`, or stored.
        paper: where the errors should go.

    Returns:
        One claim per error.
    """
    span = f"after the learning-rate drop, from epoch {findings.after} to {findings.epochs[-1]},"
    return [
        _goes(
            Statement("figure1/robust_train", f"{span} robust training error keeps falling"),
            rises(findings.robust_train_after, findings.robust_train_end),
            paper.robust_train,
        ),
        _goes(
            Statement("figure1/robust_test", f"{span} robust test error turns up", why=FEWER),
            rises(findings.robust_test_after, findings.robust_test_end),
            paper.robust_test,
        ),
        _goes(
            Statement(
                "figure1/clean_test",
                f"{span} clean test error does not turn up (read as: rises by less than {STILL:g} point)",
            ),
            rises(findings.clean_test_after, findings.clean_test_end),
            paper.clean_test,
        ),
    ]


def _goes(said: Statement, rise: Sequence[float], direction: Direction) -> Claim:
    """Does an error, whose rise of every seed is given, go where the paper says?"""
    said = replace(said, paper=direction)
    ours = Measured.of(rise)
    if direction == "rising":
        return above(said, ours)
    if direction == "falling":
        return below(said, ours)
    return below(said, ours, limit=STILL)


def tables(findings: Findings) -> list[Table]:
    """Errors after the drop and at the end.

    Args:
        findings: of `run`, or stored.

    Returns:
        One table.
    """
    caption = (
        f"{findings.data}: error in %, mean (sd) over {len(findings.robust_test_end)} seeds; test errors on "
        f"{findings.n_test:,} images, training errors on {findings.n_curve:,}."
    )
    columns = ["error", f"epoch {findings.after}", f"epoch {findings.epochs[-1]}", "change"]
    table = Table("turn", caption, columns)
    for name, after, end in (
        ("clean test", findings.clean_test_after, findings.clean_test_end),
        ("robust train", findings.robust_train_after, findings.robust_train_end),
        ("robust test", findings.robust_test_after, findings.robust_test_end),
    ):
        table.add(name, cell(after), cell(end), cell(rises(after, end)))
    return [table]


def draw(findings: Findings, folder: Path, workspace: Workspace) -> None:
    """The four curves.

    Args:
        findings: of `run`, or stored.
        folder: where the figure goes.
        workspace: not needed.
    """
    curves_over_epochs(folder / "curves", findings)
