"""PGD: every option, restarts, and the last iterate."""

import math
from dataclasses import replace

import pytest
import torch
from tests.cases import THREATS, busy_network, images
from torch import nn

from cgro.definitions import (
    APGD,
    PGD,
    FromClean,
    ThreatModel,
    divergence,
    margin,
    robust_error,
    survey,
)
from cgro.definitions.draws import Draws


@pytest.mark.parametrize(
    "change",
    [
        {"n_steps": 9},
        {"step_size": 0.001},
        {"random_start": False},
        {"loss": lambda o, y: -margin(o, y).clamp_min(-1e-3)},
        {"precision": "float32"},
    ],
)
def test_every_option_of_pgd_has_an_effect(change: dict) -> None:
    g = torch.Generator().manual_seed(0)
    first, last = 3 * torch.randn(64, 64, generator=g), torch.randn(64, 3, generator=g)
    model = lambda v: torch.sin(v.flatten(1) @ first) @ last  # noqa: E731
    x = images(30)[0]
    y = model(x).argmax(1)
    attack = PGD(ThreatModel("inf", 0.005), n_steps=2, precision="bfloat16")
    assert not torch.equal(attack(model, x, y), replace(attack, **change)(model, x, y))


def test_restarts_never_weaken() -> None:
    model, (x, y) = busy_network(3).eval(), images(60, 5)
    threat = ThreatModel("inf", 0.03)
    wrong = [robust_error(model, x, y, PGD(threat, n_steps=3, n_restarts=r)).wrong for r in (1, 2, 4)]
    assert wrong == sorted(wrong)


@pytest.mark.parametrize(
    "arguments",
    [
        {"n_steps": 0},
        {"n_steps": 2, "n_restarts": 0},
        {"n_steps": 2, "step_size": -1.0},
        {"n_steps": 2, "n_restarts": 2, "random_start": False},
        {"n_steps": 2, "precision": "half"},
    ],
)
def test_bad_attack_settings(arguments: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        PGD(THREATS[0], **arguments)


RADII = [ThreatModel(p, radius) for p, radius in ((math.inf, 0.1), (2, 0.5), (1, 1.0))]


@pytest.fixture
def setting() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 3))
        x = torch.rand(20, 6)
    with torch.no_grad():
        return model, x, model(x).argmax(1)


@pytest.mark.parametrize("threat", RADII)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_last_iterate_lies_in_ball_and_box_and_raises_its_loss(
    setting, threat: ThreatModel, precision: str
) -> None:
    model, x, y = setting
    loss = FromClean(model(x))
    attack = PGD(threat, n_steps=10, loss=loss, keep="last", start_std=0.001, precision=precision)
    found = attack.find(model, x, y)
    assert threat.contains(found.x, x).all()
    with torch.no_grad():
        gained = divergence(model(x), model(found.x))
        start = divergence(model(x), model(threat.project(x + 0.001, x)))
        assert (gained >= start).all()
        z = model(found.x)
    torch.testing.assert_close(found.margins, z.gather(1, y[:, None])[:, 0] - z.scatter(1, y[:, None], -9e9).amax(1))


def test_it_may_be_weaker_than_the_input(setting) -> None:
    """Minimizing the loss: the best iterate is the input itself, the last one is a point where the answer is safer."""
    model, x, y = setting
    down = lambda outputs, labels: -nn.functional.cross_entropy(outputs, labels, reduction="none")  # noqa: E731
    attack = PGD(RADII[0], n_steps=5, loss=down, random_start=False)
    assert torch.equal(attack(model, x, y), x)
    before, after = attack.find(model, x, y).margins, replace(attack, keep="last").find(model, x, y).margins
    assert (after > before).all()


def test_the_start_is_normal(setting) -> None:
    model, x, y = setting
    attack = PGD(ThreatModel("inf", 0.1, None), n_steps=1, step_size=0.0, keep="last", start_std=0.01)
    start = attack(model, x, y, generator=Draws.of(0, "x", torch.arange(20)))
    torch.testing.assert_close(
        start, x + 0.01 * Draws.of(0, "x", torch.arange(20)).normal(6).float(), atol=1e-6, rtol=0
    )


