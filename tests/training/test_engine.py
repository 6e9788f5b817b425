"""The engine: what it minimises, that it can be resumed to the same bits, and that failures are values."""

import copy
import importlib.util
import math
import signal
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cgro.data import Dataset, Split, load
from cgro.definitions import PGD, NoAttack, ThreatModel
from cgro.definitions.draws import Draws
from cgro.models import build, lenet
from cgro.runs import Run
from cgro.training import Adversarial, Evaluation, Extension, Recipe, Snapshot, Step, engine, fit, make_fabric
from cgro.training.checkpoint import LAST, kept_epochs, load_checkpoint, read_weights, save_checkpoint
from cgro.training.step import derive_seed
from cgro.trajectory import Outcome, Trajectory

THREAT = ThreatModel("inf", 0.1)
ATTACK = PGD(THREAT, n_steps=2)
EVALUATION = Evaluation(ATTACK, n=40)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits", n_train=60, n_test=40, validation=0.05)


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


def test_one_step_of_gradient_descent_by_hand(digits: Dataset) -> None:
    """robust_weight 0.3, one full batch, plain SGD: weights must equal theta - lr * gradient of the mixed objective."""
    model, twin = small(), small()
    recipe = Recipe(epochs=1, batch_size=60, optimizer="sgd", lr=0.1, momentum=0.0)
    x, y = digits.train.x, digits.train.y
    order = torch.randperm(60, generator=torch.Generator().manual_seed(derive_seed(0, "order", 0)))
    draws = Draws.of(0, "attack in epoch 0", digits.train.index[order])
    x_adv = ATTACK(twin.eval(), x[order], y[order], generator=draws)
    loss = nn.functional.cross_entropy
    (0.7 * loss(twin(x[order]), y[order]) + 0.3 * loss(twin(x_adv), y[order])).backward()
    train(model, digits, recipe, weight=0.3)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q - 0.1 * q.grad, atol=1e-6, rtol=1e-5)


def test_terms_without_weight_are_not_computed() -> None:
    calls = []

    def model(v: torch.Tensor) -> torch.Tensor:
        calls.append(v)
        return v

    x, y = torch.rand(2, 3), torch.tensor([0, 1])
    for weight, n in ((0.0, 1), (1.0, 1), (0.5, 2)):
        calls.clear()
        step = Step(model, x, y, nn.Identity(), lambda purpose: Draws.of(0, purpose, torch.arange(2)))
        assert Adversarial(ATTACK, weight)(step).shape == (2,)
        assert len(calls) == n


def test_standard_training_is_the_same_code_path(digits: Dataset) -> None:
    a, b = small(), small()
    train(a, digits, Recipe(epochs=2), weight=0.0)
    train(b, digits, Recipe(epochs=2), attack=NoAttack())
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("stop_after", [1, 3, 7, 11])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_interrupted_and_resumed_is_bit_equal(digits: Dataset, tmp_path: Path, optimizer: str, stop_after: int) -> None:
    """Stopped in the middle of an epoch or between two, then resumed: the final checkpoint has the same bytes."""
    recipe = Recipe(
        epochs=3,
        batch_size=16,
        optimizer=optimizer,
        lr=0.01,
        lr_drops=(2,),
        radius_warmup=2.0,
        craft_mode="train",
        augment="crop1-flip",
    )
    whole = train(noisy(), digits, recipe, run=run_of(tmp_path / "whole"), extensions=[Calls()])
    stop = Calls(stop_after, interrupt)
    first = train(noisy(), digits, recipe, run=run_of(tmp_path / "cut"), extensions=[stop])
    assert isinstance(first.outcome, Outcome)
    assert first.outcome.kind == "interrupted"
    assert stop.steps == list(range(1, stop_after + 1))
    second = train(noisy(), digits, recipe, run=run_of(tmp_path / "cut"), extensions=[Calls()])
    for name in (LAST, "best_validation.safetensors"):
        cut, undisturbed = ((tmp_path / d / "checkpoints" / name).read_bytes() for d in ("cut", "whole"))
        assert cut == undisturbed
    assert second["robust_error/test"].tolist() == whole["robust_error/test"].tolist()
    assert [r["epoch"] for r in Run(tmp_path / "cut").rows()] == [1, 2, 3]
    assert Run(tmp_path / "cut").rows()[0]["train_loss"] == Run(tmp_path / "whole").rows()[0]["train_loss"]


def test_global_random_state_is_left_alone(digits: Dataset) -> None:
    before = torch.get_rng_state()
    train(noisy(), digits, Recipe(epochs=1))
    assert torch.equal(before, torch.get_rng_state())


