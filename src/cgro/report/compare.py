"""A comparison of remedies: one table, one figure and one HTML page, from its summary alone."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from msgspec import UnsetType

from cgro import __version__
from cgro.report.markdown import line_of
from cgro.report.page import beside, csp_hash, templates
from cgro.report.style import MARK, PAPER, counted, figure, look_of, name_mark, plain_text
from cgro.report.values import drawable, radius_text
from cgro.results import CompareSummary, Measured, Metric, RemedyRecord
from cgro.results.keys import CLEAN_TEST, ON_VALIDATION, ROBUST_TEST, ROBUST_TRAIN
from cgro.writing import dump_csv, write_atomic

MEBIBYTE = float(1 << 20)
GAP = "robust_gap"
FLATNESS = "flatness/gradient/test"
SCORE = "memory/score"
EPOCHS = "epochs"
PASSES = "passes"
SECONDS = "seconds"
PEAK = "peak_memory"
WORDS = {
    "reference": "reference",
    "helps": "helps",
    "only_fits_less": "only fits less",
    "harms": "harms",
    "no_effect_shown": "no effect shown",
    "too_few_seeds": "too few seeds",
}
"""Effects as the page calls them."""
GOOD = ("completed", "stopped")
"""Outcomes of a training that need no remark; `stopped` is early stopping, which the epochs show."""
NOTES = (
    "Robust errors are those of the strong attack: lower bounds. The gap is robust test minus robust training error. "
    "Means over seeds, in brackets the sample standard deviation.",
    "A gradient pass is one example once forward and once backward through the network. Epochs are set so that all "
    "remedies make as many, to within half an epoch; one that sets its epochs itself is marked with a star. Passes of "
    "the table are those that were made. Seconds are of the training steps alone. Peak memory is that of the process "
    "of the training, program and data included (on a GPU, of the device); in one process a later training counts "
    "what earlier jobs left, with --workers 2 each has a process of its own.",
    "Differences are paired by seed (networks of one seed have the same data and order), with Student's 95% interval "
    "over seeds; they are not corrected for the number of remedies. All networks are evaluated on the same images, so "
    "what other images would give is not in the interval.",
    "A remedy helps if its robust test error is shown to fall. It only fits less if its gap closes because the robust "
    "training error rises, by more than the robust test error falls, and no fall of the latter is shown.",
    "Flatness is the largest gradient of the loss in balls of the training radius around test images, a lower bound. "
    "The memory score says by how many logits training images are farther from being misclassified than test images.",
)


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Args:
        key: of the metric.
        title: with the unit.
        scale: by which values are multiplied.
        digits: behind the decimal point.
    """

    key: str
    title: str
    scale: float = 100.0
    digits: int = 1

    def cell(self, metric: Metric | None) -> str:
        """Mean and standard deviation.

        Args:
            metric: over seeds; None where there is none.

        Returns:
            Such as 41.2 (0.8), or "none".

        Example:
            >>> Column("e", "error (%)").cell(Metric.over_seeds([0.4, 0.42, None]))
            '41.0 (1.4)'
        """
        values = [] if metric is None else [value for value in metric.by_seed if value is not None]
        known = Measured.of(self.scale * np.array(values, float))
        if not known.n:
            return "none"
        if known.n == 1:
            return f"{known.mean:,.{self.digits}f}"
        return f"{known.mean:,.{self.digits}f} ({known.sd:,.{self.digits}f})"


COLUMNS = (
    Column(ROBUST_TEST, "robust test error, last epoch (%)"),
    Column(ROBUST_TEST + ON_VALIDATION, "robust test error, selected epoch (%)"),
    Column(CLEAN_TEST, "clean test error, last epoch (%)"),
    Column(CLEAN_TEST + ON_VALIDATION, "clean test error, selected epoch (%)"),
    Column(ROBUST_TRAIN, "robust training error (%)"),
    Column(GAP, "gap (points)"),
    Column(FLATNESS, "flatness (nats / unit)", scale=1.0, digits=2),
    Column(SCORE, "memory score (logits)", scale=1.0, digits=2),
    Column(EPOCHS, "epochs", scale=1.0, digits=0),
    Column(PASSES, "gradient passes (1000)", scale=1e-3, digits=0),
    Column(SECONDS, "seconds", scale=1.0, digits=0),
    Column(PEAK, "peak memory (MiB)", scale=1 / MEBIBYTE, digits=0),
)


def head_of() -> list[str]:
    """Titles of the columns of the table.

    Returns:
        The remedy's name first.
    """
    return ["remedy", *(column.title for column in COLUMNS)]


def rows_of(result: CompareSummary) -> list[list[str]]:
    """The rows of the table.

    Args:
        result: of the comparison.

    Returns:
        One per remedy and width.
    """
    rows = []
    for name, record in result.remedies.items():
        star = " *" if record.own_epochs else ""
        rows.append([name + star, *(column.cell(record.metrics.get(column.key)) for column in COLUMNS)])
    return rows


