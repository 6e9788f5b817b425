"""The ascents of Auto-PGD, step by step; whole searches are compared with a second implementation in test_apgd.py."""

import pytest
import torch

from cgro.definitions import ThreatModel
from cgro.definitions.attacks.ascents import Ascent, Halving, Sparse, checkpoints


def begun(p: float, n_steps: int = 20) -> Ascent:
    center = torch.full((3, 4), 0.5)
    kind = Sparse if p == 1 else Halving
    return kind(ThreatModel(p, 0.2), center, center.clone(), n_steps)


@pytest.mark.parametrize("n_steps", [1, 2, 5, 20, 100, 1000])
def test_checkpoints_come_in_order_within_the_search(n_steps: int) -> None:
    found = list(checkpoints(n_steps))
    assert found == sorted(found)
    assert all(0 < step <= n_steps for step in found)


@pytest.mark.parametrize("p", [1, 2, float("inf")])
def test_steps_stay_in_ball_and_box_and_climb_a_linear_loss(p: float) -> None:
    slope = torch.tensor([1.0, -2.0, 0.5, 3.0]).expand(3, 4)
    ascent = begun(p)
    for step in range(20):
        ascent.observe((ascent.x * slope).sum(1), slope)
        ascent.review(step)
        ascent.advance(step)
        assert bool(ascent.threat.contains(ascent.x, ascent.center).all())
    # The most that a linear loss rises in the ball is the radius times the dual norm.
    best = 0.2 * torch.linalg.vector_norm(slope[0], {1: float("inf"), 2: 2, float("inf"): 1}[p])
    rise = ascent.top_value - (ascent.center * slope).sum(1)
    torch.testing.assert_close(rise, best.expand(3), rtol=0.02, atol=0)


def test_an_ascent_goes_on_from_its_best_iterate_where_it_is_told_and_forgets_who_leaves() -> None:
    ascent = begun(2)
    ascent.observe(torch.tensor([3.0, 3.0, 3.0]), torch.ones(3, 4))
    first = ascent.x
    ascent.advance(0)
    ascent.observe(torch.tensor([1.0, 1.0, 5.0]), torch.ones(3, 4))
    second = ascent.x
    ascent.back_to_top(torch.tensor([True, False, True]))
    assert torch.equal(ascent.x[0], first[0])
    assert torch.equal(ascent.x[1:], second[1:])
    ascent.keep(torch.tensor([2]))
    assert ascent.top_value.tolist() == [5.0]
    assert {len(value) for value in vars(ascent).values() if isinstance(value, torch.Tensor)} == {1}


@pytest.mark.parametrize("p", [2, float("inf")])
def test_a_step_that_does_not_help_is_halved_at_the_first_checkpoint(p: float) -> None:
    ascent = begun(p)
    assert isinstance(ascent, Halving)
    first = next(iter(checkpoints(20)))
    for step in range(first + 1):
        ascent.observe(torch.zeros(3) - step, torch.ones(3, 4))  # the loss only falls
        ascent.review(step)
        assert ascent.size.tolist() == pytest.approx([0.4 if step < first else 0.2] * 3)
        ascent.advance(step)
