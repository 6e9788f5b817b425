"""Folded BatchNorm, against the network itself in float64; and what must not be folded is not."""

import copy
import functools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from cgro.definitions import PGD, Square, TargetedAPGD, ThreatModel, margin
from cgro.definitions.attacks import SearchOptions, bfloat16_pays, precision
from cgro.definitions.attacks import evaluator as evaluators
from cgro.definitions.attacks.folding import Halving, folded, folds_norms
from cgro.definitions.attacks.precision import proposing, rounding_margin
from cgro.definitions.draws import draws_for
from cgro.models import build


def unlike_fresh(model: nn.Module) -> nn.Module:
    """Statistics, scales and shifts as after training: none of them 0 or 1."""
    g = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(generator=g)
            module.running_var.uniform_(0.2, 3.0, generator=g)
            if module.weight is not None:
                nn.init.normal_(module.weight, 1.0, 0.5, generator=g)
                nn.init.normal_(module.bias, generator=g)
    return model.eval()


def n_folded(model: nn.Module) -> int:
    found = folded(model)
    assert isinstance(found, nn.Module)
    return sum(type(part) is nn.Identity for part in found.modules())


def small(*, bias: bool = True, affine: bool = True) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, stride=2, groups=1, bias=bias),
        nn.BatchNorm2d(4, affine=affine, eps=0.01),
        nn.ReLU(inplace=True),
        nn.Sequential(nn.Conv2d(4, 4, 3, groups=2, padding=1, padding_mode="reflect"), nn.BatchNorm2d(4)),
        nn.Flatten(),
        nn.Linear(64, 3),
    )


