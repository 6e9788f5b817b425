"""Evaluations of trained networks: at an epoch, twice, of the selected weights. Each is a job of its own."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from cgro.commands import train
from cgro.experiments.networks import N_JUDGED_TWICE, Settings, at_cpu, configuration, drops, widest
from cgro.jobs.plan import HERE, Job, Scale
from cgro.training.checkpoint import EVALUATED, SELECTED


def after_drop(scale: Scale) -> int:
    """The first kept epoch after the learning rate first drops, as planned.

    Args:
        scale: of the reproduction.

    Returns:
        An epoch.
    """
    return kept_after_drop(configuration(widest(scale)[0]))


def kept_after_drop(config: train.Config) -> int:
    """The first kept epoch after the learning rate first drops.

    Args:
        config: of a training.

    Returns:
        An epoch.
    """
    return (drops(config)[0] // config.keep_every + 1) * config.keep_every


def at_epoch(scale: Scale, job: Job, epoch: int) -> Job:
    """The test errors of a kept checkpoint, on as many images as at the end.

    Args:
        scale: of the reproduction.
        job: a training.
        epoch: of a kept checkpoint.

    Returns:
        An evaluation.
    """
    config = configuration(job)
    seconds = at_cpu(scale, 40, otherwise=5)
    checkpoint = f"epoch-{epoch:04d}"
    return _evaluation(job, checkpoint, f"epoch-{epoch}", attack=config.eval_attack, n=config.final_n, seconds=seconds)


class Twice(NamedTuple):
    """Two evaluations of one network on the same test images."""

    pgd: Job
    ensemble: Job


def evaluated_twice(scale: Scale, job: Job) -> Twice:
    """PGD and the strong ensemble on the same test images, few of them: the ensemble costs a hundred times as much.

    Args:
        scale: of the reproduction.
        job: a training.

    Returns:
        Both evaluations.
    """
    n = N_JUDGED_TWICE[scale]
    strong = "apgd" if scale == "smoke" else "ensemble"
    weak = configuration(job).eval_attack
    seconds = at_cpu(scale, job.seconds / 4, otherwise=5)
    checkpoint = "last"
    if "ema" in configuration(job).extension:
        checkpoint = Path(EVALUATED).stem
    return Twice(
        pgd=_evaluation(job, checkpoint, "pgd", attack=weak, n=n, seconds=3),
        ensemble=_evaluation(job, checkpoint, "ensemble", attack=strong, n=n, seconds=seconds),
    )


def selected_evaluated(scale: Scale, job: Job) -> Job:
    """The strong ensemble on the checkpoint selected on validation robust error.

    Args:
        scale: of the reproduction.
        job: a training.

    Returns:
        An evaluation, on the images of `evaluated_twice`.
    """
    ensemble = evaluated_twice(scale, job).ensemble
    settings = {**ensemble.settings, "target": f"{HERE}{job.name}/checkpoints/{SELECTED}"}
    return replace(ensemble, name=f"{ensemble.name}-selected", settings=settings)


def _evaluation(job: Job, checkpoint: str, label: str, *, attack: str, n: int, seconds: float) -> Job:
    """Of a checkpoint and not of its run: the run keeps the numbers it ended with."""
    target = f"{HERE}{job.name}/checkpoints/{checkpoint}.safetensors"
    settings: Settings = {"target": target, "attack": attack, "parts": "test", "n": n}
    for name in ("data", "model", "width", "radius", "seed"):
        if name in job.settings:
            settings[name] = job.settings[name]
    return Job(f"evaluations/{job.name.replace('/', '-')}-{label}", "evaluate", settings, seconds)
