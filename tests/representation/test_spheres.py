"""Points of balls lie in ball and box and reach the sphere; margins follow the labels."""

import pytest
import torch
from tests.representation.cases import VARIANTS, case, narrow

from cgro.representation import certify
from cgro.representation.spheres import ball_points, label_margin, replay_balls


@pytest.mark.parametrize(("p", "variant"), VARIANTS)
def test_points_lie_in_ball_and_box_and_reach_the_sphere(p, variant):
    m = narrow(p, variant, 0.05)
    points = ball_points(m, 3, 64, torch.Generator().manual_seed(1))
    center = m.points(torch.tensor([3]))
    assert points.shape == (64, m.dim)
    assert torch.equal(points[:1], center)
    assert bool(((points >= 0) & (points <= 1)).all())
    distance = torch.linalg.vector_norm(points - center, ord=m.threat.p, dim=1)
    assert float(distance.max()) == pytest.approx(0.05, rel=1e-12)
    assert int((distance > 0.0499).sum()) > 10
    assert len(points.unique(dim=0)) == 64


def test_the_box_is_left_out_where_there_is_none():
    m, *_ = case("inf", "box", box=None)
    points = ball_points(m, 0, 40, torch.Generator().manual_seed(1)) - m.points(torch.tensor([0]))
    assert points[4:].abs().amax(1).allclose(torch.tensor(m.threat.radius, dtype=torch.float64))


def test_margin_of_scores_and_of_logits():
    m, *_ = case("inf", "box")
    assert label_margin(m, torch.tensor([0, 1]), torch.tensor([[-2.0], [0.5]])).tolist() == [2.0, 0.5]
    m, *_ = case("inf", "box", n_classes=3)
    outputs = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]])
    assert label_margin(m, torch.tensor([0, 1]), outputs).tolist() == [0.5, -1.0]


def test_a_network_that_falls_short_anywhere_does_not_agree():
    m, *_ = case("2", "shared")
    positions = torch.arange(3)
    certificate = certify(m)
    labels = m.y[positions].repeat_interleave(10)[:, None].double()

    def short_at_one_point(x: torch.Tensor) -> torch.Tensor:
        outputs = labels.clone()
        outputs[17] *= 0.5
        return outputs

    found = replay_balls(m, positions, certificate, short_at_one_point, n_points=10)
    assert (found.n, found.n_points, found.found, found.claimed, found.agrees) == (3, 30, 0.5, 1.0, False)
    assert found.max_difference == pytest.approx(0.5)
    assert replay_balls(m, positions, certificate, lambda _: labels, n_points=10).agrees
