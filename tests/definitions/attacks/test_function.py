"""A plain function as an attack."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tests.cases import LinearScore, busy_network, images, points, refused
from torch import Tensor

from cgro.definitions import (
    FGSM,
    Attack,
    Draws,
    FunctionAttack,
    Model,
    ThreatModel,
    attack_by_name,
    boundary_distance,
    robust_error,
    survey,
)
from cgro.definitions.attacks import Evaluator
from cgro.definitions.attacks.function import takes_model

THREAT = ThreatModel("inf", 0.05)


def published(model: Model, x: Tensor, y: Tensor) -> Tensor:
    """As in most published code: the sign of the gradient, without our box."""
    x = x.requires_grad_()
    (model(x) * y).sum().backward()
    assert x.grad is not None
    return (x - 0.05 * x.grad.sign()).clamp(0, 1)


def test_it_finds_what_the_same_attack_of_ours_finds() -> None:
    """On a linear score the step is the worst case."""
    model, (x, y) = LinearScore().eval(), points()
    attack = FunctionAttack(THREAT, published)
    assert robust_error(model, x, y, attack) == robust_error(model, x, y, FGSM(THREAT))
    assert torch.equal(survey(model, x, y, attack).wrong, survey(model, x, y, FGSM(THREAT)).wrong)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert attack.name == "published"
    assert repr(attack) == repr(FunctionAttack(THREAT, published))
    assert " at 0x" not in repr(attack)


def test_its_output_is_not_trusted() -> None:
    model, (x, y) = LinearScore().eval(), points()
    for function, words in (
        (lambda m, x, y: x + 0.1, "outside"),
        (lambda m, x, y: (x + 0.05) + 1e-3, "project"),
        (lambda m, x, y: x[:1], "shape"),
        (lambda m, x, y: None, "None"),
        (lambda m, x, y: torch.full_like(x, torch.nan), "outside"),
    ):
        refused(lambda function=function: robust_error(model, x, y, FunctionAttack(THREAT, function)), words)
    for function in (FGSM, "pgd10", None):
        refused(lambda function=function: FunctionAttack(THREAT, function), "model, x, y")  # type: ignore[arg-type]


def test_random_functions_repeat_themselves_and_leave_the_generators_alone() -> None:
    model, (x, y) = LinearScore().eval(), points()
    attack = FunctionAttack(THREAT, lambda m, x, y: (x + 0.1 * torch.rand_like(x) - 0.05).clamp(0, 1))
    before = torch.get_rng_state()
    first = attack(model, x, y)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(attack(model, x, y), first)
    assert not torch.equal(first, x)


def test_a_function_by_name_and_one_that_a_factory_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
def down(model, x, y):
    return (x - 0.05).clamp_min(0)


def maker(threat, size: float = 1.0):
    return lambda model, x, y: threat.project(x - size, x)
"""
    (tmp_path / "their_attacks.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    model, (x, y) = LinearScore().eval(), points()
    found = [attack_by_name(f"their_attacks:{name}", THREAT) for name in ("down", "maker", "maker:size=2")]
    sys.modules.pop("their_attacks")
    assert [attack.name for attack in found] == ["down", "maker", "maker"]
    errors = [robust_error(model, x, y, attack).wrong for attack in found]
    assert errors == [errors[0]] * 3
    refused(lambda: boundary_distance(model, x, y, published), "FunctionAttack")  # type: ignore[arg-type]


def test_which_functions_are_attacks_themselves() -> None:
    assert takes_model(published)
    assert not takes_model(lambda threat, precision="float32", n=3: None)
    assert not takes_model(FGSM)
    assert not takes_model(len)


@pytest.mark.parametrize("harm", [
    lambda model: model.train(), lambda model: model[0].weight.data.mul_(-1), lambda model: model.half(),
    lambda model: model.requires_grad_(False), lambda model: torch.set_default_dtype(torch.float64),
], ids=["train mode", "weights", "half", "frozen", "default type"])  # fmt: skip
def test_its_points_are_evaluated_by_the_network_as_it_was(harm) -> None:
    """What it leaves in train mode, or with other weights, decided which of its points were kept."""
    model, x, y = busy_network().eval(), *images(12)
    values = {name: value.clone() for name, value in model.state_dict().items()}

    def clean(model: Model, x: Tensor, y: Tensor) -> Tensor:
        return (x + 0.04).clamp(0, 1)

    def harmful(model: Model, x: Tensor, y: Tensor) -> Tensor:
        harm(model)
        return clean(model, x, y)

    expected = FunctionAttack(THREAT, clean).find(model, x, y)
    found = FunctionAttack(THREAT, harmful).find(model, x, y)
    assert torch.equal(found.margins, expected.margins)
    assert torch.equal(found.x, expected.x)
    assert torch.get_default_dtype() == torch.float32
    assert not model.training
    assert all(torch.equal(value, values[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


@dataclass(frozen=True)
class InTrainMode(Attack):
    """An attack of one's own that sets the mode, and may put it back."""

    puts_back: bool = False

    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        evaluator.model.train()
        if self.puts_back:
            evaluator.model.eval()
        evaluator.update((evaluator.x + 0.04).clamp(0, 1))


def test_an_attack_that_evaluates_in_another_mode_is_refused() -> None:
    model, (x, y) = busy_network().eval(), images(12)
    refused(lambda: InTrainMode(THREAT)(model, x, y), "attack intrainmode: expected the network's mode left as it is")
    assert not model.training
    assert not torch.equal(InTrainMode(THREAT, puts_back=True)(model, x, y), x)
