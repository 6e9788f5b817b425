"""Figures of Section 4: decision regions of f_clean and f_S, the hierarchy of sizes, the count of parameters."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch

from cgro._check import bad, number
from cgro.reading import attempt
from cgro.report.style import (
    CLEAN,
    COMPARED,
    HATCHES,
    INK,
    MARK,
    MEMORY,
    PAPER,
    ROBUST,
    figure,
    look_of,
    norm_text,
    plain_text,
)
from cgro.report.values import Number, read_arrays
from cgro.results import FloorRow, LowerBoundSummary, read_value
from cgro.runs import Run

LOG10_OF_2 = math.log10(2)
REGIONS = ListedColormap([COMPARED[1], COMPARED[2]])
"""Of two classes."""
MOST_REGIONS = len(COMPARED) * len(HATCHES)
"""Classes whose regions differ in color or hatch; more share them, and the legend names these."""
REGION_ALPHA = 0.45


@dataclass(frozen=True)
class Plane:
    """Answers on a plane through three training images, as `slice.npz` holds them.

    Attributes:
        s: (S,) coordinates along the first direction, in units of the input.
        t: (T,) coordinates along the second.
        clean: (T, S) answers of f_clean: scores of two classes, else classes.
        hard: (T, S) answers of f_S.
        network: (T, S) answers of the network.
        ball: (T, S) whether a point lies in the ball of one of the images.
        corners: (3, 2) coordinates of the images.
        labels: (3,) their labels.
        binary: () whether there are two classes, -1 and 1.
    """

    s: np.ndarray
    t: np.ndarray
    clean: np.ndarray
    hard: np.ndarray
    network: np.ndarray
    ball: np.ndarray
    corners: np.ndarray
    labels: np.ndarray
    binary: np.ndarray


class _Settings(msgspec.Struct):
    """What the title names; these are shown as text, whatever they are."""

    data: object
    p: object
    radius: object


class _Toy(msgspec.Struct):
    """Robust test errors of the memorizer in one dimension, as fractions."""

    dim: int
    expected: Number
    robust_test: Number


class _Count(msgspec.Struct):
    """Parameters of the indicator layers of one memorizer: counted, and by its formula."""

    variant: str
    data: str
    n: int
    dim: int
    measured: Number
    generic: Number

    @property
    def size(self) -> int:
        """Training points times dimension."""
        return self.n * self.dim


def decision_regions(folder: Path) -> Path | None:
    """Draw what f_clean and f_S answer on a plane through three training images, and the balls.

    Args:
        folder: a run of `cgro memorize`.

    Returns:
        The PNG, an SVG lies beside it; None where no plane was kept.

    Raises:
        BadRequest: the plane or the settings are damaged.
    """
    source = folder / "slice.npz"
    if not source.exists():
        return None
    plane = read_arrays(source, Plane, writer="cgro memorize")
    shape = len(plane.t), len(plane.s)
    for answers in (plane.clean, plane.hard, plane.network, plane.ball):
        if answers.shape != shape:
            raise bad(str(source), expected=f"answers of the shape {shape} of the plane", got=answers.shape)
    settings = read_value(Run(folder).config, str(folder / "config.yaml"), _Settings)
    path = folder / "figures" / "decision_regions"
    round_balls = _radius(settings)
    with figure(path, width=10.0, height=4.2) as drawing:
        left, middle, right = drawing.subplots(1, 3, sharex=True, sharey=True)
        _draw_answers(left, plane, plane.clean, r"$f_{clean}$", round_balls)
        _draw_answers(middle, plane, plane.hard, r"$f_S$ (Lemma 4.5)", round_balls)
        _draw_answers(right, plane, plane.network, "F, the ReLU network", round_balls)
        left.set_ylabel("second direction (input units)")
        balls = f"{norm_text(settings.p)} balls, radius {plain_text(settings.radius)}"
        drawing.legend(handles=_legend(plane), loc="outside lower center", ncols=6, fontsize=9)
        title = f"{plain_text(settings.data)}: plane through three training images and their {balls}"
        drawing.suptitle(title, fontsize=10)
    return path.with_suffix(".png")


def _radius(settings: _Settings) -> float | None:
    """Of balls that the plane cuts in a circle: those of l_2, as their centers lie in it; None of other norms."""
    radius = settings.radius
    if str(settings.p) != "2" or not isinstance(radius, str | int | float):
        return None
    return attempt(lambda: number(radius, "radius"))  # text that is no number was not written by cgro


def _legend(plane: Plane) -> list[Artist]:
    """The answers that the plane shows, then the balls and their images."""
    entries: list[Artist] = []
    if plane.binary:
        for label, color in ((-1, REGIONS(0)), (1, REGIONS(1))):
            entries.append(Patch(facecolor=color, alpha=REGION_ALPHA, label=f"answer {label:+d}"))
    else:
        for k, answer in enumerate(_answers(plane)[:MOST_REGIONS]):
            look = look_of(k)
            entries.append(
                Patch(facecolor=look.color, hatch=look.hatch, alpha=REGION_ALPHA, label=f"answer {int(answer)}")
            )
    entries.append(Line2D([], [], color=INK, linewidth=0.9, label="edge of a ball"))
    image = Line2D([], [], marker="o", color=PAPER, markeredgecolor=INK, linestyle="none")
    image.set_label("training image and its label")
    entries.append(image)
    return entries


def _answers(plane: Plane) -> np.ndarray:
    """(A,) classes that any of the three functions answers, the smallest first."""
    return np.unique(np.concatenate([part.ravel() for part in (plane.clean, plane.hard, plane.network)]))


def _draw_answers(axes: Axes, plane: Plane, answers: np.ndarray, title: str, radius: float | None) -> None:
    """Draw the regions of one function, the balls and the images with their labels."""
    if plane.binary:
        axes.contourf(plane.s, plane.t, np.sign(answers), levels=[-2, 0, 2], cmap=REGIONS, alpha=REGION_ALPHA)
        axes.contour(plane.s, plane.t, answers, levels=[0], colors=MARK, linewidths=0.8)
    else:
        for k, answer in enumerate(_answers(plane)):
            look = look_of(k)
            region = (answers == answer).astype(float)
            if region.any():
                fill = {"colors": [look.color], "hatches": [look.hatch], "alpha": REGION_ALPHA}
                axes.contourf(plane.s, plane.t, region, levels=[0.5, 1.5], **fill)
    if radius is None:
        axes.contour(plane.s, plane.t, plane.ball.astype(float), levels=[0.5], colors=INK, linewidths=0.9)
    for corner, label in zip(plane.corners, plane.labels, strict=True):
        if radius is not None:
            axes.add_patch(Circle((float(corner[0]), float(corner[1])), radius, fill=False, linewidth=0.9))
        axes.plot(*corner, marker="o", color=PAPER, markeredgecolor=INK, markersize=5)
        axes.annotate(
            f"{label:+d}" if plane.binary else str(label),
            corner,
            xytext=(9, 9),
            textcoords="offset points",
            fontsize=9,
            bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.7, "pad": 1},
        )
    axes.set(title=title, xlabel="first direction (input units)", aspect="equal")
    axes.grid(visible=False)


def hierarchy(folder: Path) -> Path | None:
    """Draw parameters against the dimension D: clean, CGRO (upper bound), robust (lower bound and a construction).

    Args:
        folder: a run of `cgro lower-bound`.

    Returns:
        The PNG, an SVG lies beside it; None where no dimension was computed.
    """
    run = Run(folder)
    rows = run.rows_as(FloorRow)
    found = run.read(LowerBoundSummary, draft=True)
    if not rows or found.threat is None:
        return None
    dims = [row.dim for row in rows]
    construction = _log10([row.log2_construction for row in rows])
    floor = _log10([row.log2_floor for row in rows])
    memorizer = _log10([row.log2_memorizer for row in rows])
    clean = _log10([row.log2_clean for row in rows])
    path = folder / "figures" / "hierarchy"
    with figure(path, width=7.2, height=4.6) as drawing:
        axes = drawing.subplots()
        axes.plot(dims, construction, color=ROBUST, linestyle="--", label="robust: a network we build")
        axes.plot(dims, floor, color=ROBUST, label="robust: no smaller network can (Theorem 4.7)")
        axes.fill_between(dims, floor, construction, color=ROBUST, alpha=0.10, linewidth=0)
        memorizes = f"CGRO: memorizer of N = {found.n_points:,} points"
        axes.plot(dims, memorizer, color=MEMORY, linestyle="-.", label=memorizes)
        axes.plot(dims, clean, color=CLEAN, linestyle=":", label="clean: 2 parameters, error 0")
        if found.crossing is not None:
            axes.axvline(found.crossing, ymax=0.5, color=MARK, linewidth=0.9)
            where = f"at D = {found.crossing:g}"
            if found.crossing == min(dims) > 2:
                where = f"at D = {found.crossing:g}, or before"
            axes.annotate(
                f"the lower bound passes the memorizer {where}",
                (found.crossing, 0),
                xytext=(6, 6),
                textcoords="offset points",
                fontsize=9,
                color=MARK,
            )
        axes.set(xlabel="dimension D", ylabel=r"$\log_{10}$ of non-zero parameters")
        axes.set_title(rf"Cheap to memorize, expensive to generalize ($\delta$ = {found.threat.radius:g})")
        axes.legend(fontsize=9, loc="upper left")
    return path.with_suffix(".png")


def _log10(log2: Sequence[float | None]) -> np.ndarray:
    """From base 2; None becomes NaN, which no line is drawn through."""
    return np.array(log2, float) * LOG10_OF_2


def toy(folder: Path, rows: Sequence[Mapping[str, object]], n_points: int) -> Path:
    """Draw the errors of the memorizer on the worst-case family against D: CGRO appears with the dimension.

    Args:
        folder: the run that takes the figure.
        rows: for each dimension its `dim`, and the robust test error `expected` and of one draw (`robust_test`).
        n_points: training points N.

    Returns:
        The PNG; an SVG lies beside it.
    """
    found = read_value(list(rows), "the errors of the toy", list[_Toy])
    path = folder / "figures" / "toy"
    dims = [one.dim for one in found]
    expected = 100 * np.array([one.expected for one in found])
    drawn = 100 * np.array([one.robust_test for one in found])
    with figure(path, width=6.4, height=4.0) as drawing:
        axes = drawing.subplots()
        axes.plot(dims, expected, color=ROBUST, label="robust test error, expected")
        axes.plot(dims, drawn, "o", color=ROBUST, label="one draw, exact")
        axes.plot(dims, [0] * len(dims), color=CLEAN, linestyle="--", label="clean test and robust training error")
        axes.set(xlabel="dimension D", ylabel="error (%)", ylim=(-3, 103))
        axes.set_title(f"The memorizer on the worst-case family, N = {n_points}")
        axes.legend(fontsize=9, loc="upper left")
    return path.with_suffix(".png")


def parameter_law(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Draw the non-zero parameters of the indicator layers against N D, counted and by formula.

    Args:
        path: of the figure; its suffix is replaced.
        rows: for each memorizer its `variant`, `data` ("random" or "mnist5k"), `n`, `dim`, and its parameters
            `measured` and by formula (`generic`).

    Returns:
        The PNG; an SVG lies beside it.
    """
    found = read_value(list(rows), "the parameters of the memorizers", list[_Count])
    looks = (
        ("box", "6ND + N", COMPARED[0], "-"),
        ("compact", "at most 6ND + N", MARK, ":"),
        ("lean", "3ND + 4N + D", COMPARED[1], "-"),
        ("shared", "ND + 4N + (8m-1)D + m", COMPARED[2], "-"),
    )
    with figure(path, width=7.0, height=4.4) as drawing:
        axes = drawing.subplots()
        for variant, formula, color, linestyle in looks:
            counts = sorted((one for one in found if one.variant == variant), key=lambda one: (one.size, one.generic))
            sizes = np.array([one.size for one in counts])
            generic = np.array([one.generic for one in counts])
            measured = np.array([one.measured for one in counts])
            random = np.array([one.data == "random" for one in counts], bool)
            real = np.array([one.data == "mnist5k" for one in counts], bool)
            look = {"color": color, "markersize": 5, "alpha": 0.8, "linestyle": "none"}
            axes.loglog(sizes[random], measured[random], marker="o", **look)
            axes.loglog(sizes[real], measured[real], marker="s", markerfacecolor=PAPER, **look)
            label = f"{variant}: {formula}"
            axes.loglog(sizes, generic, color=color, linewidth=0.9, linestyle=linestyle, label=label)
        axes.plot([], [], "o", color=MARK, label="counted, random data")
        axes.plot([], [], "s", color=MARK, markerfacecolor=PAPER, label="counted, mnist5k")
        axes.set(xlabel="training points N times dimension D", ylabel="non-zero parameters of the indicators")
        axes.set_title("Parameters that memorization takes")
        axes.legend(fontsize=8)
    return path.with_suffix(".png")
