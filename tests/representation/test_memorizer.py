"""Theorem 4.4, the network F: against its own expansion into layers and Lemma 4.5, and what it refuses."""

import pytest
import torch
from tests.representation.cases import VARIANTS, case, probes

from cgro._check import BadRequest
from cgro.bounds import evaluate
from cgro.definitions import ThreatModel, margin
from cgro.representation import RobustMemorizer, certify


@pytest.mark.parametrize("n_classes", [1, 3])
@pytest.mark.parametrize(("p", "variant"), VARIANTS)
def test_active_set_full_pass_and_expansion_are_one_function(p, variant, n_classes):
    m, x, _, g = case(p, variant, n_classes=n_classes)
    q = probes(m, x, g)
    full = torch.zeros(len(q), m.n_classes, dtype=torch.float64)
    full.index_add_(1, m.classes[m.supports.memorized], m.indicators(q))
    assert (m.memory(q) - full).abs().max() < 1e-12
    assert full.max() > 0.999
    assert (full.sum(1) == 0).any()
    expanded = evaluate(m.expand(), q)
    assert (m(q) - (expanded[:, 0] if n_classes == 1 else expanded)).abs().max() < 1e-9
    assert (m.to_sequential()(q) - expanded).abs().max() < 1e-12


def test_bad_requests_are_one_clear_line():
    m, x, y, _ = case("inf", "box")
    f = m.clean_model
    with pytest.raises(BadRequest, match=r"separation .*points \d+ and \d+"):
        RobustMemorizer(f, x, y, ThreatModel("inf", m.separation.max_radius))
    twice = torch.cat([x, x[:1]])
    with pytest.raises(BadRequest, match="points 0 and 12 are equal"):
        RobustMemorizer(f, twice, torch.cat([y, -y[:1]]), ThreatModel("inf", 0.001))
    with pytest.raises(BadRequest, match=r"values in \[0, 1\]"):
        RobustMemorizer(f, x + 0.5, y, ThreatModel("inf", 0.001))
    with pytest.raises(BadRequest, match="variant"):
        RobustMemorizer(f, x, y, ThreatModel("2", 0.001), variant="box")
    with pytest.raises(BadRequest, match="labels"):
        RobustMemorizer(f, x, (y + 1) // 2, ThreatModel("inf", 0.001))
    with pytest.raises(BadRequest, match="dense entries"):
        m.to_sequential(limit=1000)
    with pytest.raises(BadRequest, match="non-zeros"):
        m.expand(limit=100)


def test_points_and_labels_in_any_usual_form_make_the_same_network():
    m, x, y, g = case("inf", "box")
    q = probes(m, x, g)
    for given in (
        (x.clone().requires_grad_(), y),
        (x, y.to(torch.int8)),
        (x, y.numpy()),
        (x.float().numpy(), y.numpy()),
    ):
        found = RobustMemorizer(m.clean_model, *given, m.threat, variant="box")
        assert certify(found).holds
        assert torch.allclose(found(q), m(q), atol=1e-4)
    with pytest.raises(BadRequest, match="labels: expected a torch tensor, got a value of type list"):
        RobustMemorizer(m.clean_model, x, y.tolist(), m.threat)


def test_a_float32_point_on_the_edge_of_its_ball_is_answered_with_full_strength():
    m, x, y, _ = case("inf", "box", seed=2)
    edge = (x + m.threat.radius * torch.ones_like(x)).float().clamp(0, 1).double()
    assert (margin(m(edge), y) >= 1 - 1e-12).all()
    assert certify(m).holds
