"""Attacks and evaluations inside any loop leave a network as it was: between forward and backward pass, from threads."""

import copy
import functools
import random
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
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
from torch import Tensor, nn

from cgro.definitions import (
    Attack,
    Draws,
    clean_error,
    predict,
    predicted_shares,
)
from cgro.definitions.attacks import Evaluator, preserve_state
from cgro.definitions.attacks.state import code_of_others
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


@pytest.mark.parametrize("wrap", [
    lambda m: m.forward,
    lambda m: functools.partial(m.forward),
    lambda m: functools.partial(lambda network, scale, x: network(x) * scale, m, 2.0),
    lambda m: functools.partial(lambda x, network: network(x), network=m),
], ids=["method", "partial", "argument", "keyword"])  # fmt: skip
def test_methods_and_partial_functions_leave_their_network_alone(wrap) -> None:
    """The running means moved where an attack was given `forward`, and an attack of others kept what it did to modes
    and weights."""

    class Careless(Attack):
        def search(self, evaluator: Evaluator, draws: Draws) -> None:
            with torch.no_grad():
                model.first.weight.mul_(2)
            model.eval()

    for attack in (ATTACKS["pgd"], ATTACKS["square"], Careless(INF)):
        model = made("BatchNorm", train=True)
        held = Held.by(model)
        attack(wrap(model), X, Y)
        assert held.unchanged(model)


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


class Randomized(nn.Module):
    """A randomized network that draws from a generator of its own."""

    def __init__(self, generator: object, draw: Callable[[Any], float]) -> None:
        super().__init__()
        self.generator = generator
        self.draw = draw

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :3] + 0.01 * self.draw(self.generator)


@pytest.mark.parametrize(("make", "draw"), [
    (lambda: torch.Generator().manual_seed(1), lambda g: float(torch.rand((), generator=g))),
    (lambda: random.Random(1), lambda g: g.random()),
    (lambda: np.random.default_rng(1), lambda g: g.random()),
    (lambda: np.random.RandomState(1), lambda g: g.random_sample()),
    (lambda: None, lambda g: np.random.rand()),  # noqa: NPY002 - as networks of the field do
    (lambda: None, lambda g: random.random()),
], ids=["torch", "random", "numpy", "RandomState", "numpy's global", "Python's global"])  # fmt: skip
@pytest.mark.parametrize("call", [clean_error, predicted_shares, ATTACKS["pgd"]], ids=["clean", "shares", "attack"])
def test_generators_give_the_numbers_that_they_would_have_given(make, draw, call) -> None:
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    numbers: list[float] = []
    for attacked in (False, True):
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        model = Randomized(make(), draw).eval()
        if attacked:
            _ = call(model, X) if call is predicted_shares else call(model, X, Y)
        numbers.append(draw(model.generator))
    assert numbers[0] == numbers[1]


class KeepsBesideBuffers(nn.Module):
    """Writes on a frozen parameter (by autograd, and past it) and on a plain tensor, and replaces another."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(X[0].numel(), 3)
        self.center = nn.Parameter(torch.zeros(2), requires_grad=False)
        self.mean = torch.zeros(2)
        self.latest = torch.zeros(2)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        with torch.no_grad():
            self.center.add_(1)
        self.center.data.mul_(2)
        self.mean += 1
        self.latest = x.detach().flatten()[:2]
        return self.linear(x.flatten(1))


@pytest.mark.parametrize("call", [clean_error, ATTACKS["pgd"], ATTACKS["square"]], ids=["clean", "pgd", "square"])
def test_what_a_network_keeps_beside_buffers_is_put_back(call) -> None:
    model = KeepsBesideBuffers().eval()
    center, mean, latest = model.center, model.mean, model.latest
    call(model, X, Y)
    assert model.center is center
    assert model.mean is mean
    assert model.latest is latest
    assert not torch.cat([center, mean, latest]).any()
    assert (center._version, mean._version) == (0, 0)
    assert model.calls > 0  # a counter is not seen: whoever counts passes finds them


def test_the_weight_that_spectral_normalization_computed_still_has_its_graph() -> None:
    """A penalty on it after an attack would have had no gradient: the attack left a constant in its place."""
    model = nn.Sequential(nn.Flatten(), nn.utils.spectral_norm(nn.Linear(X[0].numel(), 3))).eval()
    model(X)
    ATTACKS["pgd"](model, X, Y)
    model[1].weight.sum().backward()
    assert model[1].weight_orig.grad is not None


def test_weights_are_copied_only_where_they_are_kept_like_buffers() -> None:
    """A network that is frozen as a whole is finished; of one that is trained the trained weights stay in place."""
    seen: list[int] = []
    for frozen in ((), (0,), (0, 1)):
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        for k in frozen:
            model[k].requires_grad_(False)
        before = [model[k].weight for k in (0, 1)]
        with preserve_state(model, torch.device("cpu")):
            seen += [k for k in (0, 1) if model[k].weight is not before[k]]
        assert all(model[k].weight is before[k] for k in (0, 1))
    assert seen == [0]


def test_a_frozen_script_is_a_network_in_evaluation() -> None:
    """What `torch.jit.freeze` returns has no attribute `training`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        plain = made("BatchNorm", train=False)
        frozen = torch.jit.freeze(torch.jit.trace(plain, X))
    assert clean_error(frozen, X, Y) == clean_error(plain, X, Y)
    assert torch.equal(ATTACKS["pgd"](frozen, X, Y), ATTACKS["pgd"](plain, X, Y))


def test_code_of_others_leaves_network_and_process_as_they_were() -> None:
    def flags() -> list[object]:
        cudnn = torch.backends.cudnn
        return [
            torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(), torch.is_anomaly_enabled(),
            torch.are_deterministic_algorithms_enabled(), cudnn.benchmark, cudnn.deterministic,
        ]  # fmt: skip

    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    values = copy.deepcopy(model.state_dict())
    weight, known = model[0].weight, flags()
    with code_of_others(model, torch.device("cpu")):
        model[0].weight.data.add_(1)
        model.half().eval().requires_grad_(False)
        model[0].weight = nn.Parameter(torch.zeros(2, 2))
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.set_grad_enabled(False)
        torch.autograd.set_detect_anomaly(True)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
        torch.backends.cudnn.deterministic = not torch.backends.cudnn.deterministic
        assert flags() != known
    assert flags() == known
    assert model[0].weight is weight
    assert model.training
    assert weight.requires_grad
    assert all(torch.equal(value, values[name]) for name, value in model.state_dict().items())
