"""Does MY model overfit robustly? A verdict with evidence on a run, checkpoints, a table of curves, or a training log.

From curves: how far the robust test error rises after its lowest point (free of the bias of picking a minimum), from
which epoch on, whether a learning-rate drop set it off, what each rule of selection reports, and what helps. From
weights: the errors, and a lint of the evaluation. Of a file it says which column was read as what, and in which unit.

examples:
  cgro diagnose runs/mnist5k
  cgro diagnose output.log                                   # the field's plain-text training log
  cgro diagnose curves.csv --map epoch=step,robust_accuracy/test=pgd_acc:percent
  cgro diagnose curves.csv --map robust_accuracy/test=n_robust//10000      # counts of 10,000 examples
  cgro diagnose train.out --map 'epoch=/Epoch: (\\d+)/,robust_accuracy/test=/PGD acc ([\\d.]+)/'      # any text
  cgro diagnose checkpoints/ --model my_package.nets:Net --data cifar10 --radius 8/255
  cgro diagnose model.safetensors --model my_package.nets:Net --data mnist --radius 0.1 --json
  cgro diagnose runs/mine --model my_package.nets:Net        # a network of your own: with the lint
  torchrun --nproc-per-node 4 -m -- cgro diagnose checkpoints/ --model my_package.nets:Net --data cifar10 --radius 8/255
  cgro diagnose output.log --fail-on robust_overfitting --max robust_error/test=0.55      # exit 1: for CI

A run is data: what it names is imported, read or fetched only if --model and --data name it too, or with --trust;
without it the verdict comes from the run's numbers and the lint is left out."""

import json
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch

from cgro._check import CheckFailed, apart, bad, count, listed, number, one_of
from cgro._progress import progress
from cgro.commands._common import Computing, Output, Trusting, begin, option, set_up
from cgro.commands._diagnosed import NOT_RUN, describe, errors_of, metrics_of, rows_of, verdict_of, with_its_options
from cgro.commands._effect import Effects, Only, beside
from cgro.commands._said import given, require_effect, require_own
from cgro.commands._settings import described, is_watched, settings_of, watched
from cgro.commands._target import Target, prepare
from cgro.commands._together import Beside, begun_by_first, device_for, in_processes
from cgro.commands._training import Config as TrainConfig
from cgro.definitions import FOUR, ErrorRate, Label, ThreatModel, attack_by_name
from cgro.definitions.rounds import alike
from cgro.diagnosis import (
    Check,
    Curves,
    Diagnosis,
    diagnose,
    diagnose_model,
    lint,
    measured,
    read_curves,
    too_low,
    with_caveats,
    with_lint,
)
from cgro.diagnosis.importers import Importer, importer_by_name, parse_map, read_folder
from cgro.diagnosis.monitor.settings import UNKNOWN
from cgro.folder import seed_folders
from cgro.ranks import ALONE, Ranks
from cgro.report.diagnosis import diagnosis_figure
from cgro.results import (
    DiagnoseSummary,
    DiagnosisRecord,
    OutcomeRecord,
    ThreatRecord,
)
from cgro.runs import Run, Unsaved, say
from cgro.training.checkpoint import checkpoint_of
from cgro.training.weights import Series, checkpoint_at, checkpoint_series, is_weights, load_file
from cgro.trust import Untrusted

__all__ = ["Config", "check", "describe", "of_run", "run"]

NOT_NAMED = "not run; cgro.Monitor records weights alone: add --model package.module:name and --data NAME"

NEXT = "cgro report {run}"
"""Mostly follows; see `cgro.cli`."""


