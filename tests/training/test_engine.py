"""`fit`: that it can be resumed to the same bits, that failures are values, and that observing changes nothing."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.training.cases import ATTACK, Calls, interrupt, noisy, run_of, small, train
from torch import nn

from cgro._check import BadRequest
from cgro.data import Dataset, load
from cgro.definitions import PGD, ThreatModel, default_loss
from cgro.runs import Run
from cgro.training import Adversarial, Cost, Evaluation, Recipe, Snapshot, engine, fit
from cgro.training.checkpoint import LAST
from cgro.training.engine import Tally
from cgro.training.history import Position
from cgro.training.step import Step
from cgro.training.store import Store, _position
from cgro.trajectory import Outcome


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


class Killed(Exception):
    """Stands for SIGKILL: nothing of ours catches it."""


def die(*_: object) -> dict:
    raise Killed


@pytest.mark.parametrize(
    ("at", "between_saves", "resumed_at"),
    [("steps", 300.0, 5), ("evaluation", 300.0, 5), ("evaluation", 0.0, 9), ("end", 300.0, 9)],
)
def test_killed_around_an_evaluation_ends_in_the_same_bits(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str, between_saves: float, resumed_at: int
) -> None:
    """Killed at the last step of epoch 2, as it is evaluated, or in epoch 3; steps since the last save are repeated."""
    monkeypatch.setattr(engine, "SECONDS_BETWEEN_SAVES", between_saves)
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
    assert steps.steps == list(range(resumed_at, 13))
    for name in (LAST, "best_validation.safetensors"):
        cut, undisturbed = ((tmp_path / d / "checkpoints" / name).read_bytes() for d in ("cut", "whole"))
        assert cut == undisturbed


def test_the_seconds_of_an_epoch_are_those_of_its_steps(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of what is saved between them; and after an interrupt the steps before it count. By a clock of the test's."""
    now = [0.0]

    def tick(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(engine, "time", SimpleNamespace(perf_counter=lambda: now[0], monotonic=time.monotonic))
    monkeypatch.setattr(engine, "SECONDS_BETWEEN_SAVES", 0.0)
    written = Store.write
    monkeypatch.setattr(Store, "write", lambda *given: (tick(100.0), written(*given))[1])

    class Second(Calls):
        def after_step(self, model: nn.Module, k: int) -> None:
            tick(1.0)
            super().after_step(model, k)

    recipe = Recipe(epochs=2, batch_size=16)
    train(noisy(), digits, recipe, run=run_of(tmp_path / "whole"), extensions=[Second()])
    for at in (2, 4, 5):
        train(noisy(), digits, recipe, run=run_of(tmp_path / f"cut-{at}"), extensions=[Second(at, interrupt)])
        train(noisy(), digits, recipe, run=run_of(tmp_path / f"cut-{at}"), extensions=[Second()])
    for name in ("whole", "cut-2", "cut-4", "cut-5"):
        assert [row["seconds"] for row in Run(tmp_path / name).rows()] == [4.0, 4.0]


def test_checkpoints_without_times_are_resumed() -> None:
    assert _position({"epoch": 1, "step": 2, "loss_sum": 3.0}) == Position(1, 2, 3.0)
    assert _position({"epoch": 1, "step": 2, "loss_sum": 3.0, "seconds": 4.0, "attack_seconds": None}) == Position(
        1, 2, 3.0, 4.0, None
    )


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
    # One step an epoch: its loss is finite, the weights that it leaves are not usable.
    last = train(small(), digits, Recipe(epochs=3, batch_size=1000, optimizer="sgd", lr=1e30)).outcome
    assert (last.kind, last.step) == ("non_finite", 1)
    constant = small()
    with torch.no_grad():
        constant[-1].weight.zero_()
        constant[-1].bias.copy_(torch.eye(10)[3] * 9)
    collapsed = train(constant, digits, Recipe(epochs=1, lr=1e-9)).outcome
    assert collapsed.kind == "collapsed"
    assert "one class since the start" in collapsed.reason


def test_losses_are_summed_as_python_sums_them() -> None:
    generator = torch.Generator().manual_seed(0)
    tally, expected = Tally(0.125, torch.device("cpu")), 0.125
    for k in range(200):
        loss = torch.rand((), generator=generator) * 3
        tally.add(loss, 7 + k % 2, k)
        expected += float(loss) * (7 + k % 2)
    assert tally.read() == (expected, None)


@pytest.mark.parametrize("before", [False, True])
def test_the_flag_of_deterministic_kernels_is_given_back(before: bool, digits: Dataset) -> None:
    kept = torch.backends.cudnn.deterministic
    seen: list[bool] = []

    def objective(step: Step) -> torch.Tensor:
        seen.append(torch.backends.cudnn.deterministic)
        if len(seen) > 2:
            raise RuntimeError("half-way")
        return step.model(step.x).square().sum(1)

    torch.backends.cudnn.deterministic = before
    try:
        with pytest.raises(RuntimeError, match="half-way"):
            fit(small(), digits, objective, Recipe(epochs=1, batch_size=20))
        assert torch.backends.cudnn.deterministic is before
    finally:
        torch.backends.cudnn.deterministic = kept
    assert all(seen)


def test_an_attack_that_goes_wrong_is_refused_at_the_end_of_the_epoch(digits: Dataset) -> None:
    """Its gradient is not finite, the loss is."""

    def loss(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return outputs.sum(1) * 0 + (outputs.sum(1) * 0).sqrt()

    attack = PGD(ThreatModel("inf", 0.1), n_steps=2, loss=loss)
    seen: list[int] = []

    def objective(step: Step) -> torch.Tensor:
        seen.append(len(step.y))
        return default_loss(step.model(step.craft(attack)), step.y)

    with pytest.raises(ValueError, match="gradient"):
        fit(small(), digits, objective, Recipe(epochs=2, batch_size=20))
    assert sum(seen) == len(digits.train)


def test_selection_is_on_validation_only(digits: Dataset, tmp_path: Path) -> None:
    t = train(small(), digits, Recipe(epochs=6, lr=0.01), run=run_of(tmp_path / "r"))
    rows = Run(tmp_path / "r").rows()
    best = min(rows, key=lambda r: (r["robust_error/validation"], r["clean_error/validation"], r["epoch"]))
    assert t.meta["selected"]["epoch"] == best["epoch"]


def test_patience_stops_on_validation_error_also_after_a_resume(digits: Dataset, tmp_path: Path) -> None:
    recipe = Recipe(epochs=30, lr=1e-9, patience=2)
    outcome = train(small(), digits, recipe, run=run_of(tmp_path / "r")).outcome
    assert (outcome.kind, outcome.step) == ("stopped", 3)
    assert "since epoch 1" in outcome.reason
    again = train(small(), digits, recipe, run=run_of(tmp_path / "r"))
    assert again.outcome == outcome
    with pytest.raises(ValueError, match="validation"):
        train(small(), load("digits", n_train=60, n_test=40), recipe)


@pytest.mark.parametrize("every", [1, 2, 5])
def test_checkpoints_that_no_run_keeps_are_refused(digits: Dataset, every: int) -> None:
    evaluation = Evaluation(PGD(ThreatModel("inf", 0.1), n_steps=1), n=10, keep_every=every)
    with pytest.raises(ValueError, match="keep_every: expected a run, which keeps the checkpoints, got none"):
        train(small(), digits, Recipe(epochs=5), evaluation=evaluation)


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


class WithoutStep:
    cost = Cost(n_updates=1)

    def __call__(self, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(model(x), y, reduction="none")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"objective": nn.CrossEntropyLoss()},
            "objective: expected an objective such as .* write a class whose __call__",
        ),
        ({"objective": lambda model, x, y: model(x)}, "that does not take a step alone"),
        ({"objective": WithoutStep()}, "that does not take a step alone"),
        ({"extensions": None}, r"extensions: expected several of them in a tuple, got None; give \(\) for none"),
        ({"fabric": "cpu"}, "fabric: expected a lightning_fabric.Fabric, or None, got .*make_fabric"),
        ({"probes": lambda snapshot: {}}, r"probes: expected functions in a tuple, .* give \(probe,\)"),
        ({"probes": [3]}, "probes: expected functions in a tuple"),
        (
            {"model": nn.Sequential(nn.Flatten(), nn.LazyLinear(10))},
            "model: expected weights with shapes, .* call it once",
        ),
    ],
)
def test_what_would_be_met_deep_inside_is_refused_before_any_work(
    digits: Dataset, given: dict[str, Any], words: str
) -> None:
    chosen = {"model": small(), "objective": Adversarial(ATTACK), **given}
    with pytest.raises(BadRequest, match=words):
        fit(chosen.pop("model"), digits, chosen.pop("objective"), Recipe(epochs=1), **chosen)


