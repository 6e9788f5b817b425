"""Attacks and evaluations inside any loop: between forward and backward pass, on odd tensors, from threads, misused."""

import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from tests.cases import busy_network, images
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.definitions import (
    APGD,
    FGSM,
    PGD,
    Attack,
    Draws,
    Ensemble,
    NoAttack,
    Square,
    TargetedAPGD,
    ThreatModel,
    boundary_distance,
    clean_error,
    margin,
    predict,
    predicted_shares,
    robust_error,
    survey,
    wrong_under,
)
from cgro.definitions.attacks import Best, first_pass, preserve_state
from cgro.diagnosis.lint import lint
from cgro.flatness import Search, flatness
from cgro.flatness.memory import FlipSearch, attacked

X, Y = images(6, seed=3)
INF, TWO, ONE = ThreatModel("inf", 0.1), ThreatModel(2, 0.5), ThreatModel(1, 1.5)
ATTACKS: dict[str, Attack] = {
    "none": NoAttack(INF),
    "fgsm": FGSM(INF),
    "pgd": PGD(INF, n_steps=2),
    "pgd from x": PGD(INF, n_steps=2, random_start=False),
    "pgd bfloat16": PGD(TWO, n_steps=2, n_restarts=2, precision="bfloat16"),
    "pgd p=1": PGD(ONE, n_steps=2),
    "apgd": APGD(INF, n_steps=4),
    "apgd p=1": APGD(ONE, n_steps=5),
    "apgd-t": TargetedAPGD(TWO, n_steps=3),
    "square": Square(INF, n_queries=5),
    "square p=2": Square(TWO, n_queries=5),
    "square bfloat16": Square(INF, n_queries=5, precision="bfloat16"),
    "ensemble": Ensemble(INF, (APGD(INF, n_steps=2), Square(INF, n_queries=3))),
}


class Body(nn.Module):
    """A small convolutional network with a place for one more layer."""

    def __init__(self, layer: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.layer, self.last = nn.Conv2d(1, 4, 3), layer or nn.Identity(), nn.Linear(144, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.layer(self.first(x))).flatten(1))


