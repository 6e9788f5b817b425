"""Networks, runs and extensions that tests of training share."""

import signal
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from cgro.data import Dataset
from cgro.definitions import PGD, ThreatModel
from cgro.models import build
from cgro.runs import Run
from cgro.training import Adversarial, Evaluation, Extension, Recipe, fit
from cgro.trajectory import Trajectory

THREAT = ThreatModel("inf", 0.1)
ATTACK = PGD(THREAT, n_steps=2)
EVALUATION = Evaluation(ATTACK, n=40)


def small(seed: int = 0) -> nn.Module:
    return build("mlp", (1, 8, 8), 10, width=16, seed=seed)


def noisy() -> nn.Module:
    """BatchNorm and dropout, whose state a resumed run must carry."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 10)
        )


def run_of(path: Path) -> Run:
    with Run.start(path, "train", {"seed": 0}) as run:
        return run


def train(model: nn.Module, data: Dataset, recipe: Recipe, **more: object) -> Trajectory:
    objective = Adversarial(more.pop("attack", ATTACK), more.pop("weight", 1.0))
    return fit(model, data, objective, recipe, evaluation=more.pop("evaluation", EVALUATION), **more)


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    """Whether parameters and buffers agree to the bit."""
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


class Calls(Extension):
    """Notes the steps that are taken, and calls a function at one of them."""

    def __init__(self, at: int = 0, call: Callable[[], object] = lambda: None) -> None:
        self.at, self.call, self.steps = at, call, list[int]()

    def after_step(self, model: nn.Module, k: int) -> None:
        self.steps.append(k)
        if k == self.at:
            self.call()


def interrupt() -> None:
    """What Ctrl-C does."""
    signal.raise_signal(signal.SIGINT)
