"""The three stages of adversarial training on patch data (Section 5), simulated exactly and compared with theory.

examples:
  cgro dynamics --preset theorem --seeds 10 --out runs/theorem
  cgro dynamics --preset table2 --seeds 10
  cgro dynamics --preset control                       (standard training; also: --preset table2 --robust-weight 0)
  cgro dynamics --preset theorem --activation-power 2 --gif
  cgro dynamics --patch-dim 1000000 --seeds 2          (the Gram matrix is drawn from its law)
  cgro dynamics --adversary l2 --radius-ratio 0.3 --n-steps 5000
  cgro dynamics --sweep radius_ratio=0.5:2:16,robust_weight=0.1:0.9:9 --seeds 2

presets: theorem has the scales of Theorem 5.9 (delta < alpha). table2 is CALIBRATED to the paper's Table 2 (two knobs
fitted to two targets, delta > alpha, outside the theorem): it is no evidence for the theory. control is theorem with
robust weight 0.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from cgro._check import bad, count, number, one_of
from cgro._progress import progress
from cgro.commands._common import Output, Seeded, begin, lines_of, option
from cgro.data.patches import PatchData
from cgro.definitions import FOUR, ErrorRate, cgro_verdict
from cgro.definitions.metrics import Bound
from cgro.dynamics import (
    CALIBRATED,
    PRESETS,
    Backend,
    Setting,
    compare,
    detect_stages,
    extinction_ratio,
    full_ball_errors,
    onset_ratio,
    simulate,
    summarize_stages,
    theorem_radius_ratio,
    unseen_errors,
)  # fmt: skip
from cgro.runs import Run, summary
from cgro.trajectory import Outcome, Trajectory

BACKENDS: tuple[Backend, ...] = get_args(Backend)
DATA = ("patch_dim", "n_patches", "signal_strength", "noise_std", "n_signals")
TRAINING = (
    "n_train", "n_filters", "activation_power", "activation", "init_std", "radius_ratio", "robust_weight", "lr",
    "adversary", "batch_size",
)  # fmt: skip
SWEEPABLE = tuple(k for k in DATA + TRAINING if k not in ("activation", "adversary"))
FULL_BALL_EXAMPLES = 500  # unseen examples per seed under the full ball: 240 gradient steps each
WHOLE = ("patch_dim", "n_patches", "n_signals", "n_train", "n_filters", "batch_size")
STATEMENTS = {
    "theorem": "theorem: delta < alpha. The attack shrinks the signal to almost nothing but cannot turn it, and the "
    "noise of an unseen example does not depend on its label, so its attacked margin is a coin flip: robust test error "
    "1/2.",
    "table2": "table2 is CALIBRATED: two knobs fitted to the two test numbers of Table 2. delta > alpha, so the attack "
    "turns the signal around and robust test error can exceed 1/2. Outside the theorem, and no evidence for it.",
    "control": "control: standard training. The signal alone separates the data, so the noise is never memorized.",
}


@dataclass(kw_only=True)
class Config(Output, Seeded):
    """Options of `cgro dynamics`. A parameter left out is the preset's."""

    preset: str = option("theorem", "theorem, table2 (calibrated) or control")
    patch_dim: int | None = option(None, "d, coordinates of a patch; moves signal_strength, noise_std and lr along")
    n_patches: int | None = option(None, "P")
    signal_strength: float | None = option(None, "alpha; default d^0.249")
    noise_std: float | None = option(None, "sigma; default d^-0.509")
    n_signals: int | None = option(None, "number of orthogonal signal directions")
    n_train: int | None = option(None, "N")
    n_filters: int | None = option(None, "m")
    activation_power: float | None = option(None, "q >= 2")
    activation: str | None = option(None, "odd: sign(z)|z|^q; halves: signed ReLU^q")
    init_std: float | None = option(None, "standard deviation of the initial filters; default 0.094 / alpha")
    radius: float | None = option(None, "delta, in units of the input")
    radius_ratio: float | None = option(None, "delta / alpha, instead of --radius")
    robust_weight: float | None = option(None, "lambda in [0, 1]; 0 is standard training")
    lr: float | None = option(None, "eta; default 0.3 / alpha^2")
    adversary: str | None = option(None, "restricted (along w*), transfer, l2 or linf (every patch, PGD)")
    batch_size: int | None = option(None, "examples per step; default all")
    full_ball: str | None = option(None, "also attack the final network on every patch: l2 or linf")
    n_steps: int = option(50_000, "steps of gradient descent")
    n_test: int = option(20_000, "unseen examples per seed for the final test errors")
    backend: str = option("auto", "direct, gram, law, or auto for the cheapest exact one")
    threads: int | None = option(None, "seeds at once; default: all cores")
    gif: bool = option(False, "also write the filters over time as figures/filters.gif")
    sweep: str = option("", "name=low:high:count[:log], one or two of them joined by a comma: a phase diagram")


