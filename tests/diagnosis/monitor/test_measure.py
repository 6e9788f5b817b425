"""The numbers of a monitor are those of `cgro evaluate` on the same weights and examples; independent counts."""

import json
from pathlib import Path

import pytest
import torch
from tests.cases import busy_network, hidden_scores, points
from tests.diagnosis.monitor.cases import TEST, THREAT, TRAIN, monitor_in
from torch import nn

from cgro import Monitor
from cgro.cli import main
from cgro.data import load
from cgro.definitions import FGSM, PGD, ThreatModel, clean_error, robust_error
from cgro.definitions.examples import take_examples
from cgro.diagnosis.monitor.measure import measure
from cgro.diagnosis.monitor.ranks import Ranks
from cgro.models import build
from cgro.results import EvaluateSummary, MonitorSummary
from cgro.runs import Run

FOUR = ("clean_error/train", "clean_error/test", "robust_error/train", "robust_error/test")
MODULE = """
import torch
from torch import nn


def data():
    g = torch.Generator().manual_seed(3)
    y = torch.randint(0, 3, (90,), generator=g)
    x = 0.7 * torch.rand(90, 1, 8, 8, generator=g)
    x[torch.arange(90), 0, y, y] += 0.3
    return x[:60].numpy(), y[:60].numpy(), x[60:].numpy(), y[60:].numpy()


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
"""


@pytest.fixture(scope="module")
def digits():
    return load("digits", n_train=120, n_test=90, validation=0.05)


@pytest.mark.parametrize("attack", ["pgd5", "pgd3x2", "square"])
def test_a_checkpoint_has_the_same_numbers(tmp_path: Path, capsys: pytest.CaptureFixture, digits, attack: str) -> None:
    network = build("mlp", digits.shape, digits.n_outputs, width=16)
    monitor = Monitor(digits.train, digits.test, ThreatModel("inf", "0.1"), attack=attack, n=80, out=tmp_path / "run")
    row = monitor(network, 1)
    command = ["evaluate", str(tmp_path / "run" / "checkpoints" / "last.safetensors"), "--data", "digits", "--model"]
    options = [
        "mlp",
        "--width",
        "16",
        "--radius",
        "0.1",
        "--attack",
        attack,
        "--n",
        "80",
        "--out",
        str(tmp_path / "own"),
    ]
    assert main([*command, *options]) == 0
    own = Run.open(tmp_path / "own").read(EvaluateSummary).metrics
    ours = Run.open(tmp_path / "run").read(MonitorSummary).metrics
    # The command cuts its 120 training examples from other ones: only what both measured is compared.
    for key in ("clean_error/test", "robust_error/test", f"robust_error/test@{attack}"):
        assert own[key] == ours[key]
        assert own[key].value == row[key.partition("@")[0]]


