"""A subject that is measured in milliseconds."""

import torch
from torch import nn

from cgro.data import Dataset, Split
from cgro.definitions import PGD, Attack, ThreatModel, predict
from cgro.speed import Subject
from cgro.training import make_fabric


def subject(attack: Attack | None = None, *, n_outputs: int = 3) -> Subject:
    """Eight images of 4 pixels and a linear network, whose labels are right."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, n_outputs)).eval()
    if n_outputs == 1:
        model.append(nn.Flatten(0)).eval()
    x = torch.rand(8, 1, 2, 2)
    with torch.no_grad():
        y = predict(model(x))
    part = Split(x, y, torch.arange(8))
    data = Dataset("random", "", part, part.head(0), part, ("a", "b", "c"), n_outputs, "")
    attack = attack or PGD(ThreatModel("inf", 0.01), n_steps=2)
    return Subject(model, data, y, attack, PGD(ThreatModel("inf", 0.01), n_steps=3), 4, make_fabric("cpu"))
