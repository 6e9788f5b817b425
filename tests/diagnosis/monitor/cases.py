"""Small loops that a monitor watches, shared by its tests."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tests.cases import busy_network
from tests.definitions.attack_cases import same, state_of
from torch import Tensor, nn

from cgro import Monitor
from cgro.definitions import ThreatModel

THREAT = ThreatModel("inf", 0.1)
Pair = tuple[Tensor, Tensor]


def blobs(n: int, seed: int = 0) -> Pair:
    """Three classes of 8x8 images, each with a bright corner: (n, 1, 8, 8) in [0, 1]."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (n,), generator=g)
    x = 0.6 * torch.rand(n, 1, 8, 8, generator=g)
    for k, rows in enumerate((slice(0, 3), slice(3, 6), slice(5, 8))):
        x[y == k, :, rows, :3] += 0.4
    return x, y


TRAIN, TEST = blobs(60), blobs(40, seed=1)


def monitor_in(out: Path, **options: object) -> Monitor:
    chosen: dict = {"train": TRAIN, "test": TEST, "threat": THREAT, "attack": "pgd2", "out": out, **options}
    return Monitor(**chosen)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int) -> None:
    """One epoch; its order comes from the epoch, so that a loop may be taken up anywhere."""
    model.train()
    order = torch.randperm(len(TRAIN[0]), generator=torch.Generator().manual_seed(epoch))
    for rows in order.split(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(TRAIN[0][rows]), TRAIN[1][rows]).backward()
        optimizer.step()


def loop(monitor: Callable[[nn.Module, int], object] | None, epochs: int) -> nn.Module:
    """A plain training of a network with BatchNorm and dropout, watched or not."""
    torch.manual_seed(0)
    model = busy_network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for epoch in range(epochs):
        train(model, optimizer, epoch)
        if monitor is not None:
            monitor(model, epoch)
    return model


def errors_in(row: dict) -> dict:
    """A row without its times."""
    return {key: value for key, value in row.items() if "seconds" not in key}


def whole_state(model: nn.Module) -> dict[str, object]:
    """Of the network and of the process: what an evaluation in a loop must leave as it is."""
    return {
        **state_of(model),
        "names of buffers": list(dict(model.named_buffers())),
        "identities": [id(tensor) for tensor in (*model.parameters(), *model.buffers())],
        "versions": [tensor._version for tensor in (*model.parameters(), *model.buffers())],
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "python": random.getstate(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "gradients enabled": torch.is_grad_enabled(),
        "default dtype": torch.get_default_dtype(),
        "attributes": {name: sorted(vars(module)) for name, module in model.named_modules()},
    }


def is_left_alone(model: nn.Module, call: Callable[[], object]) -> bool:
    before = whole_state(model)
    try:
        call()
    except RuntimeError as error:
        assert "half-way" in str(error)
    return same(before, whole_state(model))
