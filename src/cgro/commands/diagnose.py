"""Does MY model overfit robustly? A verdict with evidence on a run, checkpoints, a table of curves, or a training log.

From curves: how far the robust test error rises after its lowest point (free of the bias of picking a minimum), from
which epoch on, whether a learning-rate drop set it off, what each rule of selection reports, and what helps. From weights:
the errors, and a lint of the evaluation.

examples:
  cgro diagnose runs/mnist5k
  cgro diagnose output.log                                   # the field's plain-text training log
  cgro diagnose curves.csv --map epoch=step,robust_accuracy/test=pgd_acc
  cgro diagnose checkpoints/ --model my_package.nets:Net --data cifar10 --radius 8/255
  cgro diagnose model.safetensors --model my_package.nets:Net --data mnist --radius 0.1 --json
  cgro diagnose runs/mine --model my_package.nets:Net        # a network of your own: with the lint

A run is data: what it names is imported, read or fetched only if --model and --data name it too, or with --trust; without it
the verdict comes from the run's numbers and the lint is left out.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cgro._check import bad, count
from cgro._progress import progress
from cgro.commands import train
from cgro.commands._common import Computing, Output, Trusting, begin, option, set_up
from cgro.data import Dataset
from cgro.definitions import FOUR, ErrorRate, attack_by_name
from cgro.diagnosis import (
    Check,
    Curves,
    Diagnosis,
    checkpoint_files,
    diagnose,
    diagnose_model,
    lint,
    measured,
    read_curves,
    with_lint,
)
from cgro.diagnosis.importers import parse_map
from cgro.diagnosis.model import SUFFIXES
from cgro.report.diagnosis import diagnosis_figure
from cgro.results import Summary, commonest, plain_summary
from cgro.runs import Run, summary
from cgro.training import make_fabric
from cgro.training.checkpoint import checkpoint_of, load_weights, read_run_weights, read_weights
from cgro.trust import Untrusted

NOT_RUN = "Evaluation lint: "
"""How a finding begins that says why there is no lint."""


@dataclass(kw_only=True)
class Config(Trusting, Output, Computing):
    """Options of `cgro diagnose`."""

    target: str | None = option(
        None, "a run, a folder of checkpoints, a checkpoint, a CSV/JSONL, a log", positional=True
    )
    map: str = option("", "CURVE=COLUMN,... for tables, such as robust_accuracy/test=pgd_acc")
    n_classes: int | None = option(
        None, "classes of the task, where the target does not say; sets the error of guessing"
    )
    model: str | None = option(
        None, "network of checkpoints: lenet, ... or package.module:factory; of a run, says that its own is yours",
        names="network",
    )  # fmt: skip
    width: int | None = option(None, "its width")
    data: str = option(
        "mnist5k", "data set of checkpoints; see cgro data; of a run, says that its own is yours", names="data"
    )
    classes: str | None = option(None, "task of checkpoints")
    pattern: str = option("*", "which files of a folder are checkpoints, such as model_*.pth")
    p: str = option("inf", "norm, for checkpoints")
    radius: str | None = option(None, "radius, for checkpoints")
    attack: str = option("pgd20", "attack over a folder of checkpoints; see cgro evaluate", names="attack")
    n: int = option(1000, "examples of each part, for checkpoints")
    lint_n: int = option(128, "test examples of the evaluation lint, where there are weights; 0 leaves it out")
    seed: int = option(0, "of simulations and attacks, and of the cut of checkpoints' data")


def run(config: Config) -> Run:
    """Diagnose any target."""
    set_up(config)
    if config.target is None:
        raise bad(
            "TARGET", expected="a run, checkpoints, a table or a log", got="none", remedy="see cgro diagnose --help"
        )
    path, columns = Path(config.target), parse_map(config.map)
    count(config.lint_n, "--lint-n", low=0)
    weights = path.suffix in SUFFIXES or (path.is_dir() and not (path / "config.yaml").exists())
    if weights and path.exists():
        return _from_weights(config, path)
    if path.is_dir():
        Run.open(path)
    curves = None if path.is_dir() else read_curves(path, columns or None)
    with begin("diagnose", config) as done:
        if curves is None:
            return _finish(config, done, *of_run(config, path))
        found = [diagnose(c, n_classes=config.n_classes, seed=config.seed) for c in curves]
        return _finish(config, done, curves, found)


def of_run(config: Config, path: Path) -> tuple[list[Curves], list[Diagnosis]]:
    """The curves of each seed of a training run and their diagnoses, with the errors of its end and the lint."""
    curves, parts, found = read_curves(path), sorted(path.glob("seed-*")) or [path], []
    for one, part in zip(curves, parts, strict=True):
        judged = diagnose(one, errors=_final_errors(part), n_classes=config.n_classes, seed=config.seed)
        found.append(_with_lint_of_run(config, judged, part) if config.lint_n else judged)
    return curves, found


def _with_lint_of_run(config: Config, judged: Diagnosis, part: Path) -> Diagnosis:
    """Numbers and curves come from files; the lint builds the network, so it needs one that is trusted."""
    try:
        return with_lint(judged, _lint_of_run(config, part))
    except Untrusted as refused:
        return replace(judged, findings=(*judged.findings, NOT_RUN + refused.left_out))


def _final_errors(part: Path) -> dict[str, ErrorRate]:
    """The errors of the end of a finished run, from more examples than its curve."""
    source = Run.open(part)
    metrics = source.summary["metrics"] if source.finished else {}
    return {k: ErrorRate(metrics[k]["wrong"], metrics[k]["n"], metrics[k]["bound"]) for k in FOUR if k in metrics}


def _lint_of_run(config: Config, part: Path) -> list[Check]:
    source = Run.open(part)
    settings = train.settings_of(source, trust=config.trust)
    data, model = train.prepare(settings)
    path = checkpoint_of(source)
    load_weights(model, read_run_weights(source, path), path)
    return _lint(config, settings, data, model)


def _lint(config: Config, settings: train.Config, data: Dataset, model: torch.nn.Module) -> list[Check]:
    device = make_fabric(config.device).device
    test = data.test.head(config.lint_n).to(device)
    return lint(model.to(device).eval(), test.x, test.y, settings.threat(), n=config.lint_n, seed=config.seed)


def _from_weights(config: Config, path: Path) -> Run:
    """A folder of checkpoints makes a curve; one checkpoint makes a point."""
    if config.model is None or config.radius is None:
        missing = " and ".join(k for k, v in (("--model", config.model), ("--radius", config.radius)) if v is None)
        raise bad(str(path), expected=f"{missing} beside checkpoints", got="none", remedy="see cgro diagnose --help")
    files = checkpoint_files(path, config.pattern) if path.is_dir() else [(0, path)]
    names = ("data", "classes", "model", "width", "p", "radius", "seed", "device", "threads", "precision")
    settings = train.Config(**{k: getattr(config, k) for k in names})
    data, model = train.prepare(settings)
    device = make_fabric(config.device).device
    parts = {k: getattr(data, k).head(config.n).to(device) for k in ("train", "test")}
    for _, file in files:
        load_weights(model, read_weights(file), file)
    model = model.to(device).eval()
    with begin("diagnose", config) as done:
        point = diagnose_model(model, parts["train"], parts["test"], settings.threat(), n=config.n, n_lint=config.lint_n,
                               n_classes=max(2, data.n_outputs), seed=config.seed)  # fmt: skip
        if len(files) == 1:
            return _finish(config, done, [], [point])
        attack = attack_by_name(config.attack, settings.threat(), precision=config.precision)
        with progress(len(files), "checkpoints") as show:

            def save(rows: list[dict[str, Any]]) -> None:
                done.write_rows(rows)
                show(len(rows))

            rows = measured(model, files, parts, attack, rows=done.rows(), saved=save)
        meta = {
            "source": str(path),
            "n_classes": max(2, data.n_outputs),
            **{f"n/{k}": len(v) for k, v in parts.items()},
        }
        curves = Curves.from_rows(rows, meta)
        rates = {k: ErrorRate(e["wrong"], e["n"], e["bound"]) for k, e in point.evidence["errors"].items()}
        found = diagnose(curves, errors=rates, seed=config.seed)
        return _finish(config, done, [curves], [with_lint(found, point.lint)])


def _finish(config: Config, done: Run, curves: list[Curves], found: list[Diagnosis]) -> Run:
    """Write rows, summary and figure."""
    rows = []
    for number, (one, diagnosis) in enumerate(zip(curves, found, strict=False)):
        fits = dict(zip(diagnosis.rise.epochs, diagnosis.rise.fit, strict=True)) if diagnosis.rise else {}
        rows += [{**row, "part": number} | ({"valley": float(fits[row["epoch"]])} if row["epoch"] in fits else {})
                 for row in one.rows()]  # fmt: skip
    if rows:
        done.write_rows(rows)
    threat = None
    if config.radius is not None:
        threat = train.Config(p=config.p, radius=config.radius).threat().to_dict()
    reason = f"{sum(len(c) for c in curves)} epochs" if curves else "one point"
    done.finish(
        summary(
            "diagnose", seed=config.seed, threat=threat, outcome={"kind": "completed", "reason": reason},
            verdict=_verdict(found), metrics=_metrics(found), diagnoses=[f.to_dict() for f in found],
        ),
        diagnosis_figure,
    )  # fmt: skip
    return done


def _verdict(found: list[Diagnosis]) -> dict[str, Any]:
    """Of one training its own; of several seeds the commonest label."""
    if len(found) == 1:
        return {"label": found[0].label, "reason": found[0].reason, "scope": found[0].scope}
    labels = [f.label for f in found]
    label, sentence = commonest(labels)
    rises = [100 * f.rise.size for f in found if f.rise]
    spread = f"; rise {np.mean(rises):.2f} points (sd {np.std(rises, ddof=1):.2f})" if len(rises) > 1 else ""
    first = next(f for f in found if f.label == label)
    text = f"{sentence}{spread}. First such seed: {first.reason}"
    return {"label": label, "reason": text, "scope": first.scope, "per_seed": labels}


def _metrics(found: list[Diagnosis]) -> dict[str, Any]:
    """Of the first seed: errors by each rule of selection, and the rise."""
    first, metrics = found[0], dict(found[0].evidence.get("errors", {}))
    if first.selection:
        for name in ("on_test", "on_validation", "last", "last_five"):
            if (chosen := getattr(first.selection, name)) is not None:
                key = f"selected_{name}" if name.startswith("on") else name
                metrics[f"robust_error/test@{key}"] = {"value": chosen.robust_error, "epoch": chosen.epoch}
    if first.rise:
        r = first.rise
        metrics["rise/robust_error/test"] = {"value": r.size, "interval": list(r.interval), "p_value": r.p_value}
    return metrics


def not_run(diagnosis: dict[str, Any]) -> list[str]:
    """Of a diagnosis as plain values: why its lint was left out, if something was not trusted."""
    return [text for text in diagnosis.get("findings", []) if text.startswith(NOT_RUN)]


def describe(summary: Summary) -> str:
    """The verdict, its sentences, the lint and the remedies."""
    result: Any = plain_summary(summary)
    lines = [f"{result['verdict']['label']}: {result['verdict']['reason']}"]
    first = result["diagnoses"][0]
    findings = [f"- {text}" for text in first["findings"] if not text.startswith(NOT_RUN)]
    lines += ["", *findings] if findings else []
    lines += [line for text in not_run(first) for line in ("", text)]
    if first["lint"]:
        warnings = [c for c in first["lint"] if c["status"] == "WARN"]
        lines += ["", f"Evaluation lint: {len(first['lint']) - len(warnings)} PASS, {len(warnings)} WARN"]
        lines += [f"  WARN {c['name']}: {c['finding']}. {c['meaning']} To do: {c['remedy']}." for c in warnings]
    elif not first["evidence"].get("errors") and not not_run(first):
        lines += [
            "",
            "Evaluation lint: not run; a log has no weights to attack, so its robust errors are taken on trust.",
        ]
    lines += ["", "What helps:", *(f"- {text}" for text in first["remedies"])] if first["remedies"] else []
    return "\n".join(lines)