@dataclass(kw_only=True)
class Config(Trusting, Output, Computing):
    """Options of `cgro diagnose`."""

    target: str | None = option(
        None, "a run, a folder of checkpoints, a checkpoint, a CSV/JSONL, a log", positional=True
    )
    map: str = option(
        "",
        "CURVE=COLUMN,... such as robust_accuracy/test=pgd_acc; COLUMN:percent or :fraction tells the unit, COLUMN//N "
        "divides a count by N examples; of a text CURVE=/PATTERN/, a regular expression with one group, or /PATTERN//N",
    )
    importer: str | None = option(
        None,
        "package.module:Class that reads a log of your own format: cgro.diagnosis.importers.base",
        names="importer",
    )
    n_classes: int | None = option(
        None, "classes of the task, where the target does not say; sets the error of guessing", low=2
    )
    fail_on: list[str] = option([], "exit 1 on this label, or on several with commas; may be repeated")
    max: list[str] = option([], "KEY=VALUE: exit 1 if this error or rise is larger; may be repeated")
    model: str | None = option(
        None,
        "network of checkpoints: lenet, ... or package.module:factory; of a run, says that its own is yours",
        names="network",
    )
    width: int | None = option(None, "its width", low=1)
    weights: str | None = option(
        None, "which weights of a bare checkpoint that holds several, such as state_dict_ema or student."
    )
    data: str = option(
        "mnist5k", "data set of checkpoints; see cgro data; of a run, says that its own is yours", names="data"
    )
    classes: str | None = option(None, "task of checkpoints")
    image_size: int | None = option(None, "of checkpoints, side to which images are cut and scaled", low=1)
    pattern: str = option(
        "*", "which files of a folder are checkpoints, such as model_*.pth; {epoch} says which number is the epoch"
    )
    p: str = option("inf", "norm, for checkpoints")
    radius: str | None = option(None, "radius, for checkpoints")
    attack: str = option("pgd20", "attack over a folder of checkpoints; see cgro evaluate", names="attack")
    n: int = option(1000, "examples of each part, for checkpoints", low=1)
    lint_n: int = option(128, "test examples of the evaluation lint, where there are weights; 0 leaves it out", low=0)
    seed: int = option(0, "of simulations and attacks, and of the cut of checkpoints' data", low=0)

    HAS_EFFECT: ClassVar[Effects] = {
        "map": Only("a table or a log as TARGET, whose columns it names", lambda c: _is(c, TABLE)),
        "importer": Only("a table or a log as TARGET, which it reads", lambda c: _is(c, TABLE)),
        "n_classes": Only("no checkpoints as TARGET: their data say it", lambda c: _is(c, TABLE, RUN)),
        "model": Only(
            "a run or checkpoints as TARGET: a table or a log has no weights", lambda c: _is(c, RUN, WEIGHTS)
        ),
        "width": Only("a run or checkpoints as TARGET", lambda c: _is(c, RUN, WEIGHTS)),
        "weights": Only("checkpoints as TARGET", lambda c: _is(c, WEIGHTS)),
        "data": Only("a run or checkpoints as TARGET", lambda c: _is(c, RUN, WEIGHTS)),
        "classes": Only("a run or checkpoints as TARGET", lambda c: _is(c, RUN, WEIGHTS)),
        "image_size": Only("a run or checkpoints as TARGET", lambda c: _is(c, RUN, WEIGHTS)),
        "pattern": Only("a folder of checkpoints as TARGET", lambda c: _is(c, FOLDER)),
        "p": beside("--radius", lambda c: c.radius is not None or _is(c, RUN, WEIGHTS)),
        "attack": Only("checkpoints as TARGET", lambda c: _is(c, WEIGHTS)),
        "n": Only("checkpoints as TARGET", lambda c: _is(c, WEIGHTS)),
        "precision": Only(
            "float32, but over a folder of checkpoints", lambda c: c.precision == "float32" or _is(c, FOLDER)
        ),
    }


RUN, TABLE, WEIGHTS, FOLDER = "run", "table", "weights", "folder"
"""Kinds of targets; a folder of checkpoints is both of the last two."""


def _is(config: Config, *kinds: str) -> bool:
    """Whether the target is of one of some kinds, or of one that is not known before it is read."""
    path = Path(config.target or "")
    if config.target is None or not path.exists():
        return True
    if Run(path).is_begun():
        return RUN in kinds
    if is_weights(path):
        return WEIGHTS in kinds
    if not path.is_dir():
        return TABLE in kinds
    if config.model is None and not any(map(is_weights, path.iterdir())):  # of a log, perhaps: see `_read`
        return True
    return WEIGHTS in kinds or FOLDER in kinds