def run(config: Config) -> Run:
    """Simulate, read off the stages, compare, draw."""
    setting = setting_of(config)
    count(config.seeds, "--seeds")
    one_of(config.backend, "--backend", BACKENDS)
    if config.full_ball is not None:
        one_of(config.full_ball, "--full-ball", ("l2", "linf"))
        one_of(config.backend, "--backend with --full-ball", ("auto", "direct"))
    axes = parse_sweep(config.sweep) if config.sweep else {}
    with begin("dynamics", config) as whole:
        return _sweep(config, whole, axes) if axes else _single(config, whole, setting)


def setting_of(config: Config) -> Setting:
    """The preset with the parameters that were given; scales that follow from d follow it.

    Raises:
        BadRequest: an unknown preset, both radii, a value out of range.
    """
    base = PRESETS[one_of(config.preset, "--preset", PRESETS)]
    given = {k: getattr(config, k) for k in DATA + TRAINING if getattr(config, k) is not None}
    data = PatchData(**{"patch_dim": base.data.patch_dim, **{k: v for k, v in given.items() if k in DATA}})
    training = {k: v for k, v in given.items() if k in TRAINING}
    if config.radius is not None:
        if "radius_ratio" in training:
            raise bad("--radius", expected="one of --radius and --radius-ratio", got="both")
        training["radius_ratio"] = number(config.radius, "--radius", low=0.0) / data.signal_strength
    elif "patch_dim" in given and config.preset not in CALIBRATED:
        training.setdefault("radius_ratio", theorem_radius_ratio(data.patch_dim))
    training = {"lr": None, "init_std": None, **training}
    return replace(base, data=data, **training)


def _single(config: Config, whole: Run, setting: Setting) -> Run:
    seeds = range(config.seed, config.seed + config.seeds)
    backend = "direct" if config.full_ball else one_of(config.backend, "--backend", BACKENDS)
    trained = simulate(
        setting, seeds=seeds, n_steps=config.n_steps, backend=backend,
        threads=config.threads or os.cpu_count() or 1, label=f"dynamics: {config.preset}",
    )  # fmt: skip
    whole.write_rows(rows_of(trained))
    whole.finish(result_of(config, setting, trained), partial(_draw, config))
    return whole


def rows_of(trained: Trajectory) -> list[dict[str, Any]]:
    """One row a record: lists over seeds; noise as mean, least and largest over examples; filters of one seed."""
    by_seed = (
        "signal_component", "signal_learned", "signal_margin", "loss", "clean_error/train", "clean_error/test",
        "robust_error/train", "robust_error/test",
    )  # fmt: skip
    rows = []
    for at, step in enumerate(trained.steps):
        noise = trained["noise_learned"][at]
        rows.append({
            "step": int(step),
            **{k: trained[k][at] for k in by_seed},
            "noise_component": trained["noise_component"][at].max((1, 2)),
            "noise_learned": noise.mean(1), "noise_learned_min": noise.min(1), "noise_learned_max": noise.max(1),
            "clean_margin_min": trained["clean_margin"][at].min(1),
            "robust_margin_min": trained["robust_margin"][at].min(1),
            "filter_signal": trained["filter_signal"][at, 0].round(6),
            "filter_noise": trained["filter_noise"][at, 0].round(6),
        })  # fmt: skip
    return rows


@dataclass(frozen=True)
class _Measured:
    """An error of each seed, the examples behind each, what attacked, and what the number proves."""

    values: np.ndarray
    n: int
    attack: str | None = None
    bound: Bound = "exact"

    def pooled(self) -> ErrorRate:
        """Over all seeds."""
        return ErrorRate(round(float(self.values.sum()) * self.n), self.n * len(self.values), self.bound)

    def metric(self) -> dict[str, Any]:
        """An entry of the schema: one seed as a counted error, several as mean and spread."""
        if len(self.values) == 1:
            return {**self.pooled().to_dict(), "attack": self.attack}
        return {**_spread(self.values), "bound": self.bound, "attack": self.attack}


