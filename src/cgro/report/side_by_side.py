"""Several runs side by side: paired differences of their errors, and one chart of all robust curves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from msgspec import UNSET

from cgro.reading import attempt
from cgro.report.chart import Chart, Line, line_chart
from cgro.report.curves import CLEAN_TEST, CLEAN_TRAIN, ROBUST_TEST, ROBUST_TRAIN, Epoch
from cgro.report.style import COMPARED
from cgro.report.values import drawable, read_arrays
from cgro.results import Measured, Metric, Summary
from cgro.results.rates import Z95, difference_interval
from cgro.runs import Run

ERRORS = (ROBUST_TEST.key, ROBUST_TRAIN.key, CLEAN_TEST.key, CLEAN_TRAIN.key)
"""The numbers by which runs are compared, the one that matters first."""
SAME_SEEDS = "paired by seed"
SAME_EXAMPLES = "paired by example"
UNPAIRED = "not paired"
NO_INTERVAL = "no interval: one number each"


@dataclass(frozen=True)
class Difference:
    """An error of a run minus that of the first run.

    Attributes:
        run: place of the run on the page, from 1.
        key: of the error.
        value: difference of fractions.
        interval: 95%; None where there is none.
        how: what was paired, and how many of it.
    """

    run: int
    key: str
    value: float
    interval: tuple[float, float] | None
    how: str


def differences(runs: Sequence[Run]) -> list[Difference]:
    """Subtract the errors of the first run from those of every other run.

    Two runs of several seeds are paired by seed, if the seeds are the same ones. Two runs whose examples were evaluated
    by `cgro evaluate` with the same attack are paired by example: what both get right or wrong cancels, and the
    interval is narrower. Otherwise the interval is that of two independent shares.

    Args:
        runs: two or more, finished.

    Returns:
        The differences of each error that both have, run by run.
    """
    summaries = [run.read() for run in runs]
    found = []
    for k in range(1, len(runs)):
        for key in ERRORS:
            first = summaries[0].metrics.get(key)
            other = summaries[k].metrics.get(key)
            if first is None or other is None or first.typical is None or other.typical is None:
                continue
            one = _by_seed(key, k + 1, summaries[0], summaries[k])
            one = one or _by_example(key, k + 1, runs[0].path, runs[k].path)
            found.append(one or _unpaired(key, k + 1, first, other))
    return found


def _by_seed(key: str, number: int, first: Summary, other: Summary) -> Difference | None:
    """Of runs of the same two or more seeds; they count from the first."""
    ours, theirs = other.metrics[key].per_seed, first.metrics[key].per_seed
    if ours is UNSET or theirs is UNSET or len(ours) != len(theirs) or first.seed != other.seed:
        return None
    pairs = np.array([ours, theirs], float)
    gained = pairs[0] - pairs[1]
    found = Measured.of(gained[np.isfinite(gained)])
    if found.n < 2:
        return None
    return Difference(number, key, found.mean, found.interval, f"{SAME_SEEDS} ({found.n} seeds)")


def _by_example(key: str, number: int, first: Path, other: Path) -> Difference | None:
    """Of runs that the same attack of `cgro evaluate` went over, on the same examples of a robust error's part."""
    if not key.startswith("robust_error/"):
        return None
    part = key.removeprefix("robust_error/")
    for file in sorted(other.glob(f"evaluations/*/{part}.npz")):
        ours = _answers(file)
        theirs = _answers(first / file.relative_to(other))
        if ours is None or theirs is None or not np.array_equal(ours.index, theirs.index):
            continue
        gained = ours.wrong.astype(float) - theirs.wrong.astype(float)
        n = len(gained)
        if n < 2:
            continue
        half = Z95 * float(gained.std(ddof=1)) / math.sqrt(n)
        mean = float(gained.mean())
        how = f"{SAME_EXAMPLES} ({n} examples, {file.parent.name})"
        return Difference(number, key, mean, (mean - half, mean + half), how)
    return None


@dataclass(frozen=True)
class _Answers:
    """Of an evaluation.

    Attributes:
        index: (n,) positions of the examples in their source.
        wrong: (n,) whether each is misclassified under attack.
    """

    index: np.ndarray
    wrong: np.ndarray


def _answers(path: Path) -> _Answers | None:
    """The answers of an evaluation; None of a file of another kind."""
    found = attempt(lambda: read_arrays(path, _Answers, writer="cgro evaluate"))
    if found is None or found.index.ndim != 1:
        return None
    if found.wrong.shape != found.index.shape or found.wrong.dtype.kind != "b":
        return None
    return found


def _unpaired(key: str, number: int, first: Metric, other: Metric) -> Difference:
    """Of numbers that are known alone; with an interval where examples were counted."""
    assert first.typical is not None, "checked by differences"
    assert other.typical is not None, "checked by differences"
    value = other.typical - first.typical
    if first.error is None or other.error is None:
        return Difference(number, key, value, None, NO_INTERVAL)
    interval = difference_interval(other.error, first.error)
    return Difference(number, key, value, interval, f"{UNPAIRED} (n = {other.error.n} and {first.error.n})")


def robust_curves(epochs: Mapping[str, Sequence[Epoch]]) -> Chart | None:
    """Lay out the robust errors of all runs on one axis: test solid, train dashed, one color and number per run.

    Args:
        epochs: name of a run -> what it recorded.

    Returns:
        The chart; None where fewer than two runs have a curve.
    """
    places = sorted({one.epoch for recorded in epochs.values() for one in recorded})
    lines = []
    n_runs = 0
    for number, ((name, recorded), color) in enumerate(zip(epochs.items(), cycle(COMPARED)), 1):
        own = [_line(name, number, color, recorded, places, curve.key) for curve in (ROBUST_TEST, ROBUST_TRAIN)]
        own = [line for line in own if line is not None]
        n_runs += bool(own)
        lines += own
    if n_runs < 2:
        return None
    return line_chart("Robust errors of all runs", "error (%)", places, lines=lines)


def _line(
    name: str, number: int, color: str, recorded: Sequence[Epoch], places: Sequence[float], key: str
) -> Line | None:
    """One error of one run; None where it was never measured."""
    known = {one.epoch: one.errors[key] for one in recorded if key in one.errors}
    if not known:
        return None
    part = key.rpartition("/")[2]
    values = (100 * drawable([known.get(place) for place in places])).round(3).tolist()
    tag = str(number) if part == "test" else ""
    return Line(f"{number}. {name}, {part}", color, part, values, tag=tag)
