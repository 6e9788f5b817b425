"""Measure clean and robust errors of a run's network, or of a checkpoint of your own.

For a run the results are added to its summary under their own keys, and the verdict is read anew. What happened to
each example is in evaluations/*.npz beside them; an evaluation that was killed, or whose --budget was over, goes on from
there. --per-epoch attacks every checkpoint that training kept (cgro train --keep-every), all with the first attack, then all
with the next, each warmed by what broke its neighbor.

examples:
  cgro evaluate runs/mnist5k --attack pgd50x10
  cgro evaluate runs/mnist5k --attack ensemble --parts test --n 1000 --save-examples
  cgro evaluate runs/mnist5k --attack ensemble --parts test --n 1000 --per-epoch --budget 10m
  cgro evaluate weights.pt --data mnist --model my_package.networks:Net --radius 0.1 --out runs/mine
  cgro evaluate runs/mine --model my_package.networks:Net

A run is data: what it names is imported, read or fetched only if --model and --data name it too, or with --trust.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cgro._check import bad, one_of
from cgro.commands import _records, train
from cgro.commands._common import Computing, Output, Trusting, begin, lines_of, option, set_up
from cgro.commands._epochs import curve
from cgro.data import Dataset
from cgro.definitions import FOUR, ErrorRate, VerdictRule, attack_by_name, cgro_verdict
from cgro.definitions.attacks import attack_choices
from cgro.models import n_parameters
from cgro.report.training import robust_error_by_epoch
from cgro.runs import Run, Unsaved, summary
from cgro.training import make_fabric, shares_on
from cgro.training.checkpoint import checkpoint_of, load_weights, read_run_weights, read_weights

PARTS = ("train", "validation", "test")


@dataclass(kw_only=True)
class Config(Trusting, Output, Computing):
    """Options of `cgro evaluate`."""

    target: str | None = option(None, "a run of cgro train, or a checkpoint (.safetensors, .pt)", positional=True)
    attack: str = option("pgd20", attack_choices(), names="attack")
    parts: str = option("train,test", "parts to evaluate")
    n: int = option(10000, "examples of each part, at most")
    save_examples: bool = option(False, "store adversarial examples, and evaluate them again after rounding to 8 bits")
    per_epoch: bool = option(False, "every checkpoint that the run kept: the curve of robust error against the epoch")
    budget: str | None = option(None, "stop after so long, such as 90s, 10m or 2h, with what is proved until then")
    selected: bool = option(False, "the checkpoint selected on validation robust error instead of the last")
    data: str = option("mnist5k", "data set of a bare checkpoint; of a run, says that its own is yours", names="data")
    classes: str | None = option(None, "task of a bare checkpoint")
    model: str = option("lenet", "network of a bare checkpoint; of a run, says that its own is yours", names="network")
    width: int | None = option(None, "its width")
    p: str | None = option(None, "norm; default: that of the run, or inf")
    radius: str | None = option(None, "radius; default: that of the run")
    seed: int = option(0, "seed that cut the parts of a bare checkpoint's data")


def run(config: Config) -> Run | Unsaved:
    """Evaluate a run or a checkpoint."""
    set_up(config)
    _records.budget(config.budget)
    if config.target is None:
        raise bad("TARGET", expected="a run directory or a checkpoint", got="none", remedy="see cgro evaluate --help")
    if not Path(config.target).exists():
        raise bad("TARGET", expected="a run directory or a checkpoint", got=f"{config.target}, which does not exist")
    parts = [one_of(p.strip(), "--parts", PARTS) for p in config.parts.split(",")]
    if Path(config.target).is_dir():
        return _evaluate_run(config, parts)
    if config.per_epoch:
        raise bad("--per-epoch", expected="a run of cgro train", got=config.target)
    settings = _training_settings(config)
    data, model = train.prepare(settings)
    path = Path(config.target)
    load_weights(model, read_weights(path), path)
    attack_by_name(config.attack, settings.threat())
    with begin("evaluate", config) as done:
        measured = _measure(config, settings, data, model, parts, done.path / "evaluations", path)
        done.finish(_summary(config, settings, data, model, measured))
    return done


def _training_settings(config: Config) -> train.Config:
    if config.radius is None:
        raise bad("--radius", expected="the radius to attack at, such as 0.1 or 8/255", got="none")
    names = ("data", "classes", "model", "width", "seed", "device", "threads", "precision")
    return train.Config(p=config.p or "inf", radius=config.radius, **{k: getattr(config, k) for k in names})


def _evaluate_run(config: Config, parts: list[str]) -> Run | Unsaved:
    source, settings = train.trained(config.target or "", trust=config.trust)
    changed = (config.p or settings.p, config.radius or settings.radius) != (settings.p, settings.radius)
    settings.p, settings.radius = config.p or settings.p, config.radius or settings.radius
    data, model = train.prepare(settings)
    if config.per_epoch:
        return _per_epoch(config, source, settings, data, model, parts)
    path = checkpoint_of(source, selected=config.selected)
    load_weights(model, read_run_weights(source, path), path)
    suffix = f"@{config.attack}" + (f"@{settings.p}:{settings.radius}" if changed else "")
    suffix += "@selected_on_validation" if config.selected else ""
    with source.locked():
        folder = source.file("evaluations") / suffix[1:].replace("/", "_").replace(":", "_")
        measured = _measure(config, settings, data, model, parts, folder, path)
        result = _summary(config, settings, data, model, measured)
        # Read now: another evaluation may have added its numbers while the data were loaded.
        before = source.summary
        source.write_summary(_merged(before, result, suffix, own_point=not changed and not config.selected))
    return Unsaved(result) if config.out is None else _kept(config, result)


def _per_epoch(
    config: Config, source: Run, settings: train.Config, data: Dataset, model: torch.nn.Module, parts: list[str]
) -> Unsaved:
    """The curves are added to the run's summary under `curves`, and drawn."""
    if config.out or config.selected or config.save_examples:
        raise bad("--per-epoch", expected="no --out, --selected or --save-examples", got="one of them",
                  remedy="it adds to the run and keeps its examples")  # fmt: skip
    device, stop = make_fabric(config.device).device, _records.budget(config.budget)
    attack = attack_by_name(config.attack, settings.threat(), precision=config.precision)
    name = f"{config.attack}@{settings.p}:{settings.radius}"
    with source.locked():
        curves = {}
        for part in parts:
            split = getattr(data, part).to(device).head(config.n)
            folder = source.path / "evaluations" / name.replace("/", "_").replace(":", "_") / part
            curves[part] = curve(source, model.to(device).eval(), split, attack, folder, stop)
        before = source.summary
        known = before.get("curves", {})
        source.write_summary({**before, "curves": known | {name: known.get(name, {}) | curves}})
        robust_error_by_epoch(source.path)
    return Unsaved({**before, "metrics": {}, "verdict": None, "curves": {name: curves}})


