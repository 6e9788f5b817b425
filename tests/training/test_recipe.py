"""Settings of the loop: schedules against torch and against their authors, an effect of every option, bad values."""

import math

import numpy as np
import pytest
import torch
from tests.training.cases import noisy, small, train
from torch import nn

from cgro._check import BadRequest
from cgro.data import Dataset
from cgro.training import Recipe


@pytest.mark.parametrize("name", ["cosine", "one-cycle"])
def test_schedules_against_torch(name: str) -> None:
    """torch counts steps and peaks one step early: on a fine grid the difference is a step's slope."""
    total, lr = 20_000, 0.3
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    if name == "cosine":
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    else:
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=total)
    expected = []
    for _ in range(total):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    recipe = Recipe(epochs=5, lr=lr, schedule=name)
    ours = [recipe.lr_at(5 * k / total) for k in range(total)]
    np.testing.assert_allclose(ours, expected, rtol=0, atol=lr * math.pi / 2 / (0.3 * total))


def test_the_triangle_as_its_authors_interpolate_it() -> None:
    times = np.linspace(0, 5, 36)[:-1]
    recipe = Recipe(epochs=5, lr=0.3, schedule="cyclic")
    np.testing.assert_allclose([recipe.lr_at(t) for t in times], np.interp(times, [0, 2, 5], [0, 0.3, 0]), rtol=1e-9)


@pytest.mark.parametrize(
    "change",
    [{"epochs": 3}, {"batch_size": 7}, {"optimizer": "sgd"}, {"optimizer": "adamw", "weight_decay": 0.5}, {"lr": 0.1},
     {"weight_decay": 0.1}, {"lr_drops": (1,)}, {"radius_warmup": 2.0},
     {"craft_mode": "train"}, {"craft_mode": "train_update_bn"}, {"schedule": "cosine"}, {"schedule": "one-cycle"},
     {"schedule": "cyclic"}, {"clip": 0.1},
     {"augment": "crop1-flip"}],
)  # fmt: skip
def test_every_option_of_the_recipe_has_an_effect(digits: Dataset, change: dict) -> None:
    a, b = noisy(), noisy()
    base = {"epochs": 2, "batch_size": 30}
    train(a, digits, Recipe(**base))
    train(b, digits, Recipe(**{**base, **change}))
    assert any(not torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_sgd_options_have_an_effect(digits: Dataset) -> None:
    results = []
    for more in ({}, {"momentum": 0.0}, {"lr_drops": (1,)}, {"lr_drops": (1,), "lr_factor": 0.5}):
        model = small()
        train(model, digits, Recipe(epochs=2, optimizer="sgd", **more))
        results.append(next(model.parameters()).detach().clone())
    assert all(not torch.equal(a, b) for i, a in enumerate(results) for b in results[:i])


def test_clipping_bounds_the_step(digits: Dataset) -> None:
    model, before = small(), small()
    train(model, digits, Recipe(epochs=1, batch_size=60, optimizer="sgd", lr=1.0, momentum=0.0, clip=0.01))
    moved = sum(
        float((p - q).detach().square().sum()) for p, q in zip(model.parameters(), before.parameters(), strict=True)
    )
    assert moved**0.5 == pytest.approx(0.01, rel=1e-3)


def test_craft_mode_decides_who_updates_batchnorm(digits: Dataset) -> None:
    """One step on one batch: one update of the running averages, or one more for each pass of the attack."""
    updates = {}
    for mode in ("eval", "train", "train_update_bn"):
        model = noisy()
        train(model, digits, Recipe(epochs=1, batch_size=60, craft_mode=mode))
        updates[mode] = int(model[2].num_batches_tracked)
    assert updates["eval"] == updates["train"] == 1
    assert updates["train_update_bn"] > 1


@pytest.mark.parametrize("change", [{"epochs": 0}, {"lr": math.nan}, {"optimizer": "lion"},
                                    {"craft_mode": "both"}, {"lr_drops": (9,), "epochs": 5}, {"radius_warmup": 99},
                                    {"schedule": "linear"}, {"schedule": "cosine", "lr_drops": (2,)}, {"clip": -1},
                                    {"patience": -1}, {"lr_factor": -1}, {"lr_factor": math.inf}, {"augment": "rotate"}])  # fmt: skip
def test_bad_recipes(change: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        Recipe(**change)


def test_the_optimizers_are_those_of_torch() -> None:
    model = small()
    for name, kind in (("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)):
        optimizer = Recipe(optimizer=name, lr=0.2, weight_decay=0.3).build_optimizer(model)
        assert type(optimizer) is kind
        (group,) = optimizer.param_groups
        assert (group["lr"], group["weight_decay"]) == (0.2, 0.3)
    with pytest.raises(ValueError, match="trainable"):
        Recipe().build_optimizer(model.requires_grad_(False))


@pytest.mark.parametrize("name", ["lr", "lr_factor", "weight_decay", "clip"])
def test_numbers_that_float32_does_not_hold_are_refused(name: str) -> None:
    """torch raised an error of its own in the first step."""
    assert getattr(Recipe(epochs=1, batch_size=1, **{name: 1e38}), name) == 1e38
    for value in (1e39, 1e308):
        with pytest.raises(BadRequest, match=f"{name}: expected a finite number"):
            Recipe(epochs=1, batch_size=1, **{name: value})
