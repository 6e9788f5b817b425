"""The learning rate of whatever optimizer a trainer has."""

from types import SimpleNamespace

import pytest
import torch

from cgro.integrations._shared import rate_of


@pytest.mark.parametrize(("optimizer", "rate"), [
    (torch.optim.Adam([torch.zeros(1)], lr=torch.tensor(0.5)), 0.5), (None, None), (object(), None),
    (SimpleNamespace(param_groups=[]), None), (SimpleNamespace(param_groups=[{"momentum": 1}]), None),
])  # fmt: skip
def test_rates(optimizer, rate) -> None:
    assert rate_of(optimizer) == rate
