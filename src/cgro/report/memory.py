"""The memory probe: attacked margins, and which examples are memorized."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes

from cgro.reading import read_json, read_npz
from cgro.report.style import MARK, MEMORY, ROBUST, figure, line_of, plain_text
from cgro.report.values import damaged, drawable
from cgro.results import MemoryRecord, QuarterRecord, read_value

PARTS = ("train", "test")
QUARTERS = ("nearest", "2nd", "3rd", "farthest")


@dataclass(frozen=True)
class Shares:
    """Four shares, one per quarter of the examples, and how sure they are. Figures show them in percent.

    Attributes:
        share: (4,) fractions.
        spread: (4,) or (2, 4) lengths of the bars below and above; None where none are drawn.
    """

    share: np.ndarray
    spread: np.ndarray | None = None

    @property
    def percent(self) -> "Shares":
        """The same in percent."""
        if self.spread is None:
            return Shares(100 * self.share)
        return Shares(100 * self.share, 100 * self.spread)

    @classmethod
    def over_seeds(cls, values: Sequence[Sequence[float]]) -> "Shares":
        """Average over seeds.

        Args:
            values: (seeds, 4) fractions.

        Returns:
            Means, with one standard deviation; of one seed 0.
        """
        found = np.array(values, float)
        return cls(found.mean(0), found.std(0, ddof=min(1, len(found) - 1)))


def draw(folder: Path) -> Path:
    """Draw margins as cumulative shares; with a standard network, shares by quarter; with retraining, what it gains.

    Args:
        folder: a run of `cgro memory`.

    Returns:
        The PNG; an SVG lies beside it.

    Raises:
        BadRequest: a file of the run is damaged or of another shape.
    """
    what = str(folder / "memory.json")
    found = read_value(read_json(folder / "memory.json"), what, MemoryRecord)
    if found.quarters and len(found.quarters) != len(QUARTERS):
        raise damaged(what, expected=f"{len(QUARTERS)} quarters", got=len(found.quarters))
    if found.influence and len(found.influence) != len(QUARTERS):
        raise damaged(what, expected=f"a memorization value for each of {len(QUARTERS)} quarters", got=found.influence)
    source = folder / "examples.npz"
    arrays = read_npz(source)
    margins = {part: _margins_of(arrays, part, str(source)) for part in PARTS}
    n_panels = 1 + bool(found.quarters) + bool(found.influence)
    path = folder / "figures" / "memory"
    with figure(path, width=1.2 + 3.6 * n_panels, height=3.8) as drawing:
        panels = iter(drawing.subplots(1, n_panels, squeeze=False)[0])
        _draw_margins(next(panels), margins)
        if found.quarters:
            _draw_quarters_of_one(next(panels), found.quarters)
        if found.influence:
            by_standard = "train/clean_flip" in arrays
            _draw_memorization(next(panels), drawable(found.influence), by_standard=by_standard)
        title = f"Memorization in the balls of radius {found.radius:.3g}"
        drawing.suptitle(title, fontsize=11, fontweight="bold")
    return path.with_suffix(".png")


def _margins_of(arrays: Mapping[str, np.ndarray], part: str, what: str) -> np.ndarray:
    """(n,) attacked margins of a part."""
    margins = arrays.get(f"{part}/margin", np.zeros(0))
    if margins.ndim != 1 or not margins.size or margins.dtype.kind != "f":
        raise damaged(what, expected=f"a list of margins at {part}/margin", got="another array or none")
    return margins


def _draw_margins(axes: Axes, margins: Mapping[str, np.ndarray]) -> None:
    """Draw cumulative shares. Left of 0 an example is misclassified: the height there is the robust error."""
    for part, values in margins.items():
        shares = 100 * np.arange(1, len(values) + 1) / len(values)
        axes.step(np.sort(values), shares, where="post", label=part, color=ROBUST, **line_of(part))
    low, high = np.percentile(np.concatenate(list(margins.values())), (1, 99))
    axes.axvline(0, color=MARK, linewidth=1, linestyle="-.")
    axes.set(xlabel="attacked margin (logits)", ylabel="examples below (%)", xlim=(low, high), ylim=(0, 100))
    axes.legend(fontsize=9)


def _draw_quarters_of_one(axes: Axes, quarters: Sequence[QuarterRecord]) -> None:
    """Draw the quarters of one run; bars are 95% intervals."""
    memory = np.array([quarter.memory for quarter in quarters])
    low, high = np.array([quarter.interval for quarter in quarters]).T
    robust = {
        "train": Shares(np.array([quarter.train for quarter in quarters])),
        "test": Shares(np.array([quarter.test for quarter in quarters])),
    }
    _draw_quarters(axes, robust, Shares(memory, np.array([memory - low, high - memory])))


class QuartersOverSeeds(Protocol):
    """Shares as fractions, (seeds, 4)."""

    @property
    def train(self) -> Sequence[Sequence[float]]:
        """Of training images that are robust."""
        ...

    @property
    def test(self) -> Sequence[Sequence[float]]:
        """Of test images."""
        ...

    @property
    def memory(self) -> Sequence[Sequence[float]]:
        """The difference."""
        ...


def over_seeds(path: Path, data: Mapping[str, QuartersOverSeeds]) -> Path:
    """Draw the quarters of several seeds, one panel per data set; bars are one standard deviation.

    Args:
        path: of the figure; its suffix is replaced.
        data: name -> quarters.

    Returns:
        The SVG; a PNG lies beside it.
    """
    with figure(path, width=1.0 + 4.0 * len(data), height=3.8) as drawing:
        panels = drawing.subplots(1, len(data), squeeze=False)[0]
        for axes, (name, found) in zip(panels, data.items(), strict=True):
            robust = {"train": Shares.over_seeds(found.train), "test": Shares.over_seeds(found.test)}
            _draw_quarters(axes, robust, Shares.over_seeds(found.memory))
            axes.set_title(plain_text(name))
    return path.with_suffix(".svg")


def _draw_quarters(axes: Axes, robust: Mapping[str, Shares], memory: Shares) -> None:
    """Draw the shares still correctly classified under attack, and as bars their difference, train minus test."""
    place = np.arange(len(QUARTERS))
    for part in PARTS:
        found = robust[part].percent
        axes.errorbar(
            place,
            found.share,
            found.spread,
            marker="o",
            capsize=3,
            label=f"robust, {part}",
            color=ROBUST,
            **line_of(part),
        )
    memorized = memory.percent
    axes.bar(
        place,
        memorized.share,
        0.5,
        yerr=memorized.spread,
        color=MEMORY,
        ecolor=MEMORY,
        alpha=0.4,
        capsize=3,
        label="memorized: train - test",
    )
    axes.set(xlabel="quarter by distance to the standard boundary", ylabel="robust under attack (%)")
    axes.set_ylim(None, 103)
    axes.set_xticks(place, QUARTERS)
    axes.legend(fontsize=8)


def _draw_memorization(axes: Axes, values: np.ndarray, *, by_standard: bool) -> None:
    """Draw by quarter what training on an example adds to the probability that it is robust."""
    place = np.arange(len(QUARTERS))
    axes.bar(place, 100 * values, 0.5, color=MEMORY, alpha=0.6)
    boundary = "the standard boundary" if by_standard else "the boundary"
    axes.set(xlabel=f"quarter by distance to {boundary}", ylabel="robust if trained on - if left out (points)")
    axes.set_xticks(place, QUARTERS)
