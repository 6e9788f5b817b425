"""What a training is given: digests of weights, and who says what."""

import copy
from pathlib import Path

import pytest
import torch
from tests.training.cases import ATTACK, toy

from cgro.cli import main
from cgro.commands import train
from cgro.runs import Run, read_json
from cgro.training import EMA, KD, Adversarial
from cgro.training.given import given_to, weights_digest

SMALL = ("--data", "digits", "--n-train", "60", "--n-test", "40", "--epochs", "1", "--model", "mlp", "--width", "8",
         "--attack", "pgd2", "--eval-attack", "pgd2", "--final-n", "40")  # fmt: skip


def test_a_digest_is_of_names_types_and_values() -> None:
    network = toy(1)
    assert weights_digest(network) == weights_digest(copy.deepcopy(network)) != weights_digest(toy(2))
    moved = copy.deepcopy(network)
    with torch.no_grad():
        moved[1].weight.view(-1)[0] += 1e-15
    assert weights_digest(moved) != weights_digest(network)
    statistics = copy.deepcopy(network)
    statistics[2].running_mean[0] = 1.0
    assert weights_digest(statistics) != weights_digest(network)


def test_teachers_alone_are_given() -> None:
    assert given_to(Adversarial(ATTACK), [EMA()]) == {}
    kd = KD(ATTACK, toy(1), lambda x: x.flatten(1))
    assert given_to(kd, [EMA()]) == {"kd: standard": weights_digest(toy(1))}


def test_a_teacher_that_changed_is_refused_on_resume(tmp_path: Path) -> None:
    for name, seed in (("teacher", "0"), ("other", "1")):
        assert main(["train", *SMALL, "--seed", seed, "--out", str(tmp_path / name)]) == 0
    teacher = str(tmp_path / "teacher")
    words = ("--objective", f"kd:robust={teacher},weight_standard=0", "--out", str(tmp_path / "run"))
    assert main(["train", *SMALL, *words]) == 0
    found = read_json(tmp_path / "run" / "given.json")
    assert isinstance(found, dict)
    assert [*found] == ["kd: robust"]
    assert len(found["kd: robust"]) == 64
    (tmp_path / "run" / "summary.json").unlink()
    settings = Run.open(tmp_path / "run").config
    settings.pop("command")
    again = train.Config(**{**settings, "out": str(tmp_path / "run"), "trust": True})
    train.run(again)  # the same teacher is taken back
    (tmp_path / "run" / "summary.json").unlink()
    (tmp_path / "teacher").rename(tmp_path / "away")
    (tmp_path / "other").rename(tmp_path / "teacher")
    with pytest.raises(ValueError, match="kd: robust: expected what .* was started with, got another"):
        train.run(again)
