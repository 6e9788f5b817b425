"""Memorizers on small data, and points to ask them about."""

import torch

from cgro.definitions import ThreatModel
from cgro.models import build
from cgro.representation import RobustMemorizer, separation

VARIANTS = [("inf", "box"), ("inf", "compact"), ("1", "lean"), ("2", "shared")]


def case(p: str, variant: str, *, n: int = 12, dim: int = 5, n_classes: int = 1, seed: int = 0, box=(0.0, 1.0)):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(n, dim, generator=g, dtype=torch.float64).clamp_min(1e-3)
    y = torch.arange(n) % 2 * 2 - 1 if n_classes == 1 else torch.arange(n) % n_classes
    radius = 0.4 * separation(x, y, p).value
    model = build("mlp", (dim,), n_classes, width=8, seed=seed).double().eval().requires_grad_(False)
    return RobustMemorizer(model, x, y, ThreatModel(p, radius, box), variant=variant), x, y, g


def probes(m: RobustMemorizer, x: torch.Tensor, g: torch.Generator, n: int = 300) -> torch.Tensor:
    """Points everywhere, and many in and around the balls."""
    near = x.repeat(20, 1)
    direction = torch.randn(near.shape, generator=g, dtype=torch.float64)
    direction /= torch.linalg.vector_norm(direction, ord=m.threat.p, dim=1, keepdim=True)
    near = near + direction * m.supports.inner * 2.5 * torch.rand(len(near), 1, generator=g, dtype=torch.float64)
    everywhere = torch.rand(n, x.shape[1], generator=g, dtype=torch.float64)
    return torch.cat([x, near, everywhere]).clamp(m.supports.low, m.supports.high)


def narrow(p: str, variant: str, radius: float, *, face: bool = False, n: int = 8, dim: int = 40) -> RobustMemorizer:
    """A network with a small radius, hence a narrow ramp, whose clean model says the wrong label everywhere on half."""
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (n, dim), generator=g).to(torch.uint8)
    if face:  # on the faces and one step from them
        x = torch.tensor([0, 1, 254, 255], dtype=torch.uint8)[torch.randint(0, 4, (n, dim), generator=g)]
    constant = torch.nn.Sequential(torch.nn.Linear(dim, 1), torch.nn.Flatten(0)).eval().requires_grad_(False)
    for parameter, value in zip(constant.parameters(), (0.0, 1.0), strict=True):
        parameter.fill_(value)
    return RobustMemorizer(constant, x, torch.arange(n) % 2 * 2 - 1, ThreatModel(p, radius), variant=variant)


def pixel_case(p: str, n: int = 30, dim: int = 60, seed: int = 0, **more):
    g = torch.Generator().manual_seed(seed)
    x, y = torch.randint(0, 256, (n, dim), generator=g).to(torch.uint8), torch.arange(n) % 2 * 2 - 1
    radius = 0.45 * separation(x, y, p).value
    model = build("mlp", (dim,), 1, width=8, seed=seed).eval().requires_grad_(False)
    return RobustMemorizer(model, x, y, ThreatModel(p, radius), **more)
