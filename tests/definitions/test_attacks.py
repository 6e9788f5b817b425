"""What every attack promises, over every attack and model; strength against closed forms; planted faults."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from tests import oracles
from tests.cases import THREATS, LinearScore, RaisesAt, busy_network, images, linear_logits, points
from torch import Tensor, nn

from cgro.definitions import (
    APGD,
    FGSM,
    PGD,
    Attack,
    Ensemble,
    NoAttack,
    Square,
    TargetedAPGD,
    ThreatModel,
    attack_by_name,
    margin,
    negative_margin,
    robust_error,
)
from cgro.definitions.attacks import Best

IDS = [f"p={t.p:g} box={t.box}" for t in THREATS]


def attacks(threat: ThreatModel) -> list[Attack]:
    return [
        NoAttack(threat),
        FGSM(threat),
        PGD(threat, n_steps=3),
        PGD(threat, n_steps=2, n_restarts=3, loss=negative_margin),
        PGD(threat, n_steps=2, random_start=False, precision="bfloat16"),
        APGD(threat, n_steps=8),
        APGD(threat, n_steps=6, n_restarts=2, loss="dlr", precision="bfloat16"),
        TargetedAPGD(threat, n_steps=6),
        Square(threat, n_queries=12),
        Square(threat, n_queries=6, precision="bfloat16"),
        Ensemble(threat, (APGD(threat, n_steps=4), TargetedAPGD(threat, n_steps=4), Square(threat, n_queries=4))),
    ]


def state_of(model: nn.Module) -> dict[str, object]:
    """Everything of a module and of the process that an attack must leave bit-equal."""
    return {
        "parameters": {k: v.detach().clone() for k, v in model.named_parameters()},
        "buffers": {k: v.detach().clone() for k, v in model.named_buffers()},
        "gradients": {k: None if v.grad is None else v.grad.clone() for k, v in model.named_parameters()},
        "frozen": {k: v.requires_grad for k, v in model.named_parameters()},
        "modes": {k: m.training for k, m in model.named_modules()},
        "random": torch.get_rng_state(),
    }


def same(a: object, b: object) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.equal(a, b)
    return a == b


def leaves_everything_alone(model: nn.Module, call: Callable[[], object]) -> bool:
    before = state_of(model)
    try:
        call()
    except RuntimeError as error:
        assert "half-way" in str(error)
    return same(before, state_of(model))


def prepared(model: nn.Module, train: bool) -> nn.Module:
    """One layer frozen, gradients present, one submodule in the other mode."""
    model.train(train)
    parameters = list(model.parameters())
    parameters[0].requires_grad_(False)
    parameters[-1].grad = torch.full_like(parameters[-1], 0.5)
    list(model.modules())[-1].train(not train)
    return model


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

    def search(self, model: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator, best: Best) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    "fault", ["leaks BatchNorm", "thaws a frozen layer", "accumulates gradients", "draws from the global generator",
              "leaves train mode on"],
)  # fmt: skip
def test_planted_side_effects_are_caught(fault: str) -> None:
    x, y = images()
    model = prepared(busy_network(), train=False)
    assert not leaves_everything_alone(model, lambda: Faulty(THREATS[0], fault)(model, x, y))


@pytest.mark.parametrize("fault", ["thaws a frozen layer", "accumulates gradients", "leaves train mode on"])
def test_the_guard_mends_a_faulty_search(fault: str) -> None:
    """The same faults inside `search` do no harm: the base class restores what they change."""

    @dataclass(frozen=True)
    class Inside(Attack):
        def search(self, model: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator, best: Best) -> None:
            Faulty(self.threat, fault)(model, x, y)

    x, y = images()
    model = prepared(busy_network(), train=False)
    assert leaves_everything_alone(model, lambda: Inside(THREATS[0])(model, x, y))


@pytest.mark.parametrize("kind", [PGD, APGD])
def test_a_bfloat16_search_that_only_finds_stronger_points_returns_the_input(kind: type) -> None:
    """Clean inputs are first looked at in bfloat16; none may be lost to a point that is no weaker."""
    x, y = images(20)
    model = busy_network().eval()
    attack = kind(ThreatModel("inf", 0.1), n_steps=5, loss=margin, precision="bfloat16")
    with torch.no_grad():
        before, after = margin(model(x), y), margin(model(attack(model, x, y)), y)
    assert bool((after <= before).all())
    assert float((after == before).float().mean()) > 0.2


def test_an_attack_that_leaves_the_ball_is_refused() -> None:
    x, y = images()
    with pytest.raises(ValueError, match="outside its own threat model"):
        robust_error(linear_logits(64).eval(), x * 0.5, y, Faulty(ThreatModel("inf", 0.1), "leaves the ball"))


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


@pytest.mark.parametrize("threat", THREATS, ids=IDS)
def test_attacks_reach_the_closed_form_on_linear_scores(threat: ThreatModel) -> None:
    model, (x, y) = LinearScore(), points(25)
    truth = [
        float(m) - oracles.linear_worst_case(g, row, threat.p, threat.radius, threat.box)
        for m, g, row in zip(
            (y * model(x)).tolist(), (-y[:, None] * model.w).detach().double().numpy(), x.double().numpy(), strict=True
        )
    ]
    for attack in (FGSM(threat), PGD(threat, n_steps=100), PGD(threat, n_steps=100, random_start=False)):
        reached = margin(model(attack(model, x, y)), y).detach()
        torch.testing.assert_close(reached, torch.tensor(truth), atol=2e-5, rtol=0)


def test_a_search_with_swapped_labels_misses_the_closed_form() -> None:
    """The planted fault that the comparison above must catch."""
    threat, model, (x, y) = ThreatModel("inf", 0.1, None), LinearScore(), points(25)
    swapped = PGD(threat, n_steps=20, loss=lambda outputs, labels: negative_margin(outputs, -labels))
    best = y * model(x) - 0.1 * model.w.abs().sum()
    assert float((margin(model(swapped(model, x, y)), y) - best).detach().min()) > 0.01


@pytest.mark.parametrize("p", [1, 2, math.inf])
def test_binary_linear_logits_equal_scores(p: float) -> None:
    """Two logits z and -z are the score 2z: both forms of labels must give the same robust error."""
    score, (x, y) = LinearScore(), points(200)
    attack = PGD(ThreatModel(p, 0.15), n_steps=50)
    logits = lambda v: torch.stack([-score(v), score(v)], 1)  # noqa: E731
    assert robust_error(score.eval(), x, y, attack) == robust_error(logits, x, (y + 1) // 2, attack)


def test_same_generator_same_points_and_default_is_seed_zero() -> None:
    model, (x, y) = busy_network().eval(), images()
    attack = PGD(THREATS[0], n_steps=2)
    a = attack(model, x, y, generator=torch.Generator().manual_seed(0))
    assert torch.equal(a, attack(model, x, y))
    b = attack(model, x, y, generator=torch.Generator().manual_seed(1))
    assert not torch.equal(a, b)


@pytest.mark.parametrize("change", [{"n_steps": 9}, {"step_size": 0.001}, {"random_start": False},
                                    {"loss": lambda o, y: -margin(o, y).clamp_min(-1e-3)}, {"precision": "bfloat16"}])  # fmt: skip
def test_every_option_of_pgd_has_an_effect(change: dict) -> None:
    g = torch.Generator().manual_seed(0)
    first, last = 3 * torch.randn(64, 64, generator=g), torch.randn(64, 3, generator=g)
    model = lambda v: torch.sin(v.flatten(1) @ first) @ last  # noqa: E731
    x = images(30)[0]
    y = model(x).argmax(1)
    attack = PGD(ThreatModel("inf", 0.005), n_steps=2)
    assert not torch.equal(attack(model, x, y), replace(attack, **change)(model, x, y))


def test_crafting_in_bfloat16_is_judged_in_float32() -> None:
    """A model that is wrong only under autocast must not be counted as broken."""

    def model(v: Tensor) -> Tensor:
        if torch.is_autocast_enabled("cpu"):
            return -v.sum(1) * 10
        return v.sum(1) * 0 + 1.0

    x, y = torch.rand(8, 3), torch.ones(8, dtype=torch.long)
    attack = PGD(ThreatModel("inf", 0.1), n_steps=3, precision="bfloat16")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert robust_error(model, x, y, attack).wrong == 0


def test_models_that_view_their_input_work_and_channels_last_weights_get_channels_last_inputs() -> None:
    """`x.view(B, -1)` fails on channels_last activations: only a model that asks for that layout may see it."""
    seen: list[bool] = []

    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(256, 3)

        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.is_contiguous())
            z = torch.relu(self.conv(x))
            return self.last(z.view(len(z), -1) if z.is_contiguous() else z.flatten(1))

    x, y = torch.rand(4, 3, 8, 8), torch.zeros(4, dtype=torch.long)
    for attack in (PGD(THREATS[0], n_steps=2), APGD(THREATS[0], n_steps=2)):
        seen.clear()
        attack(Views().eval(), x, y)
        assert all(seen)
        seen.clear()
        attack(Views().eval().to(memory_format=torch.channels_last), x, y)  # type: ignore[call-overload]
        assert not all(seen)


def test_auto_precision_is_bfloat16_where_the_device_has_it_and_the_network_is_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from cgro.definitions.attacks import gradient

    x, attack = images()[0], PGD(THREATS[0], n_steps=1, precision="auto")
    large, small = busy_network(), linear_logits(64)
    for native in (True, False):
        monkeypatch.setattr(gradient, "bfloat16_pays", lambda device, native=native: native)
        assert attack.in_low_precision(large, x) is native
        assert attack.in_low_precision(linear_logits(2**18), x) is native
        assert not attack.in_low_precision(small, x)
        assert not attack.in_low_precision(large, x.double())
    assert replace(attack, precision="bfloat16").in_low_precision(small, x)


def test_float64_and_radius_zero_and_empty_batches() -> None:
    model, (x, y) = LinearScore().double(), points(6)
    x = x.double()
    assert PGD(THREATS[0], n_steps=2)(model, x, y).dtype == torch.float64
    assert torch.equal(PGD(THREATS[0].at(0.0), n_steps=2)(model, x, y), x)
    assert PGD(THREATS[0], n_steps=2)(model, x[:0], y[:0]).shape == x[:0].shape


def test_restarts_never_weaken() -> None:
    model, (x, y) = busy_network(3).eval(), images(60, 5)
    threat = ThreatModel("inf", 0.03)
    wrong = [robust_error(model, x, y, PGD(threat, n_steps=3, n_restarts=r)).wrong for r in (1, 2, 4)]
    assert wrong == sorted(wrong)


def test_names_stand_for_attacks() -> None:
    threat = THREATS[0]
    assert attack_by_name("pgd50x10", threat) == PGD(threat, n_steps=50, n_restarts=10)
    assert attack_by_name("none", threat).threat.radius == 0
    assert isinstance(attack_by_name("fgsm", threat), FGSM)
    for name in ("pgd", "pgd0", "pgd5x0", "autoatack"):
        with pytest.raises(ValueError, match="none, fgsm, fgsm-rs, pgdK, .*ensemble, autoattack"):
            attack_by_name(name, threat)


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


@pytest.mark.parametrize("arguments", [{"n_steps": 0}, {"n_steps": 2, "n_restarts": 0}, {"n_steps": 2, "step_size": -1.0},
                                       {"n_steps": 2, "n_restarts": 2, "random_start": False}, {"n_steps": 2, "precision": "half"}])  # fmt: skip
def test_bad_attack_settings(arguments: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        PGD(THREATS[0], **arguments)