def run(config: Config) -> Run | Unsaved | Beside:
    """Diagnose any target; networks are attacked by the share that this process has among several.

    Args:
        config: the options.

    Returns:
        The finished run; beside the first of several processes an exit code.

    Raises:
        BadRequest: a target that is not understood, or options that do not fit it.
    """
    set_up(config)
    return in_processes(config, _diagnosed, check)


def _diagnosed(config: Config, ranks: Ranks) -> Run | Unsaved:
    with alike(ranks):
        path, curves = _read(config)
    if curves is None and not Run(path).is_begun():
        return _from_weights(config, path, ranks)
    with begun_by_first(begin("diagnose", config), ranks) as done:
        if curves is None:
            return _finish(config, done, *of_run(config, path, ranks), ranks)
        with alike(ranks):
            found = [diagnose(one, n_classes=config.n_classes, seed=config.seed) for one in curves]
        return _finish(config, done, curves, found, ranks)


def _read(config: Config) -> tuple[Path, Sequence[Curves] | None]:
    """The path of what is diagnosed, and its curves where it is a table or a log."""
    if config.target is None:
        raise bad(
            "TARGET", expected="a run, checkpoints, a table or a log", got="none", remedy="see cgro diagnose --help"
        )
    path, columns = Path(config.target), parse_map(config.map)
    own = None if config.importer is None else importer_by_name(config.importer)
    count(config.lint_n, "--lint-n", low=0)
    _labels(config)
    _limits(config)
    if is_weights(path) and path.exists():
        return path, None
    if path.is_dir() and not Run(path).is_begun():
        return path, _of_folder(config, path, columns, own)
    if path.is_dir():
        source = Run.open(path)
        if source.config.get("command") == "train":
            # another --model or --data trusts nothing here: the lint is left out, and that is said
            names = ("classes", "width", "image_size", "p", "radius")
            require_own(config, source.config, names, where=str(path))
        elif is_watched(source):
            require_own(config, source.config, ("p", "radius"), where=str(path))
        return path, None
    return path, read_curves(path, columns or None, importer=own)


def _of_folder(config: Config, path: Path, columns: Mapping[str, str], own: Importer | None) -> Sequence[Curves] | None:
    """The curves of the log in a folder; None where its checkpoints are meant."""
    if config.model is not None or any(map(is_weights, path.iterdir())):
        return None
    checkpoints = any(map(checkpoint_at, path.iterdir()))
    log = read_folder(path, columns or None, importer=own, below=not checkpoints)
    if log is None and checkpoints:
        return None
    if log is None:
        there = listed(sorted(inner.name for inner in path.iterdir()), 5) or "nothing"
        raise bad(str(path), expected="a run, checkpoints, a table or a log", got=there)
    require_effect(replace(config, target=str(log.files[0])), config.typed)
    say(log.sentence())
    return log.curves


def check(config: Config, result: DiagnoseSummary) -> None:
    """Hold a finished diagnosis against `--fail-on` and `--max`.

    Args:
        config: the options.
        result: of `run`.

    Raises:
        CheckFailed: a label or number that the caller does not accept.
        BadRequest: `--max` names a number that this diagnosis does not have.
    """
    verdict, metrics = result.verdict, result.metrics
    assert verdict is not None, "every diagnosis has one"
    labels = (verdict.label, *(verdict.per_seed or ()))
    failed = [f"the label is {label} (--fail-on)" for label in _labels(config) if label in labels]
    for key, limit in _limits(config).items():
        found = metrics.get(key) or metrics.get(f"{key}@last_five")
        if found is None:
            numbers = ", ".join(metrics) or "none"
            raise bad(f"--max {key}", expected=f"a number of this diagnosis ({numbers})", got="none of them")
        value = found.typical
        if value is None or value > limit:
            shown, most = "not a number", f"{limit:g}"
            if value is not None:
                shown, most = apart(value, limit, digits=4)
            failed.append(f"{key} is {shown}, above {most} (--max)")
    if failed:
        raise CheckFailed("; ".join(failed))


def _labels(config: Config) -> list[Label]:
    """The labels of --fail-on."""
    known = typing.get_args(Label)
    words = ",".join(config.fail_on).split(",")
    return [one_of(word.strip(), "--fail-on", known) for word in words if word.strip()]


