"""What a training writes while it runs, and what it refuses to go on from."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.training.cases import Calls, run_of, small, train

from cgro.data import Dataset
from cgro.training import Extension, Recipe, Step, engine
from cgro.training.checkpoint import LAST, load_checkpoint, save_checkpoint


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
