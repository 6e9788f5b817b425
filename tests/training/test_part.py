"""The part of a batch: contiguous, as many pieces in all processes, and sums. With processes: `test_together`."""

import pytest
import torch
from torch import nn

from cgro.ranks import ALONE, Ranks
from cgro.training.part import Part, add_gradients, average_statistics, require_same_weights, statistics_of


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_parts_cover_a_batch_and_have_as_many_pieces(size: int) -> None:
    for n in range(1, 30):
        parts = [Part.of(n, Ranks(size, k)) for k in range(size)]
        assert len({part.pieces(3) for part in parts}) == 1
        rows = [list(range(n))[part.rows] for part in parts]
        if parts[0].copies > 1:
            assert rows == [list(range(n))] * size
            continue
        assert [place for piece in rows for place in piece] == list(range(n))
        assert [part.first for part in parts] == [part.rows.start for part in parts]
        assert size == 1 or min(map(len, rows)) >= 2


def test_alone_everything_stays() -> None:
    values = torch.tensor([1.0, 2.0])
    assert Part(n=2).add(values) is values
    weight = nn.Parameter(torch.ones(2))
    loss = torch.tensor(3.0)
    assert add_gradients([weight], loss, ALONE) is loss
    assert weight.grad is None
    norm = nn.BatchNorm1d(2)
    average_statistics(norm, Part(n=2))
    assert len(statistics_of(nn.Sequential(norm, nn.BatchNorm1d(2, track_running_stats=False)))) == 2
    require_same_weights([values], ALONE)
