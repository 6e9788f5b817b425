"""The figure of `cgro separation`: how far each example is from the nearest one of another class."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from cgro.reading import read_npz
from cgro.report.style import COMPARED, MARK, ROBUST, figure, norm_text, plain_text
from cgro.report.values import damaged
from cgro.results import SeparationSummary
from cgro.results.summaries import SeparationRow
from cgro.runs import Run

FILE = "nearest.npz"
"""Norm -> (n,) distance of each example to the nearest one of another class."""
N_BINS = 60


def nearest_histogram(folder: Path) -> Path:
    """Draw the distances in each norm; twice the radius of a ball must stay left of the smallest one.

    Args:
        folder: a run of `cgro separation`.

    Returns:
        The PNG; an SVG lies beside it.

    Raises:
        BadRequest: the distances are damaged, or of other norms than the summary.
    """
    run = Run.open(folder)
    found = run.read(SeparationSummary, draft=True)
    source = folder / FILE
    arrays = read_npz(source, follow=False)
    path = folder / "figures" / "separation"
    with figure(path, width=1.0 + 4.0 * len(found.norms), height=3.8) as drawing:
        panels = drawing.subplots(1, len(found.norms), squeeze=False)[0]
        for axes, row in zip(panels, found.norms, strict=True):
            _draw(axes, row, _distances(arrays, str(row.p), str(source)))
            if found.threat is not None:
                axes.axvline(
                    2 * found.threat.radius,
                    color=ROBUST,
                    linewidth=1.4,
                    label=f"twice the radius {found.threat.radius:g}",
                )
            axes.legend(fontsize=8)
        panels[0].set_ylabel("training examples")
        title = f"{plain_text(found.data.name)}: {found.data.n_train:,} examples and their nearest one of another class"
        drawing.suptitle(title, fontsize=11, fontweight="bold")
    return path.with_suffix(".png")


def _distances(arrays: Mapping[str, np.ndarray], p: str, what: str) -> np.ndarray:
    """(n,) distances in one norm."""
    values = arrays.get(p, np.zeros(0))
    if values.ndim != 1 or not values.size or values.dtype.kind != "f" or not np.isfinite(values).all():
        raise damaged(what, expected=f"a list of distances at {p}", got="another array or none")
    return values


def _draw(axes: Axes, row: SeparationRow, values: np.ndarray) -> None:
    axes.hist(values, bins=_bins(values), color=COMPARED[1], alpha=0.6)
    axes.axvline(row.separation, color=MARK, linewidth=1.2, linestyle="-.", label=f"separation {row.separation:.4g}")
    axes.set(xlabel=f"distance ({norm_text(row.p)}, input units)", xlim=(0, None))
    axes.set_title(f"{norm_text(row.p)}: every radius below {row.max_radius:.4g}", fontsize=10)


def _bins(values: np.ndarray) -> Sequence[float]:
    """Edges of equal width from 0, so that the empty part left of the separation is seen."""
    high = float(values.max())
    if math.isclose(high, 0.0):
        high = 1.0
    return np.linspace(0.0, high, N_BINS + 1).tolist()
