"""BatchNorm over several processes is torch's over one: values, first and second gradients, running averages."""

import copy
from pathlib import Path

import pytest
import torch
from tests.ranks import run_ranks
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.ranks import ALONE, Ranks
from cgro.training.batch_norm import normalized, require_synchronizable, sum_over, synchronized
from cgro.training.part import Part, add_gradients


def toy(momentum: float | None) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        norm = nn.BatchNorm2d(4, momentum=momentum)
        return nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.Tanh(), nn.Flatten(), nn.Linear(144, 3)).double()


def batch(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    return torch.rand(n, 1, 8, 8, generator=generator, dtype=torch.float64), torch.arange(n) % 3


def losses(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Two passes, and a gradient in the input that is differentiated again."""
    point = x.clone().requires_grad_()
    first = nn.functional.cross_entropy(model(point), y, reduction="none")
    (gradient,) = torch.autograd.grad(first.sum(), point, create_graph=True)
    return (
        first + nn.functional.cross_entropy(model(0.5 * x), y, reduction="none") + gradient.flatten(1).square().sum(1)
    )


def is_torchs(ranks: Ranks, folder: Path) -> None:
    for n, momentum in ((9, 0.1), (9, None), (3, 0.1)):
        x, y = batch(n)
        part = Part.of(n, ranks)
        one = toy(momentum)
        several = copy.deepcopy(one)
        # The gradient in an example is that of the losses of all examples: as in one process.
        losses(one, x, y).mean().backward()
        with synchronized(several, part):
            assert isinstance(several[1], nn.BatchNorm2d)
            assert type(several[1]) is not nn.BatchNorm2d
            mine = losses(several, x[part.rows], y[part.rows]).sum() / (n * part.copies)
            mine.backward()
        assert type(several[1]) is nn.BatchNorm2d
        add_gradients(list(several.parameters()), mine, ranks)
        if part.copies == 1:  # copies: the inner gradient is that of one process's share of the sum
            for ours, theirs in zip(several.parameters(), one.parameters(), strict=True):
                torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)
        for ours, theirs in zip(several.buffers(), one.buffers(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [2, 4])
def test_it_is_torchs_over_all_examples(tmp_path: Path, size: int) -> None:
    run_ranks(size, "tests.training.test_batch_norm:is_torchs", tmp_path)


def test_in_one_process_it_is_torchs() -> None:
    is_torchs(ALONE, Path())
    values = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda v: sum_over(v**3, Part(n=2)), values)


def test_layers_of_other_kinds() -> None:
    class Own(nn.BatchNorm1d):
        pass

    require_synchronizable(nn.Sequential(nn.BatchNorm1d(2), nn.SyncBatchNorm(2), nn.LayerNorm(2)))
    with pytest.raises(BadRequest, match="torch's BatchNorm layers, got Own"):
        require_synchronizable(nn.Sequential(Own(2)))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        normalized(nn.BatchNorm1d(2), torch.zeros(1, 2), Part(n=1))
    plain = nn.BatchNorm1d(2, affine=False, track_running_stats=False)
    x = torch.rand(5, 2)
    torch.testing.assert_close(normalized(plain, x, Part(n=5)), plain(x))


def test_evaluation_mode_and_half_precision_stay() -> None:
    layer = nn.Sequential(nn.BatchNorm1d(2)).eval()
    x = torch.rand(5, 2)
    with synchronized(layer, Part(n=5)):
        assert torch.equal(layer(x), nn.BatchNorm1d(2).eval()(x))
        assert layer.train()(x.bfloat16()).dtype == torch.bfloat16