class Counting(nn.Module):
    """Counts its calls in place, also in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * (1 + 0 * self.calls)


class Replacing(nn.Module):
    """Puts another tensor in the place of its buffer at every call, and its output depends on it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, 4, 1, 1), persistent=False)
        self.register_buffer("unused", None)

    def forward(self, x: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean((0, 2, 3), keepdim=True)
        return x - self.mean


class Restless(nn.Module):
    """Deletes a buffer, leaves a plain attribute of its name, and registers another one."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()), persistent=False)
        self.register_buffer("shift", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.scale
        if "scale" in self._buffers:
            del self.scale
            self.scale = scale + 1
            self.register_buffer("extra", torch.ones(3), persistent=False)
        return x * (1 + 0 * scale) + self.shift


class Tied(nn.Module):
    """One tensor under two names: what is written to the first must be read from the second."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("a", torch.zeros(()))
        self.register_buffer("b", self.a)

    def forward(self, x: Tensor) -> Tensor:
        self.a += 1
        assert self.a is self.b
        return x * (1 + 0 * self.b)


class InLoop(nn.Module):
    """Raises at its k-th call after `armed`."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.inner, self.left, self.armed = Body(nn.BatchNorm2d(4)), k, False

    def forward(self, x: Tensor) -> Tensor:
        self.left -= self.armed
        if self.armed and self.left < 0:
            raise RuntimeError("planted")
        return self.inner(x)


def scripted(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.script is deprecated, and used
        return torch.jit.script(Body(layer))


def traced() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(Body(nn.BatchNorm2d(4)), X, check_trace=False)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "plain": Body,
    "BatchNorm": lambda: Body(nn.BatchNorm2d(4)),
    "busy": busy_network,
    "counting": lambda: Body(Counting()),
    "dropout": lambda: Body(nn.Dropout(0.4)),
    "scripted": lambda: scripted(nn.BatchNorm2d(4)),
    "traced": traced,
    "spectral norm": lambda: Body(nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 1))),
    "replacing": lambda: Body(Replacing()),
    "tied": lambda: Body(Tied()),
    "DataParallel": lambda: nn.DataParallel(Body(nn.BatchNorm2d(4))),
}


@dataclass
class Held:
    """The tensors that a module holds, and how often each was written."""

    tensors: list[tuple[str, Tensor | None, int]]
    gradients: list[Tensor | None]
    modes: list[bool]
    unsaved: list[str]

    @classmethod
    def by(cls, model: nn.Module) -> "Held":
        named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
        tensors = [(name, tensor, tensor._version) for name, tensor in named]
        kept = sorted(model.state_dict())
        return cls(tensors, [p.grad for p in model.parameters()], [m.training for m in model.modules()], kept)

    def unchanged(self, model: nn.Module) -> bool:
        now = Held.by(model)
        same = [a[0] == b[0] and a[1] is b[1] and a[2] == b[2] for a, b in zip(self.tensors, now.tensors, strict=True)]
        grads = [a is b for a, b in zip(self.gradients, now.gradients, strict=True)]
        return all(same) and all(grads) and (self.modes, self.unsaved) == (now.modes, now.unsaved)


def made(name: str, *, train: bool) -> nn.Module:
    """The network, the same at every call, holding gradients and one frozen parameter."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = NETWORKS[name]().train(train)
    parameters = list(model.parameters())
    parameters[0].requires_grad_(False)
    parameters[-1].grad = torch.full_like(parameters[-1], 0.5)
    return model


def gradients_around(model: nn.Module, between: Callable[[], object] | None = None) -> list[Tensor | None]:
    """Forward pass, something, backward pass, in one stream of random numbers."""
    with torch.random.fork_rng():
        torch.manual_seed(11)
        out = model(X)
        if between is not None:
            held = Held.by(model)
            between()
            assert held.unchanged(model)
        out = out + model(X)
        F.cross_entropy(out, Y).backward()
    return [p.grad for p in model.parameters()]


def all_equal(a: list[Tensor | None], b: list[Tensor | None]) -> bool:
    return all(u is v or (u is not None and v is not None and torch.equal(u, v)) for u, v in zip(a, b, strict=True))


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


CALLS: dict[str, Callable[[nn.Module, Tensor, Tensor], object]] = {
    "clean_error": lambda m, x, y: clean_error(m, x, y, batch=4).value,
    "robust_error": lambda m, x, y: robust_error(m, x, y, ATTACKS["pgd"], batch=4).value,
    "robust_error p=1": lambda m, x, y: robust_error(m, x, y, ATTACKS["apgd p=1"], batch=4).value,
    "wrong_under": lambda m, x, y: wrong_under(m, x, y, ATTACKS["square p=2"], batch=4),
    "survey": lambda m, x, y: survey(m, x, y, ATTACKS["ensemble"], batch=4),
    "survey from x": lambda m, x, y: survey(m, x, y, ATTACKS["pgd from x"], batch=4),
    "survey of given points": lambda m, x, y: survey(m, x, y, ATTACKS["square"], given=[(x + 0.05).clamp(0, 1)]),
    "predicted_shares": lambda m, x, y: predicted_shares(m, x, batch=4),
    "boundary_distance": lambda m, x, y: boundary_distance(m, x, y, PGD(INF, n_steps=2), n_radii=2, n_bisections=3),
    "flatness": lambda m, x, y: flatness(m, x, y, [0.05], batch=4, search=Search(n_steps=2, n_loss_steps=2)),
    "attacked": lambda m, x, y: attacked(m, x, y, ATTACKS["pgd"], flips=FlipSearch(n_points=3, n_halvings=2), batch=4),
}


BY_ATTACK = {k: lambda m, x, y, a=a: a(m, x, y) for k, a in ATTACKS.items()}


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
        def search(self, model: nn.Module, x: Tensor, y: Tensor, draws: Draws, best: Best) -> None:
            with torch.enable_grad():
                model(x.clone().requires_grad_()).sum().backward()
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


class Normalizing(nn.Module):
    """(x - 0.5) / 0.25 before a network, in one of three ways."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.body = how, Body(nn.BatchNorm2d(4))

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "in place":
            return self.body(x.sub_(0.5).div_(0.25))
        if self.how == "add in place":
            x += -0.5
            x /= 0.25
            return self.body(x)
        if self.how == "out":
            return self.body(torch.div(torch.sub(x, 0.5, out=x), 0.25, out=x) if not x.requires_grad else self.twin(x))
        if self.how == "relu in place":
            return self.body(F.relu(F.hardtanh(x, 0.2, 0.8, inplace=True), inplace=True))
        if self.how == "relu":
            return self.body(F.relu(F.hardtanh(x, 0.2, 0.8)))
        return self.body(self.twin(x))

    def twin(self, x: Tensor) -> Tensor:
        return (x - 0.5) / 0.25


PAIRS = [("in place", "twin"), ("add in place", "twin"), ("out", "twin"), ("relu in place", "relu")]


def normalizing(how: str, layout: torch.memory_format = torch.contiguous_format) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return Normalizing(how).eval().to(memory_format=layout)


def tensors_in(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, int | float | list):
        return [torch.tensor(value)]
    return [v if isinstance(v, Tensor) else torch.tensor(v) for v in vars(value).values() if not isinstance(v, tuple)]


def same_tensors(a: object, b: object) -> bool:
    pairs = zip(tensors_in(a), tensors_in(b), strict=True)
    return all(torch.equal(u, v) for u, v in pairs)


@pytest.mark.parametrize(("how", "twin", "wrapped"), [(*PAIRS[0], True), *((*pair, False) for pair in PAIRS)])
def test_a_network_that_works_in_place_gives_what_its_twin_gives(how: str, twin: str, wrapped: bool) -> None:
    layout = torch.channels_last if how == "in place" else torch.contiguous_format
    evil, good = normalizing(how, layout), normalizing(twin, layout)
    labels = predict(good(X))
    if wrapped:
        evil, good = (lambda v, m=m: m(v) for m in (evil, good))
    for name, call in (CALLS | BY_ATTACK).items():
        mine = X.clone()
        found, expected = call(evil, mine, labels), call(good, X, labels)
        assert torch.equal(mine, X), name
        assert same_tensors(found, expected), name


def test_the_lint_of_a_network_that_works_in_place() -> None:
    evil, good, mine = normalizing("in place"), normalizing("twin"), X.clone()
    labels = predict(good(X))
    assert [c.finding for c in lint(evil, mine, labels, INF, n=3, n_queries=5)] == [
        c.finding for c in lint(good, X, labels, INF, n=3, n_queries=5)
    ]
    assert torch.equal(mine, X)


def test_writes_that_no_version_counts_are_seen() -> None:
    def halving(x: Tensor) -> Tensor:
        x.data.mul_(0.5)
        return x.flatten(1)[:, :3]

    def clamping(x: Tensor) -> Tensor:
        return x.clamp_(0, 1).flatten(1)[:, :3]

    def clean(x: Tensor) -> Tensor:
        return x.flatten(1)[:, :3]

    assert first_pass(clean, X)[1] is clean
    for model in (halving, clamping):
        mine = X.clone()
        network = first_pass(model, mine)[1]
        assert network is not model
        network(mine)
        ATTACKS["pgd from x"](model, mine, Y)
        assert torch.equal(mine, X)


def depth_of_graph(x: Tensor) -> int:
    depth, node = 0, x.grad_fn
    while node is not None:
        depth, node = depth + 1, next((n for n, _ in node.next_functions if n is not None), None)
    return depth


@pytest.mark.parametrize("name", ATTACKS)
def test_inputs_that_require_gradients_grow_no_graph(name: str) -> None:
    model = made("BatchNorm", train=False)
    plain = ATTACKS[name](model, X, Y)
    leaf = X.clone().requires_grad_()
    for x in (leaf, leaf * 1, nn.Parameter(X.clone())):
        found = ATTACKS[name](model, x, Y)
        assert not found.requires_grad
        assert depth_of_graph(found) == 0
        assert torch.equal(found, plain)
        assert x.requires_grad
    assert leaf.grad is None
    assert depth_of_graph(leaf * 1 * 1) > 1  # the measure itself


@pytest.mark.parametrize("name", CALLS)
def test_evaluations_take_inputs_that_require_gradients_and_any_integers(name: str) -> None:
    model = made("BatchNorm", train=False)
    plain = CALLS[name](model, X, Y)
    for x, y in ((X.clone().requires_grad_(), Y), (X, Y.to(torch.uint8)), (X, Y.to(torch.int16))):
        assert same_tensors(CALLS[name](model, x, y), plain)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.bool])
def test_labels_of_any_integer_type(dtype: torch.dtype) -> None:
    model = made("BatchNorm", train=False)
    labels = Y % 2 if dtype == torch.bool else Y
    for name, attack in ATTACKS.items():
        assert torch.equal(attack(model, X, labels.to(dtype)), attack(model, X, labels)), name


def test_integer_labels_of_scores() -> None:
    w = torch.linspace(-1, 1, 64)
    labels = 2 * (Y % 2) - 1
    for dtype in (torch.int8, torch.int16, torch.float32, torch.float64):
        for name in ("pgd", "apgd", "square", "apgd-t"):
            found = ATTACKS[name](lambda v: v.flatten(1) @ w, X, labels.to(dtype))
            assert torch.equal(found, ATTACKS[name](lambda v: v.flatten(1) @ w, X, labels)), (dtype, name)
    with pytest.raises(BadRequest, match="-1 or \\+1"):
        ATTACKS["pgd"](lambda v: v.flatten(1) @ w, X, labels > 0)


@pytest.mark.parametrize("p", [1, 2, "inf"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_attacks_stay_in_the_dtype_of_the_input(p: float | str, dtype: torch.dtype) -> None:
    model, threat = made("BatchNorm", train=False).to(dtype), ThreatModel(p, 0.5)
    for attack in (Square(threat, n_queries=12), PGD(threat, n_steps=2), APGD(threat, n_steps=4)):
        found = attack(model, X.to(dtype), Y)
        assert found.dtype == dtype
        assert bool(torch.isfinite(found).all())
        before, after = (margin(model(v).detach().double(), Y) for v in (X.to(dtype), found))
        assert bool((after <= before).all())


def test_the_default_dtype_changes_nothing() -> None:
    model, plain = made("BatchNorm", train=False), {}
    for default in (torch.float32, torch.float64):
        torch.set_default_dtype(default)
        try:
            for name, attack in ATTACKS.items():
                found = attack(model, X, Y)
                assert torch.equal(found, plain.setdefault(name, found)), name
        finally:
            torch.set_default_dtype(torch.float32)


DETACHED = {
    "detached": lambda body: lambda v: body(v.detach()),
    "no_grad inside": lambda body: lambda v: body.last(torch.no_grad()(lambda u: body.first(u).flatten(1))(v)),
    "rounded": lambda body: lambda v: body((v * 255).to(torch.uint8).float() / 255),
}


@pytest.mark.parametrize("how", DETACHED)
def test_a_network_that_hides_its_input_is_refused_in_one_line(how: str) -> None:
    model = DETACHED[how](made("plain", train=False))
    for name in ("fgsm", "pgd", "pgd p=1", "apgd", "apgd-t", "pgd bfloat16"):
        with pytest.raises(BadRequest, match="differentiable in the input"):
            ATTACKS[name](model, X, Y)
    ATTACKS["square"](model, X, Y)


class Recurrent(nn.Module):
    """Keeps a second list of its weights, as all of torch's RNNs do."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.last = nn.LSTM(8, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.cell(x[:, 0])[0][:, -1])


class Twice(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 3)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.relu(self.b(torch.relu(self.a(x.flatten(1))))))


