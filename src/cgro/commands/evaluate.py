"""Measure clean and robust errors of a run's network, or of a checkpoint of your own.

For a run the results are added to its summary under their own keys, and the verdict is read anew.

examples:
  cgro evaluate runs/mnist5k --attack pgd50x10
  cgro evaluate weights.pt --data mnist --model my_package.networks:Net --radius 0.1 --out runs/mine
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from cgro._check import bad, one_of
from cgro.commands import train
from cgro.commands._common import Computing, Output, lines_of, option, set_up, stored
from cgro.data import Dataset
from cgro.definitions import FOUR, ErrorRate, VerdictRule, attack_by_name, cgro_verdict
from cgro.models import n_parameters
from cgro.runs import Run, Unsaved, summary
from cgro.training import errors_on, make_fabric
from cgro.training.checkpoint import checkpoint_of, load_weights, read_weights
from cgro.training.engine import shares_on

PARTS = ("train", "validation", "test")


@dataclass(kw_only=True)
class Config(Output, Computing):
    """Options of `cgro evaluate`."""

    target: str | None = option(None, "a run of cgro train, or a checkpoint (.safetensors, .pt)", positional=True)
    attack: str = option("pgd20", "none, fgsm, pgdK or pgdKxR")
    parts: str = option("train,test", "parts to evaluate")
    n: int = option(10000, "examples of each part, at most")
    selected: bool = option(False, "the checkpoint selected on validation robust error instead of the last")
    data: str = option("mnist5k", "data set of a bare checkpoint")
    classes: str | None = option(None, "task of a bare checkpoint")
    model: str = option("lenet", "network of a bare checkpoint")
    width: int | None = option(None, "its width")
    p: str | None = option(None, "norm; default: that of the run, or inf")
    radius: str | None = option(None, "radius; default: that of the run")
    seed: int = option(0, "seed that cut the parts of a bare checkpoint's data")


def run(config: Config) -> Run | Unsaved:
    """Evaluate a run or a checkpoint."""
    set_up(config)
    if config.target is None:
        raise bad("TARGET", expected="a run directory or a checkpoint", got="none", remedy="see cgro evaluate --help")
    parts = [one_of(p.strip(), "--parts", PARTS) for p in config.parts.split(",")]
    if Path(config.target).is_dir():
        return _evaluate_run(config, parts)
    settings = _training_settings(config)
    data, model = train.prepare(settings)
    load_weights(model, read_weights(Path(config.target)), Path(config.target))
    errors, shares = _measure(config, settings, data, model, parts)
    done = Run.start(config.out, "evaluate", stored(config), overwrite=config.overwrite)
    done.finish(_summary(config, settings, data, model, errors, shares))
    return done


def _training_settings(config: Config) -> train.Config:
    if config.radius is None:
        raise bad("--radius", expected="the radius to attack at, such as 0.1 or 8/255", got="none")
    names = ("data", "classes", "model", "width", "seed", "device", "threads", "precision")
    return train.Config(p=config.p or "inf", radius=config.radius, **{k: getattr(config, k) for k in names})


def _evaluate_run(config: Config, parts: list[str]) -> Run | Unsaved:
    source = Run.open(config.target or "")
    before, known = source.summary, {f.name for f in fields(train.Config)}
    if before["command"] != "train" or "data" not in before:
        raise bad(
            str(source.path), expected="one run of cgro train", got=before["command"], remedy="name its seed-S part"
        )
    settings = train.Config(**{k: v for k, v in source.config.items() if k in known})
    changed = (config.p or settings.p, config.radius or settings.radius) != (settings.p, settings.radius)
    settings.p, settings.radius = config.p or settings.p, config.radius or settings.radius
    data, model = train.prepare(settings)
    path = checkpoint_of(source, selected=config.selected)
    load_weights(model, read_weights(path), path)
    errors, shares = _measure(config, settings, data, model, parts)
    result = _summary(config, settings, data, model, errors, shares)
    suffix = f"@{config.attack}" + (f"@{settings.p}:{settings.radius}" if changed else "")
    suffix += "@selected_on_validation" if config.selected else ""
    with source.locked():
        source.write_summary(_merged(before, result, suffix, own_point=not changed and not config.selected))
    return Unsaved(result) if config.out is None else _kept(config, result)


def _kept(config: Config, result: dict[str, Any]) -> Run:
    done = Run.start(config.out, "evaluate", stored(config), overwrite=config.overwrite)
    done.finish(result)
    return done


def _measure(
    config: Config, settings: train.Config, data: Dataset, model: torch.nn.Module, parts: list[str]
) -> tuple[dict[str, ErrorRate], list[float]]:
    device = make_fabric(config.device).device
    model = model.to(device).eval()
    attack = attack_by_name(config.attack, settings.threat(), precision=config.precision)
    errors: dict[str, ErrorRate] = {}
    for part in parts:
        if not len(getattr(data, part)):
            raise bad("--parts", expected="parts with examples", got=part)
        errors |= errors_on(model, getattr(data, part).to(device), attack, config.n, part)
    return errors, shares_on(model, data.test.to(device), config.n)


def _summary(
    config: Config, settings: train.Config, data: Dataset, model: torch.nn.Module, errors: dict[str, ErrorRate],
    shares: list[float],
) -> dict[str, Any]:  # fmt: skip
    attack = attack_by_name(config.attack, settings.threat(), precision=config.precision)
    complete = set(FOUR) <= set(errors)
    verdict = cgro_verdict(errors, prediction_share=shares, rule=train.rule_for(data)) if complete else None
    network = {"name": settings.model, "width": settings.width, "n_parameters": n_parameters(model)}
    return summary(
        "evaluate", seed=settings.seed, threat=settings.threat().to_dict(),
        outcome={"kind": "completed", "reason": f"{config.attack} on {config.parts}"},
        verdict=verdict and verdict.to_dict(), metrics=train.metrics_of(errors, attack, config.attack),
        data=data.describe(), model=network,
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
    return {**before, "metrics": metrics, "verdict": verdict}


def describe(result: dict[str, Any]) -> str:
    """The numbers."""
    return lines_of(result)
