"""How fast a training goes here, from its first 50 measured steps, and how many epochs of it fit into a time."""

import time
from dataclasses import replace

import torch
from msgspec import Struct

from cgro._check import bad
from cgro.commands.train import Config, prepare
from cgro.definitions import attack_by_name
from cgro.experiments import cost
from cgro.training import Evaluation, errors_on, fit, make_fabric
from cgro.training.compiling import CAPTURED

N_STEPS = 50
"""Steps that are measured, after as many that are not: those tune convolutions, compile and capture."""
SHARED = 1.5
"""Seconds of a step where several trainings run side by side on one device, over those of one alone. An assumption."""
LOADING = 20.0
"""Seconds in which a process imports torch and puts the data on the device. A choice."""
ROUND = 5
"""Epochs are a multiple of this, so that the learning rate drops after whole epochs at 0.4 and 0.8 of them."""


class Pace(Struct, frozen=True):
    """Measured seconds.

    Attributes:
        step_seconds: of a step.
        steps: in an epoch.
        start_seconds: before the first measured step: tuning, compiling, capture.
        evaluation_seconds: of the evaluation after an epoch, all parts.
        operations: multiplications and additions a second, by the count of `cgro.experiments.cost`.
        floor_share: `operations` over those of the captured bare step on an H100; see `cgro.experiments.cost`.
        peak_bytes: of the device's memory; None on a CPU.
    """

    step_seconds: float
    steps: int
    start_seconds: float
    evaluation_seconds: float
    operations: float
    floor_share: float
    peak_bytes: int | None

    @property
    def epoch_seconds(self) -> float:
        """Of training, without the evaluation."""
        return self.steps * self.step_seconds


def measured(config: Config, n_steps: int = N_STEPS) -> Pace:
    """Train for two short epochs, of which the second counts; evaluate twice, of which the second counts.

    Args:
        config: of the training.
        n_steps: of a short epoch, at most those of a whole one.

    Returns:
        Its pace on this machine.

    Raises:
        BadRequest: see `cgro.training.fit`.
    """
    data, model = prepare(config)
    device = make_fabric(config.device).device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    size = config.batch_size
    steps = -(-len(data.train) // size)
    short = replace(data, train=data.train.head(size * n_steps))
    recipe = replace(config.recipe(), epochs=2, lr_drops=(), radius_warmup=0.0, patience=0)
    started = time.perf_counter()
    trajectory = fit(
        model,
        short,
        config.build_objective(),
        recipe,
        extensions=config.build_extensions(),
        fabric=make_fabric(config.device, precision=config.train_precision),
    )
    _, second = trajectory["seconds"]
    whole = time.perf_counter() - started
    step = float(second) / -(-len(short.train) // size)
    attack = attack_by_name(config.eval_attack, config.threat(), precision=config.precision)
    evaluation = Evaluation(attack, config.eval_n)
    seconds = 0.0
    for _ in range(2):
        started = time.perf_counter()
        for part in (data.train, data.validation, data.test):
            if len(part):
                errors_on(model.eval(), part.to(device), attack, evaluation.n, "part", show=False)
        seconds = time.perf_counter() - started
    rate = cost.operations_per_example(config) * size / step
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return Pace(step, steps, max(0.0, whole - 2 * float(second)), seconds, rate, rate / CAPTURED, peak)


def epochs_that_fit(pace: Pace, seconds: float, *, most: int, every: int, shared: float = 1.0) -> int:
    """How many epochs a training can have.

    Args:
        pace: of its steps and evaluations.
        seconds: that it may take, its tuning, compiling and capture included.
        most: epochs that its plan has.
        every: epochs between evaluations.
        shared: how much slower it goes beside others on the device.

    Returns:
        At most `most`; fewer are a multiple of 5.

    Raises:
        BadRequest: not even 5, or all of the plan where that has fewer.

    Example:
        >>> pace = Pace(0.02, 390, 40.0, 1.4, 1e14, 1.0, None)
        >>> epochs_that_fit(pace, 330.0, most=60, every=2)
        30
    """
    left = seconds - pace.start_seconds
    each = shared * pace.epoch_seconds + pace.evaluation_seconds / every
    fitting = int(max(0.0, left) / each)
    if fitting >= most:
        return most
    epochs = fitting - fitting % ROUND
    if epochs == 0:
        least = min(most, ROUND)
        got = f"{max(0.0, left):.0f} s, {each:.3g} s for each"
        raise bad("--minutes", expected=f"time for {least} epochs", got=got, remedy="give more, or another --item")
    return epochs
