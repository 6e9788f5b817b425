"""Networks, runs and extensions that tests of training share."""

import signal
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from cgro.data import Dataset, Split
from cgro.definitions import PGD, Attack, Draws, ThreatModel
from cgro.models import build
from cgro.runs import Run
from cgro.training import Adversarial, Evaluation, Extension, Recipe, Step, fit
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


def toy(seed: int = 0, n_outputs: int = 3) -> nn.Module:
    """A smooth network in float64 of images 1 x 2 x 2, with BatchNorm."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Flatten(), nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, n_outputs)]
        return nn.Sequential(*layers).double()


def toy_step(model: nn.Module, n: int = 6, *, attack: Attack = ATTACK, **more: object) -> Step:
    """A batch in float64 for `toy`, with labels 0 to 2."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, 1, 2, 2, generator=generator, dtype=torch.float64)
    y = torch.arange(n) % 3
    model.train()

    def streams(purpose: str) -> Draws:
        return Draws.of(0, purpose, torch.arange(n))

    return Step(model, x, y, model, streams, attack, **more)


def compute_of(step: Step, objective: Callable[[Step], torch.Tensor]) -> Callable[[], torch.Tensor]:
    """What `fit` gives to `Extension.around`, without dropout."""

    def compute() -> torch.Tensor:
        step.network.zero_grad()
        loss = step.mean_loss(objective)
        loss.backward()
        return loss.detach()

    return compute


def gradients(model: nn.Module) -> list[torch.Tensor]:
    """Copies of the gradients of all parameters."""
    return [p.grad.clone() for p in model.parameters()]


def toy_data(n: int = 12, n_outputs: int = 3) -> Dataset:
    """Random images 1 x 4 x 4 of three classes, or of two with labels -1 and +1."""
    generator = torch.Generator().manual_seed(2)
    y = torch.arange(n) % 3
    if n_outputs == 1:
        y = 2 * (torch.arange(n) % 2) - 1
    split = Split(torch.rand(n, 1, 4, 4, generator=generator), y, torch.arange(n))
    return Dataset("toy", "", split, split.head(0), split, ("a", "b", "c"), n_outputs, "")
