"""An attack from a user's file: by name from the command line, and refused where a run of others names it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from cgro.cli import main
from cgro.definitions import PGD, ThreatModel, attack_by_name
from cgro.runs import Run

TINY = ["--data", "digits", "--n-train", "60", "--n-test", "40", "--model", "mlp", "--width", "16", "--radius", "0.05",
        "--epochs", "1", "--eval-attack", "pgd1", "--eval-n", "20", "--final-n", "20", "--device", "cpu"]  # fmt: skip
THEIRS = '''
import pathlib
from dataclasses import dataclass

from cgro.definitions import PGD, Attack

pathlib.Path({mark!r}).touch()


@dataclass(frozen=True)
class Corners(Attack):
    """Random corners of the ball: float32 decides which are kept."""

    n_tries: int = 5

    def search(self, evaluator, draws):
        for step in range(self.n_tries):
            signs = 2 * draws.integers(2, evaluator.x[0].numel()).view_as(evaluator.x).to(evaluator.x) - 1
            evaluator.update(self.threat.project(evaluator.x + self.threat.radius * signs, evaluator.x), step)


def make(threat, precision="float32", n_steps: int = 2):
    return PGD(threat, n_steps=n_steps, precision=precision)


def no_attack(threat):
    return "pgd10"


def failing(threat):
    raise RuntimeError("not today")
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a module in the current folder, which is not on the path."""
    name = f"attacks_{abs(hash(request.node.nodeid))}"
    (tmp_path / f"{name}.py").write_text(THEIRS.format(mark=str(tmp_path / "ran")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    yield name
    sys.modules.pop(name, None)


@pytest.fixture
def run(module: str, tmp_path: Path) -> Path:
    assert main(["train", *TINY, "--attack", "pgd1", "--out", str(tmp_path / "run")]) == 0
    assert not (tmp_path / "ran").exists()
    return tmp_path / "run"


@pytest.mark.parametrize("attack", ["Corners", "make", "make:n_steps=3"])
def test_evaluation_by_an_attack_from_a_file(attack: str, module: str, run: Path) -> None:
    assert main(["evaluate", str(run), "--attack", f"{module}:{attack}", "--n", "20", "--device", "cpu"]) == 0
    metrics = json.loads((run / "summary.json").read_text())["metrics"]
    found = metrics[f"robust_error/test@{module}:{attack}"]
    expected = {"Corners": "n_tries=5", "make": "n_steps=2", "make:n_steps=3": "n_steps=3"}[attack]
    assert expected in found["attack"]
    assert found["n"] == 20
    assert found["bound"] == "lower"
    assert found["wrong"] >= metrics["clean_error/test@" + f"{module}:{attack}"]["wrong"]


def test_training_against_one_and_what_others_then_may_do(
    module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The caller's own command runs it; its run, passed on, is data until --trust or the same name."""
    out = tmp_path / "own"
    name = f"{module}:make:n_steps=1"
    assert main(["train", *TINY, "--attack", name, "--out", str(out)]) == 0
    assert "n_steps=1" in json.loads((out / "summary.json").read_text())["metrics"]["robust_error/test"]["attack"]
    (tmp_path / "ran").unlink()
    sys.modules.pop(module)
    capsys.readouterr()
    evaluate = ["evaluate", str(out), "--attack", "pgd1", "--n", "10", "--device", "cpu"]
    assert main(evaluate) == 2
    said = capsys.readouterr().err
    assert f"{out}: its attack is {name}, code of whoever made it; look at it, then add --trust" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "ran").exists()
    assert main([*evaluate, "--trust"]) == 0


@pytest.mark.parametrize("key", ["attack", "eval_attack"])
def test_a_planted_attack_does_not_run(
    key: str, module: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), key: f"{module}:make"}, sort_keys=False))
    made_in = json.loads((run / "environment.json").read_text())
    made_in["settings"][key] = f"{module}:make"
    (run / "environment.json").write_text(json.dumps(made_in))
    Run(run).write_summary(json.loads((run / "summary.json").read_text()))
    for command in ("evaluate", "memory"):
        assert main([command, str(run), "--attack", "pgd1", "--n", "10", "--device", "cpu"]) == 2
        assert f"its attack is {module}:make, code of whoever made it" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


def test_a_file_of_options_is_no_command_line(
    module: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "options.yaml").write_text(yaml.safe_dump({"target": str(run), "attack": f"{module}:make", "n": 10}))
    assert main(["evaluate", "--config", "options.yaml", "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert f"options.yaml: its attack is {module}:make" in said
    assert f"--attack {module}:make" in said
    assert not (tmp_path / "ran").exists()


def test_bad_code_is_refused_in_one_line(module: str) -> None:
    threat = ThreatModel("inf", 0.1)
    assert attack_by_name(f"{module}:make", threat, precision="bfloat16") == PGD(
        threat, n_steps=2, precision="bfloat16"
    )
    for name, words in (
        ("no_attack", "attack: expected an attack such as PGD"),
        ("failing", "RuntimeError: not today"),
        ("missing", "without missing"),
        ("make:n_steps=many", "n_steps: expected an integer, got 'many'"),
        ("make:depth=3", "expected precision=VALUE, n_steps=VALUE, got 'depth=3'"),
        ("Attack", "attack"),
    ):
        with pytest.raises(ValueError, match=words) as caught:
            attack_by_name(f"{module}:{name}", threat)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="or package.module:name"):
        attack_by_name("pdg10", threat)


def test_a_simple_attack_keeps_every_promise(module: str) -> None:
    """Ball and box, no weaker than the input, the same points from the same seed, at any size of the batch."""
    threat = ThreatModel("inf", 0.2)
    attack = attack_by_name(f"{module}:Corners:n_tries=8", threat)
    x = torch.rand(12, 4, generator=torch.Generator().manual_seed(0))
    y = torch.where(x.sum(1) > 2, 1, -1)
    model = lambda v: v.sum(1) - 2  # noqa: E731
    found = attack.find(model, x, y)
    assert bool(threat.contains(found.x, x).all())
    assert bool((found.margins <= y * model(x)).all())
    assert bool((found.margins < y * model(x)).any())
    assert torch.equal(attack(model, x, y), found.x)
    assert not attack.uses_gradient
