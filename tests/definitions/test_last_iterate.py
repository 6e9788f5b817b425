"""An attack asked for its last iterate, and losses that depend on the clean outputs of their rows."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from cgro.definitions import APGD, PGD, FromClean, ThreatModel, divergence
from cgro.definitions.draws import Draws

THREATS = [ThreatModel(p, radius) for p, radius in ((math.inf, 0.1), (2, 0.5), (1, 1.0))]


@pytest.fixture
def setting() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 3))
        x = torch.rand(20, 6)
    with torch.no_grad():
        return model, x, model(x).argmax(1)


@pytest.mark.parametrize("threat", THREATS)
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
    attack = PGD(THREATS[0], n_steps=5, loss=down, random_start=False)
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
    attack = PGD(THREATS[0], n_steps=3, n_restarts=3, loss=FromClean(model(x)))
    together = attack(model, x, y, generator=Draws.of(0, "x", torch.arange(20)))
    for k in range(20):
        alone = replace(attack, loss=FromClean(model(x[k : k + 1])))
        own = alone(model, x[k : k + 1], y[k : k + 1], generator=Draws.of(0, "x", torch.tensor([k])))
        torch.testing.assert_close(together[k], own[0], atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="outputs of shape"):
        FromClean(model(x))(model(x[:3]), y[:3])


def test_what_results_store_of_an_attack_stays() -> None:
    attack = PGD(THREATS[0], n_steps=3)
    assert "keep" not in repr(attack)
    assert "start_std" not in repr(attack)
    assert "keep='last', start_std=0.5" in repr(replace(attack, keep="last", start_std=0.5))
    assert "n_steps" in repr(APGD(THREATS[0]))
    for wrong in ({"keep": "worst"}, {"start_std": -1.0}, {"keep": "last", "n_restarts": 2}):
        with pytest.raises(ValueError, match="expected"):
            PGD(THREATS[0], n_steps=3, **wrong)