@pytest.mark.parametrize(
    "make", [lambda: Body(nn.BatchNorm2d(4)), Recurrent, Twice, lambda: scripted(nn.BatchNorm2d(4))]
)
def test_weights_and_inputs_made_in_inference_mode(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(2)
    plain = make().eval()
    torch.manual_seed(2)
    with torch.inference_mode():
        frozen = make().eval()
        x, y = X.clone(), Y.clone()
    held = list(frozen.parameters()) + list(frozen.buffers())
    for name, attack in ATTACKS.items():
        expected = attack(plain, X, Y)
        assert torch.equal(attack(frozen, X, Y), expected), name
        assert torch.equal(attack(plain, x, y), expected), name
        with torch.inference_mode():
            found = attack(frozen, x, y)
        assert torch.equal(found, expected), name
        assert not found.is_inference()
    if isinstance(frozen, Recurrent):
        assert frozen.cell._flat_weights[0] is frozen.cell.weight_ih_l0
    assert all(a is b for a, b in zip(held, list(frozen.parameters()) + list(frozen.buffers()), strict=True))
    for name in ("robust_error", "survey", "predicted_shares", "boundary_distance", "flatness"):
        call = CALLS[name]
        with torch.inference_mode():
            found = call(frozen, x, y)
        assert same_tensors(found, call(plain, X, Y)), name


def test_lazy_networks_take_shape() -> None:
    for train in (True, False):
        model = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(3)).train(train)
        ATTACKS["pgd"](model, X, Y)
        assert model[3].weight.shape == (3, 144)
        assert int(model[1].num_batches_tracked) == 0


