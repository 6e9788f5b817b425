"""A plain function as an attack."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tests.cases import LinearScore, busy_network, images, points, refused
from torch import Tensor, nn

from cgro.definitions import (
    FGSM,
    Attack,
    Draws,
    FunctionAttack,
    Model,
    ThreatModel,
    attack_by_name,
    boundary_distance,
    clean_error,
    robust_error,
    survey,
)
from cgro.definitions.attacks import Evaluator
from cgro.definitions.attacks.function import takes_model

THREAT = ThreatModel("inf", 0.05)


def layered() -> nn.Sequential:
    """A network with something in it that each kind of harm changes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.LayerNorm(64), nn.Linear(64, 3)).eval()


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


def makeup_of(model: nn.Module) -> list[object]:
    """Classes, attributes and what lies in them."""
    found: list[object] = []
    for module in model.modules():
        held = {name: {**value} if isinstance(value, dict) else value for name, value in vars(module).items()}
        found.append((type(module), held))
    return found


def overridden(model: nn.Sequential) -> None:
    model.forward = lambda x: -nn.Sequential.forward(model, x)  # type: ignore[method-assign]


def patched_layer(model: nn.Sequential) -> None:
    model[0].forward = lambda x: -x


@pytest.mark.parametrize("harm", [
    lambda model: model.register_forward_hook(lambda module, inputs, outputs: -outputs),
    lambda model: model[0].register_forward_pre_hook(lambda module, inputs: -inputs[0]),
    lambda model: model[0].register_full_backward_hook(lambda module, inputs, outputs: inputs),
    lambda model: nn.modules.module.register_module_forward_hook(lambda module, inputs, outputs: -outputs),
    overridden,
    patched_layer,
    lambda model: setattr(model[1], "eps", 50.0),
    lambda model: setattr(model, "noted", 3),
    lambda model: model.append(nn.Linear(3, 3)),
    lambda model: setattr(model, "0", nn.Flatten(start_dim=-1)),
    lambda model: model._modules.pop("1"),
    lambda model: nn.utils.parametrize.register_parametrization(model[-1], "weight", nn.Softplus()),
], ids=["hook", "pre-hook", "backward hook", "hook for all", "forward", "forward of a layer", "setting", "new attribute",
        "layer appended", "layer replaced", "layer removed", "parametrization"])  # fmt: skip
@pytest.mark.parametrize("low", [False, True], ids=["float32", "bfloat16"])
def test_what_it_leaves_behind_is_taken_away(harm, low: bool) -> None:
    """Planted: hooks, layers and attributes stayed, so that later errors, also of other attacks, were others."""
    model, (x, y) = layered(), images(12)
    if low:
        model = model.bfloat16()
    clean, makeup = clean_error(model, x, y), makeup_of(model)
    values = {name: value.clone() for name, value in model.state_dict().items()}

    def harmful(network: Model, x: Tensor, y: Tensor) -> Tensor:
        harm(model)
        return x

    assert robust_error(model, x, y, FunctionAttack(THREAT, harmful)).wrong == clean.wrong
    assert clean_error(model, x, y) == clean
    assert makeup_of(model) == makeup
    assert not nn.modules.module._global_forward_hooks
    assert list(model.state_dict()) == list(values)
    assert all(torch.equal(value, values[name]) for name, value in model.state_dict().items())


def test_a_hook_that_was_there_stays_and_counts() -> None:
    model, (x, y) = layered(), images(12)
    seen: list[int] = []
    model.register_forward_hook(lambda module, inputs, outputs: seen.append(len(outputs)))

    def forgetful(network: Model, x: Tensor, y: Tensor) -> Tensor:
        model._forward_hooks.clear()
        return (x + 0.04).clamp(0, 1)

    FunctionAttack(THREAT, forgetful).find(model, x, y)
    n_seen = len(seen)
    assert n_seen >= 2
    model(x)
    assert len(seen) == n_seen + 1


@dataclass(frozen=True)
class InTrainMode(Attack):
    """An attack of one's own that sets the mode, and may put it back."""

    puts_back: bool = False

    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        evaluator.model.train()
        if self.puts_back:
            evaluator.model.eval()
        evaluator.update((evaluator.x + 0.04).clamp(0, 1))


@dataclass(frozen=True)
class BehindAHook(Attack):
    """An attack of one's own that looks at a layer, or turns the outputs around, and may take its hook away."""

    puts_back: bool = False
    moves: bool = True

    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        assert isinstance(evaluator.model, nn.Module)
        handle = evaluator.model.register_forward_hook(lambda module, inputs, outputs: -outputs)
        if self.puts_back:
            handle.remove()
        if self.moves:
            evaluator.update((evaluator.x + 0.04).clamp(0, 1))


def test_an_attack_that_evaluates_behind_its_hook_is_refused() -> None:
    model, (x, y) = layered(), images(12)
    refused(
        lambda: BehindAHook(THREAT)(model, x, y), "attack behindahook", "hooks and forward left as it is", "put it back"
    )
    assert not model._forward_hooks
    assert torch.equal(BehindAHook(THREAT, moves=False)(model, x, y), x)
    assert not torch.equal(BehindAHook(THREAT, puts_back=True)(model, x, y), x)
    assert not model._forward_hooks


def test_an_attack_that_evaluates_in_another_mode_is_refused() -> None:
    model, (x, y) = busy_network().eval(), images(12)
    refused(lambda: InTrainMode(THREAT)(model, x, y), "attack intrainmode: expected the network's mode left as it is")
    assert not model.training
    assert not torch.equal(InTrainMode(THREAT, puts_back=True)(model, x, y), x)