def _limits(config: Config) -> dict[str, float]:
    """The limits of --max: key -> largest accepted value."""
    limits: dict[str, float] = {}
    for text in config.max:
        key, equals, value = text.rpartition("=")
        if not equals or not key.strip():
            raise bad("--max", expected="KEY=VALUE such as robust_error/test=0.55", got=repr(text))
        limits[key.strip()] = number(value.strip(), f"--max {key.strip()}")
    return limits


def of_run(config: Config, path: Path, ranks: Ranks = ALONE) -> tuple[list[Curves], list[Diagnosis]]:
    """The curves of each seed of a training run and their diagnoses, with the errors of its end and the lint.

    Args:
        config: options; `lint_n`, `seed`, `n_classes` and what is trusted are used.
        path: of the run.
        ranks: the processes that attack together.

    Returns:
        Curves and diagnoses, one of each per seed.
    """
    with alike(ranks):
        curves = read_curves(path)
    parts = seed_folders(path) or [path]
    found: list[Diagnosis] = []
    for one, part in zip(curves, parts, strict=True):
        with alike(ranks):
            found_here = diagnose(one, errors=_final_errors(part), n_classes=config.n_classes, seed=config.seed)
        if config.lint_n:
            found_here = _with_lint_of_run(config, found_here, part, ranks)
        found_here = with_its_options(found_here, Run.open(part), config.trust)
        found.append(with_caveats(found_here, _too_low(part)))
    return curves, found


def _with_lint_of_run(config: Config, found_here: Diagnosis, part: Path, ranks: Ranks) -> Diagnosis:
    """Numbers and curves come from files; the lint builds the network, so it needs one that is trusted."""
    source = Run.open(part)
    if is_watched(source) and config.model is None and source.config.get("model") == UNKNOWN:
        return replace(found_here, findings=(*found_here.findings, NOT_RUN + NOT_NAMED))
    try:
        return with_lint(found_here, _lint_of_run(config, part, ranks))
    except Untrusted as refused:
        return replace(found_here, findings=(*found_here.findings, NOT_RUN + refused.left_out))


def _final_errors(part: Path) -> dict[str, ErrorRate]:
    """The errors of the end of a finished run, from more examples than its curve."""
    source = Run.open(part)
    if not source.finished:
        return {}
    metrics = source.read().metrics
    errors = {key: metrics[key].error for key in FOUR if key in metrics}
    return {key: error for key, error in errors.items() if error is not None}


def _too_low(part: Path) -> list[str]:
    """What stronger attacks on some of the examples of a finished run say of its errors."""
    source = Run.open(part)
    if not source.finished:
        return []
    return too_low(source.read().metrics)


def _lint_of_run(config: Config, part: Path, ranks: Ranks) -> list[Check]:
    with alike(ranks):
        source = Run.open(part)
        settings = watched(source, settings_of(source, trust=config.trust), config.model, config.data, config.trust)
        if is_watched(source):
            settings = replace(settings, width=config.width, classes=config.classes, image_size=config.image_size)
        target = Target(settings, source, {"last": checkpoint_of(source)})
        data, model = target.load()
        device = device_for(config.device, ranks)
        test = data.test.head(config.lint_n).to(device)
        model = model.to(device).eval()
    threat = target.settings.threat()
    return lint(model, test.x, test.y, threat, n=config.lint_n, seed=config.seed, ranks=ranks)


def _settings(config: Config, path: Path) -> TrainConfig:
    """The options of checkpoints, as those of a training.

    Raises:
        BadRequest: no network or no radius.
    """
    needed = {"--model": config.model, "--radius": config.radius}
    missing = " and ".join(name for name, value in needed.items() if value is None)
    if config.model is None or config.radius is None:
        raise bad(str(path), expected=f"{missing} beside checkpoints", got="none", remedy="see cgro diagnose --help")
    return described(config, model=config.model, p=config.p, radius=config.radius)


