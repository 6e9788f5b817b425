"""The figure of a diagnosis: curves, the fitted valley, the onset, learning-rate drops and the verdict."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from cgro.report.curves import CURVES
from cgro.report.style import INK, MARK, figure, line_of, wrapped_text
from cgro.results import DiagnoseSummary
from cgro.runs import Run

HEADLINES = {
    "robust": "no large robust gap",
    "clean_overfitting": "ordinary overfitting",
    "cgro": "clean generalization and robust overfitting (CGRO)",
}
"""Words for a label that, as it is, would be read as praise or as jargon."""


def words_of(label: str) -> str:
    """A label as a reader understands it.

    Args:
        label: of a verdict.

    Returns:
        Its words.

    Example:
        >>> words_of("robust"), words_of("robust_overfitting")
        ('no large robust gap', 'robust overfitting')
    """
    return HEADLINES.get(label, label.replace("_", " "))


def explanation(label: str, reason: str) -> str:
    """What a reason says beyond the words of its label.

    Args:
        label: of the verdict.
        reason: its sentence.

    Returns:
        The sentence, without a beginning that only repeats the label.

    Example:
        >>> explanation("robust_overfitting", "Robust overfitting: the error rises.")
        'the error rises.'
        >>> explanation("collapsed", "The model answers a constant: its errors are those of guessing.")
        'The model answers a constant: its errors are those of guessing.'
    """
    first, colon, rest = reason.partition(": ")
    if colon and words_of(label).startswith(first.lower()):
        return rest
    return reason


def headline(label: str, reason: str) -> str:
    """The verdict as one sentence for a title: what it is, then why, without saying it twice.

    Args:
        label: of the diagnosis.
        reason: its sentence.

    Returns:
        Such as "no large robust gap: the robust test error, 20.5%, is ...".

    Example:
        >>> headline("robust_overfitting", "Robust overfitting: the error rises.")
        'robust overfitting: the error rises.'
    """
    return f"{words_of(label)}: {explanation(label, reason)}"


def diagnosis_figure(folder: Path) -> Path | None:
    """Draw the curves of a run of `cgro diagnose`, of several trainings those of the first.

    Args:
        folder: the run directory; the figure goes into its `figures/`.

    Returns:
        The PNG; None where there is one point only.
    """
    run = Run.open(folder)
    rows = [row for row in run.rows() if row.get("part", 0) == 0]
    if len(rows) < 2:
        return None
    epochs = _curve(rows, "epoch")
    found = run.read(DiagnoseSummary, draft=True).diagnoses[0]
    path = run.path / "figures" / "diagnosis"
    with figure(path, 7.6, 4.6) as drawing:
        axes = drawing.subplots()
        for curve in CURVES:
            values = 100 * _curve(rows, curve.key)
            if not np.isnan(values).all():
                axes.plot(epochs, values, color=curve.color, label=curve.label, alpha=0.9, **line_of(curve.part))
        fit = 100 * _curve(rows, "valley")
        if not np.isnan(fit).all():
            axes.plot(epochs, fit, color=INK, linewidth=0.9, label="falls, then rises (fit)")
        _mark_drops(axes, found.drops)
        if found.risen is not None and found.label == "robust_overfitting":
            _mark_onset(axes, found.risen.onset, found.risen.onset_interval)
        axes.set(xlabel="epoch", ylabel="error (%)", ylim=(0, min(100.0, axes.get_ylim()[1])))
        title = headline(found.label, found.reason)
        axes.set_title(wrapped_text(title, 88, 3), fontsize=10, loc="left")
        if axes.get_legend_handles_labels()[0]:
            drawing.legend(loc="outside lower center", ncols=3, fontsize=9)
    return path.with_suffix(".png")


def _curve(rows: Sequence[dict[str, float | None]], key: str) -> np.ndarray:
    """(T,) values of a key, NaN where a row has none."""
    return np.array([row.get(key) for row in rows], dtype=float)


def _mark_drops(axes: Axes, drops: Sequence[float]) -> None:
    top = axes.get_xaxis_transform()
    for drop in drops:
        axes.axvline(drop, color=MARK, linewidth=0.9, linestyle=":")
        axes.text(drop, 0.99, "lr drop ", transform=top, color=MARK, fontsize=8, va="top", ha="right", rotation=90)


def _mark_onset(axes: Axes, onset: float, interval: Sequence[float]) -> None:
    low, high = interval
    axes.axvspan(low, high, color=MARK, alpha=0.2, linewidth=0)
    axes.axvline(onset, color=MARK, linewidth=1.2)
    axes.text(high, 0.9, f"  onset {onset:g}", transform=axes.get_xaxis_transform(), color=MARK)
