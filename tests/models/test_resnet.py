"""Residual networks by their formulas and published counts."""

import pytest
import torch
from torch import Tensor, nn

from cgro.data import SOURCES
from cgro.models import build, n_parameters, wide_resnet
from cgro.models.resnet import CIFAR10_MEAN, CIFAR10_STD, PreActBlock


@pytest.mark.parametrize("training", [False, True])
def test_a_block_is_its_formula_with_a_strided_1x1_shortcut(training: bool) -> None:
    """Values and gradients, by input and by weights: what the block overwrites was not needed."""
    block = PreActBlock(5, 7, stride=2).train(training)
    assert block.shortcut is not None
    x = torch.randn(2, 5, 9, 9, requires_grad=True)
    wanted = [x, *block.parameters()]
    activated = torch.relu(block.bn1(x))
    kept = nn.functional.conv2d(activated, block.shortcut.weight, stride=2)
    expected = kept + block.conv2(torch.relu(block.bn2(block.conv1(activated))))
    weights = torch.randn_like(expected)
    gradients = torch.autograd.grad((weights * expected).sum(), wanted)
    own = block(x)
    assert torch.allclose(own, expected, atol=1e-6)
    for ours, theirs in zip(torch.autograd.grad((weights * own).sum(), wanted), gradients, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_preactresnet_has_the_standard_count_and_standardizes_inside() -> None:
    """11.17 million parameters at base width 64: PreActResNet-18 with a last BatchNorm."""
    assert n_parameters(build("preactresnet", (3, 32, 32), 10, width=64)) == 11172170
    small = build("preactresnet", (3, 32, 32), 10, width=2).eval()
    x = torch.rand(2, 3, 32, 32)
    by_hand = (x - torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)) / torch.tensor([0.2471, 0.2435, 0.2616]).view(
        3, 1, 1
    )
    torch.testing.assert_close(small[0](x), by_hand)
    assert all(not name.startswith("0.") for name in small.state_dict())
    with pytest.raises(ValueError, match="8x8"):
        build("preactresnet", (3, 4, 4), 10)


def by_formula(depth: int, k: int, classes: int = 10) -> int:
    """Weights of WRN-d-k counted from the paper's table: convolutions without bias, BatchNorm before each."""
    n, total, n_inputs = (depth - 4) // 6, 3 * 16 * 9, 16
    for width in (16 * k, 32 * k, 64 * k):
        for block in range(n):
            first = n_inputs if block == 0 else width
            total += 9 * first * width + 9 * width * width + 2 * first + 2 * width
            total += first * width if first != width else 0
        n_inputs = width
    return total + 2 * n_inputs + n_inputs * classes + classes


@pytest.mark.parametrize(
    ("name", "published"),
    [("wrn-34-10", 46160474), ("wrn-28-10", 36479194), ("wrn-34-5", None), ("wrn-34-1", None), ("wrn-16-4", None)],
)
def test_wide_networks_have_the_published_counts(name: str, published: int | None) -> None:
    """36.5 million for 28-10 (Zagoruyko and Komodakis, Table 4), 46.2 million for 34-10 (Madry's successors)."""
    depth, k = map(int, name.split("-")[1:])
    assert by_formula(depth, k) == (published or by_formula(depth, k))
    with torch.device("meta"):
        model = wide_resnet((3, 32, 32), 10, depth=depth, widen=k)
    assert n_parameters(model) == by_formula(depth, k)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(convolutions) == depth - 3  # and a linear layer; the two or three 1x1 of the table are not counted


def test_wide_networks_start_as_published() -> None:
    model = build("wrn-16-4", (3, 32, 32), 10)
    for layer in (m for m in model.modules() if isinstance(m, nn.Conv2d)):
        fan_out = layer.out_channels * layer.kernel_size[0] ** 2
        assert float(layer.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.15)
    assert float(model[-1].bias.detach().abs().max()) == 0


def test_wide_block_by_hand() -> None:
    """WRN-10-1 in evaluation, written out as the paper's figure 1: pre-activation, 1x1 shortcut after BN and ReLU."""
    model, f = build("wrn-10-1", (3, 16, 16), 10).eval(), nn.functional
    s, x = model.state_dict(), torch.rand(2, 3, 16, 16)

    def bn(h: Tensor, key: str) -> Tensor:
        h = (h - s[f"{key}.running_mean"].view(-1, 1, 1)) / (s[f"{key}.running_var"].view(-1, 1, 1) + 1e-5).sqrt()
        return f.relu(h * s[f"{key}.weight"].view(-1, 1, 1) + s[f"{key}.bias"].view(-1, 1, 1))

    h = (x - torch.tensor(CIFAR10_MEAN).view(3, 1, 1)) / torch.tensor(CIFAR10_STD).view(3, 1, 1)
    h = f.conv2d(h, s["1.weight"], padding=1)
    for block, stride in ((2, 1), (3, 2), (4, 2)):
        a = bn(h, f"{block}.bn1")
        kept = f.conv2d(a, s[f"{block}.shortcut.weight"], stride=stride) if stride == 2 else h
        a = f.conv2d(a, s[f"{block}.conv1.weight"], stride=stride, padding=1)
        h = kept + f.conv2d(bn(a, f"{block}.bn2"), s[f"{block}.conv2.weight"], padding=1)
    by_hand = bn(h, "5").mean((2, 3)) @ s["9.weight"].T + s["9.bias"]
    torch.testing.assert_close(model(x), by_hand)


def test_resnet9_has_its_sources_count_and_scale() -> None:
    """Counted by hand: 9 (3*64 + 64*128 + 2*128^2 + 128*256 + 256*512 + 2*512^2) + 2*2240 + 5120."""
    by_hand = 9 * (3 * 64 + 64 * 128 + 2 * 128**2 + 128 * 256 + 256 * 512 + 2 * 512**2) + 2 * 2240 + 5120
    model = build("resnet9", (3, 32, 32), 10)
    assert n_parameters(model) == by_hand == 6573120
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    body = model[:-2]
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model.eval()(x), body.eval()(x) @ model[-2].weight.T / 8)
    assert n_parameters(build("resnet9", (3, 32, 32), 10, width=4)) < 30000


def test_the_constants_are_those_of_the_data() -> None:
    """Written twice, since rooms of one floor do not import each other."""
    assert SOURCES["cifar10"].statistics == (CIFAR10_MEAN, CIFAR10_STD)
