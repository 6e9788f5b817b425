"""What a scale costs on this machine, before it starts: from a measured step of each network, or from the table of jobs."""

import importlib.util
from collections.abc import Sequence
from dataclasses import fields

from cgro._check import BadRequest
from cgro.commands import train
from cgro.commands._common import say
from cgro.data import load
from cgro.experiments.jobs import SCALES, Job, Scale, duration
from cgro.training import make_fabric

MEASURED = ("gpu", "paper")
"""Scales whose cost is measured; the others are known to fit any machine."""
EVALUATIONS = 1.25
"""Evaluations and figures over training alone, measured at `cpu` scale."""
ROUGH = {"smoke": 300.0, "cpu": 5.5 * 3600}


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
    line = f"--scale {scale} on this machine ({kind}): about {duration(total)} ({told})"
    say(line)
    fits = ", ".join(f"{s} (about {duration(t)})" for s, t in ROUGH.items())
    if scale == "gpu" and kind == "cpu":
        raise BadRequest(f"{line}; expected a GPU, got none; what fits: {fits}, and {scale} for the theory artifacts")
    if total > 3600 * max_hours:
        raise BadRequest(
            f"{line}, more than --max-hours {max_hours:g}; what fits: {fits}, and {scale} for the theory artifacts"
        )


def _measured(jobs: Sequence[Job], device: str, kind: str) -> tuple[float, str]:
    """Seconds of training, and the dearest network's step."""
    known = {f.name for f in fields(train.Config)}
    cost: dict[str, float] = {}
    total, dearest = 0.0, ("", 0.0)
    for job in jobs:
        config = train.Config(**{k: v for k, v in job.settings.items() if k in known}, device=device)
        name = f"{config.data} {config.model}" + (f" x{config.width}" if config.width else "")
        key = f"{name} {config.attack}"
        if key not in cost:
            say(f"measuring a step: {key}")
            cost[key] = train.seconds_per_example(config, 2 if kind == "cpu" else None)
            dearest = max(dearest, (name, cost[key]), key=lambda pair: pair[1])
        n = config.n_train or {"mnist": 57_000, "cifar10": 47_500}.get(config.data, 5000)
        total += cost[key] * n * config.epochs
    return total, f"dearest: {dearest[0]}, {dearest[1]:.2g} s an example and epoch, measured"


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