def _errors(config: Config, setting: Setting, trained: Trajectory, ball: str | None) -> dict[str, _Measured]:
    """The four errors, and those under a full ball by their own names."""
    restricted = "along the signal direction, closed form"
    if all(o.ok for o in trained.outcomes):
        test, n_test = unseen_errors(trained, config.n_test), config.n_test
    else:
        test, n_test = {k: trained.final(f"{k}_error/test") for k in ("clean", "robust")}, trained.meta["n_test"]
    errors = {
        "clean_error/train": _Measured(trained.final("clean_error/train"), setting.n_train),
        "clean_error/test": _Measured(test["clean"], n_test),
        "robust_error/train": _Measured(trained.final("robust_error/train"), setting.n_train, restricted),
        "robust_error/test": _Measured(test["robust"], n_test, restricted),
    }
    if ball is None:
        return errors
    n_ball = {"train": setting.n_train, "test": min(config.n_test, FULL_BALL_EXAMPLES)}
    found = full_ball_errors(trained.meta["batch"], setting, p=ball, n_test=n_ball["test"], seeds=trained.meta["seeds"])
    for part, values in found.items():
        key, attack = f"robust_error/{part}", f"full {ball} ball, pgd40 with 6 restarts"
        if setting.full_ball:
            errors[f"{key}@signal"] = errors[key]
            errors[key] = _Measured(np.maximum(values, errors[key].values), n_ball[part], attack, "lower")
        else:
            errors[f"{key}@{ball}"] = _Measured(values, n_ball[part], attack, "lower")
    return errors


def result_of(config: Config, setting: Setting, trained: Trajectory) -> dict[str, Any]:
    """The summary of a run."""
    ball = config.full_ball or (setting.adversary if setting.full_ball else None)
    errors = _errors(config, setting, trained, ball)
    stages = summarize_stages(detect_stages(trained)) if len(trained.steps) >= 8 else None
    p = "inf" if ball == "linf" else 2
    threat = {"p": p, "radius": setting.radius, "box": None, "adversary": setting.adversary}
    return summary(
        "dynamics", seed=config.seed, threat=threat, outcome=outcome_of(trained.outcomes),
        verdict=cgro_verdict({k: errors[k].pooled() for k in FOUR}).to_dict(),
        metrics={k: e.metric() for k, e in errors.items()},
        preset=config.preset, calibrated=config.preset in CALIBRATED, statement=STATEMENTS[config.preset],
        n_seeds=len(trained.meta["seeds"]), stages=stages,
        signal_learned=_spread(trained.final("signal_learned")), signal_margin=_spread(trained.final("signal_margin")),
        noise_learned=_spread(trained.final("noise_learned").mean(1)),
        theory=compare(setting, trained, stages["signal_growth_end"]["per_seed"]) if stages else {},
        setting=setting.to_dict(), radius_ratio=setting.radius_ratio, backend=trained.meta["backend"],
    )  # fmt: skip


