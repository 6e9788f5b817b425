"""What a training writes while it runs, and what it refuses to go on from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.cases import ATTACK, Calls, interrupt, run_of, small, train

from cgro._check import BadRequest
from cgro.data import Dataset, load
from cgro.training import Cost, Extension, Recipe, Step, engine
from cgro.training.checkpoint import LAST, load_checkpoint, save_checkpoint
from cgro.training.store import task_of


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


def test_rows_that_were_changed_are_refused(digits: Dataset, tmp_path: Path) -> None:
    run = run_of(tmp_path / "r")
    train(small(), digits, Recipe(epochs=1), run=run)
    rows = run.path / "metrics.jsonl"
    row = json.loads(rows.read_text())
    for text in ("", json.dumps(row | {"lr": 9.0}) + "\n"):
        rows.write_text(text)
        with pytest.raises(ValueError, match="expected the 1 rows"):
            train(small(), digits, Recipe(epochs=2), run=run)
    rows.write_text(json.dumps(row | {"seconds": 9.0}) + "\n")  # times belong to no digest
    train(small(), digits, Recipe(epochs=2), run=run)


@pytest.mark.parametrize("state", [{}, {"epoch": 1, "step": 0, "loss_sum": 0.0, "selected": {"network": "the best"}}])
def test_a_checkpoint_that_is_no_state_of_a_training_is_refused(digits: Dataset, tmp_path: Path, state: dict) -> None:
    run, model = run_of(tmp_path / "r"), small()
    save_checkpoint(run.file("checkpoints", LAST), model, Recipe().build_optimizer(model), state)
    with pytest.raises(ValueError, match="expected the state of a training"):
        train(small(), digits, Recipe(epochs=1), run=run)


def test_damage_to_a_file_that_is_only_kept_is_noticed_before_more_work(digits: Dataset, tmp_path: Path) -> None:
    run = run_of(tmp_path / "r")
    train(small(), digits, Recipe(epochs=1), run=run)
    run.file("checkpoints", "epoch-0001.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="epoch-0001.safetensors: damaged"):
        train(small(), digits, Recipe(epochs=2), run=run)


ANOTHER: dict[str, dict[str, object]] = {
    "lr": {"recipe": Recipe(epochs=2, lr=0.1)},
    "batch_size": {"recipe": Recipe(epochs=2, batch_size=20)},
    "optimizer": {"recipe": Recipe(epochs=2, optimizer="sgd")},
    "epochs": {"recipe": Recipe(epochs=1)},
    "seed": {"seed": 1},
    "objective": {"weight": 0.5},
    "examples": {},
}


@pytest.mark.parametrize("name", ANOTHER)
def test_a_run_goes_on_with_its_own_training_alone(digits: Dataset, tmp_path: Path, name: str) -> None:
    """From Python too, where nothing else compares: it went on with another lr, seed, objective or data in silence."""
    run = run_of(tmp_path / "run")
    stops = Calls(2, interrupt)
    train(small(), digits, Recipe(epochs=2), run=run, extensions=[stops])
    before = (run.path / "checkpoints" / LAST).read_bytes()
    given = {"recipe": Recipe(epochs=2), "extensions": [Calls()], **ANOTHER[name]}
    data = load("digits", n_train=60, n_test=40, seed=1) if name == "examples" else digits
    with pytest.raises(
        BadRequest, match=rf"other settings: {name} .* there, .* here; use the same, or give another run"
    ):
        train(small(), data, given.pop("recipe"), run=run, **given)
    assert (run.path / "checkpoints" / LAST).read_bytes() == before


def test_a_training_may_be_made_longer_where_its_learning_rate_stays_the_same(digits: Dataset, tmp_path: Path) -> None:
    whole = train(small(), digits, Recipe(epochs=3), run=run_of(tmp_path / "whole"))
    train(small(), digits, Recipe(epochs=1), run=run_of(tmp_path / "run"))
    longer = train(small(), digits, Recipe(epochs=3), run=run_of(tmp_path / "run"))
    assert longer["robust_error/test"].tolist() == whole["robust_error/test"].tolist()
    train(small(), digits, Recipe(epochs=1, schedule="cosine"), run=run_of(tmp_path / "cosine"))
    with pytest.raises(BadRequest, match="other settings: epochs 1 there, 3 here"):
        train(small(), digits, Recipe(epochs=3, schedule="cosine"), run=run_of(tmp_path / "cosine"))


def test_a_checkpoint_of_an_earlier_version_says_nothing_of_its_training(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tmp_path / "run")
    with monkeypatch.context() as earlier:
        earlier.setattr(engine, "task_of", lambda *given: None)
        train(small(), digits, Recipe(epochs=1), run=run)
    assert train(small(), digits, Recipe(epochs=2, lr=0.1), run=run).end.kind == "completed"


def test_fields_that_a_recipe_got_later_count_by_their_defaults(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tmp_path / "run")

    def earlier(*given: Any) -> dict[str, object]:
        return {name: value for name, value in task_of(*given).items() if name != "accumulate"}

    with monkeypatch.context() as before:
        before.setattr(engine, "task_of", earlier)
        train(small(), digits, Recipe(epochs=1), run=run)
    with pytest.raises(BadRequest, match="other settings: accumulate 1 there, 2 here"):
        train(small(), digits, Recipe(epochs=2, accumulate=2), run=run)
    assert train(small(), digits, Recipe(epochs=2), run=run).steps.tolist() == [1, 2]


@pytest.mark.parametrize("epochs", ["many", None, [3]])
def test_a_checkpoint_whose_epochs_are_no_number_is_refused_in_one_line(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: object
) -> None:
    run = run_of(tmp_path / "run")
    with monkeypatch.context() as forged:
        forged.setattr(engine, "task_of", lambda *given: task_of(*given) | {"epochs": epochs})
        train(small(), digits, Recipe(epochs=1), run=run)
    with pytest.raises(BadRequest, match="other settings: epochs"):
        train(small(), digits, Recipe(epochs=2), run=run)


def test_what_a_training_is_of_has_no_address_in_it() -> None:
    """An address is another one in the next process."""

    class Own:
        cost = Cost(n_updates=1)

        def __init__(self) -> None:
            self.beta, self.attack, self.teacher = 2.0, ATTACK, object()

        def __call__(self, step: Step) -> torch.Tensor:
            return step.loss(step.model(step.x))

    data = load("digits", n_train=60, n_test=40)
    task = task_of(Recipe(epochs=3, lr_drops=(1,)), Own(), data, 4)
    assert " at 0x" not in json.dumps(task)
    assert "beta=2.0" in str(task["objective"])
    assert (task["lr_drops"], task["seed"], task["data"]) == ([1], 4, data.sha256)
