"""The networks of ImageNet have the parameters that are published, and give logits."""

import pytest
import torch

from cgro.experiments.imagenet_networks import Block, Bottleneck, ViT, resnet


@pytest.mark.parametrize(
    ("make", "published"),
    [(resnet, 25_557_032), (lambda: resnet((3, 8, 36, 3)), 60_192_808), (ViT, 86_567_656)],
    ids=["ResNet-50", "ResNet-152", "ViT-B/16"],
)
def test_parameters_are_those_that_are_published(make, published: int) -> None:
    with torch.device("meta"):
        model = make()
    assert sum(parameter.numel() for parameter in model.parameters()) == published
    assert model(torch.zeros(2, 3, 224, 224, device="meta")).shape == (2, 1000)


def test_a_bottleneck_is_its_equation() -> None:
    block = Bottleneck(8, 2, 1).eval()
    x = torch.randn(1, 8, 5, 5)
    first, _, _, second, _, _, third, _ = block.body
    y = x
    for conv, is_last in ((first, False), (second, False), (third, True)):
        y = conv(y) / (1 + 1e-5) ** 0.5  # BatchNorm as it is initialized: mean 0, variance 1
        if not is_last:
            y = y.relu()
    assert torch.allclose(block(x), (x + y).relu(), atol=1e-6)


def test_attention_is_its_equation() -> None:
    """softmax(q k' / sqrt(d)) v of each head, in float64."""
    block = Block(8, 2).double()
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    q, k, v = block.qkv(block.before(x)).view(3, 5, 3, 8).unbind(2)
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        weights = (q[..., part] @ k[..., part].transpose(1, 2) / 2).softmax(2)
        heads.append(weights @ v[..., part])
    expected = x + block.out(torch.cat(heads, 2))
    assert torch.allclose(block(x), expected + block.mlp(expected))
