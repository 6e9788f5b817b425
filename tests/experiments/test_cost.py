"""What a scale costs: said before it starts, and in operations that can be counted by hand."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from cgro._check import BadRequest
from cgro.cli import main
from cgro.commands import train
from cgro.experiments import cost
from cgro.jobs.plan import Job
from cgro.models import build


@pytest.mark.parametrize(
    ("scale", "word"), [("gpu", "got none; what fits: smoke"), ("paper", "more than --max-hours 168")]
)
def test_a_scale_that_does_not_fit_says_its_cost(
    scale: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cgro.experiments.reproduce.check_data", lambda jobs: None)
    monkeypatch.setattr(cost.train, "seconds_per_example", lambda config, batch: 2.0)
    assert main(["reproduce", "table1", "--scale", scale, "--device", "cpu", "--out", str(tmp_path / "r")]) == 2
    error = capsys.readouterr().err
    assert word in error
    assert "years" in error
    assert "cpu (about 5.0 h)" in error
    assert "floating point operations" in error


@pytest.mark.parametrize(("model", "width"), [("preactresnet", 4), ("lenet", 2)])
def test_operations_are_those_of_its_layers_and_of_the_passes_that_are_made(model: str, width: int) -> None:
    network = build(model, (3, 32, 32), 10, width=width).eval()
    config = train.Config(
        data="cifar10", model=model, width=width, n_train=100, epochs=3, radius="1e-9", precision="float32"
    )
    for attack in ("none", "fgsm", "pgd7", "pgd5x2"):
        asked = replace(config, attack=attack)
        passes = 3 + (passes_of(network, asked) if attack != "none" else 0)
        assert cost.operations(asked) == of_its_layers(network) * passes * 300, attack


def of_its_layers(network: nn.Module) -> int:
    """A pass of one CIFAR-10 image, counted by hand: two operations to a weight and output place."""
    counted: list[int] = []

    def count(layer: nn.Module, _: object, out: torch.Tensor) -> None:
        counted.append(2 * out.numel() * layer.weight[0].numel())  # type: ignore[union-attr]

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    network(torch.zeros(1, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    assert len(counted) > 3
    return sum(counted)


def passes_of(network: nn.Module, config: train.Config) -> float:
    """Passes and input gradients that the attack asks, by example, of a network which it cannot fool."""
    x, seen = torch.rand(4, 3, 32, 32), 0

    def count(_: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        nonlocal seen
        seen += len(inputs[0]) * (1 + inputs[0].requires_grad)

    y = network(x).argmax(1)
    with network.register_forward_pre_hook(count):
        config.crafting()(network, x, y)
    return seen / len(x)


def test_a_step_is_measured_once_per_network_and_attack(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two networks of 100 examples and 2 epochs, at 1 ms and 2 ms an example: 0.2 s and 0.4 s, and a quarter on top."""
    measured = []

    def seconds(config: train.Config, batch: int | None) -> float:
        measured.append(config.model)
        return 0.001 * len(measured)

    monkeypatch.setattr(cost.train, "seconds_per_example", seconds)
    settings = {"data": "mnist", "n_train": 100, "epochs": 2, "attack": "none"}
    jobs = [
        Job("a", "train", {**settings, "model": "lenet", "width": 1}),
        Job("b", "train", {**settings, "model": "mlp"}),
        Job("c", "train", {**settings, "model": "mlp", "seed": 1}),
    ]
    cost.check_machine("paper", jobs, "cpu", max_hours=1.0)
    assert measured == ["lenet", "mlp"]
    line = capsys.readouterr().err.splitlines()[-1]
    assert "about 1 s (dearest: mnist mlp, 0.002 s an example and epoch, measured)" in line


def test_a_command_that_this_version_lacks_is_refused() -> None:
    with pytest.raises(BadRequest, match="expected cgro fly in this version"):
        cost.check_commands([Job("a", "fly", {})])


def test_every_data_set_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(cost, "load", lambda name, **more: asked.append(name))
    cost.check_data(
        [Job("a", "train", {"data": "mnist"}), Job("b", "train", {"data": "digits"}), Job("c", "memory", {})]
    )
    assert asked == ["digits", "mnist"]


def test_objectives_and_extensions_cost_their_own_passes() -> None:
    """TRADES passes clean and adversarial images (6 instead of 3), weight perturbation a second loss (3 more)."""
    plain = train.Config(data="cifar10", model="lenet", width=1, attack="pgd7")
    one = cost.forward(plain)
    assert cost.operations_per_example(plain) == (2 * 7 + 1 + 1 + 3) * one
    perturbed = replace(plain, extension=["awp"])
    assert cost.operations_per_example(perturbed) == cost.operations_per_example(plain) + 3 * one
    averaged = replace(plain, extension=["ema"])
    assert cost.operations_per_example(averaged) == cost.operations_per_example(plain)
    trades = replace(plain, objective="trades:beta=6")
    assert cost.operations_per_example(trades) > cost.operations_per_example(plain)


def test_wide_networks_have_the_rate_that_was_measured_on_one() -> None:
    """The captured step on an H100: 27.5 ms for PreActResNet-18 of width 64 and 137.5 ms for WRN-34-10, 128 images."""
    preact = train.Config(data="cifar10", model="preactresnet", width=64, attack="pgd10")
    wide = replace(preact, model="wrn-34-10", width=None)
    for config, step_seconds in ((preact, 0.0275), (wide, 0.1375)):
        # A step has 23 passes: ten of the attack and the update.
        rate = 23 * cost.forward(config) * 128 / step_seconds
        assert rate == pytest.approx(cost.rate(config), rel=0.05)
