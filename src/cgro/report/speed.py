"""The figure of `cgro bench`: what each way takes over the bare passes."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from cgro.report.style import COMPARED, MARK, figure, plain_text
from cgro.report.values import drawable
from cgro.results import BenchSummary, SpeedRow
from cgro.runs import Run


def ratios_figure(folder: Path) -> Path:
    """Draw the seconds of each way over those of its floor, with quartiles.

    Args:
        folder: a run of `cgro bench`.

    Returns:
        The PNG; an SVG lies beside it.

    Raises:
        BadRequest: no such run.
    """
    run = Run.open(folder)
    found = run.read(BenchSummary, draft=True)
    path = folder / "figures" / "speed"
    with figure(path, width=7.0, height=1.6 + 0.4 * len(found.rows)) as drawing:
        axes = drawing.subplots()
        for place, row in enumerate(found.rows):
            _bar(axes, place, row)
        axes.axvline(1.0, color=MARK, linewidth=1.2, linestyle="-.", label="the bare passes")
        axes.set_yticks(range(len(found.rows)), [plain_text(f"{row.work}, {row.way}") for row in found.rows])
        axes.invert_yaxis()
        axes.set(xlabel="seconds over those of the bare passes (median, quartiles)", xlim=(0, None))
        axes.legend(fontsize=8)
        title = f"{plain_text(found.model.name)} on {plain_text(found.data.name)}, batch {found.batch_size}"
        axes.set_title(f"{title}\n{plain_text(found.device)}, {found.threads} threads", fontsize=10)
    return path.with_suffix(".png")


def _bar(axes: Axes, place: int, row: SpeedRow) -> None:
    """One way; peers are gray."""
    over = row.over_floor
    low, middle, high = drawable([over.low, over.median, over.high])
    error = np.clip([[middle - low], [high - middle]], 0.0, None)
    axes.barh(place, middle, xerr=error, color=COMPARED[1] if row.ours else MARK, alpha=0.7, capsize=3)
