"""The figure of a diagnosis: curves, the fitted valley, the onset, learning-rate drops and the verdict."""

from pathlib import Path
from typing import Any

import numpy as np

from cgro.report.style import BLUE, GREEN, GREY, ORANGE, RED, TEST, TRAIN, figure, wrapped_text
from cgro.runs import Run

_SHOWN: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("robust_error/test", "robust error, test", RED, TEST), ("robust_error/train", "robust error, train", RED, TRAIN),
    ("robust_error/validation", "robust error, validation", ORANGE, {"linestyle": ":"}),
    ("clean_error/test", "clean error, test", BLUE, TEST), ("clean_error/train", "clean error, train", BLUE, TRAIN),
)  # fmt: skip


def diagnosis_figure(folder: Path) -> Path | None:
    """Draw the curves of a run of `cgro diagnose` (the first seed's); None where there is one point only."""
    run = Run.open(folder)
    rows = [row for row in run.rows() if row.get("part", 0) == 0]
    if len(rows) < 2:
        return None
    epochs, found = np.array([row["epoch"] for row in rows]), run.result["diagnoses"][0]
    path = run.path / "figures" / "diagnosis"
    with figure(path, 7.6, 4.6) as drawing:
        axes = drawing.subplots()
        for key, label, color, style in _SHOWN:
            values = np.array([np.nan if row.get(key) is None else 100 * row[key] for row in rows])
            if not np.isnan(values).all():
                axes.plot(epochs, values, color=color, label=label, alpha=0.9, **style)
        fit = np.array([np.nan if row.get("valley") is None else 100 * row["valley"] for row in rows])
        if not np.isnan(fit).all():
            axes.plot(epochs, fit, color="black", linewidth=0.9, label="falls, then rises (fit)")
        top = axes.get_xaxis_transform()
        for drop in found["drops"]:
            axes.axvline(drop, color=GREY, linewidth=0.9, linestyle=":")
            axes.text(drop, 0.99, "lr drop ", transform=top, color=GREY, fontsize=8, va="top", ha="right", rotation=90)
        if found["rise"] and found["label"] == "robust_overfitting":
            low, high = found["rise"]["onset_interval"]
            axes.axvspan(low, high, color=GREEN, alpha=0.15, linewidth=0)
            axes.axvline(found["rise"]["onset"], color=GREEN, linewidth=1.2)
            axes.text(high, 0.9, f"  onset {found['rise']['onset']:g}", transform=top, color=GREEN)
        axes.set(xlabel="epoch", ylabel="error (%)", ylim=(0, None))
        title = f"{str(found['label']).replace('_', ' ')}: " + str(found["reason"]).split(": ", 1)[-1]
        axes.set_title(wrapped_text(title, 88, 3), fontsize=10, loc="left")
        if axes.get_legend_handles_labels()[0]:
            drawing.legend(loc="outside lower center", ncols=3, fontsize=9)
    return path.with_suffix(".png")
