"""Ways: which there are for which attack, what each costs, that they do their work and leave the network alone."""

import pytest
import torch
from tests.speed.subjects import subject

from cgro.definitions import FGSM, ThreatModel
from cgro.speed import Way, ways_of
from cgro.training import Cost


def named(ways: list[Way]) -> dict[str, Way]:
    return {way.key: way for way in ways}


def test_the_ways_and_their_bare_passes() -> None:
    ways = ways_of(subject(), compiled=False, captured=False)
    found = named(ways.found)
    assert [(way.key, way.ours, way.n) for way in ways.found] == [
        ("attack, eager", True, 4),
        ("attack, common loop", False, 4),
        ("epoch, eager", True, 8),
        ("epoch, common loop", False, 8),
        ("evaluation, eager", True, 8),
    ]
    assert found["attack, eager"].cost == Cost(n_forward=8, n_gradients=8)
    assert found["epoch, eager"].cost == Cost(n_forward=16, n_gradients=16, n_updates=8)
    assert found["evaluation, eager"].cost.n_gradients == 3 * 8  # no example breaks
    assert ways.left_out == {"attack, torchattacks": "not installed"}


def test_every_way_does_its_work_and_leaves_the_network_alone() -> None:
    case = subject()
    before = {name: value.clone() for name, value in case.model.state_dict().items()}
    for way in ways_of(case, compiled=False, captured=False).found:
        way.call()
        way.call()
    assert not case.model.training
    assert all(torch.equal(value, before[name]) for name, value in case.model.state_dict().items())
    assert all(parameter.grad is None for parameter in case.model.parameters())


def test_what_is_not_there_is_told_with_its_reason() -> None:
    ways = ways_of(subject(FGSM(ThreatModel("inf", 0.01))), compiled=False, captured=True)
    assert [way.key for way in ways.found] == ["attack, eager", "epoch, eager", "evaluation, eager"]
    assert ways.left_out["attack, peers"] == "they are PGD in l_inf from one random start"
    assert "only CUDA has graphs" in ways.left_out["attack, captured"]
    assert "only CUDA has graphs" in ways.left_out["epoch, captured"]


def test_scores_are_attacked_by_the_loop_and_not_by_torchattacks() -> None:
    ways = ways_of(subject(n_outputs=1), compiled=False, captured=False)
    assert "attack, common loop" in named(ways.found)
    assert ways.left_out["attack, torchattacks"] == "it attacks logits only, these are scores"


def test_a_compiled_network_gives_the_same_rates_of_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without waiting for a compiler: what is passed to it is a copy in evaluation mode."""
    given: list[torch.nn.Module] = []

    def stand_in(model: torch.nn.Module, **options: object) -> torch.nn.Module:
        given.append(model)
        return model

    monkeypatch.setattr(torch, "compile", stand_in)
    case = subject()
    ways = named(ways_of(case, compiled=True, captured=False).found)
    assert ways["evaluation, compiled"].call() == ways["evaluation, eager"].call()
    assert torch.equal(ways["attack, compiled"].call(), ways["attack, eager"].call())  # type: ignore[arg-type]
    assert all(model is not case.model and not model.training for model in given)