def test_the_run_is_evaluated_with_the_network_and_data_of_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """All four errors, of arrays that are shuffled alike on both sides, and what other commands read."""
    (tmp_path / "loops_own.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    import loops_own

    x, y, x_test, y_test = loops_own.data()
    torch.manual_seed(0)
    network = loops_own.Net()
    monitor = Monitor((x, y), (x_test, y_test), THREAT, attack="pgd5", n=50, out="run", keep=1)
    row = monitor(network, 1)
    assert main(["evaluate", "run", "--attack", "pgd5", "--n", "50"]) == 2
    assert "--model package.module:name" in capsys.readouterr().err
    named = ["--model", "loops_own:Net", "--data", "loops_own:data"]
    before = Run.open("run").read(MonitorSummary).metrics
    assert main(["evaluate", "run", "--attack", "pgd5", "--n", "50", *named, "--out", "own"]) == 0
    own = Run.open("own").read(EvaluateSummary).metrics
    for key in FOUR:
        assert own[key] == before[key]
        assert own[key].value == row[key]
    assert main(["flatness", "run", "--radii", "0.1", "--n", "4", "--n-steps", "2", *named]) == 0
    for line, said in (
        ("flatness run --radius 0.3", "--radius: expected 0.1, as run has it, got 0.3"),
        ("flatness run --p 2", "--p: expected inf, as run has it, got 2"),
        ("evaluate run --seed 7", "--seed: expected 0, as run has it, got 7"),
        ("diagnose run --radius 0.3", "--radius: expected 0.1, as run has it, got 0.3"),
    ):
        capsys.readouterr()
        assert main([*line.split(), *named]) == 2
        assert said in capsys.readouterr().err
    assert main(["evaluate", "run", "--per-epoch", "--attack", "pgd5", "--n", "50", *named]) == 0
    (curves,) = Run.open("run").read(MonitorSummary).curves.values()
    assert curves["test"][0].value == row["robust_error/test"]
    assert main(["memory", "run", "--n", "8", "--attack", "pgd1", *named, "--out", "m"]) == 0
    assert main(["evaluate", "run", "--per-epoch", "--attack", "pgd5", "--n", "50", *named]) == 0
    (curves,) = Run.open("run").read(MonitorSummary).curves.values()
    assert curves["test"][0].value == row["robust_error/test"]
    assert main(["memory", "run", "--n", "8", "--influence", "2", *named, "--out", "m2"]) == 2
    assert "whose recipe is not known" in capsys.readouterr().err
    assert main(["diagnose", "run", *named, "--lint-n", "16", "--out", "d", "--json"]) == 0
    capsys.readouterr()
    assert main(["report", "run", "--json"]) == 0
    (card,) = json.loads(capsys.readouterr().out)["runs"]
    assert card["command"] == "monitor"
    assert any("cgro.Monitor records weights alone" in text for text in card["diagnosis"]["findings"])


@pytest.mark.parametrize("more", [[], ["--per-epoch"]])
def test_that_the_named_network_is_a_part_of_the_watched_one_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, more: list[str]
) -> None:
    """A loop's module may only call its network, as Lightning's do, or compute something around it."""
    (tmp_path / "loops_part.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    import loops_part

    x, y, x_test, y_test = loops_part.data()
    monitor = Monitor((x, y), (x_test, y_test), THREAT, attack="pgd1", n=20, out="run", keep=1)
    monitor(nn.Sequential(loops_part.Net()), 1)
    named = ["--model", "loops_part:Net", "--data", "loops_part:data"]
    assert main(["evaluate", "run", "--attack", "pgd1", "--n", "20", *named, *more]) == 0
    assert "its 0.0.weight is taken for 0.weight, and so on" in capsys.readouterr().err


def test_names_that_can_be_imported_are_used_with_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "loops_named.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    import loops_named

    x, y, x_test, y_test = loops_named.data()
    names = ("loops_named:data", "loops_named:Net")
    options = {"attack": "pgd5", "names": names, "normalize": (0.0, 1.0)}
    row = Monitor((x, y), (x_test, y_test), THREAT, out="run", **options)(loops_named.Net(), 1)
    command = ["evaluate", "run", "--attack", "pgd5", "--out", "own"]
    assert main(command) == 2
    assert "code of whoever made it" in capsys.readouterr().err
    assert main([*command, "--trust"]) == 0
    assert "its loop normalized outside the network" in capsys.readouterr().err
    own = Run.open("own").read(EvaluateSummary).metrics
    assert {key: own[key].value for key in FOUR} == {key: row[key] for key in FOUR}


def test_the_counts_are_those_of_the_definitions_and_a_closed_form() -> None:
    """On scores of one hidden layer: FGSM by hand, and the front door of `definitions`."""
    model = hidden_scores()
    x, y = points(60)
    sample = take_examples((x, y))
    threat = ThreatModel("inf", 0.05)
    attacks = {"": FGSM(threat), "@pgd": PGD(threat, n_steps=5)}
    found = measure(model, {"train": sample, "test": sample}, attacks, Ranks(False))
    assert found.errors["clean_error/test"].wrong == int((torch.sign(model(x)) != y).sum())
    leaf = x.clone().requires_grad_(True)
    (model(leaf) * y).sum().backward()
    one_step = (x - 0.05 * leaf.grad.sign()).clamp(0, 1)
    with torch.no_grad():
        broken = (model(x) * y <= 0) | (model(one_step) * y <= 0)
    assert found.errors["robust_error/test"].wrong == int(broken.sum())
    assert found.errors["robust_error/test"].wrong == robust_error(model, x, y, FGSM(threat)).wrong
    assert found.errors["clean_error/train"] == clean_error(model, x, y)
    assert found.errors["robust_error/test@pgd"].wrong >= found.errors["robust_error/test"].wrong
    with torch.no_grad():
        assert found.shares[1] == pytest.approx(float((model(x) > 0).double().mean()))


def test_a_network_behind_a_normalization_is_the_network_of_the_images(tmp_path: Path) -> None:
    inner = busy_network()
    mean, std = (0.3,), (0.2,)

    class Inside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner((x - 0.3) / 0.2)

    inside = monitor_in(tmp_path / "a")(Inside(), 1)
    outside = monitor_in(tmp_path / "b", normalize=(mean, std))(inner, 1)
    normalized = [((x - 0.3) / 0.2, y) for x, y in (TRAIN, TEST)]
    undone = monitor_in(tmp_path / "c", normalize=(mean, std), train=normalized[0], test=normalized[1])(inner, 1)
    for key in FOUR:
        assert inside[key] == outside[key] == undone[key]


def test_outputs_with_logits(tmp_path: Path) -> None:
    class WithLogits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = busy_network()

        def forward(self, pixel_values: torch.Tensor) -> object:
            return type("Output", (), {"logits": self.inner(pixel_values), "loss": None})()

    assert monitor_in(tmp_path / "run")(WithLogits(), 0)["robust_error/test"] > 0