def test_a_loss_follows_the_rows_that_a_restart_works_on(setting) -> None:
    """With restarts PGD goes on with the examples that stand: each must be compared with its own clean outputs."""
    model, x, y = setting
    attack = PGD(RADII[0], n_steps=3, n_restarts=3, loss=FromClean(model(x)))
    together = attack(model, x, y, generator=Draws.of(0, "x", torch.arange(20)))
    for k in range(20):
        alone = replace(attack, loss=FromClean(model(x[k : k + 1])))
        own = alone(model, x[k : k + 1], y[k : k + 1], generator=Draws.of(0, "x", torch.tensor([k])))
        torch.testing.assert_close(together[k], own[0], atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="outputs of shape"):
        FromClean(model(x))(model(x[:3]), y[:3])


def test_what_results_store_of_an_attack_stays() -> None:
    attack = PGD(RADII[0], n_steps=3)
    assert "keep" not in repr(attack)
    assert "start_std" not in repr(attack)
    assert "keep='last', start_std=0.5" in repr(replace(attack, keep="last", start_std=0.5))
    assert "n_steps" in repr(APGD(RADII[0]))
    for wrong in (
        {"keep": "worst"},
        {"start_std": -1.0},
        {"keep": "last", "n_restarts": 2},
        {"start_std": 0, "n_restarts": 2},
        {"start_std": 0.0, "n_restarts": 9},
        {"start_std": "0/255", "n_restarts": 3},
    ):
        with pytest.raises(ValueError, match="expected"):
            PGD(RADII[0], n_steps=3, **wrong)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_last_iterate_in_an_evaluation_leaves_wrong_examples_alone(setting, precision: str) -> None:
    """In an evaluation it works on the examples that are right; the others keep their place and their points."""
    model, x, y = setting
    y = y.clone()
    y[[2, 5]] = (y[[2, 5]] + 1) % 3
    attack = PGD(RADII[0], n_steps=4, keep="last", precision=precision)
    found = attack.find(model, x, y, until_wrong=True)
    assert found.x.shape == x.shape
    assert found.margins.shape == y.shape
    moved = (found.x != x).any(1)
    assert moved.tolist() == [k not in (2, 5) for k in range(len(x))]
    assert found.step[[2, 5]].tolist() == [0, 0]


def test_its_gradients_are_counted() -> None:
    for attack in (PGD(RADII[0], n_steps=3, n_restarts=2), PGD(RADII[0], n_steps=5)):
        calls: list[bool] = []

        def model(v: torch.Tensor, calls: list[bool] = calls) -> torch.Tensor:
            calls.append(v.requires_grad)
            return 9 + v.sum(1)

        attack(model, torch.rand(3, 4), torch.ones(3, dtype=torch.long))
        assert sum(calls) == attack.n_gradients
        assert attack.uses_gradient


def test_names_have_what_is_not_usual() -> None:
    threat = ThreatModel("inf", 0.1)
    assert PGD(threat, n_steps=10).name == "pgd10"
    assert PGD(threat, n_steps=7, n_restarts=3).name == "pgd7x3"
    assert PGD(threat, n_steps=7, loss="dlr").name == "pgd7"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_step_is_that_at_which_an_example_was_first_wrong(precision: str) -> None:
    """Not that of the last iterate, which is wrong as well and was once told for all."""
    x = torch.tensor([[0.55], [0.605], [0.585], [0.9]])
    threat = ThreatModel("inf", 0.2)
    attack = PGD(threat, n_steps=16, step_size=0.01, random_start=False, precision=precision)
    record = survey(lambda v: v[:, 0] - 0.499, x, torch.ones(4), attack)
    exact = [6, 11, 9]
    slack = 0 if precision == "float32" else 1  # bfloat16 has three digits of the input
    assert all(abs(found - known) <= slack for found, known in zip(record.step[:3].tolist(), exact, strict=True))
    assert record.wrong.tolist() == [True, True, True, False]
