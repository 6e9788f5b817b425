"""LeNet, LeNet-5 and the fully connected network, counted by hand."""

from typing import cast

import pytest
import torch
from torch import nn

from cgro.models import build, lenet, lenet5, mlp, n_parameters


@pytest.mark.parametrize("w", [1, 4, 16])
def test_lenet_counts_by_hand(w: int) -> None:
    expected = (25 * 2 * w + 2 * w) + (25 * 2 * w * 4 * w + 4 * w) + (49 * 4 * w * 64 * w + 64 * w) + (64 * w * 10 + 10)
    assert n_parameters(build("lenet", (1, 28, 28), 10, width=w)) == expected


@pytest.mark.parametrize("name", ["lenet", "lenet5"])
def test_relu_behind_max_pooling_changes_no_bit(name: str) -> None:
    model = cast(nn.Sequential, build(name, (1, 28, 28), 10))
    order = [nn.ReLU() if isinstance(m, nn.MaxPool2d) else m for m in model]
    order = [nn.MaxPool2d(2) if isinstance(m, nn.ReLU) and isinstance(model[i - 1], nn.MaxPool2d) else m
             for i, m in enumerate(order)]  # fmt: skip
    textbook = nn.Sequential(*order)
    assert [type(m) for m in textbook[:3]] == [nn.Conv2d, nn.ReLU, nn.MaxPool2d]
    x = torch.rand(8, 1, 28, 28, requires_grad=True)
    wanted = [x, *model.parameters()]
    out, expected = model(x), textbook(x)
    assert torch.equal(out, expected)
    for ours, theirs in zip(
        torch.autograd.grad(out.logsumexp(1).sum(), wanted),
        torch.autograd.grad(expected.logsumexp(1).sum(), wanted),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


def test_lenet5_has_the_classic_count() -> None:
    assert n_parameters(build("lenet5", (1, 28, 28), 10)) == 61706


def test_an_mlp_is_its_formula() -> None:
    model, x = mlp((1, 4, 4), 1, width=6), torch.rand(5, 1, 4, 4)
    s, f = model.state_dict(), torch.nn.functional
    h = f.relu(x.flatten(1) @ s["1.weight"].T + s["1.bias"])
    h = f.relu(h @ s["3.weight"].T + s["3.bias"])
    assert s["3.weight"].shape == (3, 6)
    torch.testing.assert_close(model(x), (h @ s["5.weight"].T + s["5.bias"])[:, 0])


@pytest.mark.parametrize(
    ("make", "words"),
    [(lambda: lenet((1, 28, 28), 10, width=0), "width"), (lambda: mlp((1, 2, 2), 2, width=0), "width"),
     (lambda: lenet5((1, 11, 12), 10), "at least 12x12, got 11x12; use lenet")],
)  # fmt: skip
def test_bad_sizes_are_one_line(make, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)
