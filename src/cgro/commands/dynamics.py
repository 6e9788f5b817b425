"""The three stages of adversarial training on patch data (Section 5), simulated exactly and compared with theory.

examples:
  cgro dynamics --preset theorem --seeds 10 --out runs/theorem
  cgro dynamics --preset table2 --seeds 10
  cgro dynamics --preset control                       (standard training; also: --preset table2 --robust-weight 0)
  cgro dynamics --preset theorem --activation-power 2 --gif
  cgro dynamics --patch-dim 1000000 --seeds 2          (the Gram matrix is drawn from its law)
  cgro dynamics --adversary l2 --radius-ratio 0.3 --n-steps 5000
  cgro dynamics --remedy weight_decay=0.005            (docs/synthetic_remedies.md; also: fresh, mixed, ema, trades)
  cgro dynamics --sweep radius_ratio=0.5:2:16,robust_weight=0.1:0.9:9 --seeds 2

presets: theorem has the scales of Theorem 5.9 (delta < alpha). table2 is CALIBRATED to the paper's Table 2 (two knobs
fitted to two targets, delta > alpha, outside the theorem): it is no evidence for the theory. control is theorem with
robust weight 0. A parameter that is not given is the preset's: d = 100, P = 2, K = 1, N = 30, m = 48, q = 3 in all.
"""

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import msgspec.structs
import numpy as np

from cgro._check import bad, count, one_of
from cgro._progress import progress
from cgro.commands._common import begin, lines_of
from cgro.commands._options import flag_of
from cgro.commands._simulation import Config, setting_of, stop_rule
from cgro.commands._statements import statement_of, unfinished
from cgro.commands._sweep import MOST_TESTED, course_of, parse_cells, parse_sweep, row_of_cell, rows_by_cell
from cgro.definitions import FOUR, ErrorRate, cgro_verdict
from cgro.definitions.metrics import Bound
from cgro.dynamics import (
    CALIBRATED,
    Backend,
    Setting,
    Simulation,
    compare,
    detect_stages,
    full_ball_errors,
    sample_threshold,
    simulate,
    summarize_stages,
    theorem_radius_ratio,
    unseen_errors,
)
from cgro.dynamics.remedied import change_of, simulate_remedied
from cgro.dynamics.remedies import alone, check_covered, parse_remedy, require_weights
from cgro.dynamics.stages import FEWEST_RECORDS
from cgro.results import (
    BoundaryRecord,
    DynamicsSummary,
    Metric,
    OutcomeRecord,
    PredictionRecord,
    ThreatRecord,
    ThresholdRecord,
    VerdictRecord,
)
from cgro.results.keys import CLEAN_TEST, CLEAN_TRAIN, ROBUST_TEST, ROBUST_TRAIN
from cgro.runs import Run
from cgro.trajectory import Outcome, Trajectory

BACKENDS: tuple[Backend, ...] = get_args(Backend)
FULL_BALL_EXAMPLES = 500  # unseen examples per seed under the full ball: 40 gradient steps from each start


def run(config: Config) -> Run:
    """Simulate, read off the stages, compare, draw.

    Args:
        config: the options.

    Returns:
        The finished run.

    Raises:
        BadRequest: options that do not fit, before any work.
    """
    axes = parse_sweep(config.sweep) if config.sweep else {}
    if axes:
        _require_of_sweep(config, axes)
        setting = setting_of(replace(config, **cells_of(config)[0]))
    else:
        _require_dimension(config)
        setting = setting_of(config)
    count(config.seeds, "--seeds")
    one_of(config.backend, "--backend", BACKENDS)
    if config.full_ball is not None:
        one_of(config.full_ball, "--full-ball", ("l2", "linf"))
        one_of(config.backend, "--backend with --full-ball", ("auto", "direct"))
    if config.remedy:
        remedy = parse_remedy(config.remedy)
        _require_remedy(config, setting)
        if not config.sweep:  # along which the weight may change
            require_weights(remedy, setting.robust_weight)
        one_of(config.backend, "--backend with --remedy", ("auto",))
        if config.full_ball is not None:
            raise bad("--remedy", expected="no --full-ball beside it", got=config.full_ball)
    if config.cells and not axes:
        raise bad("--cells", expected="a --sweep beside it", got="none")
    with begin("dynamics", config) as whole:
        if axes:
            return _sweep(config, whole, axes)
        return _single(config, whole, setting)


def _require_dimension(config: Config) -> None:
    """Refuse a dimension from which no radius follows, by the name of the option that was given."""
    follows = config.radius is None and config.radius_ratio is None and config.preset not in CALIBRATED
    if follows and config.patch_dim is not None and theorem_radius_ratio(config.patch_dim) < 0:
        expected = "an integer >= 3 where the radius follows from it"
        raise bad("--patch-dim", expected=expected, got=config.patch_dim, remedy="give --radius-ratio as well")