def _from_weights(config: Config, path: Path, ranks: Ranks) -> Run | Unsaved:
    """A folder of checkpoints makes a curve; one checkpoint makes a point."""
    with alike(ranks):
        settings = _settings(config, path)
        series = _series(path, config.pattern)
        files = series.files
        data, model = prepare(settings)
        device = device_for(config.device, ranks)
        parts = {"train": data.train.head(config.n).to(device), "test": data.test.head(config.n).to(device)}
        for sentence in _fit_all(model, series, config.weights):
            say(sentence)
        model = model.to(device).eval()
    if len(files) == 1 and "attack" in given(config):
        say(f"remark: --attack {config.attack} is that of a curve; one checkpoint is attacked by attacks of its own")
    classes = max(2, data.n_outputs)
    with begun_by_first(begin("diagnose", config), ranks) as done:
        point = diagnose_model(
            model,
            parts["train"],
            parts["test"],
            settings.threat(),
            n=config.n,
            n_lint=config.lint_n,
            n_classes=classes,
            seed=config.seed,
            ranks=ranks,
        )
        if len(files) == 1:
            return _finish(config, done, [], [point], ranks)
        attack = attack_by_name(config.attack, settings.threat(), precision=config.precision)
        with progress(len(files), "checkpoints") as show:

            def save(rows: list[dict[str, float]]) -> None:
                assert done is not None, "called in the first process"
                done.write_rows(rows)
                show(len(rows))

            before = _rows_of(done, ranks)
            rows = measured(model, files, parts, attack, rows=before, saved=save, entry=config.weights, ranks=ranks)
        sizes = {f"n/{name}": len(part) for name, part in parts.items()}
        curves = Curves.from_rows(rows, {"source": str(path), "n_classes": classes, **sizes})
        found = diagnose(curves, errors=_measured_errors(point), seed=config.seed)
        return _finish(config, done, [curves], [with_lint(found, point.lint)], ranks)


def _rows_of(done: Run | None, ranks: Ranks) -> list[dict[str, float]]:
    """What the first process has measured before."""
    rows: list[dict[str, float]] = []
    with alike(ranks):
        if done is not None:
            rows = done.rows()
    return json.loads(ranks.bytes_of_first(json.dumps(rows).encode()))


def _series(path: Path, pattern: str) -> Series:
    """The checkpoints with their epochs; a single one has none."""
    if path.is_dir():
        return checkpoint_series(path, pattern)
    return Series([(0, path)], "")


def _fit_all(model: torch.nn.Module, series: Series, entry: str | None) -> list[str]:
    """Read every file once before any work.

    Returns:
        How the names were read, and which weights of the files are used; of equal choices the first alone.
    """
    said: list[str] = []
    epochs: list[int | None] = []
    choices = {""}
    for _, file in series.files:
        loaded = load_file(model, file, entry=entry)
        sentence = loaded.sentence()
        epochs.append(loaded.epoch)
        choice = sentence.removeprefix(file.name)
        if choice not in choices:
            choices.add(choice)
            said.append(sentence)
    series.require_order(epochs)
    if series.name or series.aside:
        said.insert(0, series.sentence())
    return said


def _measured_errors(point: Diagnosis) -> dict[str, ErrorRate]:
    errors = {key: metric.error for key, metric in errors_of(point).items()}
    return {key: error for key, error in errors.items() if error is not None}


def _finish(
    config: Config, done: Run | None, curves: Sequence[Curves], found: Sequence[Diagnosis], ranks: Ranks
) -> Run | Unsaved:
    """Write rows, summary and figure, in the first process."""
    rows: list[dict[str, float]] = []
    for part, (one, diagnosis) in enumerate(zip(curves, found, strict=False)):
        rows += rows_of(one, diagnosis, part)
    threat = None
    if config.radius is not None:
        threat = ThreatRecord.of(ThreatModel(config.p, config.radius).to_dict())
    reason = "one point"
    if curves:
        reason = f"{sum(map(len, curves))} epochs"
    result = DiagnoseSummary(
        command="diagnose",
        seed=config.seed,
        threat=threat,
        outcome=OutcomeRecord(kind="completed", reason=reason),
        verdict=verdict_of(found),
        metrics=metrics_of(found[0]),
        diagnoses=[DiagnosisRecord.of(diagnosis.to_dict()) for diagnosis in found],
    )
    with alike(ranks):
        if done is not None:
            if rows:
                done.write_rows(rows)
            done.finish(result, diagnosis_figure)
    return done or Unsaved(result)
