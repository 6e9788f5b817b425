"""Curves that are sent to Weights & Biases, on a stand-in; tests/commands/test_train.py has runs that are resumed."""

import importlib.util
import sys
import types
from pathlib import Path

import pytest
from tests.training.cases import small, train

from cgro.data import Dataset
from cgro.training import Recipe, make_fabric
from cgro.training.wandb import WandbLogger


def test_curves_are_sent_to_trackers(digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for wandb: one row an epoch, in the run's name; a tracker that is not installed is refused."""
    calls: list[object] = []
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(
        __spec__=object(), init=lambda **k: calls.append(k["name"]) or types.SimpleNamespace(
            log=lambda row, step: calls.append((step, row["robust_error/test"])))))  # fmt: skip
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name == "wandb" else None)
    fabric = make_fabric("cpu", track="wandb", folder=tmp_path / "mine")
    t = train(small(), digits, Recipe(epochs=2), fabric=fabric)
    assert calls == [(tmp_path / "mine").as_posix(), (1, t["robust_error/test"][0]), (2, t["robust_error/test"][1])]
    with pytest.raises(ValueError, match=r"cgro\[track\]"):
        make_fabric("cpu", track="tensorboard")


@pytest.mark.parametrize(("status", "code"), [("finished", 0), ("failed", 1), ("interrupted", 1)])
def test_it_is_told_how_the_run_ended(status: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    run = types.SimpleNamespace(log=lambda row, step: None, finish=lambda exit_code: codes.append(exit_code))
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=lambda **k: run))
    logger = WandbLogger(tmp_path)
    logger.finalize(status)
    assert codes == [], "nothing was sent, so there is nothing to end"
    logger.log_metrics({"loss": 1.0}, 1)
    logger.finalize(status)
    assert codes == [code]