def _kept(config: Config, result: dict[str, Any]) -> Run:
    with begin("evaluate", config) as done:
        done.finish(result)
    return done


@dataclass(frozen=True)
class _Measured:
    """Errors, the shares of the predictions, and per part what broke how many examples."""

    errors: dict[str, ErrorRate]
    shares: list[float]
    examples: dict[str, Any]


def _measure(
    config: Config, settings: train.Config, data: Dataset, model: torch.nn.Module, parts: list[str], folder: Path,
    checkpoint: Path,
) -> "_Measured":  # fmt: skip
    device = make_fabric(config.device).device
    model = model.to(device).eval()
    attack, stop = (
        attack_by_name(config.attack, settings.threat(), precision=config.precision),
        _records.budget(config.budget),
    )
    errors: dict[str, ErrorRate] = {}
    examples: dict[str, Any] = {}
    for part in parts:
        if not len(getattr(data, part)):
            raise bad("--parts", expected="parts with examples", got=part)
        split, keep = getattr(data, part).to(device).head(config.n), config.save_examples
        record = _records.recorded(
            model, split, attack, folder / f"{part}.npz", checkpoint, keep_examples=keep, stop=stop
        )
        errors[f"clean_error/{part}"] = ErrorRate(record.broken_by()["clean"], len(split), "exact")
        done = record.complete
        errors[f"robust_error/{part}"] = record.error("exact" if attack.exact else "lower") if done else record.so_far
        examples[part] = {"broken_by": record.broken_by(), "n": len(split), "complete": done}
        if keep:
            examples[part] |= {"rounded_to_8_bits": _records.rounded(model, split, attack, record)}
    return _Measured(errors, shares_on(model, data.test.to(device), config.n), examples)