def differences_of(result: CompareSummary) -> list[list[str]]:
    """Differences to the reference, with their intervals.

    Args:
        result: of the comparison.

    Returns:
        One row per remedy that is not the reference: name, the differences of `DIFFERENCES`, and the effect.
    """
    rows = []
    for name, record in result.remedies.items():
        if record.remedy == result.reference:
            continue
        cells = [_points(record.differences.get(key)) for key in DIFFERENCES]
        rows.append([name, *cells, WORDS.get(record.effect.label, record.effect.label)])
    return rows


DIFFERENCES: Mapping[str, str] = {
    ROBUST_TEST: "robust test error",
    ROBUST_TEST + ON_VALIDATION: "the same at the selected epoch",
    CLEAN_TEST: "clean test error",
    ROBUST_TRAIN: "robust training error",
    GAP: "gap",
}
"""Metric -> title of its column."""


def _points(metric: Metric | None) -> str:
    if metric is None or metric.typical is None:
        return "none"
    text = f"{100 * metric.typical:+.1f}"
    if not metric.interval:
        return f"{text} (one seed, no interval)"
    low, high = metric.interval
    return f"{text} [{100 * low:+.1f}, {100 * high:+.1f}]"


def sentences_of(result: CompareSummary) -> list[str]:
    """What is found of each remedy, and what did not end well.

    Args:
        result: of the comparison.

    Returns:
        One line each.
    """
    lines = []
    for name, record in result.remedies.items():
        if record.remedy != result.reference:
            lines.append(f"{name}: {WORDS.get(record.effect.label, record.effect.label)}: {record.effect.reason}")
    for name, record in result.remedies.items():
        for number, outcome in enumerate(record.outcomes):
            if outcome.kind not in GOOD:
                lines.append(f"{name}, seed {result.seed + number}: {outcome.kind}: {outcome.reason}")
    if not isinstance(result.remarks, UnsetType):
        lines += result.remarks
    return lines


def setting_of(result: CompareSummary) -> str:
    """What was compared, in a sentence.

    Args:
        result: of the comparison.

    Returns:
        Data, network, threat, attack and seeds.
    """
    network = result.model.name
    if result.model.width is not None:
        network += f" of width {result.model.width}"
    data = "no data yet"
    if result.data is not None:
        data = f"{result.data.note or result.data.name}, {result.data.n_train:,} training images"
    threat = ""
    if result.threat is not None:
        threat = f"l_{result.threat.p} radius {radius_text(result.threat.radius)}"
    n = f"{result.n} images of each part"
    return f"{network} on {data}; {threat}; {result.attack} on at most {n}; {counted(result.seeds, 'seed')}"


def text(result: CompareSummary) -> str:
    """The comparison for the terminal.

    Args:
        result: of the comparison.

    Returns:
        Lines of text.
    """
    head = ["remedy", "robust last", "selected", "clean", "robust train", "gap", "passes"]
    keys = (ROBUST_TEST, ROBUST_TEST + ON_VALIDATION, CLEAN_TEST, ROBUST_TRAIN, GAP, PASSES)
    columns = {column.key: column for column in COLUMNS}
    rows = [head]
    for name, record in result.remedies.items():
        cells = [columns[key].cell(record.metrics.get(key)) for key in keys[:-1]]
        rows.append([name, *cells, f"{record.passes:,}"])
    wide = [max(len(row[k]) for row in rows) for k in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, wide, strict=True)).rstrip() for row in rows]
    lines += ["", "errors in %, mean (sd) over seeds", "", *sentences_of(result)]
    if result.n_open:
        lines.append(f"{result.n_open} jobs are not made yet; the same command goes on")
    return "\n".join(lines)


def write(folder: Path, result: CompareSummary) -> None:
    """The table, the figure and the page.

    Args:
        folder: of the comparison.
        result: its summary; what is not made yet is left out.
    """
    write_atomic(folder / "tables" / "compare.csv", dump_csv(head_of(), rows_of(result)))
    path = folder / "figures" / "pareto"
    path.parent.mkdir(exist_ok=True)
    draw(path, result.remedies)
    write_atomic(folder / "index.html", html(result, path.with_suffix(".svg").read_bytes()).encode())


def html(result: CompareSummary, drawing: bytes) -> str:
    """The page as one file that needs nothing beside it; its policy allows no script at all.

    Args:
        result: of the comparison.
        drawing: the figure, SVG.

    Returns:
        The whole file.
    """
    jinja = templates()
    jinja.filters.update(line=line_of)
    style = beside("compare.css")
    return jinja.get_template("compare.html").render(
        setting=setting_of(result),
        n_open=result.n_open,
        head=head_of(),
        rows=rows_of(result),
        reference=result.reference,
        difference_head=["remedy", *DIFFERENCES.values(), "effect"],
        differences=differences_of(result),
        sentences=sentences_of(result),
        options=[(name, _options(record)) for name, record in result.remedies.items()],
        failed=result.failed,
        notes=NOTES,
        picture="data:image/svg+xml;base64," + base64.b64encode(drawing).decode(),
        caption=CAPTION,
        style=Markup(style),
        style_hash=csp_hash(style),
        version=__version__,
    )