def test_epochs_and_attacks_of_other_types_are_refused(digits: Dataset) -> None:
    class Named(WithoutStep):
        def __call__(self, step: Step) -> torch.Tensor:  # type: ignore[override]
            return step.loss(step.model(step.craft("pgd10")))  # type: ignore[arg-type]

    with pytest.raises(BadRequest, match=r"lr_drops: expected epochs in a tuple, got 2; give \(2,\)"):
        Recipe(lr_drops=2)  # type: ignore[arg-type]
    with pytest.raises(BadRequest, match="attack"):
        fit(small(), digits, Named(), Recipe(epochs=1))


def test_training_does_not_depend_on_the_callers_modes(digits: Dataset) -> None:
    """Under `no_grad` it learns as ever; under autocast it once trained other weights without a word."""
    whole = train(small(), digits, Recipe(epochs=1))
    with torch.no_grad():
        assert train(small(), digits, Recipe(epochs=1))["train_loss"].tolist() == whole["train_loss"].tolist()
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises(BadRequest, match=r"outside of torch.autocast.*make_fabric"),
    ):
        train(small(), digits, Recipe(epochs=1))
    with torch.inference_mode(), pytest.raises(BadRequest, match=r"outside of torch.inference_mode"):
        train(small(), digits, Recipe(epochs=1))
