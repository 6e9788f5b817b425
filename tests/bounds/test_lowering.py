"""A module as layers: the same function, and what is refused by name."""

import pytest
import torch
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.bounds import evaluate, to_layers
from cgro.models import build
from cgro.models.head import Scores


def test_lowering_equals_the_module_and_refuses_by_name():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(3, 2, 3, stride=2),
            nn.ReLU(), nn.Flatten(), nn.Linear(18, 3),
        )  # fmt: skip
    bn = net[1]
    assert isinstance(bn, nn.BatchNorm2d)
    bn.running_mean, bn.running_var = torch.tensor([0.1, -0.2, 0.3]), torch.tensor([0.5, 2.0, 1.0])
    net = net.double().eval()
    x = torch.rand(7, 1, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        assert (evaluate(to_layers(net, (1, 16, 16)), x.flatten(1)) - net(x)).abs().max() < 1e-12
    with pytest.raises(BadRequest, match="MaxPool2d"):
        to_layers(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()).eval(), (1, 8, 8))
    with pytest.raises(BadRequest, match="eval"):
        to_layers(net.train(), (1, 16, 16))


def test_a_linear_layer_is_taken_as_it_stands() -> None:
    """Its values on the basis would be (w + b) - b: with a large bias small weights would be lost."""
    net = nn.Sequential(nn.Linear(2, 2)).eval().requires_grad_(False)
    for parameter, values in zip(net.parameters(), ([[1e-9, 3e-9], [0.0, 1.0]], [1e9, 0.0]), strict=True):
        parameter.copy_(torch.tensor(values))
    (layer,) = to_layers(net, (2,))
    expected = next(net.parameters()).double()
    assert torch.equal(layer.weight.to_dense(), expected)


class Head(nn.Module):
    """A user's own: (B, 1) -> (B,)."""

    only_reshapes = True

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0]


class Doubling(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x[:, 0]


@pytest.mark.parametrize("head", [Head(), Scores(), nn.Flatten(0), nn.Identity()])
def test_heads_that_only_reshape_are_accepted(head: nn.Module) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 1), head)).eval()
    x = torch.rand(6, 1, 2, 2)
    outputs = evaluate(to_layers(net, (1, 2, 2)), x.flatten(1))
    torch.testing.assert_close(outputs.flatten().float(), net(x).flatten())


def test_what_cannot_be_lowered_is_refused_with_its_name() -> None:
    for modules, words in (
        ((nn.Linear(2, 1), Doubling()), "Doubling"),
        ((nn.ReLU(), nn.Linear(2, 1)), "affine layer before every ReLU"),
        ((nn.Linear(2, 2), nn.ReLU()), "affine last layer"),
        ((nn.Conv2d(1, 2, 1),), "flat output"),
        ((nn.Linear(2, 3), nn.Flatten(0)), "flat output"),
        ((nn.Dropout(0.5).train(), nn.Linear(2, 1)), "Dropout in train mode"),
    ):
        shape = (1, 2, 2) if isinstance(modules[0], nn.Conv2d) else (2,)
        with pytest.raises(BadRequest, match=words) as caught:
            to_layers(nn.Sequential(*modules), shape, what="clean model")
        assert str(caught.value).startswith("clean model: expected")
    with pytest.raises(BadRequest, match="at most 5 dense entries"):
        to_layers(nn.Linear(2, 3), (2,), limit=5)


def test_lowering_leaves_the_module_alone() -> None:
    net = build("mlp", (1, 2, 2), 3, width=4).eval()
    before = [p.clone() for p in net.parameters()]
    to_layers(net, (1, 2, 2))
    assert all(torch.equal(a, b) and b.dtype == torch.float32 for a, b in zip(before, net.parameters(), strict=True))


class Negated(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x)


class Residual(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class Cosine(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(nn.functional.normalize(x), nn.functional.normalize(self.weight))


class Squared(nn.ReLU):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x) ** 2


def hooked(hook: object, *, before: bool = False) -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    if before:
        net.register_forward_pre_hook(hook)
    else:
        net[1].register_forward_hook(hook)
    return net


OTHER_FUNCTIONS = {
    "a chain with a forward": lambda: Negated(nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)),
    "a chain inside": lambda: nn.Sequential(nn.Flatten(), Residual(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))),
    "a linear layer": lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), Cosine(4, 3)),
    "a ReLU": lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 4), Squared(), nn.Linear(4, 3)),
    "a hook": lambda: hooked(lambda module, given, output: 10 * output),
    "a hook before": lambda: hooked(lambda module, given: ((given[0] - 0.5) / 0.1,), before=True),
}


@pytest.mark.parametrize("name", OTHER_FUNCTIONS)
def test_a_model_that_is_another_function_than_its_modules_is_refused(name: str) -> None:
    """Their bounds would certify another network."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = OTHER_FUNCTIONS[name]().eval()
    with pytest.raises(BadRequest, match="a forward method of its own or by a hook"):
        to_layers(net, (1, 2, 2))


class Flat(nn.Sequential):
    """As many people write it: what is its own in the forward pass changes nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_forward_or_a_hook_that_changes_nothing_is_accepted(dtype: torch.dtype) -> None:
    seen: list[Tensor] = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weighed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
        net = Flat(nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), weighed).eval().to(dtype)
    net[1].register_forward_hook(lambda module, given, output: seen.append(output))
    before = torch.get_rng_state()
    layers = to_layers(net, (1, 2, 2))
    assert torch.equal(before, torch.get_rng_state())
    x = torch.rand(5, 1, 2, 2).to(dtype)
    with torch.no_grad():
        torch.testing.assert_close(evaluate(layers, x.flatten(1)).to(dtype), net(x), atol=0.02, rtol=0.02)
