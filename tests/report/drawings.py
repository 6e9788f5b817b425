"""Every function that draws a figure, called with one text wherever text from outside can stand."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cgro.report import diagnosis, dynamics, experiments, flatness, memory, representation, training

RNG_SEED = 7
ERRORS = ("clean_error/train", "clean_error/test", "robust_error/train", "robust_error/test")


def make_run(
    folder: Path, *, config: dict[str, Any], summary: dict[str, Any] | None = None, rows: Sequence[dict[str, Any]] = ()
) -> Path:
    """A run directory with these settings, this result and these rows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "environment.json").write_text(json.dumps({"schema": 1}))
    whole = {"schema": 1, "command": "train", "seed": 0, "threat": None, "outcome": {"kind": "completed", "reason": "x"},
             "verdict": None, "metrics": {}, **(summary or {})}  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(whole))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def settings(text: str) -> dict[str, Any]:
    """Settings of a training; the norm stays one of ours where the text is harmless."""
    return {"command": "train", "data": text, "p": "inf" if text == "digits" else text, "radius": text, "attack": text}


def training_rows(n: int = 5) -> list[dict[str, Any]]:
    values = np.random.default_rng(RNG_SEED).random((n, 4)) / 2
    return [{"epoch": e + 1, **dict(zip(ERRORS, map(float, v), strict=True))} for e, v in enumerate(values)]


