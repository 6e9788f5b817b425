"""Small run directories for the tests of figures and pages, with one text wherever text from outside can stand."""

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import yaml

from cgro.results import (
    BenchSummary,
    BoundaryRecord,
    CheckRecord,
    DatasetRecord,
    DiagnoseSummary,
    DiagnosisRecord,
    DynamicsSummary,
    EpochRecord,
    FlatnessCheckpoint,
    FlatnessPart,
    FlatnessRecord,
    LowerBoundSummary,
    Metric,
    ModelRecord,
    OutcomeRecord,
    PassesRecord,
    RiseRecord,
    SeparationRow,
    SeparationSummary,
    SpeedRow,
    Spread,
    Summary,
    ThreatRecord,
    TrainSummary,
    VerdictRecord,
    plain_summary,
)

RNG_SEED = 7
ERRORS = ("clean_error/train", "clean_error/test", "robust_error/train", "robust_error/test")
COMPLETED = OutcomeRecord(kind="completed", reason="x")
THREAT = ThreatRecord(p="inf", radius=0.1, box=(0.0, 1.0))
DATA = DatasetRecord(name="digits", note="", classes=("cat", "dog"), n_train=100, n_validation=0, n_test=60)
MODEL = ModelRecord(name="mlp", width=8)
METRIC = Metric(value=0.5, wrong=30, n=60, bound="lower", interval=(0.4, 0.6), attack="PGD")


