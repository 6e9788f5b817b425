"""What a scale costs before it starts: on this machine, from a measured step of each network or the table of jobs; on any, in operations."""

import importlib.util
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from cgro._check import BadRequest
from cgro.commands import train
from cgro.data import load
from cgro.experiments.jobs import SCALES, Job, Scale, duration
from cgro.models import build
from cgro.runs import say
from cgro.training import make_fabric

MEASURED = ("gpu", "paper")
"""Scales whose cost is measured; the others are known to fit any machine."""
EVALUATIONS = 1.25
"""Evaluations and figures over training alone, measured at `cpu` scale."""
ROUGH = {"smoke": 300.0, "cpu": 5.0 * 3600}
SIZES = {"mnist": ((1, 28, 28), 57_000), "cifar10": ((3, 32, 32), 47_500)}
"""Shape of an image, and training images beside those for validation."""
SUSTAINED = 50e12
"""Operations a second that a large GPU keeps up in bfloat16 on such networks: an assumption; on LeNets it does far fewer."""


def check_machine(scale: Scale, jobs: Sequence[Job], device: str, max_hours: float) -> None:
    """Say what the jobs cost, and refuse what this machine cannot carry.

    Raises:
        BadRequest: no GPU for `gpu`, or more hours than allowed; the line has the estimate and what fits.
    """
    training = [job for job in jobs if job.command == "train"]
    if scale not in MEASURED or not training:
        say(f"estimated: {duration(sum(job.seconds for job in jobs))} on two cores")
        return
    kind = make_fabric(device).device.type
    seconds, told = _measured(training, device, kind)
    others = sum(job.seconds for job in jobs if job.command != "train")
    total = seconds * EVALUATIONS + others
    work = EVALUATIONS * sum(operations(_config(job)) for job in training)
    line = (
        f"--scale {scale} on this machine ({kind}): about {duration(total)} ({told}); {work:.1e} floating point operations, "
        f"{duration(work / SUSTAINED)} of a GPU that does {SUSTAINED / 1e12:g}e12 a second"
    )
    fits = ", ".join(f"{s} (about {duration(t)})" for s, t in ROUGH.items())
    if scale == "gpu" and kind == "cpu":
        raise BadRequest(f"{line}; expected a GPU, got none; what fits: {fits}, and {scale} for the theory artifacts")
    if total > 3600 * max_hours:
        raise BadRequest(
            f"{line}, more than --max-hours {max_hours:g}; what fits: {fits}, and {scale} for the theory artifacts"
        )
    say(line)


def _measured(jobs: Sequence[Job], device: str, kind: str) -> tuple[float, str]:
    """Seconds of training, and the dearest network's step."""
    cost: dict[str, float] = {}
    total, dearest = 0.0, ("", 0.0)
    for job in jobs:
        config = _config(job, device=device)
        name = f"{config.data} {config.model}" + (f" x{config.width}" if config.width else "")
        key = f"{name} {config.attack}"
        if key not in cost:
            say(f"measuring a step: {key}")
            cost[key] = train.seconds_per_example(config, 2 if kind == "cpu" else None)
            dearest = max(dearest, (name, cost[key]), key=lambda pair: pair[1])
        total += cost[key] * _examples(config)
    return total, f"dearest: {dearest[0]}, {dearest[1]:.2g} s an example and epoch, measured"


def operations(config: train.Config) -> float:
    """Floating point operations of a training run: those of one example in one step, by the objective's cost.

    An operation is a multiplication or an addition. With PGD of K steps over all of R starts adversarial training costs
    (2 K + R + 4) F per example and epoch, F for a forward pass, and standard training 3 F. Left out are evaluations,
    what bfloat16 adds (up to R passes), and the rest of a step, which is small: augmentation, optimizer, extensions.

    Args:
        config: of the run.

    Returns:
        Their number.
    """
    per_example = config.build_objective().cost.operations * _forward(config.data, config.model, config.width)
    return per_example * _examples(config)


@cache
def _forward(data: str, model: str, width: int | None) -> int:
    shape, _ = SIZES[data]
    network = build(model, shape, 10, width=width).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *shape))
    return counter.get_total_flops()


def _examples(config: train.Config) -> int:
    return (config.n_train or SIZES[config.data][1]) * config.epochs


def _config(job: Job, **more: Any) -> train.Config:
    known = {f.name for f in fields(train.Config)}
    return train.Config(**{k: v for k, v in job.settings.items() if k in known}, **more)


def check_data(jobs: Sequence[Job]) -> None:
    """Read every data set once, before any work.

    Raises:
        BadRequest: one is missing or damaged.
    """
    for name in sorted({j.settings["data"] for j in jobs if "data" in j.settings}):
        load(name, n_train=200, n_test=10)


def check_commands(jobs: Sequence[Job]) -> None:
    """Refuse jobs of a command that this version lacks, before any work."""
    for name in sorted({job.command for job in jobs}):
        if importlib.util.find_spec(f"cgro.commands.{name.replace('-', '_')}") is None:
            raise BadRequest(f"expected cgro {name} in this version, found none; update it")


assert set(ROUGH) | set(MEASURED) == set(SCALES)