OUTPUTS: dict[str, tuple[Callable[[Tensor], object], str]] = {
    "tuple": (lambda z: (z, z), "torch tensor"),
    "dict": (lambda z: {"logits": z}, "torch tensor"),
    "None": (lambda z: None, "got None"),
    "integers": (lambda z: z.round().long(), "floating point"),
    "booleans": (lambda z: z > 0, "floating point"),
    "complex": (lambda z: z.to(torch.complex64), "floating point"),
    "array": (lambda z: z.detach().float().numpy(), "ndarray"),
    "three axes": (lambda z: z[..., None], "logits"),
}


@pytest.mark.parametrize("what", OUTPUTS)
def test_outputs_that_are_none_are_refused_in_one_line(what: str) -> None:
    body, (change, words) = made("plain", train=False), OUTPUTS[what]
    for name, call in (CALLS | BY_ATTACK).items():
        if (name, what) == ("predicted_shares", "three axes"):
            continue  # it has no labels to compare with
        with pytest.raises(BadRequest, match=words) as caught:
            call(lambda v: change(body(v)), X, Y)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("network", "inputs"),
    [(torch.float32, torch.float64), (torch.float64, torch.float32), (torch.float16, torch.float32)],
)
def test_mixed_dtypes_are_refused_in_one_line(network: torch.dtype, inputs: torch.dtype) -> None:
    model = made("BatchNorm", train=False).to(network)
    for call in (CALLS | BY_ATTACK).values():
        with pytest.raises(BadRequest, match=f"dtype of the network, {network}, got {inputs}"):
            call(model, X.to(inputs), Y)


