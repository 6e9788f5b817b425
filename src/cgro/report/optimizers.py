"""Robust accuracies against the width of a network, by the optimizer that trained it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from matplotlib.axes import Axes

from cgro.report.style import DOTTED, TEST, TRAIN, LineStyle, Look, figure, look_of, plain_text, width_ticks
from cgro.results import Measured


class Evaluated(Protocol):
    """Robust test accuracy under two attacks on the same images, in percent, one number per seed."""

    @property
    def ensemble(self) -> Sequence[float]:
        """Under the ensemble."""
        ...


class Trained(Protocol):
    """Networks of one width: numbers per seed, in percent and points."""

    @property
    def robust_train(self) -> Sequence[float]:
        """On training images, PGD."""
        ...

    @property
    def robust_test(self) -> Sequence[float]:
        """On test images, PGD."""
        ...

    @property
    def gaps(self) -> Sequence[float]:
        """The difference."""
        ...

    @property
    def beside(self) -> Evaluated:
        """On fewer test images."""
        ...


def optimizer_curves(path: Path, starts: Mapping[str, Mapping[int, Trained]], title: str) -> Path:
    """Draw accuracies on the left, robust gaps on the right; means, bars of one standard deviation.

    Args:
        path: of the figure, without ending.
        starts: what the legend calls them -> width -> networks.
        title: of the figure.

    Returns:
        The SVG file.
    """
    with figure(path, 9.6, 4.2) as drawing:
        left, right = drawing.subplots(1, 2, width_ratios=(1.4, 1))
        ticks: set[int] = set()
        for k, (name, widths) in enumerate(starts.items()):
            ticks |= widths.keys()
            look = look_of(k)
            of_width = list(widths.values())
            sizes = list(widths)
            shown = plain_text(name)
            _curve(left, sizes, [own.robust_train for own in of_width], look, TRAIN, f"{shown}: training, PGD")
            _curve(left, sizes, [own.robust_test for own in of_width], look, TEST, f"{shown}: test, PGD")
            _curve(left, sizes, [own.beside.ensemble for own in of_width], look, DOTTED, f"{shown}: test, ensemble")
            _curve(right, sizes, [own.gaps for own in of_width], look, TEST, shown)
        for axes in (left, right):
            width_ticks(axes, ticks)
            axes.set(xlabel="width of LeNet")
            axes.legend(fontsize=8)
        left.set(ylabel="robust accuracy (%)", ylim=(0, 103))
        right.set(ylabel="robust gap under PGD, training - test (points)")
        right.set_ylim(bottom=0)
        drawing.suptitle(plain_text(title), fontsize=11, fontweight="bold")
    return path.with_suffix(".svg")


def _curve(
    axes: Axes,
    sizes: Sequence[int],
    values: Sequence[Sequence[float]],
    look: Look,
    style: LineStyle,
    label: str,
) -> None:
    """Draw means, and bars of one standard deviation over seeds."""
    found = [Measured.of(seeds) for seeds in values]
    mean = [one.mean for one in found]
    sd = [one.sd if one.n > 1 else 0.0 for one in found]
    axes.errorbar(sizes, mean, sd, color=look.color, marker=look.marker, markersize=4, capsize=2, label=label, **style)
