"""The figure of a diagnosis: curves, the fitted valley, the onset, learning-rate drops and the verdict."""

from pathlib import Path

import numpy as np

from cgro.report.curves import CURVES
from cgro.report.style import GREEN, GREY, figure, line_of, wrapped_text
from cgro.runs import Run


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
        for curve in CURVES:
            values = np.array([np.nan if row.get(curve.key) is None else 100 * row[curve.key] for row in rows])
            if not np.isnan(values).all():
                axes.plot(epochs, values, color=curve.color, label=curve.label, alpha=0.9, **line_of(curve.part))
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
        drawing.legend(loc="outside lower center", ncols=3, fontsize=9)
    return path.with_suffix(".png")
