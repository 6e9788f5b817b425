"""A loop with Accelerate, in bfloat16, watched in float32. Needs `pip install 'cgro[integrations]'`.

    accelerate launch examples/accelerate_loop.py runs/accelerate

Every process calls the monitor; on several, they share the evaluation.
"""

import sys

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from cgro import Monitor
from cgro.data import load
from cgro.definitions import ThreatModel


def main(out: str = "runs/accelerate", epochs: int = 12) -> str:
    accelerator = Accelerator(mixed_precision="bf16", cpu=not torch.cuda.is_available())
    torch.manual_seed(0)
    digits = load("digits", n_train=300, n_test=200)
    loader = DataLoader(TensorDataset(digits.train.x, digits.train.y), batch_size=50, shuffle=True)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    monitor = Monitor(train=loader, test=(digits.test.x, digits.test.y), threat=ThreatModel("inf", 0.1), out=out)
    model, optimizer, batches = accelerator.prepare(model, optimizer, loader)
    for epoch in range(epochs):
        model.train()
        for x, y in batches:
            optimizer.zero_grad()
            accelerator.backward(F.cross_entropy(model(x), y))
            optimizer.step()
        monitor(model, epoch)
    found = monitor.verdict()
    return found.label if found else ""


if __name__ == "__main__":
    main(*sys.argv[1:])
