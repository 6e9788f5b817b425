"""The best of many iterates, compared in chunks, against `Best` step by step."""

import pytest
import torch

from cgro.definitions.attacks import Best
from cgro.definitions.attacks.trail import CHUNK, Trail
from cgro.definitions.losses import margin


@pytest.mark.parametrize("n_steps", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
@pytest.mark.parametrize("n_classes", [0, 3])
def test_chunks_find_what_a_comparison_at_every_step_finds(n_steps: int, n_classes: int) -> None:
    g = torch.Generator().manual_seed(n_steps)
    shape = (30, n_classes) if n_classes else (30,)
    y = torch.randint(0, 3, (30,), generator=g) if n_classes else torch.randint(0, 2, (30,), generator=g) * 2 - 1
    start = torch.rand(30, 2, generator=g)
    trail, best = Trail(start, y, first=7, n=n_steps), Best.nothing(start)
    for step in range(n_steps):
        points = torch.rand(30, 2, generator=g)
        if step == 0:
            points = start  # what is left where no margin is a number
        # Rounded, so that there are ties and zeros; NaN and infinities are among them.
        outputs = torch.randn(shape, generator=g).mul(2).round() + 1.0
        outputs.view(30, -1)[step % 5 :: 11] = torch.nan
        outputs.view(30, -1)[step % 7 :: 13, 0] = torch.inf
        trail.place().copy_(points)
        trail.add(outputs)
        best.update(points, margin(outputs, y), step=7 + step)
    found = trail.candidates()
    assert torch.equal(found.x, best.x)
    assert torch.equal(found.margins, best.margins)
    assert torch.equal(found.step, best.step)


def test_images_keep_their_layout() -> None:
    x = torch.rand(4, 3, 5, 5).contiguous(memory_format=torch.channels_last)
    trail = Trail(x, torch.ones(4), first=0, n=2)
    assert trail.place().copy_(x).is_contiguous(memory_format=torch.channels_last)
    trail.add(torch.ones(4))
    assert trail.candidates().x.is_contiguous(memory_format=torch.channels_last)


def test_a_chunk_that_is_over_is_not_written_on() -> None:
    """A network may have kept what it was given."""
    trail = Trail(torch.zeros(2, 1), torch.ones(2), first=0, n=CHUNK + 2)
    kept = []
    for step in range(CHUNK + 2):
        kept.append(trail.place().fill_(step))
        trail.add(torch.ones(2))
    assert [int(points[0, 0]) for points in kept] == list(range(CHUNK + 2))


def test_without_iterates_nothing_is_found() -> None:
    assert Trail(torch.zeros(2, 1), torch.ones(2), first=0, n=1).candidates().margins.isinf().all()


def test_outputs_that_a_network_writes_in_the_same_memory_are_kept_apart() -> None:
    """As a network does that was captured as a graph: all iterates had the outputs of the last one."""
    trail, outputs = Trail(torch.zeros(1, 1), torch.tensor([1]), first=0, n=3), torch.zeros(1)
    for value in (3.0, -2.0, 1.0):
        trail.place().fill_(value)
        trail.add(outputs.fill_(value))
    found = trail.candidates()
    assert (float(found.x), float(found.margins), int(found.step)) == (-2.0, -2.0, 1)
