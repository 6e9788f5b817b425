"""Objectives, extensions and networks of others draw from global generators: a training repeats and resumes to the bit."""

import random
import secrets
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.cases import ATTACK, Calls, interrupt, run_of, same_weights, small
from torch import Tensor, nn

from cgro.data import Dataset
from cgro.definitions.random_state import random_states
from cgro.training import Adversarial, Extension, Recipe, Step, fit
from cgro.training import engine as engine_module
from cgro.training import steps as steps_module

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=2, batch_size=16)


class Weighted:
    """Weights its losses by numbers of NumPy and Python, as published mixing code draws its shares."""

    attack = ATTACK
    cost = Adversarial(ATTACK).cost

    def __call__(self, step: Step) -> Tensor:
        losses = Adversarial(ATTACK)(step)
        return losses * float(np.random.beta(1.0, 1.0) + random.random())  # noqa: NPY002


class Shaken(Extension):
    """Adds noise to the weights after steps and epochs, and begins elsewhere, by torch's generator."""

    def __init__(self) -> None:
        self.drawn: list[float] = []

    def begin(self, model: nn.Module) -> None:
        self._shake(model)

    def after_step(self, model: nn.Module, k: int) -> None:
        self._shake(model)

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        self._shake(model)

    @torch.no_grad()
    def _shake(self, model: nn.Module) -> None:
        for weight in model.parameters():
            noise = torch.randn_like(weight)
            weight += 1e-3 * noise
        self.drawn.append(float(noise.flatten()[0]))


class RandomGain(nn.Module):
    """Scales its outputs at random in training, by Python's generator."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) * (0.5 + random.random() if self.training else 1.0)


def trained(digits: Dataset, kind: str, seed: int = 0, run: Path | None = None, stop_after: int = 0) -> nn.Module:
    """Train after other draws of the process."""
    torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002
    before = random_states(CPU)
    model: nn.Module = RandomGain() if kind == "network" else small()
    objective = Weighted() if kind == "objective" else Adversarial(ATTACK)
    extensions: list[Extension] = [Shaken()] if kind == "extension" else []
    if run is not None:
        extensions.append(Calls(stop_after, interrupt))
    fit(model, digits, objective, RECIPE, extensions=extensions, seed=seed, run=run and run_of(run))
    assert random_states(CPU) == before
    return model


@pytest.mark.parametrize("kind", ["objective", "extension", "network"])
def test_a_training_repeats_and_resumes_to_the_same_bits(digits: Dataset, tmp_path: Path, kind: str) -> None:
    whole = trained(digits, kind)
    assert same_weights(whole, trained(digits, kind))
    assert not same_weights(whole, trained(digits, kind, seed=1))
    trained(digits, kind, run=tmp_path / "cut", stop_after=5)
    assert same_weights(whole, trained(digits, kind, run=tmp_path / "cut"))


@pytest.mark.parametrize("kind", ["objective", "extension", "network"])
def test_without_seeds_they_do_not(digits: Dataset, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The planted fault: what the test above would miss if nothing were drawn."""
    monkeypatch.setattr(steps_module, "seed_generators", lambda *_: None)
    monkeypatch.setattr(engine_module, "derive_seed", lambda *_: secrets.randbelow(2**31))
    assert not same_weights(trained(digits, kind), trained(digits, kind))


def test_numbers_of_steps_differ(digits: Dataset) -> None:
    shaken = Shaken()
    fit(small(), digits, Adversarial(ATTACK), RECIPE, extensions=[shaken])
    assert len(set(shaken.drawn)) == len(shaken.drawn) == 1 + 2 + 2 * 4
