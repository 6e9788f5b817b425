"""Free adversarial training against Algorithm 1 written out, its order of batches, its state and its cost."""

import math
from pathlib import Path

import pytest
import torch
from tests.training.cases import (
    ATTACK,
    THREAT,
    Calls,
    gradients,
    interrupt,
    noisy,
    run_of,
    same_weights,
    small,
    toy,
    toy_step,
)
from torch import nn

from cgro.data import Dataset
from cgro.definitions import PGD, NoAttack, ThreatModel
from cgro.training import AWP, Adversarial, Extension, Free, Recipe, fit
from cgro.training.steps import replayed


class Inputs(Extension):
    """Notes the clean inputs of every step."""

    def begin(self, model: nn.Module) -> None:
        self.seen: list[torch.Tensor] = []

    def around(self, step, compute):
        self.seen.append(step.x.clone())
        return compute()


def test_three_steps_are_those_of_algorithm_1(digits: Dataset) -> None:
    """The loop of the paper on the batches that were seen: one backward pass for weights and delta."""
    model, twin, seen = small(), small(), Inputs()
    recipe = Recipe(epochs=3, batch_size=16, optimizer="sgd", lr=0.05, momentum=0.0)
    fit(model, digits, Free(ATTACK, replays=3, step=0.5), recipe, extensions=[seen])
    labels = {tuple(x.flatten().tolist()): int(y) for x, y in zip(digits.train.x, digits.train.y, strict=True)}
    delta = torch.zeros(16, 1, 8, 8)
    twin.train()
    for x in seen.seen:
        y = torch.tensor([labels[tuple(row.flatten().tolist())] for row in x])
        leaf = delta[: len(x)].clone().requires_grad_()
        loss = nn.functional.cross_entropy(twin((x + leaf).clamp(0, 1)), y)
        twin.zero_grad()
        loss.backward()
        delta[: len(x)] = (leaf.detach() + 0.5 * 0.1 * leaf.grad.sign()).clamp(-0.1, 0.1)
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter -= 0.05 * parameter.grad
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_each_batch_is_taken_replays_times_in_a_row(digits: Dataset) -> None:
    seen = Inputs()
    fit(small(), digits, Free(ATTACK, replays=3), Recipe(epochs=3, batch_size=20), extensions=[seen])
    assert len(digits.train) % 20 == 0
    for k in range(0, len(seen.seen), 3):
        assert torch.equal(seen.seen[k], seen.seen[k + 1])
        assert torch.equal(seen.seen[k], seen.seen[k + 2])
    rows = torch.cat(seen.seen[::3]).flatten(1)
    assert len(rows.unique(dim=0)) == len(digits.train.x.flatten(1).unique(dim=0))  # three epochs pass all once


@pytest.mark.parametrize(("n", "size", "replays"), [(12, 4, 3), (10, 4, 3), (7, 7, 2), (3, 5, 4), (9, 2, 5)])
def test_the_order_has_the_right_length_and_all_examples(n: int, size: int, replays: int) -> None:
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    parts = [replayed(order, size, replays, part) for part in range(replays)]
    assert all(len(part) == n for part in parts)
    assert set(torch.cat(parts).tolist()) == set(range(n))
    batches = [batch for part in parts for batch in part.split(size)]
    whole = [batch for batch in batches if len(batch) == size]
    assert len({tuple(batch.tolist()) for batch in whole}) <= math.ceil(n / size)
    assert torch.equal(replayed(order, size, 1, 0), order)


def test_value_and_gradient_in_float64_with_the_perturbation_that_is_kept() -> None:
    model, twin = toy(), toy()
    free = Free(PGD(THREAT, n_steps=2))
    step, other = toy_step(model), toy_step(twin)
    free.memory._delta = torch.full((6, 1, 2, 2), 0.05, dtype=torch.float64)
    losses = free(step)
    expected = nn.functional.cross_entropy(twin((other.x + 0.05).clamp(0, 1)), other.y, reduction="none")
    torch.testing.assert_close(losses, expected, rtol=1e-12, atol=0)
    losses.mean().backward()
    expected.mean().backward()
    for ours, theirs in zip(gradients(model), gradients(twin), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-14)


def test_the_perturbation_stays_in_the_ball_and_each_option_has_an_effect(digits: Dataset) -> None:
    models = []
    for options in ({}, {"replays": 2}, {"step": 0.3}):
        free, model = Free(ATTACK, **options), small()
        fit(model, digits, free, Recipe(epochs=3, batch_size=20, lr=0.01))
        delta = free.memory.state()["delta"]
        assert 0 < float(delta.abs().max()) <= 0.1 + 1e-7
        models.append(model)
    for k, model in enumerate(models):
        assert all(not same_weights(model, other) for other in models[k + 1 :])
    zero, standard = small(), small()
    fit(zero, digits, Free(ATTACK, replays=1, step=0.0), Recipe(epochs=2))
    fit(standard, digits, Adversarial(ATTACK, robust_weight=0.0), Recipe(epochs=2))
    assert same_weights(zero, standard)


@pytest.mark.parametrize("extensions", [[], [AWP()]], ids=["alone", "awp"])
def test_a_killed_training_goes_on_to_the_same_bits(
    digits: Dataset, tmp_path: Path, extensions: list[Extension]
) -> None:
    recipe = Recipe(epochs=4, batch_size=20, lr=0.01, augment="flip")
    whole, stopped, again = noisy(), noisy(), noisy()
    fit(whole, digits, Free(ATTACK, replays=3), recipe, extensions=extensions)
    run = run_of(tmp_path / "r")
    first = fit(
        stopped, digits, Free(ATTACK, replays=3), recipe, extensions=[*extensions, Calls(4, interrupt)], run=run
    )
    assert first.end.kind == "interrupted"
    fit(again, digits, Free(ATTACK, replays=3), recipe, extensions=[*extensions, Calls()], run=run)
    assert same_weights(whole, again)


def test_bad_requests() -> None:
    for attack in (PGD(ThreatModel(2, 0.5), n_steps=2), NoAttack()):
        with pytest.raises(ValueError, match="free: expected an attack in the norm inf"):
            Free(attack)
    for options in ({"replays": 0}, {"step": -1.0}):
        with pytest.raises(ValueError, match="free: "):
            Free(ATTACK, **options)
