"""How far apart are the classes (Assumption 4.2)? Exact distances, the largest radius, the pair that sets it.

examples:
  cgro separation --data mnist5k --classes 3,8
  cgro separation --data mnist --p 2 --radius 1.5
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cgro._check import bad, number
from cgro._progress import progress
from cgro.commands._common import Output, Trusting, begin, option, say_remarks
from cgro.data import Dataset, load
from cgro.definitions import ThreatModel
from cgro.definitions.threat import parse_p
from cgro.report.separation import FILE, nearest_histogram
from cgro.representation import Separation, separation
from cgro.results import DatasetRecord, OutcomeRecord, SeparationRow, SeparationSummary, ThreatRecord
from cgro.runs import Run, say, write_arrays

NEXT = "cgro memorize --data {data}"
"""Mostly follows; see `cgro.cli` and `next_of`."""


@dataclass(kw_only=True)
class Config(Trusting, Output):
    """Options of `cgro separation`."""

    data: str = option("mnist5k", "data set", names="data")
    classes: str | None = option(None, "task, such as 3,8 or even,odd; default: all classes")
    n_train: int | None = option(None, "training points; default: all", low=1)
    p: str = option("inf", "norms, separated by commas: 1, 2, inf")
    radius: str | None = option(None, "a radius to compare with the largest admissible one, such as 8/255")
    seed: int = option(0, "seed of the cut of the training part", low=0)
    threads: int | None = option(None, "CPU threads; default: all cores", low=1)


def run(config: Config) -> Run:
    """Measure the separation in every norm asked for.

    Args:
        config: the options.

    Returns:
        The finished run.

    Raises:
        BadRequest: a radius with several norms; see `cgro.data.load`.
    """
    orders: list[float] = []
    for text in config.p.split(","):
        order = parse_p(text.strip())
        if order not in orders:
            orders.append(order)
    radius = None if config.radius is None else number(config.radius, "radius", low=0.0)
    if radius is not None and len(orders) > 1:
        raise bad("--radius", expected="one norm for it", got=f"--p {config.p}")
    data = load(config.data, classes=config.classes, n_train=config.n_train, seed=config.seed)
    say_remarks(data)
    with begin("separation", config) as done:
        measured = [_measured(config, data, p) for p in orders]
        rows = [_row(data, p, found) for p, found in zip(orders, measured, strict=True)]
        nearest = {str(row.p): np.asarray(found.nearest) for row, found in zip(rows, measured, strict=True)}
        write_arrays(done.file(FILE), nearest)
        done.write_rows([row.plain() for row in rows])
        done.finish(_summary(config.seed, data, rows, radius, orders[0]), nearest_histogram)
    return done


def next_of(config: Config) -> str:
    """What mostly follows: memorizing the same points, in the norm of the distances where it is one.

    Args:
        config: of the measurement.

    Returns:
        A template as `NEXT`.

    Example:
        >>> next_of(Config(classes="3,8", p="2")), next_of(Config(p="1,2"))
        ('cgro memorize --data {data} --classes {classes} --p {p}', 'cgro memorize --data {data}')
    """
    template = NEXT
    for name in ("classes", "n_train", "seed", "p"):
        if getattr(config, name) != getattr(Config, name) and not (name == "p" and "," in config.p):
            template += f" --{name.replace('_', '-')} {{{name}}}"
    return template


def _measured(config: Config, data: Dataset, p: float) -> Separation:
    """All distances in one norm."""
    train = data.train
    with progress(len(train), f"distances, l_{p:g}") as update:
        return separation(train.raw, train.y, p, threads=config.threads, update=lambda n: update(n, ""))


def _row(data: Dataset, p: float, found: Separation) -> SeparationRow:
    """The separation in one norm."""
    train = data.train
    return SeparationRow(
        p="inf" if p == math.inf else int(p),
        separation=found.value,
        max_radius=found.max_radius,
        pair=list(found.pair),
        pair_index=[int(train.index[j]) for j in found.pair],
        pair_labels=[int(train.y[j]) for j in found.pair],
        quantiles=np.quantile(found.nearest, [0, 0.01, 0.1, 0.5, 0.9, 1]).tolist(),
    )


def _summary(
    seed: int, data: Dataset, rows: Sequence[SeparationRow], radius: float | None, p: float
) -> SeparationSummary:
    admissible, threat = None, None
    if radius is not None:
        admissible = 2 * radius < rows[0].separation
        threat = ThreatRecord.of(ThreatModel(p, radius, None).to_dict())
    if admissible is False:
        say(
            f"warning: radius {radius:g} is not below half the separation, {rows[0].max_radius:.6g}: the balls of "
            "two classes meet, no classifier is right on all of them"
        )
    return SeparationSummary(
        command="separation",
        seed=seed,
        threat=threat,
        outcome=OutcomeRecord(kind="completed", reason=_sentence(rows, radius)),
        verdict=None,
        metrics={},
        data=DatasetRecord.of(data.describe()),
        separation={str(row.p): row.separation for row in rows},
        max_radius={str(row.p): row.max_radius for row in rows},
        admissible=admissible,
        norms=list(rows),
    )


def _sentence(rows: Sequence[SeparationRow], radius: float | None) -> str:
    """What the distances allow, for the norm that was asked for first."""
    first = rows[0]
    text = (
        f"The two nearest training examples of different classes are {first.separation:.4g} apart in l_{first.p}: a "
        f"classifier can be right on all balls of any radius below {first.max_radius:.4g}"
    )
    if radius is None:
        return f"{text}."
    if 2 * radius < first.separation:
        return f"{text}, so at radius {radius:g} too."
    return f"{text}, but at radius {radius:g} no classifier can."


def describe(result: SeparationSummary) -> str:
    """Separation and largest radius in each norm.

    Args:
        result: of a data set.

    Returns:
        A table for the terminal.
    """
    lines = ["norm    separation   largest radius   pair (positions in the source)"]
    for row in result.norms:
        i, k = row.pair_index
        labels = " and ".join(map(str, row.pair_labels))
        lines.append(f"l_{row.p!s:5} {row.separation:11.6g}   below {row.max_radius:.6g}   {i}, {k} (labels {labels})")
    return "\n".join([*lines, "", result.outcome.reason])