NETWORKS = {
    "preactresnet": (lambda: build("preactresnet", (3, 8, 8), 10, width=2, seed=0), 8),
    "resnet9": (lambda: build("resnet9", (3, 8, 8), 10, width=2, seed=0), 8),
    "bias": (small, 2),
    "no bias": (lambda: small(bias=False), 2),
    "no affine": (lambda: small(affine=False), 2),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_function_and_its_gradient_are_the_same(name: str) -> None:
    make, n = NETWORKS[name]
    model = unlike_fresh(make()).double()
    assert n_folded(model) == n
    x = torch.rand(4, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    expected = model(x)
    found = folded(model)(x)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    ones = torch.ones_like(expected)
    gradients = [torch.autograd.grad(outputs, x, ones)[0] for outputs in (found, expected)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", NETWORKS)
def test_in_float32_outputs_are_off_by_less_than_is_assumed(name: str) -> None:
    """`ROUNDING`: what a search takes for certain by a folded network is so by the network itself."""
    make, _ = NETWORKS[name]
    model = unlike_fresh(make())
    assert folds_norms(model)
    x = torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    y = torch.arange(64) % 3
    outputs = folded(model)(x).detach()
    off = (margin(outputs, y) - margin(model(x).detach(), y)).abs()
    assert bool((off <= rounding_margin(outputs, "folded")).all())
    assert float(off.max()) > 0


def test_what_a_search_in_float32_moves_by() -> None:
    x = torch.rand(2, 3, 8, 8)
    model = unlike_fresh(small())
    assert proposing("float32", model, x) == "exactly"
    assert proposing("bfloat16", model, x) == "bfloat16"
    expected = "bfloat16" if bfloat16_pays(x.device) else "folded"
    assert proposing("auto", model, x) == expected
    assert proposing("auto", model.double(), x.double()) == "exactly"
    assert proposing("auto", small().train(), x) == "exactly", "statistics of the batch cannot be folded"
    assert proposing("auto", lambda v: v, torch.rand(2, 3).double()) == "exactly"
    pooled = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)).eval()
    assert proposing("auto", pooled, x) == "exactly", "nothing to fold"


@pytest.mark.parametrize("attack", ["pgd", "apgd-t"])
@pytest.mark.parametrize("until_wrong", [False, True])
def test_the_network_itself_decides(attack: str, until_wrong: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Margins are those of the network, whatever proposed; and a wrong proposer is no success of the attack."""
    monkeypatch.setattr(precision, "bfloat16_pays", lambda device: False)
    network = unlike_fresh(build("preactresnet", (3, 8, 8), 4, width=2, seed=0))
    x = torch.rand(24, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    last = nn.Linear(4, 4)
    with torch.no_grad():  # the mean output is none of the classes
        last.weight.copy_(torch.eye(4))
        last.bias.copy_(-network(x).mean(0))
    model = nn.Sequential(network, last)
    y = model(x).argmax(1)
    threat = ThreatModel("inf", 0.01)
    makes = {"pgd": PGD(threat, n_steps=6), "apgd-t": TargetedAPGD(threat, n_steps=6, n_targets=2)}
    search = makes[attack]
    found = search.find(model, x, y, until_wrong=until_wrong)
    exact = replace(search, precision="float32").find(model, x, y, until_wrong=until_wrong)
    torch.testing.assert_close(found.margins, margin(model(found.x).detach(), y), rtol=1e-5, atol=1e-5)
    assert 0 < int((exact.margins <= 0).sum()) < 24
    assert torch.equal(found.margins <= 0, exact.margins <= 0), "as strong"
    monkeypatch.setattr(evaluators, "folded", lambda network: lambda v: -network(v))
    misled = search.find(model, x, y, until_wrong=until_wrong)
    torch.testing.assert_close(misled.margins, margin(model(misled.x).detach(), y), rtol=1e-5, atol=1e-5)


def test_the_check_sees_a_wrong_fold() -> None:
    """The planted fault: a statistic that changes after folding."""
    model = unlike_fresh(small())
    network = folded(model)
    model[1].running_mean += 0.5
    x = torch.rand(4, 3, 8, 8)
    assert not torch.allclose(network(x), model(x), atol=1e-3)


def test_nothing_of_the_network_is_changed() -> None:
    model = unlike_fresh(build("preactresnet", (3, 8, 8), 10, width=2, seed=0))
    before = copy.deepcopy(model.state_dict())
    modules = list(model.modules())
    network = folded(model)
    assert all(a is b for a, b in zip(modules, model.modules(), strict=True))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert network[-1] is model[-1], "what is not folded is shared"


class Peeks(nn.Module):
    """A user's own, which looks in between the two."""

    def __init__(self) -> None:
        super().__init__()
        self.body = small()

    def forward(self, x: Tensor) -> Tensor:
        raw = self.body[0](x)
        return self.body[5](self.body[4](self.body[3](self.body[1](raw) + raw)))


class Declares(nn.Module):
    folds = (("conv", "norm"),)

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).mean((2, 3))


class MeansSomethingElse(Declares):
    """A class of others whose attribute of the same name counts something."""

    folds = 5


class NamesWhatIsNotThere(Declares):
    folds = (("conv", "norm"), ("first", "second"))


class IsNoTuple(Declares):
    folds = "cn"


class Inherits(Declares):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).mean((2, 3)) + self.conv(x).mean((2, 3))


def hooked() -> nn.Module:
    model = small()
    model[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    return model


def without_statistics() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False))


def not_adjacent() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4))


