"""Names on the command line: built in, of the caller's own, and what is refused."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cgro.cli import main
from cgro.commands import train
from cgro.commands._common import parse
from cgro.definitions import PGD, ThreatModel
from cgro.runs import Run
from cgro.training import EMA, TRADES, Adversarial
from cgro.training.registry import EXTENSIONS, OBJECTIVES, extension_by_name, listed, objective_by_name

ATTACK = PGD(ThreatModel("inf", 0.1), n_steps=2)
SMALL = ("--data", "digits", "--n-train", "60", "--n-test", "40", "--epochs", "1", "--model", "mlp", "--width", "8",
         "--attack", "pgd2", "--eval-attack", "pgd2", "--final-n", "40")  # fmt: skip
OWN = """
from dataclasses import dataclass
from cgro.definitions import Attack, default_loss
from cgro.training import Cost

open("imported", "w").close()

@dataclass(frozen=True)
class Scaled:
    attack: Attack
    factor: float = 1.0
    cost = Cost(n_gradients=2, n_updates=1)

    def __call__(self, step):
        return self.factor * default_loss(step.model(step.craft()), step.y)

def broken(attack):
    raise RuntimeError("no")
"""


def test_names_and_parameters() -> None:
    assert objective_by_name("adversarial", ATTACK, robust_weight=0.5) == Adversarial(ATTACK, 0.5)
    assert objective_by_name("adversarial:robust_weight=0.25", ATTACK, robust_weight=0.5) == Adversarial(ATTACK, 0.25)
    assert objective_by_name("trades", ATTACK, robust_weight=0.5) == TRADES(ATTACK, 6.0)
    assert objective_by_name("trades:beta=1/2", ATTACK) == TRADES(ATTACK, 0.5)
    assert repr(extension_by_name("ema")) == repr(EMA())
    assert {"adversarial:robust_weight=1.0", "trades:beta=6.0"} <= set(listed(OBJECTIVES, skip=1).split(", "))
    assert "ema:decay=0.999" in listed(EXTENSIONS, skip=0).split(", ")


@pytest.mark.parametrize(
    ("text", "said"),
    [("no-such", "one of adversarial, trades"), ("trades:gamma=1", "beta=VALUE"), ("trades:beta=x", "a number"),
     ("trades:beta", "beta=VALUE"), ("trades:beta=-1", "beta"), ("no_such_module:Name", "importable")],
)  # fmt: skip
def test_bad_names(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        objective_by_name(text, ATTACK)


def test_the_command_line_builds_them(tmp_path: Path) -> None:
    words = ("--objective", "trades:beta=3", "--extension", "ema:decay=0.5", "--attack", "pgd2")
    config = parse("train", "", train.Config, words, train.RECIPES)
    assert config.build_objective() == TRADES(config.crafting(), 3.0)
    assert [repr(e) for e in config.build_extensions()] == ["EMA(decay=0.5)"]
    assert parse("train", "", train.Config, (), train.RECIPES).extension == []
    file = tmp_path / "own.yaml"
    file.write_text("extension:\n- ema:decay=0.5\n")
    assert parse("train", "", train.Config, ("--config", str(file)), {}).extension == ["ema:decay=0.5"]
    file.write_text("extension: ema")
    for more in ((), ("--extension", "ema")):
        with pytest.raises(ValueError, match="extension: expected a list"):
            parse("train", "", train.Config, ("--config", str(file), *more), {})
    for more, said in (
        (("--robust-weight", "0.5", "--objective", "trades"), "robust-weight"),
        (("--attack", "none", "--objective", "trades"), "PGD"),
    ):
        with pytest.raises(ValueError, match=said):
            parse("train", "", train.Config, more, train.RECIPES).build_objective()
    with pytest.raises(ValueError, match="twice"):
        parse("train", "", train.Config, ("--extension", "ema", "--extension", "ema:decay=0.1"), {}).build_extensions()


def test_an_objective_of_the_callers_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:  # fmt: skip
    """By the command line it runs; a run or a file of --config that names it does not import it without trust."""
    monkeypatch.chdir(tmp_path)
    Path("own_objective_of_test.py").write_text(OWN)
    name = "own_objective_of_test:Scaled:factor=1"
    assert main(["train", *SMALL, "--objective", name, "--extension", "ema:decay=0.5", "--out", "own"]) == 0
    assert main(["train", *SMALL, "--extension", "ema:decay=0.5", "--out", "plain"]) == 0
    own, plain = (load_file(Path(d, "checkpoints", "last.safetensors")) for d in ("own", "plain"))
    assert own.keys() == plain.keys()
    assert all(torch.equal(own[key], plain[key]) for key in own)
    Path("imported").unlink()
    monkeypatch.delitem(__import__("sys").modules, "own_objective_of_test")
    capsys.readouterr()
    assert main(["train", "--config", "own/config.yaml", "--out", "again"]) == 2
    assert f"its objective is {name}, code of whoever made it" in capsys.readouterr().err
    Path("own", "summary.json").unlink()
    assert main(["train", "--resume", "own"]) == 2
    assert not Path("imported").exists()
    assert main(["train", "--config", "own/config.yaml", "--out", "again", "--objective", name]) == 0
    assert main(["train", "--resume", "own", "--trust"]) == 0
    assert Run(Path("again")).config["extension"] == ["ema:decay=0.5"]
    assert main(["train", *SMALL, "--objective", "own_objective_of_test:broken", "--out", "no"]) == 2
    assert not Path("no").exists()


TEXTS = """
from __future__ import annotations

class Own:
    cost = None

    def __init__(self, attack, weight: float, share: float | None = None, steps: int = 1, name="plain", on: bool = False):
        self.values = (weight, share, steps, name, on)

    def __call__(self, step):
        return step.model(step.x)[:, 0]
"""


@pytest.mark.parametrize("annotations", ["texts", "types"])
def test_parameters_are_read_by_their_annotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, annotations: str
) -> None:
    """As texts where the module says so, required or not, with or without None."""
    module = f"own_objective_with_{annotations}"
    text = TEXTS if annotations == "texts" else TEXTS.replace("from __future__ import annotations", "")
    (tmp_path / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    objective = objective_by_name(f"{module}:Own:weight=2,share=1/2,steps=3,name=4,on=true", ATTACK)
    assert [(v, type(v)) for v in objective.values] == [(2.0, float), (0.5, float), (3, int), ("4", str), (True, bool)]
    for wrong in ("weight=x", "weight=1,share=x", "weight=1,steps=1.5", "weight=1,on=1"):
        with pytest.raises(ValueError, match="expected"):
            objective_by_name(f"{module}:Own:{wrong}", ATTACK)