def _require_remedy(config: Config, setting: Setting) -> None:
    """Refuse a remedy that a setting has no step for, before any work."""
    check_covered(setting)
    change_of(setting, parse_remedy(config.remedy))


def _require_of_sweep(config: Config, axes: Mapping[str, list[float]]) -> None:
    """Refuse options that no cell would follow: a value of what is swept, and what is made of single settings."""
    for name in axes:
        value = getattr(config, name)
        if value is not None:
            remedy = "leave one of them out"
            raise bad(flag_of(name), expected=f"none beside --sweep {name}=...", got=value, remedy=remedy)
    if config.full_ball is not None or config.gif:
        asked = "--gif" if config.full_ball is None else f"--full-ball {config.full_ball}"
        raise bad(
            "--sweep", expected="neither --full-ball nor --gif beside it", got=asked, remedy="call it per setting"
        )


def _single(config: Config, whole: Run, setting: Setting) -> Run:
    seeds = range(config.seed, config.seed + config.seeds)
    backend = "direct" if config.full_ball else one_of(config.backend, "--backend", BACKENDS)
    with progress(config.n_steps, f"dynamics: {config.preset}") as update:
        if config.remedy:
            trained = simulate_remedied(
                setting,
                parse_remedy(config.remedy),
                seeds=seeds,
                n_steps=config.n_steps,
                stop_when=stop_rule(config),
                progress=update,
            )
        else:
            trained = simulate(
                setting,
                seeds=seeds,
                n_steps=config.n_steps,
                backend=backend,
                threads=config.threads or os.cpu_count() or 1,
                stop_when=stop_rule(config),
                progress=update,
            )
    whole.write_rows(rows_of(trained))
    whole.finish(result_of(config, setting, trained), partial(_draw, config))
    return whole


BY_SEED = (
    "signal_component",
    "signal_learned",
    "signal_margin",
    "loss",
    CLEAN_TRAIN,
    CLEAN_TEST,
    ROBUST_TRAIN,
    ROBUST_TEST,
)
"""Measurements of which a row holds one number per seed."""


def rows_of(trained: Trajectory) -> list[dict[str, Any]]:
    """One row per record: lists over seeds; noise as mean, least and largest over examples; filters of one seed.

    Args:
        trained: as simulated.

    Returns:
        Rows of `metrics.jsonl`.
    """
    rows = []
    for k, step in enumerate(trained.steps):
        noise = trained.at("noise_learned", k)
        row: dict[str, Any] = {"step": int(step)}
        for name in BY_SEED:
            row[name] = trained.at(name, k)
        row |= {
            "noise_component": trained.at("noise_component", k).max((1, 2)),
            "noise_learned": noise.mean(1),
            "noise_learned_min": noise.min(1),
            "noise_learned_max": noise.max(1),
            "clean_margin_min": trained.at("clean_margin", k).min(1),
            "robust_margin_min": trained.at("robust_margin", k).min(1),
            "filter_signal": trained.at("filter_signal", k)[0].round(6),
            "filter_noise": trained.at("filter_noise", k)[0].round(6),
        }
        rows.append(row)
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

    def metric(self) -> Metric:
        """An entry of the schema: one seed as a counted error, several as mean and spread."""
        if len(self.values) == 1:
            error = Metric.of_error(self.pooled())
            return msgspec.structs.replace(error, attack=self.attack)
        return msgspec.structs.replace(_over_seeds(self.values), bound=self.bound, attack=self.attack)


def _errors(config: Config, setting: Setting, trained: Simulation, ball: str | None) -> dict[str, _Measured]:
    """The four errors, and those under a full ball by their own names."""
    restricted = "along the signal direction, closed form"
    if all(o.ok for o in trained.outcomes):
        test, n_test = unseen_errors(trained, config.n_test), config.n_test
    else:
        test, n_test = {k: trained.final(f"{k}_error/test") for k in ("clean", "robust")}, trained.n_test
    errors = {
        CLEAN_TRAIN: _Measured(trained.final(CLEAN_TRAIN), setting.n_train),
        CLEAN_TEST: _Measured(test["clean"], n_test),
        ROBUST_TRAIN: _Measured(trained.final(ROBUST_TRAIN), setting.n_train, restricted),
        ROBUST_TEST: _Measured(test["robust"], n_test, restricted),
    }
    if ball is None:
        return errors
    n_ball = {"train": setting.n_train, "test": min(config.n_test, FULL_BALL_EXAMPLES)}
    found = full_ball_errors(trained.vectors, setting, p=ball, n_test=n_ball["test"], seeds=trained.seeds)
    for part, values in found.items():
        key, attack = f"robust_error/{part}", f"full {ball} ball, pgd40 from structured starts and 6 random ones"
        if setting.full_ball:
            errors[f"{key}@signal"] = errors[key]
            errors[key] = _Measured(np.maximum(values, errors[key].values), n_ball[part], attack, "lower")
        else:
            errors[f"{key}@{ball}"] = _Measured(values, n_ball[part], attack, "lower")
    return errors