def make_run(
    folder: Path,
    *,
    config: Mapping[str, Any],
    summary: Summary | None = None,
    rows: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """A run directory with these settings, this result and these rows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(dict(config)))
    (folder / "environment.json").write_text(json.dumps({"schema": 1}))
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps(plain_summary(summary)))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def settings(text: str) -> dict[str, Any]:
    """Settings of a training; the norm stays one of ours where the text is harmless."""
    return {"command": "train", "data": text, "p": "inf" if text == "digits" else text, "radius": text, "attack": text}


def training_rows(n: int = 5) -> list[dict[str, Any]]:
    values = np.random.default_rng(RNG_SEED).random((n, 4)) / 2
    return [{"epoch": e + 1, **dict(zip(ERRORS, map(float, v), strict=True))} for e, v in enumerate(values)]


def checkpoints(values: Sequence[float] = (0.5, 0.75)) -> list[EpochRecord]:
    """The robust error of checkpoints 1, 2, ...; the last evaluation was stopped before its end."""
    rows = []
    for k, value in enumerate(values, 1):
        wrong = round(60 * value)
        interval = (value - 0.1, value + 0.1)
        row = EpochRecord(
            epoch=k,
            clean_error=0.25,
            wrong=wrong,
            n=60,
            bound="lower",
            value=value,
            interval=interval,
            attack="PGD",
            broken_by={},
            complete=k < len(values),
        )
        rows.append(row)
    return rows


def train_summary(**changes: Any) -> TrainSummary:
    """Of one training with two errors."""
    found = TrainSummary(
        command="train",
        seed=0,
        threat=THREAT,
        outcome=COMPLETED,
        verdict=VerdictRecord(label="robust", reason="x"),
        metrics={"robust_error/test": METRIC, "clean_error/test": METRIC},
        data=DATA,
        model=MODEL,
        selected=None,
    )
    return msgspec.structs.replace(found, **changes)


def diagnosis(text: str = "x", **changes: Any) -> DiagnosisRecord:
    """Of a training that overfits robustly from epoch 2 on."""
    rise = RiseRecord(
        size=0.1,
        interval=(0.05, 0.15),
        naive=0.1,
        bias=0.0,
        p_value=0.01,
        onset=2.0,
        onset_interval=(1.5, 2.5),
        final=0.6,
        lowest=0.5,
        noise=0.01,
        rho=0.0,
    )
    found = DiagnosisRecord(
        label="robust_overfitting",
        scope="curve",
        reason=text,
        training=text,
        findings=[text],
        remedies=[text],
        drops=[2.0],
        aligned=None,
        opened=None,
        evidence={},
        lint=[CheckRecord(name=text, status="WARN", finding=text, meaning=text, remedy=text, masking=False)],
        rise=rise,
        clean_rise=None,
        selection=None,
        point=None,
    )
    return msgspec.structs.replace(found, **changes)


def diagnose_summary(found: DiagnosisRecord) -> DiagnoseSummary:
    return DiagnoseSummary(
        command="diagnose",
        seed=0,
        threat=None,
        outcome=COMPLETED,
        verdict=VerdictRecord(label=found.label, reason=found.reason),
        metrics={},
        diagnoses=[found],
    )


def flatness_part(gradient: Sequence[float], rise: Sequence[float], loss: float = 0.5) -> FlatnessPart:
    """Averages for each radius, with intervals of 0.1 on both sides."""
    return FlatnessPart(
        n=16,
        loss=loss,
        slope=0.1,
        gradient=[Metric(value=v, interval=(v - 0.1, v + 0.1)) for v in gradient],
        rise=[Metric(value=v, interval=(v - 0.1, v + 0.1)) for v in rise],
    )


def flatness_record(text: str = "digits", *, seed: int = 0, n_epochs: int = 3) -> FlatnessRecord:
    """Three radii, the second of them that of training; random values by seed."""
    rng = np.random.default_rng(RNG_SEED + seed)
    points = []
    for epoch in range(1, n_epochs + 1):
        parts = {
            part: flatness_part((1 + rng.random(3)).tolist(), (1 + rng.random(3)).tolist())
            for part in ("train", "test")
        }
        points.append(FlatnessCheckpoint(label=f"epoch-{epoch:03d}", epoch=epoch, parts=parts))
    return FlatnessRecord(
        data=text,
        note=text,
        model=text,
        width=8,
        p="inf",
        seed=seed,
        radii=[0.05, 0.1, 0.2],
        names=["0.05", "0.1", "0.2"],
        training_radius=0.1,
        training_name=text,
        n_train=100,
        dim=64,
        search="Search()",
        checkpoints=points,
    )


def only_test(record: FlatnessRecord) -> FlatnessRecord:
    """The record without its other parts: each place takes its time."""
    points = [msgspec.structs.replace(p, parts={"test": p.parts["test"]}) for p in record.checkpoints]
    return msgspec.structs.replace(record, checkpoints=points)


def write_flatness(folder: Path, curves: Sequence[FlatnessRecord]) -> Path:
    """A run with these curves."""
    (folder / "flatness").mkdir(parents=True, exist_ok=True)
    plain = msgspec.to_builtins(curves, enc_hook=float)
    (folder / "flatness" / "curves.json").write_text(json.dumps(plain))
    return folder


def write_examples(path: Path, names: list[str], *, n: int = 3, channels: int = 1, **replaced: Any) -> Path:
    """An examples.npz; `replaced` puts other arrays in, None takes one out."""
    rng = np.random.default_rng(RNG_SEED)
    x = rng.random((n, channels, 6, 6)).astype("float32")
    labels = np.arange(n) % len(names)
    arrays: dict[str, Any] = {
        "x": x,
        "x_adv": np.clip(x + 0.1, 0, 1),
        "y": labels,
        "prediction": labels,
        "prediction_adv": labels[::-1],
        "classes": np.array(names),
        "binary": np.array(False),
        **replaced,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return path


def write_plane(folder: Path, *, binary: bool = True, **replaced: np.ndarray) -> Path:
    """A slice.npz of 9 x 9 points whose answers grow to the upper right."""
    axis = np.linspace(-1, 1, 9)
    score = np.add.outer(axis, axis)
    arrays = {
        "s": axis,
        "t": axis,
        "clean": score,
        "hard": score,
        "network": score,
        "ball": np.abs(score) < 0.5,
        "corners": np.array([[0.0, 0.0], [0.5, 0.1], [0.1, 0.5]]),
        "labels": np.array([1, -1, 1]),
        "binary": np.array(binary),
        **replaced,
    }
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "slice.npz", **arrays)
    return folder


def boundary(*per_seed: float | None) -> BoundaryRecord:
    """The end of a stage."""
    known = [step for step in per_seed if step is not None]
    mean = float(np.mean(known)) if len(known) == len(per_seed) else None
    return BoundaryRecord(mean=mean, sd=None, per_seed=per_seed, n_found=len(known), reason="x")


def dynamics_summary(text: str = "theorem", **changes: Any) -> DynamicsSummary:
    """Of one setting and two seeds, which found the end of stage I."""
    found = DynamicsSummary(
        command="dynamics",
        seed=0,
        threat=None,
        outcome=COMPLETED,
        verdict=None,
        metrics={},
        preset=text,
        calibrated=False,
        statement=text,
        n_seeds=2,
        stages={
            "signal_growth_end": boundary(9.0, 11.0),
            "memorization_start": boundary(None, None),
            "memorization_end": boundary(None, None),
        },
        signal_learned=None,
        noise_learned=None,
        theory={},
        setting={"robust_weight": 0.5, "data": {"signal_strength": 2.0}},
        radius_ratio=0.5,
    )
    return msgspec.structs.replace(found, **changes)


def dynamics_rows() -> list[dict[str, Any]]:
    """Steps 0 to 1,000 of two seeds and four filters."""
    rng = np.random.default_rng(RNG_SEED)
    rows = []
    for k, step in enumerate((0, 1, 10, 100, 1000)):
        row = {
            "step": step,
            "signal_margin": [0.1 * k, 0.2 * k],
            "noise_learned": [0.1 * k] * 2,
            "robust_error/train": [0.5, 0.4],
            "robust_error/test": [0.5, 0.3],
            "filter_signal": rng.normal(size=4).tolist(),
            "filter_noise": rng.random(4).tolist(),
        }
        rows.append(row)
    return rows


def dynamics_run(folder: Path, text: str = "theorem", **changes: Any) -> Path:
    return make_run(
        folder, config={"command": "dynamics"}, summary=dynamics_summary(text, **changes), rows=dynamics_rows()
    )


def sweep_run(folder: Path, text: str, names: Sequence[str]) -> Path:
    """A sweep over one or two parameters of three values each; onset is predicted at a ratio of 0.6."""
    summary = dynamics_summary(text, stages=None, sweep={name: [0.1, 0.5, 1.0] for name in names})
    rows = []
    for ratio in np.linspace(0.1, 1, 3 ** len(names)):
        row = {"outcome": "completed", "onset_ratio": 0.6, "extinction_ratio": None, "radius_over_strength": ratio}
        rows.append({**row, **{key: [0.3, 0.2] for key in ERRORS}})
    return make_run(folder, config={"command": "dynamics"}, summary=summary, rows=rows)


def lower_bound_run(folder: Path) -> Path:
    """Sizes that grow by 1 to 4 powers of two per dimension; the lower bound says nothing at D = 4."""
    rows = []
    for dim in (4, 8, 16):
        floor = None if dim == 4 else 4.0 * dim
        sizes = {"log2_construction": 3.0 * dim, "log2_memorizer": 2.0 * dim, "log2_clean": 1.0, "log2_floor": floor}
        rows.append({"dim": dim, **sizes})
    summary = LowerBoundSummary(
        command="lower-bound",
        seed=0,
        threat=ThreatRecord(p="any", radius=0.1, box=(0.0, 1.0)),
        outcome=COMPLETED,
        verdict=None,
        metrics={},
        grid_side=5,
        n_layers=3,
        error=0.1,
        n_points=100,
        crossing=8,
        assumptions=[],
        built=[],
        toy=[],
        table=[],
    )
    return make_run(folder, config={"command": "lower-bound"}, summary=summary, rows=rows)


def quarter(memory: float) -> dict[str, Any]:
    """Shares of a quarter, as `memory.json` has them."""
    return {"memory": memory, "interval": [memory - 0.1, memory + 0.1], "train": 0.9, "test": 0.9 - memory}


NEAREST = np.array([0.2, 0.5, 0.5, 1.0])


def separation_run(folder: Path, text: str, *, radius: float | None = None, **arrays: np.ndarray) -> Path:
    """Of two norms, with the distances `NEAREST` and twice as large ones."""
    row = SeparationRow(
        p="inf", separation=0.2, max_radius=0.1, pair=[0, 1], pair_index=[0, 1], pair_labels=[0, 1], quantiles=[0.2]
    )
    threat = None if radius is None else ThreatRecord(p="inf", radius=radius, box=None)
    summary = SeparationSummary(
        command="separation",
        seed=0,
        threat=threat,
        outcome=COMPLETED,
        verdict=None,
        metrics={},
        data=msgspec.structs.replace(DATA, name=text),
        separation={"inf": 0.2, "2": 0.2},
        max_radius={"inf": 0.1, "2": 0.1},
        admissible=None,
        norms=[row, msgspec.structs.replace(row, p=2)],
    )
    run = make_run(folder, config={"command": "separation"}, summary=summary, rows=[])
    np.savez(run / "nearest.npz", **{"inf": NEAREST, "2": 2 * NEAREST, **arrays})
    return run


def speed_row(way: str = "eager", over: float = 1.25, *, ours: bool = True, peer: float | None = None) -> SpeedRow:
    """An attack that takes `over` times its floor, by quartiles a tenth around, and `peer` times as fast as a peer."""
    peers = {} if peer is None else {"common loop": Spread(low=peer, median=peer, high=peer)}
    one = Spread(low=1.0, median=1.0, high=1.0)
    return SpeedRow(
        work="attack",
        way=way,
        ours=ours,
        n=32,
        first_seconds=1.0,
        seconds=one,
        examples_per_second=one,
        over_floor=Spread(low=0.9 * over, median=over, high=1.1 * over),
        faster_than=peers,
    )


def bench_summary(rows: Sequence[SpeedRow], text: str = "digits", **changes: Any) -> BenchSummary:
    one = Spread(low=1.0, median=1.0, high=1.0)
    values = {
        "command": "bench",
        "seed": 0,
        "threat": THREAT,
        "outcome": COMPLETED,
        "verdict": None,
        "metrics": {},
        "data": msgspec.structs.replace(DATA, name=text),
        "model": msgspec.structs.replace(MODEL, name=text),
        "attack": "PGD",
        "eval_attack": "PGD",
        "batch_size": 32,
        "repeats": 3,
        "device": text,
        "threads": 1,
        "flags": {"searches": "float32"},
        "passes": PassesRecord(forward=one, gradient=one, update=one),
        "rows": rows,
        "left_out": {},
        "recipe": None,
    }
    return BenchSummary(**{**values, **changes})


def bench_run(folder: Path, text: str) -> Path:
    """A way of ours and a peer's."""
    summary = bench_summary([speed_row(text), speed_row("common loop", 2.5, ours=False)], text)
    return make_run(folder, config={"command": "bench"}, summary=summary)


def memory_run(folder: Path, **found: Any) -> Path:
    """A probe with quarters and memorization values, and 20 margins per part."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {
        "radius": 0.1,
        "stages": None,
        "quarters": [quarter(0.1 * k) for k in (4, 3, 2, 1)],
        "influence": [0.4, 0.3, None, 0.1],
        **found,
    }
    (folder / "memory.json").write_text(json.dumps(whole))
    rng = np.random.default_rng(RNG_SEED)
    np.savez(folder / "examples.npz", **{f"{part}/margin": rng.normal(size=20) for part in ("train", "test")})
    return folder


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a nested value."""
    found = [path] if path else []
    if isinstance(value, dict):
        items = list(value.items())
    else:
        items = list(enumerate(value)) if isinstance(value, list) else []
    for key, part in items:
        found += places(part, (*path, key))
    return found


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    """A copy with another value at a place; `...` takes it out."""
    changed = copy.deepcopy(value)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    if by is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = by
    return changed
