"""What a scale costs, said before it starts: in time on this machine, and in operations.

Time comes from a measured step of each network or, at the scales that fit any machine, from the table of jobs.
"""

import importlib.util
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from cgro._check import BadRequest
from cgro.commands import train
from cgro.data import SOURCES, load
from cgro.jobs.plan import SCALES, Job, Scale, duration
from cgro.models import build
from cgro.runs import say
from cgro.training import make_fabric, step_cost
from cgro.training.compiling import CAPTURED, COMPILED, forward_operations

MEASURED = ("gpu", "paper")
"""Scales whose cost is measured; the others are known to fit any machine."""
EVALUATIONS = 1.25
"""Evaluations and figures over training alone, measured at `cpu` scale."""
ROUGH = {"smoke": 300.0, "cpu": 5.0 * 3600}
"""Seconds of the scales that fit any machine, on two cores."""
WIDE = 285e12
"""The same as `CAPTURED` on WRN-34-10 (137.5 ms a step)."""
WIDE_FORWARD = 5e9
"""Operations of a forward pass of an image from which a network counts as wide. A choice between those of
PreActResNet-18 (1.1e9) and of WRN-34-10 (1e10)."""
NARROW_FORWARD = 3e8
"""And below which it fills no GPU: its rate has not been measured, and `CAPTURED` says too little time. A choice."""
HOUR = 3600.0


class Estimate(NamedTuple):
    """Seconds of training, and the network whose step takes longest with its seconds per example and epoch."""

    seconds: float
    dearest: str
    of_dearest: float


def check_machine(scale: Scale, jobs: Sequence[Job], device: str, max_hours: float) -> None:
    """Say what the jobs cost, and refuse what this machine cannot carry.

    Args:
        scale: of the reproduction.
        jobs: that are to be made.
        device: that was asked for.
        max_hours: that are allowed.

    Raises:
        BadRequest: no GPU for `gpu`, or more hours than allowed; the line has the estimate and what fits.
    """
    training = [job for job in jobs if job.command == "train"]
    if scale not in MEASURED or not training:
        say(f"estimated: {duration(sum(job.seconds for job in jobs))} on two cores")
        return
    kind = make_fabric(device).device.type
    estimate = _measured(training, device, kind)
    others = sum(job.seconds for job in jobs if job.command != "train")
    total = estimate.seconds * EVALUATIONS + others
    configs = [job.config() for job in training]
    work = EVALUATIONS * sum(operations(config) for config in configs)
    on_gpu = EVALUATIONS * sum(operations(config) / rate(config) for config in configs)
    line = (
        f"--scale {scale} on this machine ({kind}): about {duration(total)} (dearest: {estimate.dearest}, "
        f"{estimate.of_dearest:.2g} s an example and epoch, measured); {work:.1e} floating point operations, "
        f"{duration(on_gpu)} of an H100 at the rates measured there ({CAPTURED / 1e12:g}e12 a second captured, "
        f"{COMPILED / 1e12:g}e12 compiled, {WIDE / 1e12:g}e12 for wide networks)"
    )
    if any(forward(config) < NARROW_FORWARD for config in configs):
        line += "; longer, as small networks fill no GPU"
    rough = ", ".join(f"{name} (about {duration(seconds)})" for name, seconds in ROUGH.items())
    fits = f"what fits: {rough}, and {scale} for the theory artifacts"
    if scale == "gpu" and kind == "cpu":
        raise BadRequest(f"{line}; expected a GPU, got none; {fits}")
    if total > HOUR * max_hours:
        raise BadRequest(f"{line}, more than --max-hours {max_hours:g}; {fits}")
    say(line)


def _measured(jobs: Sequence[Job], device: str, kind: str) -> Estimate:
    """Each network's step is measured once."""
    cost: dict[str, float] = {}
    total = 0.0
    dearest = ""
    of_dearest = 0.0
    for job in jobs:
        config: train.Config = job.config(device=device)
        name = f"{config.data} {config.model}"
        if config.width:
            name += f" x{config.width}"
        key = f"{name} {config.attack}"
        if key not in cost:
            say(f"measuring a step: {key}")
            cost[key] = train.seconds_per_example(config, 2 if kind == "cpu" else None)
            if cost[key] > of_dearest:
                dearest = name
                of_dearest = cost[key]
        total += cost[key] * _examples(config)
    return Estimate(total, dearest, of_dearest)


def operations(config: train.Config) -> float:
    """Floating point operations of a training run; see `operations_per_example`.

    Left out are evaluations.

    Args:
        config: of the run.

    Returns:
        Their number.
    """
    return operations_per_example(config) * _examples(config)


def operations_per_example(config: train.Config) -> float:
    """Floating point operations of one example in one step, by the cost of the objective with its extensions.

    An operation is a multiplication or an addition. With PGD of K steps over all of R starts adversarial training costs
    (2 K + R + 4) F per example and epoch, F for a forward pass, and standard training 3 F. Left out are what bfloat16
    adds (up to R passes), and the rest of a step, which is small: augmentation, optimizer, averages of weights.

    Args:
        config: of a training.

    Returns:
        Their number.
    """
    return step_cost(config.build_objective(), config.build_extensions()).operations * forward(config)


def forward(config: train.Config) -> int:
    """Floating point operations of one image in a forward pass.

    Args:
        config: of a training.

    Returns:
        Their number.
    """
    return _forward(config.data, config.model, config.width)


def rate(config: train.Config) -> float:
    """Operations per second that one H100 was measured to do on networks of this size, captured and not compiled.

    Args:
        config: of a training.

    Returns:
        `WIDE` for wide networks, else `CAPTURED`; for narrow ones that is more than they reach.
    """
    if forward(config) >= WIDE_FORWARD:
        return WIDE
    return CAPTURED


@cache
def _forward(data: str, model: str, width: int | None) -> int:
    source = SOURCES[data]
    return forward_operations(build(model, source.shape, source.n_classes, width=width), source.shape)


def _examples(config: train.Config) -> int:
    n_images = SOURCES[config.data].n_train
    n_beside_validation = n_images - round(config.validation * n_images)
    return (config.n_train or n_beside_validation) * config.epochs


def check_data(jobs: Sequence[Job]) -> None:
    """Read every data set once, before any work.

    Args:
        jobs: that are to be made.

    Raises:
        BadRequest: one is missing or damaged.
    """
    names = {str(job.settings.get("data", "")) for job in jobs}
    for name in sorted(names - {""}):
        load(name, n_train=200, n_test=10)


def check_commands(jobs: Sequence[Job]) -> None:
    """Refuse jobs of a command that this version lacks, before any work.

    Args:
        jobs: that are to be made.

    Raises:
        BadRequest: there is such a job.
    """
    for name in sorted({job.command for job in jobs}):
        if importlib.util.find_spec(f"cgro.commands.{name.replace('-', '_')}") is None:
            raise BadRequest(f"expected cgro {name} in this version, found none; update it")


assert set(ROUGH) | set(MEASURED) == set(SCALES)
