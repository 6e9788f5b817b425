"""Small models with known answers, shared by the tests."""

import math

import torch
from torch import Tensor, nn

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
