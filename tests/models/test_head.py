"""The last layer."""

import pytest
import torch
from torch import nn

from cgro.models.head import Scores, head


@pytest.mark.parametrize("bias", [True, False])
def test_scores_are_one_number_per_example(bias: bool) -> None:
    x = torch.randn(4, 3)
    for n_outputs, shape in ((1, (4,)), (2, (4, 2)), (5, (4, 5))):
        layers = head(3, n_outputs, bias=bias)
        last = layers[0]
        assert isinstance(last, nn.Linear)
        assert (last.bias is not None) == bias
        out = nn.Sequential(*layers)(x)
        assert out.shape == shape
        assert torch.equal(out.reshape(4, n_outputs), last(x))


def test_one_example_keeps_its_axis() -> None:
    assert Scores()(torch.zeros(1, 1)).shape == (1,)
