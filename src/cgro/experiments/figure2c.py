"""Figure 2(c): feature learning of the two-layer network. Signal rises and stalls, noise rises late (Theorem 5.9)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from cgro.experiments import findings
from cgro.experiments.artifact import copy_figure
from cgro.experiments.claims import Claim, Statement, above, below, holds
from cgro.experiments.findings import Part
from cgro.experiments.metrics import per_seed
from cgro.experiments.seeds import ratios
from cgro.experiments.table2 import dynamics
from cgro.experiments.tables import Table
from cgro.jobs.plan import Job, Scale
from cgro.jobs.workspace import Workspace
from cgro.report.markdown import cell
from cgro.results import DynamicsSummary, Measured, Metric

NAME = "figure2c"
TITLE = "Figure 2(c): the feature-learning process"
NEEDS_TRAINING = False
CAPTIONS = {
    "stages": "Signal and noise learned under the theorem's scales; vertical lines: stage boundaries, bands: range of "
    "seeds.",
    "control": "Standard training (robust weight 0) on the same data: the noise is never memorized.",
    "filters": "Filter space of the first seed at four times: one filter carries the signal, others take up the noise.",
}
Boundary = Literal["signal_growth_end", "memorization_start", "memorization_end"]
STAGES: dict[Boundary, str] = {
    "signal_growth_end": "end of stage I",
    "memorization_start": "memorization from",
    "memorization_end": "memorization to",
}


class Record(msgspec.Struct):
    """What is read of a recorded step; lists over seeds.

    Attributes:
        step: of gradient descent.
        signal_margin: alpha^q U.
        noise_learned_min: the least V_i of the training examples.
    """

    step: int
    signal_margin: list[float]
    noise_learned_min: list[float]


class Paper(Part, frozen=True, kw_only=True):
    """What Theorem 5.9 says.

    Attributes:
        order: of the boundaries.
        stall_share: growth of the signal in stage II over that in stage I, at most; ours, for "stalls".
        delay: start of memorization over end of stage I, at least; ours, for "late".
    """

    order: tuple[Boundary, Boundary, Boundary] = ("signal_growth_end", "memorization_start", "memorization_end")
    stall_share: float = 0.1
    delay: float = 10.0


PAPER = Paper()


class Boundaries(Part, frozen=True, kw_only=True):
    """Ends of stages in steps of gradient descent, one per seed; None where one is not found."""

    signal_growth_end: list[float | None]
    memorization_start: list[float | None]
    memorization_end: list[float | None]

    def of(self, boundary: Boundary) -> list[float | None]:
        """One of the three.

        Args:
            boundary: its name.

        Returns:
            Steps, one entry per seed.
        """
        if boundary == "signal_growth_end":
            return self.signal_growth_end
        if boundary == "memorization_start":
            return self.memorization_start
        return self.memorization_end


class Prediction(Part, frozen=True, kw_only=True):
    """What the theory predicts, beside its measurement; None where it was not measured."""

    predicted: float | None
    measured: float | None = None
    statement: str = ""


class Learning(Part, frozen=True, kw_only=True):
    """One setting over seeds.

    Attributes:
        stages: their boundaries.
        n_seeds: simulated.
        rate_first: growth of the signal margin per step in stage I, of seeds in which it ends.
        rate_second: the same in stage II.
        noise_end: mean V_i at the end.
        theory: boundary -> prediction.
        noise_least: least V_i at the end.
    """

    stages: Boundaries
    n_seeds: int
    rate_first: list[float]
    rate_second: list[float]
    noise_end: list[float]
    theory: dict[str, Prediction]
    noise_least: list[float]


class Findings(findings.Findings, frozen=True, kw_only=True):
    """The theorem's scales, and standard training on the same data."""

    theorem: Learning
    control: Learning


def jobs(scale: Scale) -> list[Job]:
    """The theorem's scales and the control.

    Args:
        scale: of the reproduction.

    Returns:
        Simulations.
    """
    return [dynamics(scale, "theorem"), dynamics(scale, "control")]


def run(scale: Scale, workspace: Workspace) -> Findings:
    """Read stage boundaries of every seed, and the rates of signal and noise learning on either side of the first.

    Args:
        scale: of the reproduction.
        workspace: where the runs are found.

    Returns:
        The findings.
    """
    return Findings(
        scale=scale,
        theorem=_learning(workspace, dynamics(scale, "theorem")),
        control=_learning(workspace, dynamics(scale, "control")),
    )


def _learning(workspace: Workspace, job: Job) -> Learning:
    run = workspace.read(job)
    result = run.read(DynamicsSummary)
    records = run.rows_as(Record)
    assert result.stages is not None, "a run of one setting with enough records"
    assert isinstance(result.noise_learned, Metric)
    stages = Boundaries(**{name: list(boundary.per_seed) for name, boundary in result.stages.items()})
    first, second = _growth(records, stages)
    return Learning(
        stages=stages,
        n_seeds=result.n_seeds,
        rate_first=first,
        rate_second=second,
        noise_end=per_seed(result.noise_learned),
        theory={name: Prediction(**msgspec.structs.asdict(found)) for name, found in result.theory.items()},
        noise_least=records[-1].noise_learned_min,
    )