def _summary(
    config: Config, settings: train.Config, data: Dataset, model: torch.nn.Module, measured: "_Measured"
) -> dict[str, Any]:
    errors, shares = measured.errors, measured.shares
    attack = attack_by_name(config.attack, settings.threat(), precision=config.precision)
    complete = set(FOUR) <= set(errors)
    verdict = cgro_verdict(errors, prediction_share=shares, rule=train.rule_for(data)) if complete else None
    network = {"name": settings.model, "width": settings.width, "n_parameters": n_parameters(model)}
    return summary(
        "evaluate", seed=settings.seed, threat=settings.threat().to_dict(),
        outcome={"kind": "completed", "reason": f"{config.attack} on {config.parts}"},
        verdict=verdict and verdict.to_dict(), metrics=train.metrics_of(errors, attack, config.attack),
        data=data.describe(), model=network, evaluations={config.attack: measured.examples},
    )  # fmt: skip


def _merged(before: dict[str, Any], result: dict[str, Any], suffix: str, *, own_point: bool) -> dict[str, Any]:
    """The run's summary with the new numbers; a plain robust key keeps the strongest bound on those examples."""
    metrics = dict(before["metrics"])
    for key, value in result["metrics"].items():
        if "@" not in key:
            metrics[f"{key}{suffix}"] = value
            weaker = key not in metrics or (metrics[key]["n"], metrics[key]["value"]) < (value["n"], value["value"])
            if own_point and weaker:
                metrics[key] = value
    verdict = before["verdict"]
    if own_point and verdict and set(FOUR) <= set(metrics):
        errors = {k: ErrorRate(metrics[k]["wrong"], metrics[k]["n"], metrics[k]["bound"]) for k in FOUR}
        rule = VerdictRule(**verdict["evidence"]["rule"])
        verdict = cgro_verdict(errors, prediction_share=verdict["evidence"]["prediction_share"], rule=rule).to_dict()
    (examples,) = result["evaluations"].values()
    evaluations = before.get("evaluations", {}) | {suffix[1:]: examples}
    return {**before, "metrics": metrics, "verdict": verdict, "evaluations": evaluations}


def describe(result: dict[str, Any]) -> str:
    """The numbers, and what a budget left undone."""
    lines = [lines_of(result)] if result["metrics"] else []
    for name, curves in result.get("curves", {}).items():
        if result["metrics"]:
            continue
        for part, rows in curves.items():
            lines.append(f"robust error, {part}, {name}, n={rows[0]['n']} (lower bounds)")
            lines += [f"  epoch {r['epoch']:4}  {r['value']:.4f}  [{r['interval'][0]:.4f}, {r['interval'][1]:.4f}]"
                      + ("" if r["complete"] else "  unfinished") for r in rows]  # fmt: skip
    unfinished = [f"{part} by {name}" for name, parts in result.get("evaluations", {}).items()
                  for part, entry in parts.items() if not entry.get("complete", True)]  # fmt: skip
    if unfinished and result["metrics"]:
        lines.append(f"unfinished, the time was over: {', '.join(unfinished)}; the same command goes on")
    return "\n".join(lines)
