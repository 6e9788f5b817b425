"""Small trainings for the tests of slices."""

import signal
from pathlib import Path

from torch import nn

from cgro.commands import train
from cgro.jobs.plan import Job
from cgro.runs import Run
from cgro.training import Extension

SETTINGS: dict[str, object] = {
    "data": "digits",
    "n_train": 40,
    "n_test": 20,
    "validation": 0.25,
    "model": "mlp",
    "width": 8,
    "attack": "pgd2",
    "eval_attack": "pgd2",
    "eval_n": 10,
    "final_n": 20,
    "optimizer": "sgd",
    "batch_size": 10,
    "epochs": 4,
    "lr_drops": "2",
}


class Stop(Extension):
    """Asks for a stop at one step, as from the keyboard, and changes nothing."""

    def __init__(self, at: int = 10) -> None:
        self.at = at

    def after_step(self, model: nn.Module, k: int) -> None:
        """Called after each step."""
        if k == self.at:
            signal.raise_signal(signal.SIGINT)


def job(name: str = "net/seed-0", **more: object) -> Job:
    """A training whose epochs are free."""
    return Job(name, "train", {**SETTINGS, **more}, free=("epochs", "lr_drops"))


def trained(runs: Path, made: Job) -> Run:
    """Carry a training out."""
    return train.run(train.Config(**made.settings, out=str(runs / made.name)))  # type: ignore[arg-type]


def cut_off(runs: Path, name: str = "net/seed-0") -> tuple[Job, Run]:
    """A training of four epochs that was stopped in the middle of its third."""
    made = job(name, extension=["tests.gpu.cases:Stop"])
    try:
        trained(runs, made)
    except KeyboardInterrupt:
        return made, Run(runs / made.name)
    raise AssertionError("it was not stopped")