def _growth(records: Sequence[Record], stages: Boundaries) -> tuple[list[float], list[float]]:
    """Growth of the signal margin per step in stage I, and in stage II (to the end of training if none ends it)."""
    steps = np.array([record.step for record in records], float)
    margins = np.array([record.signal_margin for record in records])
    first, second = [], []
    for seed, end in enumerate(stages.signal_growth_end):
        if end is None:
            continue
        later = stages.memorization_start[seed] or float(steps[-1])
        at_start, at_end, at_later = (float(margins[_nearest(steps, time), seed]) for time in (0.0, end, later))
        first.append((at_end - at_start) / end)
        second.append((at_later - at_end) / (later - end))
    return first, second


def _nearest(steps: np.ndarray, time: float) -> int:
    return int(np.argmin(np.abs(steps - time)))


def check(findings: Findings, paper: Paper = PAPER) -> list[Claim]:
    """Stages found, in their order, the stall, the delay, all memorized, and the control.

    Args:
        findings: of `run`, or stored.
        paper: what the theorem says.

    Returns:
        Five claims.
    """
    theorem = findings.theorem
    return [
        _in_order(theorem, paper),
        _stalls(theorem, paper),
        _is_late(theorem, paper),
        above(
            Statement(
                "figure2c/all",
                "every training example is memorized: the least V_i at the end is Theta(1) (read as: above 1)",
                paper="V_i = Theta(1)",
            ),
            Measured.of(theorem.noise_least),
            limit=1.0,
            unit="",
        ),
        _never(findings.control),
    ]


def _in_order(theorem: Learning, paper: Paper) -> Claim:
    one, two, three = (theorem.stages.of(boundary) for boundary in paper.order)
    ordered = {}
    for seed in range(theorem.n_seeds):
        ordered[f"seed {seed}"] = _is_ordered(one[seed], two[seed], three[seed])
    return holds(
        Statement(
            "figure2c/stages",
            "three stages in this order: signal grows, signal stalls, noise is memorized",
            paper="I, II, III",
        ),
        ordered,
        ours=f"{sum(ordered.values())} of {theorem.n_seeds} seeds",
        rule="the three boundaries are found in every seed and in order (half-maximum rule without tuning)",
    )


def _is_ordered(one: float | None, two: float | None, three: float | None) -> bool:
    if one is None or two is None or three is None:
        return False
    return one < two <= three


def _stalls(theorem: Learning, paper: Paper) -> Claim:
    limit = 100 * paper.stall_share
    said = Statement(
        "figure2c/stall",
        "after stage I the signal stalls: its growth a step in stage II, in percent of that in stage I "
        f"(read as: below {limit:g}%)",
        paper="stalls",
    )
    shares = []
    for first, second in zip(theorem.rate_first, theorem.rate_second, strict=True):
        shares.append(100 * second / first)
    return below(said, Measured.of(shares), limit=limit, unit="%")


def _is_late(theorem: Learning, paper: Paper) -> Claim:
    said = Statement(
        "figure2c/late",
        f"noise is memorized late: more than {paper.delay:g} times as many steps as stage I took",
        paper="late",
    )
    ends, starts = [], []
    first, second, _ = paper.order
    for end, start in zip(theorem.stages.of(first), theorem.stages.of(second), strict=True):
        if end and start:
            ends.append(end)
            starts.append(start)
    return above(said, Measured.of(ratios(ends, starts)), limit=paper.delay, unit=" times", digits=0)


def _never(control: Learning) -> Claim:
    never = {}
    for seed, start in enumerate(control.stages.memorization_start):
        never[f"seed {seed}"] = start is None
    return holds(
        Statement(
            "figure2c/control",
            "standard training never reaches the third stage (asked for by readers)",
            paper="not in the paper",
        ),
        never,
        ours=f"none in {sum(never.values())} of {control.n_seeds} seeds",
        rule="no start of memorization in any seed",
    )


def tables(findings: Findings) -> list[Table]:
    """Boundaries in steps, predicted and measured.

    Args:
        findings: of `run`, or stored.

    Returns:
        One table.
    """
    columns = ["setting", "what", "predicted", "measured, mean (sd)", "seeds that found it"]
    table = Table("stages", "Stage boundaries in steps of gradient descent.", columns)
    for preset, part in (("theorem", findings.theorem), ("control", findings.control)):
        for boundary, words in STAGES.items():
            steps = Measured.of(part.stages.of(boundary))
            shown = cell(steps.values, 0) or "not found"
            table.add(preset, words, _predicted(part, boundary), shown, f"{steps.n} of {part.n_seeds}")
        table.add(preset, "mean V_i at the end", "", cell(part.noise_end, 3), "")
    return [table]


def _predicted(part: Learning, boundary: Boundary) -> str:
    prediction = part.theory.get(boundary)
    if prediction is None or prediction.predicted is None:
        return ""
    return f"{prediction.predicted:.4g}"


def draw(findings: Findings, folder: Path, workspace: Workspace) -> None:
    """The figures of `cgro dynamics`.

    Args:
        findings: of `run`, or stored.
        folder: where the figures go.
        workspace: where the runs are found.
    """
    theorem = workspace.folder(dynamics(findings.scale, "theorem"))
    control = workspace.folder(dynamics(findings.scale, "control"))
    copy_figure(theorem, "stages", folder / "stages")
    copy_figure(theorem, "filters", folder / "filters")
    copy_figure(control, "stages", folder / "control")