def result_of(config: Config, setting: Setting, trained: Simulation) -> DynamicsSummary:
    """The summary of one setting.

    Args:
        config: the options.
        setting: that was simulated.
        trained: as simulated.

    Returns:
        Errors, verdict, stages, and theory beside measurement.
    """
    ball = config.full_ball
    if ball is None and setting.full_ball:
        ball = setting.adversary
    errors = _errors(config, setting, trained, ball)
    stages: dict[str, BoundaryRecord] | None = None
    theory: dict[str, PredictionRecord] = {}
    if len(trained.steps) >= FEWEST_RECORDS:
        found = summarize_stages(detect_stages(trained))
        stages = {name: BoundaryRecord.of(asdict(boundary)) for name, boundary in found.items()}
        predicted = compare(setting, trained, stages["signal_growth_end"].per_seed)
        theory = {name: PredictionRecord.of(asdict(row)) for name, row in predicted.items()}
    verdict = cgro_verdict({key: errors[key].pooled() for key in FOUR})
    return DynamicsSummary(
        command="dynamics",
        seed=config.seed,
        threat=ThreatRecord(
            p="inf" if ball == "linf" else 2, radius=setting.radius, box=None, adversary=setting.adversary
        ),
        outcome=outcome_of(trained.outcomes),
        verdict=VerdictRecord.of(verdict.to_dict()),
        metrics={key: error.metric() for key, error in errors.items()},
        preset=config.preset,
        calibrated=config.preset in CALIBRATED,
        statement=_statement(config, setting, trained.outcomes),
        n_seeds=len(trained.seeds),
        stages=stages,
        signal_learned=_over_seeds(trained.final("signal_learned")),
        signal_margin=_over_seeds(trained.final("signal_margin")),
        noise_learned=_over_seeds(trained.final("noise_learned").mean(1)),
        theory=theory,
        setting=setting.to_dict(),
        radius_ratio=setting.radius_ratio,
        backend=trained.backend,
        sample_threshold=_threshold(setting),
    )


def _threshold(setting: Setting) -> ThresholdRecord | None:
    found = sample_threshold(setting)
    if found is None:
        return None
    return ThresholdRecord(**asdict(found))


def _statement(config: Config, setting: Setting, outcomes: Sequence[Outcome] = ()) -> str:
    """What a run can show; that its theory is of plain training, where it has a remedy."""
    remedy = parse_remedy(config.remedy or "none")
    statement = unfinished(outcomes, statement_of(config.preset, setting))
    if not remedy.words:
        return statement
    trained = f"Trained under a remedy: {remedy.words}. {alone(remedy, setting.n_train)}"
    return f"{trained}Losses, theory and what follows speak of training without it. {statement}"


def outcome_of(outcomes: Sequence[Outcome]) -> OutcomeRecord:
    """One outcome for all seeds: the first that failed, else the first.

    Args:
        outcomes: one per seed.

    Returns:
        It, with the kinds of all.
    """
    reported = next((outcome for outcome in outcomes if not outcome.ok), outcomes[0])
    kinds = [outcome.kind for outcome in outcomes]
    return OutcomeRecord(kind=reported.kind, reason=reported.reason, step=reported.step, per_seed=kinds)


def _over_seeds(values: np.ndarray) -> Metric:
    return Metric.over_seeds(values.tolist())


def cells_of(config: Config) -> list[dict[str, float]]:
    """The cells of a sweep; a bad one is refused before the first is simulated.

    Args:
        config: the options.

    Returns:
        Parameter -> value, one mapping per cell, those of the first value of the first parameter first.

    Raises:
        BadRequest: see `parse_sweep`, `setting_of`, `check_covered` and `change_of`.
    """
    axes = parse_sweep(config.sweep)
    _require_of_sweep(config, axes)
    cells = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    for cell in cells:
        of_cell = replace(config, **cell)
        _require_dimension(of_cell)
        setting = setting_of(of_cell)
        if config.remedy:
            _require_remedy(config, setting)
    return cells


def first_axis(config: Config) -> int:
    """How many values the first parameter of a sweep has.

    Args:
        config: the options.

    Returns:
        Their number.
    """
    return len(next(iter(parse_sweep(config.sweep).values())))


