"""A clean model on real digits, trained once."""

import pytest
from torch import nn

from cgro.data import Dataset, load
from cgro.models import build
from cgro.training import train_clean_model


@pytest.fixture(scope="session")
def digits() -> tuple[Dataset, nn.Module]:
    data = load("digits", classes="3,8")
    model = train_clean_model(build("mlp", data.shape, 1, width=16, seed=0), data.train.x, data.train.y, epochs=30)
    return data, model
