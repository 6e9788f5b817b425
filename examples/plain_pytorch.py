"""Adversarial training in a plain PyTorch loop, watched by three lines (marked). About ten seconds on a CPU.

python examples/plain_pytorch.py runs/plain
cgro report runs/plain --out plain.html
"""

import sys

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from cgro import Monitor  # 1
from cgro.data import load
from cgro.definitions import PGD, ThreatModel


def main(out: str = "runs/plain", epochs: int = 15) -> str:
    torch.manual_seed(0)
    digits = load("digits", n_train=300, n_test=200)  # any arrays, DataLoaders or Datasets of images in [0, 1]
    loader = DataLoader(TensorDataset(digits.train.x, digits.train.y), batch_size=50, shuffle=True)
    test = (digits.test.x, digits.test.y)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    threat = ThreatModel("inf", 0.1)
    attack = PGD(threat, n_steps=5)

    monitor = Monitor(train=loader, test=test, threat=threat, out=out)  # 2
    for epoch in range(epochs):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(attack(model, x, y)), y).backward()
            optimizer.step()
        monitor(model, epoch)  # 3
    return monitor.verdict().label


if __name__ == "__main__":
    main(*sys.argv[1:])