def write_examples(path: Path, names: list[str], *, n: int = 3, channels: int = 1, **replaced: Any) -> Path:
    """An examples.npz; `replaced` puts other arrays in, None takes one out."""
    rng = np.random.default_rng(RNG_SEED)
    x = rng.random((n, channels, 6, 6)).astype("float32")
    labels = np.arange(n) % len(names)
    arrays: dict[str, Any] = {
        "x": x, "x_adv": np.clip(x + 0.1, 0, 1), "y": labels, "prediction": labels, "prediction_adv": labels[::-1],
        "classes": np.array(names), "binary": np.array(False), **replaced,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return path


def learning_curves(folder: Path, text: str) -> None:
    training.learning_curves(make_run(folder, config=settings(text), rows=training_rows()))


def robust_error_by_epoch(folder: Path, text: str) -> None:
    rows = [{"epoch": e, "value": 0.5, "interval": [0.4, 0.6], "n": 9, "complete": e == 1} for e in (1, 2)]
    training.robust_error_by_epoch(
        make_run(folder, config=settings(text), summary={"curves": {text: {text: rows, "train": rows}}})
    )


def adversarial_grid(folder: Path, text: str) -> None:
    write_examples(folder / "examples.npz", [text, text + "2", "ok"])
    training.adversarial_grid(folder)


def diagnosis_figure(folder: Path, text: str) -> None:
    found = {"label": text, "reason": text, "drops": [2], "rise": None}
    diagnosis.diagnosis_figure(
        make_run(folder, config={"command": "diagnose"}, summary={"diagnoses": [found]}, rows=training_rows())
    )


def decision_regions(folder: Path, text: str) -> None:
    make_run(folder, config=settings(text))
    axis = np.linspace(-1, 1, 9)
    score = np.add.outer(axis, axis)
    np.savez(folder / "slice.npz", s=axis, t=axis, clean=score, hard=score, network=score, ball=np.abs(score) < 0.5,
             corners=np.array([[0.0, 0.0], [0.5, 0.1], [0.1, 0.5]]), labels=np.array([1, -1, 1]), binary=np.array(True))  # fmt: skip
    representation.decision_regions(folder)


def hierarchy(folder: Path, text: str) -> None:
    keys = ("log2_construction", "log2_floor", "log2_memorizer", "log2_clean")
    rows = [{"dim": d, **{key: d * (k + 1.0) for k, key in enumerate(keys)}} for d in (4, 8, 16)]
    summary = {"n_points": 100, "crossing": 8, "threat": {"radius": 0.1, "p": text}}
    representation.hierarchy(make_run(folder, config={"command": text}, summary=summary, rows=rows))


def toy(folder: Path, text: str) -> None:
    representation.toy(folder, [{"dim": d, "expected": 0.1 * d, "robust_test": 0.1 * d} for d in (2, 4)], 10)


def parameter_law(folder: Path, text: str) -> None:
    rows = [{"variant": "box", "data": kind, "n": n, "dim": 4, "measured": 24 * n, "generic": 25 * n}
            for kind in ("random", text) for n in (10, 20)]  # fmt: skip
    representation.parameter_law(folder / "law", rows)


def memory_draw(folder: Path, text: str) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(RNG_SEED)
    quarters = [{"memory": 0.1, "interval": [0.0, 0.2], "train": 0.9, "test": 0.8}] * 4
    (folder / "memory.json").write_text(
        json.dumps({"radius": 0.1, "quarters": quarters, "influence": [0.1] * 4, "x": text})
    )
    np.savez(folder / "examples.npz", **{f"{part}/margin": rng.normal(size=20) for part in ("train", "test")})
    memory.draw(folder)


def memory_over_seeds(folder: Path, text: str) -> None:
    quarters = {key: [[0.5, 0.6, 0.7, 0.8], [0.4, 0.5, 0.6, 0.7]] for key in ("train", "test", "memory")}
    memory.over_seeds(folder / "quarters", {text: {"quarters": quarters}, text + "2": {"quarters": quarters}})


def flatness_curves(text: str) -> list[dict[str, Any]]:
    rng = np.random.default_rng(RNG_SEED)

    def averages() -> list[dict[str, Any]]:
        return [{"value": float(v), "interval": [float(v) - 0.1, float(v) + 0.1]} for v in 1 + rng.random(3)]

    points = [{"epoch": e, "parts": {part: {"loss": 0.5, "gradient": averages(), "rise": averages()} for part in ("train", "test")}}
              for e in (1, 2, 3)]  # fmt: skip
    one = {"data": text, "note": text, "model": text, "width": 8, "training_name": text, "training_radius": 0.1, "seed": 0,
           "radii": [0.05, 0.1, 0.2], "checkpoints": points}  # fmt: skip
    return [one, {**one, "seed": 1}]


def flatness_draw(folder: Path, text: str) -> None:
    (folder / "flatness").mkdir(parents=True)
    (folder / "flatness" / "curves.json").write_text(json.dumps(flatness_curves(text)))
    flatness.draw(folder)


def dynamics_run(folder: Path, text: str) -> Path:
    stages = {"signal_growth_end": {"mean": 10, "per_seed": [9, 11]}}
    setting = {"robust_weight": 0.5, "data": {"signal_strength": 2.0}}
    summary = {
        "preset": text,
        "calibrated": False,
        "n_seeds": 2,
        "radius_ratio": 0.5,
        "setting": setting,
        "stages": stages,
    }
    rng = np.random.default_rng(RNG_SEED)
    rows = [{"step": s, "signal_margin": [0.1 * k, 0.2 * k], "noise_learned": [0.1 * k] * 2, "robust_error/train": [0.5, 0.4],
             "filter_signal": rng.normal(size=4).tolist(), "filter_noise": rng.random(4).tolist()}
            for k, s in enumerate((0, 1, 10, 100, 1000))]  # fmt: skip
    return make_run(folder, config={"command": "dynamics"}, summary=summary, rows=rows)


def stages_figure(folder: Path, text: str) -> None:
    dynamics.stages_figure(dynamics_run(folder, text))


def filters_figure(folder: Path, text: str) -> None:
    dynamics.filters_figure(dynamics_run(folder, text))


def filters_gif(folder: Path, text: str) -> None:
    dynamics.filters_gif(dynamics_run(folder, text), n_frames=3)


def sweep_run(folder: Path, text: str, names: tuple[str, ...]) -> Path:
    values = {name: [0.1, 0.5, 1.0] for name in names}
    row = {"outcome": "completed", "onset_ratio": 0.6, "extinction_ratio": None, **{key: [0.3, 0.2] for key in ERRORS}}
    rows = [{**row, "radius_over_strength": v} for v in np.linspace(0.1, 1, 3 ** len(names))]
    return make_run(
        folder, config={"command": "dynamics"}, summary={"preset": text, "n_seeds": 2, "sweep": values}, rows=rows
    )


def phase_diagram(folder: Path, text: str) -> None:
    ours = text == "digits"
    dynamics.phase_diagram(sweep_run(folder, text, ("radius_ratio" if ours else text, "robust_weight")))


def phase_line(folder: Path, text: str) -> None:
    dynamics.phase_diagram(sweep_run(folder, text, ("radius_ratio" if text == "digits" else text,)))


def accuracy_bars(folder: Path, text: str) -> None:
    columns = {"a": [50.0, 60.0], "b": [70.0, 75.0]}
    experiments.accuracy_bars(folder / "bars", {text: columns, text + "2": columns}, [text, "b"])


def size_law(folder: Path, text: str) -> None:
    sizes = [{"p": "inf", "n_times_dim": 64 * n, "generic": 400 * n, "dim": 64} for n in (1, 2)]
    experiments.size_law(folder / "law", [*sizes, {**sizes[0], "p": text}], {"inf": 1.0})


def robust_brackets(folder: Path, text: str) -> None:
    task = {key: [10.0, 12.0] for key in ("robust_low", "robust_high", "clean_error", "naive_pgd", "certified_error")}
    experiments.robust_brackets(folder / "brackets", {text: task, text + "2": task})


def width_curves(folder: Path, text: str) -> None:
    ours = {w: {key: [50.0, 52.0] for key in ("clean_test", "robust_test", "robust_train")} for w in (16, 32)}
    experiments.width_curves(
        folder / "widths", ours, {16: (50, 40, 45), 32: (51, 42, 48)}, f"{text}, l_inf 8/255", text
    )


def curves_over_epochs(folder: Path, text: str) -> None:
    found = {"epochs": [1, 2, 3], "curves": {key: [[50, 40, 30], [51, 41, 31]] for key in ERRORS}, "drops": [2],
             "note": text, "data": text}  # fmt: skip
    experiments.curves_over_epochs(folder / "curves", found)


def bound_bars(folder: Path, text: str) -> None:
    part = {key: [0.5, 0.6] for key in ("gap", "robust_loss", "bound")}
    experiments.bound_bars(folder / "bound", {text: part, text + "2": part})


DRAWINGS: dict[str, Callable[[Path, str], None]] = {
    "diagnosis.diagnosis_figure": diagnosis_figure,
    "dynamics.stages_figure": stages_figure, "dynamics.filters_figure": filters_figure, "dynamics.filters_gif": filters_gif,
    "dynamics.phase_diagram": phase_diagram, "dynamics._line": phase_line,
    "experiments.accuracy_bars": accuracy_bars, "experiments.size_law": size_law,
    "experiments.robust_brackets": robust_brackets, "experiments.width_curves": width_curves,
    "experiments.curves_over_epochs": curves_over_epochs, "experiments.bound_bars": bound_bars,
    "flatness.by_radius": flatness_draw, "flatness.by_epoch": flatness_draw, "flatness.over_training": flatness_draw,
    "memory.draw": memory_draw, "memory.over_seeds": memory_over_seeds,
    "representation.decision_regions": decision_regions, "representation.hierarchy": hierarchy,
    "representation.toy": toy, "representation.parameter_law": parameter_law,
    "training.learning_curves": learning_curves, "training.robust_error_by_epoch": robust_error_by_epoch,
    "training.adversarial_grid": adversarial_grid,
}  # fmt: skip
"""Function that opens a figure -> a call that reaches it."""
