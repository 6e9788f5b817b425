"""What every attack promises, over every attack and model; planted faults."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from tests.cases import THREATS, LinearScore, RaisesAt, busy_network, images, linear_logits, points, refused
from tests.definitions.attack_cases import IDS, attacks, leaves_everything_alone, prepared
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.definitions import (
    APGD,
    FGSM,
    PGD,
    Attack,
    AutoAttack,
    Draws,
    Ensemble,
    FunctionAttack,
    NoAttack,
    Square,
    ThreatModel,
    attack_by_name,
    margin,
    robust_error,
    standard_ensemble,
)
from cgro.definitions.attacks import Evaluator, require_attack
from cgro.definitions.attacks.reads import LabelRange
from cgro.definitions.random_state import random_states
from cgro.training.craft import CraftChecks


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("threat", THREATS, ids=IDS)
def test_no_side_effects_also_when_the_model_fails(threat: ThreatModel, train: bool) -> None:
    x, y = images()
    for attack in attacks(threat):
        model = prepared(busy_network(), train)
        assert leaves_everything_alone(model, lambda m=model, a=attack: a(m, x, y)), attack
        for k in (1, 2, 3, 4):
            failing = prepared(RaisesAt(k), train)
            assert leaves_everything_alone(failing, lambda m=failing, a=attack: a(m, x, y)), (attack, k)


@dataclass(frozen=True)
class Faulty(Attack):
    """An attack with a planted fault, run without the guard of the base class where the fault needs that."""

    fault: str = ""

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        if self.fault == "leaks BatchNorm":
            model.train()
            model(x)
            model.eval()
        elif self.fault == "thaws a frozen layer":
            for parameter in model.parameters():
                parameter.requires_grad_(True)
        elif self.fault == "accumulates gradients":
            model(x).sum().backward()
        elif self.fault == "draws from the global generator":
            torch.rand(1)
        elif self.fault == "leaves train mode on":
            model.train()
        return x + 2 * self.threat.radius if self.fault == "leaves the ball" else x

    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    "fault",
    [
        "leaks BatchNorm",
        "thaws a frozen layer",
        "accumulates gradients",
        "draws from the global generator",
        "leaves train mode on",
    ],
)
def test_planted_side_effects_are_caught(fault: str) -> None:
    x, y = images()
    model = prepared(busy_network(), train=False)
    assert not leaves_everything_alone(model, lambda: Faulty(THREATS[0], fault)(model, x, y))


@pytest.mark.parametrize("fault", ["thaws a frozen layer", "accumulates gradients", "leaves train mode on"])
def test_the_guard_mends_a_faulty_search(fault: str) -> None:
    """The same faults inside `search` do no harm: the base class restores what they change."""

    @dataclass(frozen=True)
    class Inside(Attack):
        def search(self, evaluator: Evaluator, draws: Draws) -> None:
            Faulty(self.threat, fault)(evaluator.model, evaluator.x, evaluator.y)

    x, y = images()
    model = prepared(busy_network(), train=False)
    assert leaves_everything_alone(model, lambda: Inside(THREATS[0])(model, x, y))


def test_an_attack_that_leaves_the_ball_is_refused() -> None:
    x, y = images()
    with pytest.raises(ValueError, match="outside its own threat model"):
        robust_error(linear_logits(64).eval(), x * 0.5, y, Faulty(ThreatModel("inf", 0.1), "leaves the ball"))


@dataclass(frozen=True)
class Strays(Attack):
    """Of others: its point leaves the ball, the box, or neither."""

    leaves: str = ""

    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        _, gradient = evaluator.gradient(evaluator.x)
        length = 3.0 if self.leaves == "ball" else 1.0
        x = evaluator.x + length * self.threat.radius * gradient.sign()
        if self.leaves != "box":
            x = x.clamp(0, 1)
        if self.leaves == "clean moved":
            evaluator.x.add_(self.threat.radius)
        evaluator.update(x, 0)


@pytest.mark.parametrize("leaves", ["ball", "box"])
@pytest.mark.parametrize("call", ["attack", "find", "search", "training"])
def test_a_search_of_others_that_leaves_ball_or_box_is_refused(leaves: str, call: str) -> None:
    """Planted: its points were believed everywhere but in an evaluation, so a training took points at any distance."""
    model, (x, y) = linear_logits(64).eval(), images()
    x = x.round()  # on the faces of the box
    attack = Strays(ThreatModel("inf", 0.1), leaves)
    draws = Draws.of(0, "attack", torch.arange(len(x)))
    checks = CraftChecks(LabelRange.of(y))
    calls = {
        "attack": lambda: attack(model, x, y),
        "find": lambda: attack.find(model, x, y, until_wrong=True),
        "search": lambda: robust_error(model, x, y, attack),
        "training": lambda: (checks.craft(attack, model, x, y, draws), checks.require()),
    }
    with pytest.raises(BadRequest, match="inside its own ball and box|outside its own threat model"):
        calls[call]()
    checks.require()  # what was read is over


def test_a_search_of_others_that_stays_is_left_alone() -> None:
    model, (x, y) = linear_logits(64).eval(), images()
    moved = Strays(ThreatModel("inf", 0.1))(model, x, y)
    assert (moved - x).abs().max() == pytest.approx(0.1, abs=1e-6)
    # Ours are not looked at again; one that changes what it takes for the clean input is judged by the true one.
    with pytest.raises(BadRequest, match="inside its own ball and box"):
        Strays(ThreatModel("inf", 0.01), "ball")(model, x, y)
    assert torch.equal(Strays(ThreatModel("inf", 0.1), "clean moved")(model, x, y), moved)


INF = ThreatModel("inf", 0.1)


@dataclass(frozen=True)
class Returns(Attack):
    """As other libraries have it."""

    def search(self, evaluator: Evaluator, draws: Draws) -> Tensor:
        return self.threat.project(evaluator.x + 0.1, evaluator.x)


@dataclass(frozen=True)
class ReturnsFlag(Attack):
    def search(self, evaluator: Evaluator, draws: Draws) -> bool:
        return True


@dataclass(frozen=True)
class OfModel(Attack):
    def search(self, model, x, y) -> None:
        raise AssertionError


@dataclass(frozen=True)
class WithoutDraws(Attack):
    def search(self, evaluator) -> None:
        raise AssertionError


@dataclass(frozen=True)
class Mistaken(Attack):
    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        evaluator.update(evaluator.x + "1")


@dataclass(frozen=True)
class Differentiates(Attack):
    """By autograd itself, which a caller may have switched off."""

    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        x = evaluator.x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(evaluator.model(x), evaluator.y), x)
        evaluator.update(self.threat.project(evaluator.x + self.threat.radius * gradient.sign(), evaluator.x))


@pytest.mark.parametrize("within", [lambda attack: attack, lambda attack: Ensemble(INF, (attack,))])
@pytest.mark.parametrize(("attack", "words"), [
    (Returns(INF), ("attack returns", "Tensor returned", "evaluator.update(x_adv)")),
    (ReturnsFlag(INF), ("attack returnsflag", "bool returned")),
    (OfModel(INF), ("got search(self, model, x, y)", "FunctionAttack(threat, function)")),
    (WithoutDraws(INF), ("expected search(self, evaluator, draws), got search(self, evaluator)",)),
])  # fmt: skip
def test_what_is_no_search_is_refused(attack: Attack, words: tuple, within: Callable) -> None:
    """Planted: points that a search returned were thrown away, and every example was robust."""
    model, (x, y) = linear_logits(64).eval(), images()
    refused(lambda: within(attack)(model, x, y), *words)
    refused(lambda: robust_error(model, x, model(x).argmax(1), within(attack)), *words)


def test_a_type_error_of_the_search_itself_comes_through() -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        Mistaken(INF)(linear_logits(64).eval(), *images())


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("attack", [Differentiates(INF), Ensemble(INF, (Differentiates(INF),))])
def test_a_search_of_others_has_gradients_also_where_its_caller_has_none(attack: Attack, around: Callable) -> None:
    model, (x, _) = linear_logits(64).eval(), images()
    y = model(x).argmax(1)
    expected = attack(model, x, y)
    assert not torch.equal(expected, x)
    with around():
        assert torch.equal(attack(model, x, y), expected)


class Assigns(Attack):
    def __init__(self, threat: ThreatModel, k: int = 3) -> None:
        self.threat = threat  # type: ignore[misc]
        self.k = k

    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        raise AssertionError


@dataclass(frozen=True, init=False)
class AssignsLater(Differentiates):
    k: int

    def __init__(self, threat: ThreatModel) -> None:
        super().__init__(threat)
        self.k = 3  # type: ignore[misc]


class Inherits(Differentiates):
    def __init__(self, radius: float) -> None:
        super().__init__(ThreatModel("inf", radius))


def test_how_an_attack_is_made_is_said_where_an_own_init_assigns() -> None:
    refused(lambda: Assigns(INF), "attack Assigns: expected a frozen dataclass", "'threat'", "leave __init__ out")
    refused(lambda: AssignsLater(INF), "attack AssignsLater", "'k'")
    assert Inherits(0.1).threat == INF


@dataclass(frozen=True)
class ChecksItself(Differentiates):
    k: int = 3

    def __post_init__(self) -> None:
        assert self.k > 0


@pytest.mark.parametrize("given", [8 / 255, "inf", None, FGSM(INF)])
@pytest.mark.parametrize("make", [
    lambda t: PGD(t, n_steps=10), FGSM, APGD, Square, AutoAttack, Differentiates, NoAttack, standard_ensemble,
    lambda t: Ensemble(t, (FGSM(INF),)), lambda t: FunctionAttack(t, lambda model, x, y: x),
    lambda t: attack_by_name("fgsm-rs", t), lambda t: attack_by_name("none", t),
])  # fmt: skip
def test_what_is_no_threat_model_is_refused_where_an_attack_is_made(make: Callable, given: object) -> None:
    refused(lambda: make(given), 'threat: expected a ThreatModel, such as ThreatModel("inf", "8/255")', repr(given))


def test_what_is_no_threat_model_is_refused_at_the_latest_where_an_attack_is_used() -> None:
    model, (x, y) = linear_logits(64).eval(), images()
    for attack in (ChecksItself(0.1), ChecksItself("8/255")):
        for call in (lambda a=attack: a(model, x, y), lambda a=attack: robust_error(model, x, y, a)):
            refused(call, "threat: expected a ThreatModel")


@pytest.mark.parametrize("threat", THREATS, ids=IDS)
def test_output_is_allowed_and_no_weaker_than_the_input(threat: ThreatModel) -> None:
    for model, (x, y) in (
        (busy_network().eval(), images(20)),
        (LinearScore(), points(20)),
        (RaisesAt(0).eval(), images(9, 4)),
    ):
        for attack in attacks(threat):
            with torch.no_grad():
                x_adv = attack(model, x, y)
                assert bool(threat.contains(x_adv, x).all()), attack
                assert bool((margin(model(x_adv), y) <= margin(model(x), y)).all()), attack


def test_same_generator_same_points_and_default_is_seed_zero() -> None:
    model, (x, y) = busy_network().eval(), images()
    attack = PGD(THREATS[0], n_steps=2)
    a = attack(model, x, y, generator=torch.Generator().manual_seed(0))
    assert torch.equal(a, attack(model, x, y))
    b = attack(model, x, y, generator=torch.Generator().manual_seed(1))
    assert not torch.equal(a, b)


def test_float64_and_radius_zero_and_empty_batches() -> None:
    model, (x, y) = LinearScore().double(), points(6)
    x = x.double()
    assert PGD(THREATS[0], n_steps=2)(model, x, y).dtype == torch.float64
    assert torch.equal(PGD(THREATS[0].at(0.0), n_steps=2)(model, x, y), x)
    assert PGD(THREATS[0], n_steps=2)(model, x[:0], y[:0]).shape == x[:0].shape


def test_bad_models_are_refused_in_one_line() -> None:
    x, y = images()
    attack = PGD(THREATS[0], n_steps=2)
    for model, labels, words in (
        (lambda v: v.flatten(1)[:, :1], y, "C >= 2"),
        (lambda v: v.flatten(1)[:, :3].detach(), y, "differentiable"),
        (lambda v: v.flatten(1)[:, :3] * torch.nan, y, "NaN"),
        (lambda v: v.flatten(1)[:, :3], y + 2, "0 .. 2"),
        (lambda v: v.flatten(1).sum(1), y, "-1 or \\+1"),
        (lambda v: v.flatten(1)[:, :3] + (v.flatten(1)[:, :3] * 0).sqrt(), y, "gradient"),
    ):
        with pytest.raises(ValueError, match=words) as caught:
            attack(model, x, labels)
        assert "\n" not in str(caught.value)


def test_the_count_of_gradients_is_what_a_network_sees() -> None:
    """Every attack, on a score that never breaks, so that no search ends early."""
    threat = ThreatModel("inf", 0.01)
    together = Ensemble(threat, (FGSM(threat), PGD(threat, n_steps=2), Square(threat, n_queries=4)))
    for attack in (*attacks(threat), together):
        if "apgd-t" in [part.name for part in attack.parts]:
            continue  # they count nine targets, and two classes have one
        seen: list[bool] = []

        def model(v: Tensor, seen: list[bool] = seen) -> Tensor:
            seen.append(v.requires_grad)
            return 9 + v.sum(1)

        attack(model, torch.rand(3, 4), torch.ones(3, dtype=torch.long))
        assert sum(seen) == attack.n_gradients, attack
        assert attack.uses_gradient == (attack.n_gradients > 0)


@dataclass(frozen=True)
class Idle(Attack):
    """What an attack says of itself where it says nothing."""

    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        return


def test_what_an_attack_is_taken_for_until_it_says_otherwise() -> None:
    idle = Idle(ThreatModel("inf", 0.1))
    assert (idle.n_gradients, idle.uses_gradient, idle.search_precision) == (0, False, "float32")
    assert (idle.keeps_clean, idle.reads_on_host, idle.exact) == (True, False, False)
    assert NoAttack().threat == ThreatModel("inf", 0.0, None)


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("pgd10", "attack_by_name"),
        (lambda model, x, y: x, "FunctionAttack"),
        (PGD, "make one from a ThreatModel"),
        (None, "make one from a ThreatModel"),
    ],
)
def test_what_is_no_attack_is_refused_with_how_to_make_one(given: object, remedy: str) -> None:
    with pytest.raises(BadRequest, match=remedy) as caught:
        require_attack(given)
    others = {"attack_by_name", "FunctionAttack", "make one"} - {" ".join(remedy.split()[:2])}
    assert not [words for words in others if words in str(caught.value)]
    require_attack(NoAttack())


@pytest.mark.parametrize("attack", [PGD, APGD], ids=["pgd", "apgd"])
@pytest.mark.parametrize("shape", [(2, 0), (2, 3, 0, 4)], ids=["vectors", "images"])
def test_examples_without_values_are_their_own_points(attack, shape: tuple[int, ...]) -> None:
    found = attack(ThreatModel("inf", 0.1), n_steps=3).find(
        lambda v: v.flatten(1).sum(1), torch.rand(shape), torch.ones(2)
    )
    assert found.x.shape == shape
    assert found.margins.tolist() == [0.0, 0.0]


def test_an_evaluation_of_a_function_leaves_out_the_examples_that_are_wrong() -> None:
    """Neither a function nor a module in eval mode mixes examples; one in train mode does, and gets them all."""
    weights = LinearScore()
    x, y = points(40)

    def rows(training: bool | None) -> int:
        seen: list[int] = []

        def counting(v: Tensor) -> Tensor:
            seen.append(len(v))
            return weights(v)

        if training is not None:
            counting.training = training  # type: ignore[attr-defined]
        PGD(ThreatModel("inf", 0.3), n_steps=10).find(counting, x, y, until_wrong=True)
        return sum(seen)

    assert rows(None) == rows(False) < rows(True)


DRAWS = {
    "torch": torch.rand,
    "numpy": lambda n: torch.from_numpy(np.random.rand(n)),  # noqa: NPY002
    "python": lambda n: torch.tensor([random.random() for _ in range(n)]),
    "constant": torch.zeros,
}


@dataclass(frozen=True)
class DrawsGlobally(Attack):
    """Draws from the generators of the process, as published code does, in place of its streams."""

    draw: Callable[[nn.Module, Tensor, Tensor], Tensor]

    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        evaluator.update(self.draw(evaluator.model, evaluator.x, evaluator.y))


@pytest.mark.parametrize("source", DRAWS)
@pytest.mark.parametrize("kind", ["class", "in an ensemble", "function"])
def test_global_random_numbers_follow_the_seed_and_nothing_else(source: str, kind: str) -> None:
    """They were those of the process, put back after each call: the same at every batch and under every seed."""
    x, y = points(6)
    threat = ThreatModel("inf", 0.2)
    drawn: list[Tensor] = []

    def draw(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        drawn.append(DRAWS[source](4))
        return x

    attack = DrawsGlobally(threat, draw)
    if kind == "in an ensemble":
        attack = Ensemble(threat, (NoAttack(threat), attack))
    elif kind == "function":
        attack = FunctionAttack(threat, draw)
    for seed in (0, 0, 1):
        torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002 - elsewhere in the process
        before = random_states(x.device)
        attack(lambda v: v[:, 0] * 0 + y, x, y, generator=Draws.of(seed, "attack", torch.arange(6)))
        assert random_states(x.device) == before
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2]) == (source == "constant")  # which no seed moves: the check can fail