def outcome_of(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """One outcome for all seeds: the first that failed, else the first."""
    told: Outcome = next((o for o in outcomes if not o.ok), outcomes[0])
    return {**asdict(told), "per_seed": [o.kind for o in outcomes]}


def _spread(values: np.ndarray) -> dict[str, Any]:
    """{mean, sd, per_seed}."""
    return {
        "mean": float(values.mean()), "sd": float(values.std(ddof=1)) if len(values) > 1 else None,
        "per_seed": values.tolist(),
    }  # fmt: skip


def parse_sweep(text: str) -> dict[str, list[float]]:
    """Read name=low:high:count[:log], one or two.

    >>> parse_sweep("radius_ratio=0.5:2:4,n_train=10:40:3:log")
    {'radius_ratio': [0.5, 1.0, 1.5, 2.0], 'n_train': [10, 20, 40]}
    """
    axes: dict[str, list[float]] = {}
    for part in text.split(","):
        name, _, span = part.partition("=")
        name, ends = name.strip().replace("-", "_"), span.split(":")
        one_of(name, "--sweep", SWEEPABLE)
        if len(ends) not in (3, 4) or (len(ends) == 4 and ends[3] != "log"):
            raise bad("--sweep", expected="name=low:high:count[:log]", got=repr(part))
        low, high, n = number(ends[0], name), number(ends[1], name), int(number(ends[2], "count", low=2))
        if len(ends) == 4 and low <= 0:
            raise bad("--sweep", expected="positive ends with :log", got=repr(part))
        values = np.geomspace(low, high, n) if len(ends) == 4 else np.linspace(low, high, n)
        axes[name] = sorted({round(v) for v in values.tolist()}) if name in WHOLE else values.round(10).tolist()
    if len(axes) > 2:
        raise bad("--sweep", expected="one or two parameters", got=", ".join(axes))
    return axes


def _sweep(config: Config, whole: Run, axes: dict[str, list[float]]) -> Run:
    """One row a cell; cells that are already there are kept."""
    rows = whole.rows()
    names = list(axes)
    cells = [dict(zip(names, values, strict=True)) for values in _product(list(axes.values()))]
    settings = [setting_of(replace(config, **cell)) for cell in cells]  # a bad cell is refused before the first runs
    with progress(len(cells), "phase diagram") as update:
        for cell, setting in list(zip(cells, settings, strict=True))[len(rows) :]:
            rows.append(_cell(config, setting, cell))
            whole.write_rows(rows)
            update(len(rows), "")
    failed = sum(row["outcome"] not in ("completed", "stopped") for row in rows)
    outcome = {"kind": "completed", "reason": f"{len(cells)} cells, {failed} diverged", "step": config.n_steps}
    whole.finish(
        summary(
            "dynamics", seed=config.seed, threat=None, outcome=outcome, verdict=None, metrics={}, preset=config.preset,
            calibrated=config.preset in CALIBRATED, statement=STATEMENTS[config.preset], sweep=axes,
            n_seeds=config.seeds, stages=None, signal_learned=None, noise_learned=None, theory={},
        ),
        partial(_draw, config),
    )  # fmt: skip
    return whole


def _product(values: list[list[float]]) -> list[tuple[float, ...]]:
    return [(v,) for v in values[0]] if len(values) == 1 else [(a, b) for a in values[0] for b in values[1]]


def _cell(config: Config, setting: Setting, cell: dict[str, float]) -> dict[str, Any]:
    """The end of training for one cell, and the two predicted boundaries."""
    seeds, backend = range(config.seed, config.seed + config.seeds), one_of(config.backend, "--backend", BACKENDS)
    trained = simulate(
        setting, seeds=seeds, n_steps=config.n_steps, backend=backend, threads=config.threads or os.cpu_count() or 1,
        n_records=40, n_test=min(config.n_test, 2000),
    )  # fmt: skip
    keys = ("signal_margin", "clean_error/train", "clean_error/test", "robust_error/train", "robust_error/test")
    known = not setting.full_ball and setting.activation == "odd"
    return {
        **cell, "radius_over_strength": setting.radius_ratio, "outcome": outcome_of(trained.outcomes)["kind"],
        **{k: trained.final(k) for k in keys}, "noise_learned": trained.final("noise_learned").mean(1),
        "onset_ratio": onset_ratio(setting, seeds) if known else None,
        "extinction_ratio": extinction_ratio(setting.robust_weight, setting.activation_power) if known else None,
    }  # fmt: skip


def _draw(config: Config, path: Path) -> None:
    """The figures, from the run directory alone."""
    from cgro.report import dynamics as report
    from cgro.report.phase import phase_diagram

    if config.sweep:
        phase_diagram(path)
        return
    report.stages_figure(path)
    report.filters_figure(path)
    if config.gif:
        report.filters_gif(path)


def describe(result: dict[str, Any]) -> str:
    """The stages and the four errors, with what the preset can and cannot show."""
    if result.get("sweep"):
        return f"{result['outcome']['reason']}; the phase diagram is figures/phase.png in the directory below."
    lines = [lines_of(result), ""]
    for name, b in (result["stages"] or {}).items():
        step = f"step {b['mean']:.4g} (sd {b['sd'] or 0:.2g})" if b["mean"] is not None else f"not found: {b['reason']}"
        lines.append(f"  {name:34} {step}")
    for key, words in (("signal_margin", "alpha^q U"), ("noise_learned", "mean V_i")):
        lines.append(f"  {words:34} {result[key]['mean']:.4g}")
    for name, row in result["theory"].items():
        measured = "not measured" if row["measured"] is None else f"measured {row['measured']:.4g}"
        lines.append(f"  {'theory: ' + name:34} predicted {row['predicted']:.4g}, {measured}")
    if result["outcome"]["kind"] not in ("completed", "stopped"):
        lines += ["", f"  {result['outcome']['kind']}: {result['outcome']['reason']}"]
    return "\n".join([*lines, "", result["statement"]])
