"""Networks that an attack could disturb, and every attack and evaluation, shared by tests of calls inside a loop."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tests.cases import busy_network, images
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
    boundary_distance,
    clean_error,
    predicted_shares,
    robust_error,
    survey,
    wrong_under,
)
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


CALLS: dict[str, Callable[[nn.Module, Tensor, Tensor], object]] = {
    "clean_error": lambda m, x, y: clean_error(m, x, y, batch=4).value,
    "robust_error": lambda m, x, y: robust_error(m, x, y, ATTACKS["pgd"], batch=4).value,
    "robust_error p=1": lambda m, x, y: robust_error(m, x, y, ATTACKS["apgd p=1"], batch=4).value,
    "wrong_under": lambda m, x, y: wrong_under(m, x, y, ATTACKS["square p=2"], batch=4),
    "survey": lambda m, x, y: survey(m, x, y, ATTACKS["ensemble"], batch=4),
    "survey from x": lambda m, x, y: survey(m, x, y, ATTACKS["pgd from x"], batch=4),
    "survey of given points": lambda m, x, y: survey(m, x, y, ATTACKS["square"], given=[(x + 0.05).clamp(0, 1)]),
    "predicted_shares": lambda m, x, y: predicted_shares(m, x, batch=4),
    "boundary_distance": lambda m, x, y: boundary_distance(
        m, x, y, PGD(INF, n_steps=2), n_radii=2, n_bisections=3, batch=4
    ),
    "flatness": lambda m, x, y: flatness(m, x, y, [0.05], batch=4, search=Search(n_steps=2, n_loss_steps=2)),
    "attacked": lambda m, x, y: attacked(m, x, y, ATTACKS["pgd"], flips=FlipSearch(n_points=3, n_halvings=2), batch=4),
}


BY_ATTACK = {k: lambda m, x, y, a=a: a(m, x, y) for k, a in ATTACKS.items()}


def tensors_in(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, int | float | list):
        return [torch.tensor(value)]
    values = [v for v in vars(value).values() if not isinstance(v, tuple | str)]
    return [v if isinstance(v, Tensor) else torch.tensor(v) for v in values]


def same_tensors(a: object, b: object) -> bool:
    pairs = zip(tensors_in(a), tensors_in(b), strict=True)
    return all(torch.equal(u, v) for u, v in pairs)