CAPTION = (
    "Left: robust against clean test error at the last epoch; lower left is better, and the line joins the means that "
    "no other is better than in both. Right: robust test against robust training error; on the dotted line there is no "
    "gap. To the right of the reference a network has learned less of its training set; only below it is a network "
    "more robust. Small marks are seeds, large ones their means."
)


FRONT = "no other is better in both"
NO_GAP = "training error = test error"


def _options(record: RemedyRecord) -> str:
    parts = []
    for name, value in record.options.items():
        several = value if isinstance(value, list) else [value]
        parts.append(f"{name} {' + '.join(str(one) for one in several)}")
    return ", ".join([*parts, f"{record.epochs} epochs, {record.passes:,} gradient passes planned"])


def draw(path: Path, remedies: Mapping[str, RemedyRecord]) -> None:
    """Clean against robust error, and robust training against robust test error: seeds as points, the mean as mark.

    Args:
        path: of the figure, without ending.
        remedies: name -> record.
    """
    with figure(path, 9.6, 4.8) as drawing:
        left, right = drawing.subplots(1, 2)
        _clouds(left, remedies, CLEAN_TEST)
        _clouds(right, remedies, ROBUST_TRAIN)
        _front(left, remedies)
        _diagonal(right)
        left.set(xlabel="clean test error (%)", ylabel="robust test error (%)", title="Clean against robust")
        right.set(
            xlabel="robust training error (%)", ylabel="robust test error (%)", title="Learned less, or more robust?"
        )
        handles, labels = left.get_legend_handles_labels()
        if handles:
            for line, label in zip(*right.get_legend_handles_labels(), strict=True):
                if label == NO_GAP:
                    handles, labels = [*handles, line], [*labels, label]
            drawing.legend(handles, labels, loc="outside lower center", ncols=min(5, len(handles)), fontsize=9)
        else:
            left.text(0.5, 0.5, "nothing measured yet", transform=left.transAxes, ha="center", color=MARK)


def _points_of(record: RemedyRecord, x: str) -> np.ndarray:
    """(seeds, 2) in percent, of the seeds that have both numbers."""
    rows = []
    for one in (x, ROBUST_TEST):
        metric = record.metrics.get(one)
        rows.append(drawable([] if metric is None else metric.by_seed))
    found = 100 * np.stack(rows, axis=1)
    return found[~np.isnan(found).any(1)]


def _clouds(axes: Axes, remedies: Mapping[str, RemedyRecord], x: str) -> None:
    several = False
    for k, (name, record) in enumerate(remedies.items()):
        points = _points_of(record, x)
        if not len(points):
            continue
        color, marker, _ = look_of(k)
        mean = points.mean(0)
        if len(points) > 1:
            axes.plot(points[:, 0], points[:, 1], marker, color=color, markersize=4, alpha=0.45, markeredgewidth=0)
            several = True
        axes.plot(*mean, marker, color=color, markersize=9, label=plain_text(name), markeredgecolor=PAPER, zorder=3)
        name_mark(axes, plain_text(name, 24), tuple(mean), color)
    if several:
        axes.plot([], [], "o", color=MARK, markersize=4, alpha=0.45, markeredgewidth=0, label="small: one seed")
    axes.margins(0.18)


def _front(axes: Axes, remedies: Mapping[str, RemedyRecord]) -> None:
    means = []
    for record in remedies.values():
        points = _points_of(record, CLEAN_TEST)
        if len(points):
            mean = points.mean(0)
            means.append((float(mean[0]), float(mean[1])))
    front = pareto(means)
    if len(front) > 1:
        axes.plot(*zip(*front, strict=True), color=MARK, linewidth=1, linestyle="-", zorder=1, label=FRONT)


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other is at least as good as in both coordinates and better in one; smaller is better.

    Args:
        points: in the plane.

    Returns:
        Those, by their first coordinate.

    Example:
        >>> pareto([(1.0, 3.0), (2.0, 2.0), (2.0, 4.0), (3.0, 2.0)])
        [(1.0, 3.0), (2.0, 2.0)]
    """
    found: list[tuple[float, float]] = []
    for point in sorted(set(points)):
        if not found or point[1] < found[-1][1]:
            found.append(point)
    return found


def _diagonal(axes: Axes) -> None:
    """Where training and test error are equal, as far as it crosses what is drawn."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    low, high = max(left, bottom), min(right, top)
    if low < high:
        axes.plot([low, high], [low, high], color=MARK, linewidth=1, linestyle=":", zorder=1, label=NO_GAP)
    axes.set(xlim=(left, right), ylim=(bottom, top))
