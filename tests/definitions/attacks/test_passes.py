"""Layouts, networks that write on their input or hide it, and dtypes."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tests.cases import THREATS
from tests.definitions.loop_cases import ATTACKS, BY_ATTACK, CALLS, INF, Body, X, Y, made, same_tensors
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.definitions import (
    APGD,
    PGD,
    Attack,
    predict,
)
from cgro.definitions.attacks import first_pass
from cgro.diagnosis.lint import lint


class Views(nn.Module):
    """`view` fails on channels_last activations of more than one channel and row."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(256, 3)
        self.layouts: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.layouts.append(x.is_contiguous())
        z = torch.relu(self.conv(x))
        return self.last(z.view(len(z), -1))


@pytest.mark.parametrize("attack", [PGD(THREATS[0], n_steps=2), APGD(THREATS[0], n_steps=2)], ids=["pgd", "apgd"])
def test_a_network_that_views_its_activations_is_called_in_the_layout_it_has(attack: Attack) -> None:
    x, y = torch.rand(4, 3, 8, 8), torch.zeros(4, dtype=torch.long)
    model = Views().eval()
    found = attack(model, x, y)
    assert model.layouts[0] is False, "tried first"
    assert all(model.layouts[1:])
    plain = replace(attack, precision="float32")
    assert torch.equal(found, plain(lambda v: model(v), x, y))


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


@pytest.mark.parametrize(
    ("network", "inputs"),
    [(torch.float32, torch.float64), (torch.float64, torch.float32), (torch.float32, torch.float16)],
)
def test_inputs_of_another_dtype_are_converted(network: torch.dtype, inputs: torch.dtype) -> None:
    """As if the caller had converted them."""
    model = made("BatchNorm", train=False).to(network)
    for name, call in (CALLS | BY_ATTACK).items():
        found = call(model, X.to(inputs), Y)
        expected = call(model, X.to(inputs).to(network), Y)
        if isinstance(found, Tensor):  # points come back in the type of the inputs
            assert found.dtype == inputs or name not in ATTACKS
            expected = expected.to(found.dtype)
            if inputs == torch.float16 and name in ATTACKS:  # rounded towards the clean input, so that they stay inside
                assert torch.allclose(found.double(), expected.double(), rtol=0, atol=2**-11), name
                continue
        assert same_tensors(found, expected), name


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


@pytest.mark.parametrize("attack", [PGD(INF, n_steps=20), APGD(INF, n_steps=20)], ids=["pgd", "apgd"])
def test_a_network_whose_logits_are_scaled_is_as_weak_as_it_is(attack: Attack) -> None:
    """Scaling changes no answer. Logits times 30 end beyond float32's softmax: attacks on cross-entropy lost the label."""
    g = torch.Generator().manual_seed(0)
    x = torch.rand(120, 1, 4, 4, generator=g)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 5)).eval()
    for parameter in net.parameters():
        parameter.requires_grad_(False).copy_(torch.randn(parameter.shape, generator=g))
    y = net(x).argmax(1)
    wrong = [attack.find(lambda v, s=scale: s * net(v), x, y).margins <= 0 for scale in (1.0, 30.0)]
    assert wrong[1].sum() >= wrong[0].sum() - 1
    assert 10 < wrong[0].sum() < 110