def test_a_network_that_converts_its_input_takes_any_dtype() -> None:
    body = made("BatchNorm", train=False)

    class Casting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x.float())

    for name, attack in ATTACKS.items():
        assert attack(Casting().eval(), X.double(), Y).dtype == torch.float64, name


MODEL = made("BatchNorm", train=False)
MISUSES: dict[str, tuple[Callable[[], object], str]] = {
    "x array": (lambda: PGD(INF, n_steps=1)(MODEL, X.numpy(), Y), "inputs: .*ndarray"),  # type: ignore[arg-type]
    "x list": (lambda: robust_error(MODEL, X.tolist(), Y, ATTACKS["pgd"]), "inputs: .*list"),
    "x None": (lambda: predicted_shares(MODEL, None), "inputs: .*None"),  # type: ignore[arg-type]
    "x meta": (lambda: clean_error(MODEL, X.to("meta"), Y), "meta"),
    "x complex": (lambda: clean_error(MODEL, X.to(torch.complex64), Y), "floating"),
    "y array": (lambda: clean_error(MODEL, X, Y.numpy()), "labels: .*ndarray"),  # type: ignore[arg-type]
    "y list": (lambda: survey(MODEL, X, Y.tolist(), ATTACKS["pgd"]), "labels: .*list"),
    "y None": (lambda: flatness(MODEL, X, None, [0.1]), "labels: .*None"),  # type: ignore[arg-type]
    "y meta": (lambda: ATTACKS["pgd"](MODEL, X, Y.to("meta")), "labels: .*meta"),
    "y complex": (lambda: ATTACKS["pgd"](MODEL, X, Y.to(torch.complex64)), "integers"),
    "y float": (lambda: ATTACKS["square"](MODEL, X, Y.float()), "integers"),
    "lint of arrays": (lambda: lint(MODEL, X.numpy(), Y, INF), "inputs: .*ndarray"),  # type: ignore[arg-type]
    "attack by name": (lambda: robust_error(MODEL, X, Y, "pgd10"), "attack_by_name"),  # type: ignore[arg-type]
    "attack class": (lambda: survey(MODEL, X, Y, PGD), "the class PGD"),  # type: ignore[arg-type]
    "attack function": (lambda: boundary_distance(MODEL, X, Y, lambda *a: X), "attack: "),  # type: ignore[arg-type]
    "attack threat": (lambda: attacked(MODEL, X, Y, INF), "ThreatModel"),  # type: ignore[arg-type]
    "seed for generator": (lambda: ATTACKS["pgd"](MODEL, X, Y, generator=5), "generator: "),  # type: ignore[arg-type]
    "index too short": (lambda: survey(MODEL, X, Y, ATTACKS["pgd"], index=torch.arange(3)), "index: .*6 positions"),
    "batch None": (lambda: robust_error(MODEL, X, Y, ATTACKS["pgd"], batch=None), "batch: "),  # type: ignore[arg-type]
    "batch inf": (lambda: clean_error(MODEL, X, Y, batch=float("inf")), "batch: "),  # type: ignore[arg-type]
    "batch nan": (lambda: predicted_shares(MODEL, X, batch=float("nan")), "batch: "),  # type: ignore[arg-type]
    "batch word": (lambda: clean_error(MODEL, X, Y, batch="all"), "batch: "),  # type: ignore[arg-type]
    "steps word": (lambda: PGD(INF, n_steps="5"), "n_steps: "),  # type: ignore[arg-type]
    "step NaN": (lambda: PGD(INF, n_steps=1, step_size=float("nan")), "step_size: "),
    "radius True": (lambda: ThreatModel("inf", True), "radius: .*True"),
    "radius False": (lambda: ThreatModel(2, False), "radius: .*False"),
    "box of three": (lambda: ThreatModel("inf", 0.1, (0, 1, 2)), "box: "),  # type: ignore[arg-type]
    "box of None": (lambda: ThreatModel("inf", 0.1, (0, None)), "box: "),  # type: ignore[arg-type]
    "NaN": (lambda: clean_error(MODEL, torch.full_like(X, torch.nan), Y), "finite"),
    "no outputs": (lambda: predict(torch.zeros(3, 0)), "logits"),
    "network elsewhere": (lambda: clean_error(Body().eval().to("meta"), X, Y), "device of the network, meta"),
}


@pytest.mark.parametrize("what", MISUSES)
def test_misuse_is_refused_in_one_line(what: str) -> None:
    call, words = MISUSES[what]
    with pytest.raises(BadRequest, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