def _sweep(config: Config, whole: Run, axes: Mapping[str, list[float]]) -> Run:
    """One row per cell, in the order of the cells; those that are already there are kept, by their values."""
    every = cells_of(config)
    cells = [every[k] for k in parse_cells(config.cells, len(every))]
    settings = [setting_of(replace(config, **cell)) for cell in cells]
    known = rows_by_cell(whole.rows(), cells, str(whole.path / "metrics.jsonl"))
    with progress(len(cells), "phase diagram") as update:
        for k in range(len(cells)):
            if k not in known:
                known[k] = _cell(config, settings[k], cells[k])
                whole.write_rows([known[i] for i in sorted(known)])
            update(len(known), "")
    rows = [known[k] for k in range(len(cells))]
    whole.write_rows(rows)  # those that were there may have come in another order, or twice
    failed = [row for row in rows if row["outcome"] not in ("completed", "stopped")]
    reason = f"{len(cells)} cells, {len(failed)} diverged"
    draw = None if config.cells else partial(_draw, config)
    result = DynamicsSummary(
        command="dynamics",
        seed=config.seed,
        threat=None,
        outcome=OutcomeRecord(kind="completed", reason=reason, step=config.n_steps),
        verdict=None,
        metrics={},
        preset=config.preset,
        calibrated=config.preset in CALIBRATED,
        statement=_statement(config, max(settings, key=lambda setting: setting.radius_ratio)),
        sweep=axes,
        n_seeds=config.seeds,
        stages=None,
        signal_learned=None,
        noise_learned=None,
        theory={},
    )
    whole.finish(result, draw)
    return whole


RECORDS_OF_REMEDY = 80
"""Of a cell: a remedy is also read along the way, at steps 17% apart. A choice."""


def _cell(config: Config, setting: Setting, cell: Mapping[str, float]) -> dict[str, object]:
    """The end of training for one cell, and the predicted boundaries."""
    seeds = range(config.seed, config.seed + config.seeds)
    if config.remedy:
        trained = simulate_remedied(
            setting,
            parse_remedy(config.remedy),
            seeds=seeds,
            n_steps=config.n_steps,
            n_records=RECORDS_OF_REMEDY,
            n_test=min(config.n_test, MOST_TESTED),
            stop_when=stop_rule(config),
        )
        row = row_of_cell(setting, trained, cell) | course_of(trained)
        return {**row, "outcome": outcome_of(trained.outcomes).kind}
    trained = simulate(
        setting,
        seeds=seeds,
        n_steps=config.n_steps,
        backend=one_of(config.backend, "--backend", BACKENDS),
        threads=config.threads or os.cpu_count() or 1,
        n_records=40,
        n_test=min(config.n_test, MOST_TESTED),
        stop_when=stop_rule(config),
    )
    return {**row_of_cell(setting, trained, cell), "outcome": outcome_of(trained.outcomes).kind}


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


def describe(result: DynamicsSummary) -> str:
    """The stages and the four errors, with what the preset can and cannot show.

    Args:
        result: of one setting, or of a sweep.

    Returns:
        Text for the terminal.
    """
    if result.sweep:
        return f"{result.outcome.reason}; the phase diagram is figures/phase.png in the directory below."
    lines = [lines_of(result), ""]
    for name, boundary in (result.stages or {}).items():
        step = f"not found: {boundary.reason}"
        if boundary.mean is not None:
            step = f"step {boundary.mean:.4g} (sd {boundary.sd or 0:.2g})"
        lines.append(f"  {name:34} {step}")
    learned = {"alpha^q U": result.signal_margin, "mean V_i": result.noise_learned}
    for words, metric in learned.items():
        if metric and metric.mean is not None:
            lines.append(f"  {words:34} {metric.mean:.4g}")
    for name, row in result.theory.items():
        measured = "not measured" if row.measured is None else f"measured {row.measured:.4g}"
        lines.append(f"  {'theory: ' + name:34} predicted {row.predicted:.4g}, {measured}")
    lines += _beside_threshold(result)
    if result.outcome.kind not in ("completed", "stopped"):
        lines += ["", f"  {result.outcome.kind}: {result.outcome.reason}"]
    return "\n".join([*lines, "", result.statement])


def _beside_threshold(result: DynamicsSummary) -> list[str]:
    """N beside the number of examples above which the noise is not memorized, where one is predicted."""
    threshold = result.sample_threshold
    if not isinstance(threshold, ThresholdRecord) or not isinstance(result.setting, Mapping):
        return []
    found = f"N_c {threshold.critical:.4g}, half memorized up to {threshold.half:.4g}"
    return [f"  {'theory: sample threshold':34} {found}; here N = {result.setting.get('n_train')}"]
