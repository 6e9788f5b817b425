"""Attacks and evaluations inside any loop leave a network as it was: between forward and backward pass, from threads."""

import threading

import pytest
import torch
import torch.nn.functional as F
from tests.definitions.loop_cases import (
    ATTACKS,
    CALLS,
    INF,
    NETWORKS,
    Body,
    Held,
    InLoop,
    Restless,
    X,
    Y,
    all_equal,
    gradients_around,
    made,
)
from torch import nn

from cgro.definitions import (
    Attack,
    Draws,
    predict,
)
from cgro.definitions.attacks import Evaluator, preserve_state
from cgro.diagnosis.lint import lint


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("network", NETWORKS)
def test_an_attack_between_forward_and_backward_changes_nothing(network: str, train: bool) -> None:
    plain = gradients_around(made(network, train=train))
    for name, attack in ATTACKS.items():
        model = made(network, train=train)
        assert all_equal(gradients_around(model, lambda m=model, a=attack: a(m, X, Y)), plain), name


def test_of_a_compiled_network_too() -> None:
    def compiled() -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(7)
            return torch.compile(Body(nn.BatchNorm2d(4)), backend="eager")  # type: ignore[return-value]

    plain, model = gradients_around(compiled()), compiled()
    found = gradients_around(model, lambda: [ATTACKS[name](model, X, Y) for name in ("pgd", "square")])
    assert all_equal(found, plain)


@pytest.mark.parametrize("name", CALLS)
def test_an_evaluation_between_forward_and_backward_changes_nothing(name: str) -> None:
    for network in ("BatchNorm", "busy", "scripted", "replacing", "tied"):
        plain = gradients_around(made(network, train=False))
        model = made(network, train=False)
        assert all_equal(gradients_around(model, lambda m=model: CALLS[name](m, X, Y)), plain), network


def test_the_lint_between_forward_and_backward_changes_nothing() -> None:
    def check(model: nn.Module) -> None:
        with torch.no_grad(), preserve_state(model, X.device):
            labels = predict(model.eval()(X))
        lint(model, X, labels, INF, n=3, n_queries=5)

    for network in ("busy", "scripted"):
        plain = gradients_around(made(network, train=True))
        model = made(network, train=True)
        assert all_equal(gradients_around(model, lambda m=model: check(m)), plain), network


@pytest.mark.parametrize("k", [0, 1, 2, 3])
def test_also_when_the_network_raises(k: int) -> None:
    for name, attack in ATTACKS.items():
        for train in (True, False):
            with torch.random.fork_rng():
                torch.manual_seed(0)
                model = InLoop(k).train(train)
            out, model.armed = model(X), True
            held, raised = Held.by(model), False
            try:
                attack(model, X, Y)
            except RuntimeError as error:
                raised = "planted" in str(error)
            assert raised or name == "none" or k > 1, name
            assert held.unchanged(model), name
            F.cross_entropy(out, Y).backward()


def test_what_preserve_state_would_have_to_catch() -> None:
    """Planted: the check above sees a write of an equal value, another object of equal value, and a lost gradient."""
    for fault in (
        lambda m: m.layer.running_mean.copy_(m.layer.running_mean.clone()),
        lambda m: setattr(m.layer, "running_mean", m.layer.running_mean.clone()),
        lambda m: m.zero_grad(),
        lambda m: m.layer.register_buffer("more", torch.ones(1)),
    ):
        model = made("BatchNorm", train=True)
        with pytest.raises((AssertionError, ValueError)):
            gradients_around(model, lambda m=model, f=fault: f(m))
        model = made("BatchNorm", train=True)
        if fault is not None:
            with preserve_state(model, X.device), torch.no_grad():
                model(X)


def test_gradients_that_a_network_accumulates_are_thrown_away() -> None:
    """As the reference package does: its backward passes reach the weights."""

    class Greedy(Attack):
        def search(self, evaluator: Evaluator, draws: Draws) -> None:
            with torch.enable_grad():
                evaluator.model(evaluator.x.clone().requires_grad_()).sum().backward()
            assert any(p.grad is not None for p in model.parameters())

    for network in ("BatchNorm", "tied"):
        model = made(network, train=False)
        held, values = Held.by(model), [None if p.grad is None else p.grad.clone() for p in model.parameters()]
        Greedy(INF)(model, X, Y)
        assert held.unchanged(model)
        assert all_equal([p.grad for p in model.parameters()], values)


@pytest.mark.parametrize("name", ["none", "pgd", "apgd", "square"])
def test_buffers_that_a_network_deletes_and_registers(name: str) -> None:
    model = made("plain", train=False)
    model.layer = Restless()
    own, layer = dict(model.layer._buffers), model.layer
    ATTACKS[name](model, X, Y)
    assert list(layer._buffers) == list(own)
    assert all(layer._buffers[key] is value for key, value in own.items())
    assert sorted(layer.state_dict()) == ["shift"]
    assert layer.scale is own["scale"]


def test_nested_searches_each_put_back_what_they_found() -> None:
    model = made("counting", train=False)
    with preserve_state(model, X.device):
        model(X)
        inner = model.layer.calls
        with preserve_state(model, X.device):
            model(X)
            assert float(model.layer.calls) == 2
        assert model.layer.calls is inner
        assert float(inner) == 1
    assert float(model.layer.calls) == 0


@pytest.mark.parametrize("network", ["BatchNorm", "counting", "replacing"])
@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
def test_threads_that_attack_one_module_take_turns(network: str, train: bool) -> None:
    model = made(network, train=train)
    names = ("pgd", "apgd", "square", "pgd bfloat16")
    expected = {name: ATTACKS[name](made(network, train=train), X, Y) for name in names}
    held, wrong = Held.by(model), []

    def work(name: str) -> None:
        try:
            wrong.extend(name for _ in range(5) if not torch.equal(ATTACKS[name](model, X, Y), expected[name]))
        except Exception as error:  # any at all is a fault, and must reach the main thread
            wrong.append(f"{name}: {error}")

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert held.unchanged(model)


def test_lazy_networks_take_shape() -> None:
    for train in (True, False):
        model = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(3)).train(train)
        ATTACKS["pgd"](model, X, Y)
        assert model[3].weight.shape == (3, 144)
        assert int(model[1].num_batches_tracked) == 0