def test_a_probe_observes_and_changes_nothing(digits: Dataset) -> None:
    a, b = small(), small()
    train(a, digits, Recipe(epochs=2))
    t = train(
        b, digits, Recipe(epochs=2), probes=[lambda s: {"norm": float(next(s.model.parameters()).detach().norm())}]
    )
    assert len(t["norm"]) == 2
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


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


def test_craft_mode_decides_who_updates_batchnorm(digits: Dataset) -> None:
    """One step on one batch: one update of the running averages, or one more for each pass of the attack."""
    updates = {}
    for mode in ("eval", "train", "train_update_bn"):
        model = noisy()
        train(model, digits, Recipe(epochs=1, batch_size=60, craft_mode=mode))
        updates[mode] = int(model[2].num_batches_tracked)
    assert updates["eval"] == updates["train"] == 1
    assert updates["train_update_bn"] > 1


def test_divergence_nan_and_collapse_are_outcomes(digits: Dataset) -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    diverged = train(linear, digits, Recipe(epochs=3, batch_size=10, optimizer="sgd", lr=1e4)).outcome
    assert (diverged.kind, diverged.step) == ("diverged", 1)
    assert "lower lr" in diverged.reason

    class Explodes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = small()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) * (torch.nan if self.training else 1.0)

    broken = train(Explodes(), digits, Recipe(epochs=2)).outcome
    assert (broken.kind, broken.step) == ("non_finite", 1)
    constant = small()
    with torch.no_grad():
        constant[-1].weight.zero_()
        constant[-1].bias.copy_(torch.eye(10)[3] * 9)
    collapsed = train(constant, digits, Recipe(epochs=1, lr=1e-9)).outcome
    assert collapsed.kind == "collapsed"
    assert "one class since the start" in collapsed.reason


def test_selection_is_on_validation_only(digits: Dataset, tmp_path: Path) -> None:
    t = train(small(), digits, Recipe(epochs=6, lr=0.01), run=run_of(tmp_path / "r"))
    rows = Run(tmp_path / "r").rows()
    best = min(rows, key=lambda r: (r["robust_error/validation"], r["clean_error/validation"], r["epoch"]))
    assert t.meta["selected"]["epoch"] == best["epoch"]


def test_checkpoints_refuse_damage_and_strangers(tmp_path: Path) -> None:
    path, model = tmp_path / "c.safetensors", small()
    save_checkpoint(path, model, torch.optim.Adam(model.parameters()), {"epoch": 4})
    assert load_checkpoint(path, small(1))["epoch"] == 4
    for stranger, words in ((lenet((1, 8, 8), 10), "missing"), (build("mlp", (1, 8, 8), 10, width=32), "other shape")):
        with pytest.raises(ValueError, match=words):
            load_checkpoint(path, stranger)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match="truncated"):
        load_checkpoint(path, model)


class Evil:
    """A pickle that would run code when loaded."""

    def __reduce__(self) -> tuple:
        return print, ("executed",)


def test_foreign_checkpoints_are_tensors_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model = small()
    torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "good.pt")
    assert set(read_weights(tmp_path / "good.pt")) == set(model.state_dict())
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match="refused"):
        read_weights(tmp_path / "evil.pt")
    assert "executed" not in capsys.readouterr().out
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="state dict"):
        read_weights(tmp_path / "list.pt")
    with pytest.raises(ValueError, match="found none"):
        read_weights(tmp_path / "absent.pt")


@pytest.mark.parametrize("change", [{"epochs": 0}, {"lr": math.nan}, {"optimizer": "lion"},
                                    {"craft_mode": "both"}, {"lr_drops": (9,), "epochs": 5}, {"radius_warmup": 99},
                                    {"schedule": "linear"}, {"schedule": "cosine", "lr_drops": (2,)}, {"clip": -1},
                                    {"patience": -1}, {"augment": "rotate"}])  # fmt: skip
