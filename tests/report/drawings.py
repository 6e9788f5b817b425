"""Every function that draws a figure, called with one text wherever text from outside can stand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from tests.report.runs import (
    bench_run,
    diagnose_summary,
    diagnosis,
    dynamics_run,
    flatness_record,
    lower_bound_run,
    make_run,
    memory_run,
    separation_run,
    settings,
    sweep_run,
    train_summary,
    training_rows,
    write_examples,
    write_flatness,
    write_plane,
)
from tests.report.runs import checkpoints as kept_checkpoints

from cgro.report import (
    alpha_law,
    bound,
    compare,
    dynamics,
    experiments,
    flatness,
    full_ball,
    memory,
    optimizers,
    phase,
    remedies,
    representation,
    separation,
    sizes,
    speed,
    theorem44,
    threshold,
    training,
)
from cgro.report import diagnosis as diagnosis_report
from cgro.results import Metric, RemedyRecord


def learning_curves(folder: Path, text: str) -> None:
    training.learning_curves(make_run(folder, config=settings(text), rows=training_rows()))


def robust_error_by_epoch(folder: Path, text: str) -> None:
    rows = kept_checkpoints()
    summary = train_summary(curves={text: {text: rows, "train": rows}})
    training.robust_error_by_epoch(make_run(folder, config=settings(text), summary=summary))


def adversarial_grid(folder: Path, text: str) -> None:
    write_examples(folder / "examples.npz", [text, text + "2", "ok"])
    training.adversarial_grid(folder)


def diagnosis_figure(folder: Path, text: str) -> None:
    summary = diagnose_summary(diagnosis(text, label=text))
    diagnosis_report.diagnosis_figure(
        make_run(folder, config={"command": "diagnose"}, summary=summary, rows=training_rows())
    )


def decision_regions(folder: Path, text: str) -> None:
    make_run(folder, config=settings(text))
    representation.decision_regions(write_plane(folder))


def hierarchy(folder: Path, text: str) -> None:
    representation.hierarchy(lower_bound_run(folder))


def toy(folder: Path, text: str) -> None:
    representation.toy(folder, [{"dim": d, "expected": 0.1 * d, "robust_test": 0.1 * d} for d in (2, 4)], 10)


def parameter_law(folder: Path, text: str) -> None:
    rows = []
    for kind in ("random", text):
        for n in (10, 20):
            rows.append({"variant": "box", "data": kind, "n": n, "dim": 4, "measured": 24 * n, "generic": 25 * n})
    representation.parameter_law(folder / "law", rows)


def nearest_histogram(folder: Path, text: str) -> None:
    separation.nearest_histogram(separation_run(folder, text))


def ratios_figure(folder: Path, text: str) -> None:
    speed.ratios_figure(bench_run(folder, text))


def memory_draw(folder: Path, text: str) -> None:
    memory.draw(memory_run(folder))


def memory_over_seeds(folder: Path, text: str) -> None:
    shares = [[0.5, 0.6, 0.7, 0.8], [0.4, 0.5, 0.6, 0.7]]
    quarters = shaped(train=shares, test=shares, memory=shares)
    memory.over_seeds(folder / "quarters", {text: quarters, text + "2": quarters})


def flatness_draw(folder: Path, text: str) -> None:
    flatness.draw(write_flatness(folder, [flatness_record(text), flatness_record(text, seed=1)]))


def stages_figure(folder: Path, text: str) -> None:
    dynamics.stages_figure(dynamics_run(folder, text))


def filters_figure(folder: Path, text: str) -> None:
    dynamics.filters_figure(dynamics_run(folder, text))


def filters_gif(folder: Path, text: str) -> None:
    dynamics.filters_gif(dynamics_run(folder, text), n_frames=3)


def phase_plane(folder: Path, text: str) -> None:
    name = "radius_ratio" if text == "digits" else text
    phase.phase_diagram(sweep_run(folder, text, (name, "robust_weight")))


def phase_line(folder: Path, text: str) -> None:
    phase.phase_diagram(sweep_run(folder, text, ("radius_ratio" if text == "digits" else text,)))


def shaped(**values: object) -> Any:
    """A value with these attributes, as findings have them."""
    return SimpleNamespace(**values)


def accuracy_bars(folder: Path, text: str) -> None:
    columns = {"a": [50.0, 60.0], "b": [70.0, 75.0]}
    experiments.accuracy_bars(folder / "bars", {text: columns, text + "2": columns}, [text, "b"])


def size_law(folder: Path, text: str) -> None:
    sizes = [shaped(p=p, n_times_dim=64 * n, generic=400 * n, dim=64) for p in ("inf", text) for n in (1, 2)]
    theorem44.size_law(folder / "law", sizes, {"inf": 1.0})


def robust_brackets(folder: Path, text: str) -> None:
    task = {key: [10.0, 12.0] for key in ("robust_low", "robust_high", "clean_error", "naive_pgd", "certified_error")}
    named = {text: shaped(**task), text + "2": shaped(**task)}
    theorem44.robust_brackets(folder / "brackets", named)


def width_curves(folder: Path, text: str) -> None:
    accuracies = {key: [50.0, 52.0] for key in ("clean_test", "robust_test", "robust_train")}
    ours = {width: shaped(**accuracies) for width in (16, 32)}
    experiments.width_curves(
        folder / "widths", ours, {16: (50, 40, 45), 32: (51, 42, 48)}, f"{text}, l_inf 8/255", text
    )


def curves_over_epochs(folder: Path, text: str) -> None:
    names = ("clean_train", "clean_test", "robust_train", "robust_test")
    errors = {name: [[50, 40, 30], [51, 41, 31]] for name in names}
    found = shaped(epochs=[1, 2, 3], curves=shaped(**errors), drops=[2], note=text, data=text)
    experiments.curves_over_epochs(folder / "curves", found)


def bound_points(folder: Path, text: str) -> None:
    part = {key: [0.5, 0.6] for key in ("gap", "robust_loss", "bound")}
    bound.bound_points(folder / "bound", {text: shaped(**part), text + "2": shaped(**part)})


def alpha_law_figure(folder: Path, text: str) -> None:
    margins = np.array([[9.0, 11.0], [12.0, 12.0]])
    growths = [alpha_law.Growth(q, text, [2.0, 3.0], margins, 0.25) for q in (2.0, 3.0)]
    alpha_law.alpha_law_figure(folder / "law", growths)


def compare_draw(folder: Path, text: str) -> None:
    metrics = {
        key: Metric.over_seeds([0.4, 0.5]) for key in ("clean_error/test", "robust_error/test", "robust_error/train")
    }
    record = RemedyRecord(
        remedy=text,
        width=None,
        options={},
        epochs=2,
        own_epochs=False,
        passes=100,
        metrics=metrics,
        differences={},
        effect=None,
        outcomes=[],
    )
    compare.draw(folder / "compare", {text: record, text + "2": record})


def phase_map(folder: Path, text: str) -> None:
    lines = full_ball.Boundaries([0.6, 1.0], [0.0, 2.0], [5.0, 3.0], 0.7071)
    full_ball.phase_map(folder / "phases", [full_ball.Point(0.9, 2.2, "cgro", 0.0, 100.0)], lines)


def sizes_figure(folder: Path, text: str) -> None:
    size = SimpleNamespace(n=250, gaps=[20.0, 22.0], robust_train=[99.0, 98.0], robust_test=[79.0, 76.0])
    more = SimpleNamespace(n=500, gaps=[10.0, 12.0], robust_train=[99.0, 98.0], robust_test=[89.0, 86.0])
    sizes.sizes_figure(folder / "sizes", {0.1: [size, more], 0.3: [size, more]}, closed=10.0, title=text)


def optimizer_curves(folder: Path, text: str) -> None:
    beside = SimpleNamespace(ensemble=[60.0, 62.0])
    network = SimpleNamespace(robust_train=[90.0, 91.0], robust_test=[70.0, 72.0], gaps=[20.0, 19.0], beside=beside)
    starts = {text: {2: network, 16: network}, text + "2": {2: network, 16: network}}
    optimizers.optimizer_curves(folder / "optimizers", starts, text)


def threshold_figure(folder: Path, text: str) -> None:
    shares = [[1.0, 1.0], [0.0, 0.0]]
    line = threshold.Transition(
        rho=0.03,
        patch_dim=400,
        power=3.0,
        predicted=8.0,
        halves=[8.0, 12.0],
        overlap=0.5,
        sizes=[2, 32],
        memorized=shares,
        robust_test=shares,
    )
    threshold.threshold_figure(folder / "threshold", [line, replace(line, rho=0.05)], [line], [])


def remedy_shifts(folder: Path, text: str) -> None:
    plain = remedies.Shift("plain-far", text, 1.0, [0.9, 1.1], [0.02, 0.07], [60.0, 2.0], "")
    others = [replace(plain, name="decay-4", predicted=0.2), replace(plain, name=text, predicted=np.inf, always=text)]
    remedies.shifts_figure(folder / "shifts", [plain, *others], 0.035)


def remedy_courses(folder: Path, text: str) -> None:
    curves = [remedies.Curve(name, [50, 500], [[0.4, 0.4], [0.5, 0.3]]) for name in ("fixed", text)]
    stops = [remedies.Stop(n, [0.3, 0.3], [0.5, 0.5], 0.31) for n in (5, 50)]
    remedies.courses_figure(folder / "courses", curves, ([50, 500], [40.0, 30.0]), stops)


DRAWINGS: dict[str, Callable[[Path, str], None]] = {
    "alpha_law.alpha_law_figure": alpha_law_figure,
    "compare.draw": compare_draw,
    "full_ball.phase_map": phase_map,
    "remedies.shifts_figure": remedy_shifts,
    "remedies.courses_figure": remedy_courses,
    "threshold.threshold_figure": threshold_figure,
    "sizes.sizes_figure": sizes_figure,
    "optimizers.optimizer_curves": optimizer_curves,
    "diagnosis.diagnosis_figure": diagnosis_figure,
    "dynamics.stages_figure": stages_figure,
    "dynamics.filters_figure": filters_figure,
    "dynamics.filters_gif": filters_gif,
    "phase._draw_plane": phase_plane,
    "phase._draw_line": phase_line,
    "experiments.accuracy_bars": accuracy_bars,
    "theorem44.size_law": size_law,
    "theorem44.robust_brackets": robust_brackets,
    "separation.nearest_histogram": nearest_histogram,
    "speed.ratios_figure": ratios_figure,
    "experiments.width_curves": width_curves,
    "experiments.curves_over_epochs": curves_over_epochs,
    "bound.bound_points": bound_points,
    "flatness.by_radius": flatness_draw,
    "flatness.by_epoch": flatness_draw,
    "flatness.over_training": flatness_draw,
    "memory.draw": memory_draw,
    "memory.over_seeds": memory_over_seeds,
    "representation.decision_regions": decision_regions,
    "representation.hierarchy": hierarchy,
    "representation.toy": toy,
    "representation.parameter_law": parameter_law,
    "training.learning_curves": learning_curves,
    "training.robust_error_by_epoch": robust_error_by_epoch,
    "training.adversarial_grid": adversarial_grid,
}
"""Function that opens a figure -> a call that reaches it."""