@pytest.mark.parametrize(
    ("make", "n"),
    [
        (Peeks, 0),
        (Inherits, 0),
        (Declares, 1),
        (MeansSomethingElse, 0),
        (NamesWhatIsNotThere, 0),
        (IsNoTuple, 0),
        (hooked, 1),
        (without_statistics, 0),
        (not_adjacent, 0),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_only_what_is_known_is_folded(make, n: int) -> None:
    model = unlike_fresh(make()) if make is not without_statistics else make().eval()
    assert n_folded(model) == n
    x = torch.rand(4, 3, 8, 8)
    torch.testing.assert_close(folded(model)(x), model(x), rtol=1e-4, atol=1e-4)


def replaced(position: int) -> nn.Module:
    """As libraries do that add adapters, or load weights late: one layer has a `forward` of its own."""
    model = pooled()
    known = model[position].forward
    model[position].forward = lambda x: -2 * known(-x)
    return model


def pooled() -> nn.Module:
    layers = (nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3))
    return unlike_fresh(nn.Sequential(*layers))


@pytest.mark.parametrize("position", [0, 1, 2], ids=["convolution", "BatchNorm", "pooling"])
def test_a_layer_with_a_forward_of_its_own_is_called(position: int) -> None:
    model = replaced(position)
    assert n_folded(model) == (position == 2)
    x = torch.rand(4, 3, 8, 8)
    torch.testing.assert_close(folded(model)(x), model(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d])
def test_a_class_of_torch_whose_forward_was_replaced_is_called(kind, monkeypatch: pytest.MonkeyPatch) -> None:
    model, known = pooled(), kind.forward

    @functools.wraps(known)
    def forward(module: nn.Module, x: Tensor) -> Tensor:
        return -2 * known(module, -x)

    monkeypatch.setattr(kind, "forward", forward)
    x = torch.rand(4, 3, 8, 8)
    torch.testing.assert_close(folded(model)(x), model(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d])
def test_hooks_for_every_module_are_called(kind) -> None:
    model, x = pooled(), torch.rand(4, 3, 8, 8)

    def change(module: nn.Module, inputs: object, outputs: Tensor) -> Tensor | None:
        return -2 * outputs if isinstance(module, kind) else None

    handle = nn.modules.module.register_module_forward_hook(change)
    try:
        torch.testing.assert_close(folded(model)(x), model(x), rtol=1e-4, atol=1e-4)
    finally:
        handle.remove()
    assert n_folded(model) == 1


def test_an_attack_finds_what_a_replaced_forward_makes_wrong() -> None:
    """It found 3% wrong where plain PGD finds 32%, as its search went through another network; and Square, which asks
    through the faster pooling, returned points that are weaker than the input."""
    x = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    threat = ThreatModel(math.inf, 0.1)
    for position in (1, 2):
        model = replaced(position)
        y = model(x).argmax(1)
        exactly = PGD(threat, n_steps=10, precision="float32").find(model, x, y, until_wrong=True)
        found = PGD(threat, n_steps=10).find(model, x, y, until_wrong=True)
        assert int((found.margins <= 0).sum()) >= int((exactly.margins <= 0).sum()) - 1
        clean = margin(model(x).detach(), y)
        points = Square(threat, n_queries=10)(model, x, y)
        assert bool((margin(model(points).detach(), y) <= clean + 1e-5).all())


def test_in_training_mode_nothing_is_folded() -> None:
    model = small().train()
    assert folded(model) is model
    function = lambda x: x  # noqa: E731
    assert folded(function) is function


def test_a_convolution_in_two_places_is_folded_in_each() -> None:
    conv = nn.Conv2d(3, 3, 3, padding=1)
    model = unlike_fresh(nn.Sequential(conv, nn.BatchNorm2d(3), nn.ReLU(), conv, nn.BatchNorm2d(3)))
    assert n_folded(model) == 2
    x = torch.rand(4, 3, 8, 8)
    torch.testing.assert_close(folded(model)(x), model(x), rtol=1e-4, atol=1e-4)


def test_a_search_in_bfloat16_proposes_with_the_folded_and_decides_with_the_network() -> None:
    model = unlike_fresh(build("preactresnet", (3, 8, 8), 10, width=2, seed=0))
    x = torch.rand(6, 3, 8, 8)
    y = model(x).argmax(1)
    attack = PGD(ThreatModel(math.inf, 0.1), n_steps=3, precision="bfloat16")
    found = attack.search_batch(model, x, y, draws_for(None, 6, x.device), SearchOptions())
    assert found.proposer is not model
    assert found.model is model
    with torch.no_grad():
        outputs = model(found.best.x)
    right = outputs.gather(1, y[:, None]).squeeze(1)
    expected = right - outputs.scatter(1, y[:, None], -torch.inf).amax(1)
    torch.testing.assert_close(found.best.margins, expected, rtol=1e-4, atol=1e-5)


def parts(model: nn.Module) -> list[str]:
    found = folded(model)
    assert isinstance(found, nn.Module)
    return [type(part).__name__ for part in found.modules()]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("size", [(6, 4), (7, 5), (2, 2)])
def test_halving_is_max_pooling_to_the_bit(size: tuple[int, int], dtype: torch.dtype, layout) -> None:
    g = torch.Generator().manual_seed(0)
    # Few different values, so that windows have ties.
    x = torch.randint(-3, 4, (5, 8, *size), generator=g).to(dtype).contiguous(memory_format=layout)
    x[0, 0, 0, 0] = torch.nan
    expected = nn.MaxPool2d(2)(x)
    torch.testing.assert_close(Halving()(x), expected, rtol=0, atol=0, equal_nan=True)
    assert expected[0, 0, 0, 0].isnan()


def test_a_gradient_through_halving_goes_where_that_of_max_pooling_goes() -> None:
    x = torch.randint(-2, 3, (4, 3, 6, 6), generator=torch.Generator().manual_seed(0)).float().requires_grad_()
    weights = torch.rand(4, 3, 3, 3)
    found, expected = (torch.autograd.grad((pool(x) * weights).sum(), x)[0] for pool in (Halving(), nn.MaxPool2d(2)))
    assert torch.equal(found, expected)


def test_a_lenet_halves_and_its_values_are_the_same_to_the_bit() -> None:
    model = build("lenet", (1, 28, 28), 10, width=1, seed=0).eval()
    assert parts(model).count("Halving") == 2
    assert "MaxPool2d" not in parts(model)
    x = torch.rand(4, 1, 28, 28)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(folded(model)(x), model(x))


def hooked_pool() -> nn.MaxPool2d:
    pool = nn.MaxPool2d(2)
    pool.register_forward_hook(lambda module, inputs, output: 2 * output)
    return pool


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(3),
        nn.MaxPool2d(2, stride=1),
        nn.MaxPool2d((2, 1)),
        nn.MaxPool2d(2, padding=1),
        nn.MaxPool2d(2, dilation=2),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.MaxPool2d(2, return_indices=True),
        nn.AvgPool2d(2),
        hooked_pool(),
    ],
    ids=str,
)
def test_other_pooling_stays(pool: nn.Module) -> None:
    model = nn.Sequential(pool)
    assert folded(model) is model


def test_pooling_that_is_written_out_is_replaced() -> None:
    assert parts(nn.Sequential(nn.MaxPool2d((2, 2), stride=(2, 2)))).count("Halving") == 1


def test_queries_in_float32_pool_by_halves_and_keep_the_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same values to the bit, on a LeNet and behind a BatchNorm; `Square` asks that network."""
    x = torch.rand(9, 3, 8, 8)
    conv, norm, pool = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.MaxPool2d(2)
    model = unlike_fresh(nn.Sequential(conv, norm, nn.ReLU(), pool, nn.Flatten(), nn.Linear(64, 3)))
    asked = folded(model, norms=False)
    kinds = [type(part) for part in asked.modules()]
    assert Halving in kinds
    assert nn.BatchNorm2d in kinds
    assert nn.Identity not in kinds
    assert torch.equal(asked(x), model(x))
    seen: list[int] = []
    known = Halving.forward
    monkeypatch.setattr(Halving, "forward", lambda part, v: seen.append(len(v)) or known(part, v))
    Square(ThreatModel("inf", 0.1), n_queries=20).find(model, x, model(x).argmax(1), until_wrong=True)
    assert len(seen) > 10, "the queries"