def test_bad_recipes(change: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        Recipe(**change)


def test_bad_devices() -> None:
    for device in ("tpu", "cuda:99", "cpu0"):
        with pytest.raises(ValueError, match="--device"):
            make_fabric(device)


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


def test_clipping_bounds_the_step(digits: Dataset) -> None:
    model, before = small(), small()
    train(model, digits, Recipe(epochs=1, batch_size=60, optimizer="sgd", lr=1.0, momentum=0.0, clip=0.01))
    moved = sum(
        float((p - q).detach().square().sum()) for p, q in zip(model.parameters(), before.parameters(), strict=True)
    )
    assert moved**0.5 == pytest.approx(0.01, rel=1e-3)


def test_patience_stops_on_validation_error_also_after_a_resume(digits: Dataset, tmp_path: Path) -> None:
    recipe = Recipe(epochs=30, lr=1e-9, patience=2)
    outcome = train(small(), digits, recipe, run=run_of(tmp_path / "r")).outcome
    assert (outcome.kind, outcome.step) == ("stopped", 3)
    assert "since epoch 1" in outcome.reason
    again = train(small(), digits, recipe, run=run_of(tmp_path / "r"))
    assert again.outcome == outcome
    with pytest.raises(ValueError, match="validation"):
        train(small(), load("digits", n_train=60, n_test=40), recipe)


def test_checkpoints_are_kept_every_k_epochs(digits: Dataset, tmp_path: Path) -> None:
    run, models = run_of(tmp_path / "r"), []
    probe = lambda s: models.append(copy.deepcopy(s.model)) or {}  # noqa: E731
    train(noisy(), digits, Recipe(epochs=5), run=run, evaluation=Evaluation(ATTACK, 20, keep_every=2), probes=[probe])
    kept = kept_epochs(run)
    assert list(kept) == [2, 4]
    for epoch, path in kept.items():
        twin = noisy()
        assert load_checkpoint(path, twin)["epoch"] == epoch
        state = models[epoch - 1].state_dict()
        assert all(torch.equal(v, state[k]) for k, v in twin.state_dict().items())


class Killed(Exception):
    """Stands for SIGKILL: nothing of ours catches it."""


def die(*_: object) -> dict:
    raise Killed


class DiesWhenSaved(Calls):
    """Killed as the state of step `at` is written, the first time."""

    def state(self) -> dict:
        if self.steps and self.steps[-1] == self.at:
            die()
        return {}


@pytest.mark.parametrize("at", ["steps", "evaluation", "end"])
def test_killed_around_an_evaluation_repeats_no_step(digits: Dataset, tmp_path: Path, at: str) -> None:
    """Killed at the last step of epoch 2, as it is evaluated, or as a later step is saved: the bits are the same."""
    recipe, steps = Recipe(epochs=3, batch_size=16), Calls()
    train(noisy(), digits, recipe, run=run_of(tmp_path / "whole"), extensions=[Calls()])
    alive = [True]

    def probe(snapshot: Snapshot) -> dict:
        return die() if alive and at == "evaluation" and snapshot.epoch == 2 else {}

    first = {"steps": Calls(8, die), "evaluation": Calls(), "end": Calls(9, die)}[at]
    with pytest.raises(Killed):
        train(noisy(), digits, recipe, run=run_of(tmp_path / "cut"), extensions=[first], probes=[probe])
    alive.clear()
    train(noisy(), digits, recipe, run=run_of(tmp_path / "cut"), extensions=[steps], probes=[probe])
    resumed_at = {"steps": 5, "evaluation": 9, "end": 9}[at]
    assert steps.steps == list(range(resumed_at, 13))
    for name in (LAST, "best_validation.safetensors"):
        cut, undisturbed = ((tmp_path / d / "checkpoints" / name).read_bytes() for d in ("cut", "whole"))
        assert cut == undisturbed


def test_killed_while_it_saves_keeps_the_checkpoint_before(digits: Dataset, tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch_size=16)
    with pytest.raises(Killed):
        train(small(), digits, recipe, run=run_of(tmp_path / "cut"), extensions=[DiesWhenSaved(8)])
    state = load_checkpoint(tmp_path / "cut" / "checkpoints" / LAST, small())
    assert (state["epoch"], state["step"]) == (1, 0)


def test_work_is_saved_within_an_epoch(digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SECONDS_BETWEEN_SAVES", 0.0)
    seen: list[object] = []

    class Looks(Extension):
        def around(self, step: Step, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
            path = tmp_path / "r" / "checkpoints" / LAST
            seen.append(load_checkpoint(path, small())["step"] if path.exists() else None)
            return compute()

    train(small(), digits, Recipe(epochs=1, batch_size=20), run=run_of(tmp_path / "r"), extensions=[Looks()])
    assert seen == [None, 1, 2]


def test_without_an_evaluation_there_are_rows_and_no_selection(digits: Dataset, tmp_path: Path) -> None:
    seen: list[int] = []
    t = train(
        small(), digits, Recipe(epochs=3), evaluation=None, run=run_of(tmp_path / "r"),
        probes=[lambda s: seen.append(s.epoch) or {"training": float(s.model.training)}],
    )  # fmt: skip
    assert t.end.kind == "completed"
    assert (t.steps.tolist(), seen, t["training"].tolist()) == ([1, 2, 3], [1, 2, 3], [0.0] * 3)
    assert "robust_error/test" not in t.values
    assert t.meta["selected"] is None
    with pytest.raises(ValueError, match="patience: expected an evaluation"):
        train(small(), digits, Recipe(patience=1), evaluation=None)


def test_what_happens_to_an_example_does_not_depend_on_its_batch(digits: Dataset) -> None:
    """Augmented inputs and random starts by example, from batches of 60 and of 7: the same in an epoch, others in the next."""
    seen: list[dict[int, list[torch.Tensor]]] = []
    for size in (60, 7):
        found: dict[int, list[torch.Tensor]] = {}

        def notes(step: Step, found: dict[int, list[torch.Tensor]] = found) -> torch.Tensor:
            starts = step.craft(replace(ATTACK, n_steps=1, step_size=0.0, keep="last"))
            assert not torch.equal(starts, step.craft(replace(ATTACK, n_steps=1, step_size=0.0, keep="last")))
            for key, x, start in zip(step.y.tolist(), step.x, starts, strict=True):
                found.setdefault(key, []).append(torch.stack([x, start]))
            return 0 * nn.functional.cross_entropy(step.model(step.x), torch.zeros_like(step.y), reduction="none")

        own = replace(digits, train=Split(digits.train.raw, torch.arange(60), digits.train.index))
        model = build("mlp", (1, 8, 8), 60, width=16)
        fit(model, own, notes, Recipe(epochs=2, batch_size=size, augment="crop1-flip-cutout2"))
        seen.append(found)
    for key in range(60):
        (first, second), others = seen[0][key], seen[1][key]
        assert torch.equal(first, others[0])
        assert torch.equal(second, others[1])
        assert not torch.equal(first[1], second[1])


def test_what_is_no_objective_or_extension_is_refused(digits: Dataset) -> None:
    for objective, words in ((ATTACK, "Adversarial"), (Adversarial, "objective"), ("trades", "objective")):
        with pytest.raises(ValueError, match=words):
            fit(small(), digits, objective, Recipe(epochs=1))
    with pytest.raises(ValueError, match="loss per example"):
        fit(small(), digits, lambda step: step.model(step.x).sum(), Recipe(epochs=1))
    for extensions in ([Extension], [Calls(), Calls()]):
        with pytest.raises(ValueError, match="extension"):
            train(small(), digits, Recipe(epochs=1), extensions=extensions)
    with pytest.raises(ValueError, match="expected an attack"):
        fit(small(), digits, lambda step: step.craft().flatten(1).sum(1), Recipe(epochs=1))


def test_gradients_that_are_computed_twice_are_the_same(digits: Dataset) -> None:
    losses: list[torch.Tensor] = []

    class Twice(Extension):
        def around(self, step: Step, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
            losses.extend([compute(), compute()])
            return losses[-1]

    model, twin = (nn.Sequential(small(), nn.Dropout(0.2)) for _ in range(2))
    fit(model, digits, Adversarial(ATTACK, 0.5), Recipe(epochs=2), extensions=[Twice()])
    fit(twin, digits, Adversarial(ATTACK, 0.5), Recipe(epochs=2))
    assert torch.equal(torch.stack(losses[::2]), torch.stack(losses[1::2]))
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), twin.parameters(), strict=True))


def test_the_first_extension_is_the_outermost(digits: Dataset) -> None:
    seen: list[str] = []

    class Outer(Extension):
        def around(self, step: Step, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
            seen.append(f"{self.name} begins")
            loss = compute()
            seen.append(f"{self.name} ends")
            return loss

        def after_step(self, model: nn.Module, k: int) -> None:
            seen.append(f"{self.name} {k}")

    class Inner(Outer):
        pass

    train(small(), digits, Recipe(epochs=1, batch_size=60), extensions=[Outer(), Inner()])
    assert seen == ["outer begins", "inner begins", "inner ends", "outer ends", "outer 1", "inner 1"]


def test_bfloat16_training_steps_differ_and_judging_does_not(digits: Dataset) -> None:
    """The forward pass of the step is cast; weights, gradients and every evaluation stay float32."""
    rows = {}
    for precision in ("float32", "bfloat16"):
        model = small()
        t = train(model, digits, Recipe(epochs=2), fabric=make_fabric("cpu", precision=precision))
        assert all(p.dtype == torch.float32 for p in model.parameters())
        rows[precision] = t["train_loss"].tolist()
    assert rows["float32"] != rows["bfloat16"]
    assert rows["float32"] == pytest.approx(rows["bfloat16"], rel=0.02)


def test_curves_are_sent_to_trackers(digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for wandb: one row an epoch, in the run's name; a tracker that is not installed is refused."""
    calls: list[object] = []
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(
        __spec__=object(), init=lambda **k: calls.append(k["id"]) or types.SimpleNamespace(
            log=lambda row, step: calls.append((step, row["robust_error/test"])))))  # fmt: skip
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name == "wandb" else None)
    fabric = make_fabric("cpu", track="wandb", folder=tmp_path / "mine")
    t = train(small(), digits, Recipe(epochs=2), fabric=fabric)
    assert calls == ["mine", (1, t["robust_error/test"][0]), (2, t["robust_error/test"][1])]
    with pytest.raises(ValueError, match=r"cgro\[track\]"):
        make_fabric("cpu", track="tensorboard")
