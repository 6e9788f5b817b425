"""Small models with known answers, and what a refusal looks like, shared by the tests."""

import math
import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from cgro._check import BadRequest, one_line
from cgro.definitions import ThreatModel

THREATS = [
    ThreatModel(p, radius, box) for p, radius in ((math.inf, 0.1), (2, 0.4), (1, 0.7)) for box in ((0.0, 1.0), None)
]


class LinearScore(nn.Module):
    """f(x) = <w, x> + b, (B,) scores; its worst case is known in closed form."""

    def __init__(self, n: int = 6, seed: int = 0) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.w = nn.Parameter(torch.randn(n, generator=g))
        self.b = nn.Parameter(torch.randn((), generator=g) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.w + self.b


class HiddenScores(nn.Module):
    """f(x) = c + a . relu(W x + b), (B,) scores; few enough units to try every activation pattern."""

    def __init__(self, n: int, n_units: int, seed: int) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.w = nn.Parameter(2 * torch.randn(n_units, n, generator=g))
        self.b = nn.Parameter(-(self.w.detach() * torch.rand(n_units, n, generator=g)).sum(1))
        self.a = nn.Parameter(torch.randn(n_units, generator=g))
        self.c = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x.flatten(1) @ self.w.T + self.b) @ self.a + self.c


def hidden_scores(n: int = 6, n_units: int = 6, seed: int = 0) -> HiddenScores:
    """The network whose robust error the tests know exactly, its bias set so that both answers occur."""
    model = HiddenScores(n, n_units, seed).eval()
    with torch.no_grad():
        model.c.copy_(-model(points(200, n)[0]).median())
    return model


def linear_logits(n: int = 6, n_classes: int = 3, seed: int = 0) -> nn.Module:
    """A linear classifier with (B, C) logits."""
    g = torch.Generator().manual_seed(seed)
    layer = nn.Linear(n, n_classes)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(n_classes, n, generator=g))
        layer.bias.zero_()
    return nn.Sequential(nn.Flatten(), layer)


def busy_network(seed: int = 0) -> nn.Module:
    """Convolution, BatchNorm and dropout: everything an attack could disturb. Inputs (B, 1, 8, 8), 3 classes."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Flatten(),
            nn.Linear(256, 3),
        )


class RaisesAt(nn.Module):
    """A network that fails at its k-th forward pass."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.inner, self.k, self.calls = busy_network(), k, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == self.k:
            raise RuntimeError("failed half-way")
        return self.inner(x)


def images(n: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.rand(n, 1, 8, 8, generator=g), torch.randint(0, 3, (n,), generator=g)


def points(n: int = 40, d: int = 6, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Points in the box with labels -1 / +1, many of them on its faces."""
    g = torch.Generator().manual_seed(seed)
    x = (torch.rand(n, d, generator=g) * 1.6 - 0.3).clamp(0, 1)
    return x, 2 * torch.randint(0, 2, (n,), generator=g) - 1


def refused(call: Callable[[], object], *words: str) -> str:
    """The one printable line that a call refuses with, within seconds of processor time; the words stand in it."""
    start = time.process_time()
    with pytest.raises(BadRequest) as caught:
        call()
    assert time.process_time() - start < 20
    text = str(caught.value)
    assert text == one_line(text, 2_000)
    for word in words:
        assert word in text, text
    return text
