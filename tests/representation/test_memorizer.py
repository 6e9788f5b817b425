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


@pytest.mark.parametrize("n_classes", [1, 3])
@pytest.mark.parametrize(("p", "variant"), VARIANTS)
def test_without_a_box_the_layers_are_the_function_everywhere(p, variant, n_classes):
    """Beyond the range of the data the layers' squares fell below the square, and far points answered."""
    m, x, _, g = case(p, variant, n_classes=n_classes, box=None)
    for spread in (0.3, 1.0, 30.0, 1e9):
        q = 0.5 + spread * torch.randn(400, x.shape[1], generator=g, dtype=torch.float64)
        expanded = evaluate(m.expand(), q)
        found = m(q).view(expanded.shape)
        assert ((found - expanded).abs() <= 1e-9 * (1 + expanded.abs())).all()
        # Away from the supports the prediction is that of the clean model, whatever the scale of its logits.
        away = (torch.cdist(q, x, p=m.threat.p) >= m.supports.reach).all(1)
        assert away.sum() > 50
        clean = m.clean_model(q)
        if n_classes == 1:
            assert torch.equal(expanded[away, 0] > 0, clean[away] > 0)
        else:
            assert torch.equal(expanded[away].argmax(1), clean[away].argmax(1))


def test_one_coordinate_far_below_the_data_is_no_memory():
    """p = 1, D = 1: the sum of the coordinates was cut at 0 there, and the least point answered for all that is below."""
    x, y = torch.tensor([[0.2], [0.8]], dtype=torch.float64), torch.tensor([1, -1])
    clean = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Flatten(0)).double().eval().requires_grad_(False)
    for parameter, value in zip(clean.parameters(), (0.0, -0.5), strict=True):
        parameter.fill_(value)
    m = RobustMemorizer(clean, x, y, ThreatModel(1, 0.1, None))
    q = torch.tensor([[-5.0], [0.05], [0.2], [5.0]], dtype=torch.float64)
    assert m(q)[[0, 2, 3]].tolist() == [-0.5, 1.0, -0.5]
    assert evaluate(m.expand(), q)[:, 0] == pytest.approx(m(q), abs=1e-12)


@pytest.mark.parametrize(("p", "variant"), VARIANTS)
def test_an_empty_set_of_points_to_memorize_leaves_the_clean_model(p, variant):
    m, x, y, g = case(p, variant)
    q = probes(m, x, g)
    for box in ((0.0, 1.0), None):
        threat = ThreatModel(p, m.threat.radius, box)
        for memorize in ([], torch.zeros(0), torch.zeros(12, dtype=torch.bool)):
            none = RobustMemorizer(m.clean_model, x, y, threat, variant=variant, memorize=memorize)
            assert none.n_memorized == 0
            assert torch.equal(none(q), m.clean_model(q).clamp(-1, 1))
            assert evaluate(none.expand(), q)[:, 0] == pytest.approx(none(q), abs=1e-12)
            assert none.indicators(q).shape == (len(q), 0)
            assert certify(none).n_memorized == 0


def test_points_to_memorize_in_any_usual_form_are_the_same_network():
    m, x, y, g = case("inf", "box")
    q = probes(m, x, g)
    mask = torch.arange(12) % 3 == 0
    expected = RobustMemorizer(m.clean_model, x, y, m.threat, memorize=mask)
    for memorize in ([9, 0, 6, 3], mask.numpy(), mask.tolist(), torch.tensor([0, 3, 6, 9], dtype=torch.uint8)):
        found = RobustMemorizer(m.clean_model, x, y, m.threat, memorize=memorize)
        assert found.supports.memorized.tolist() == [0, 3, 6, 9]
        assert torch.equal(found(q), expected(q))


@pytest.mark.parametrize(
    "memorize",
    [
        torch.ones(5, dtype=torch.bool),
        torch.ones(13, dtype=torch.bool),
        torch.zeros(0, dtype=torch.bool),
        torch.tensor([0.7, 1.9]),
        torch.tensor([[0, 1]]),
        torch.tensor(3),
        [0, 12],
        [-1, 0],
        [2, 2],
        ["a"],
        "all",
        [[0], [1, 2]],
    ],
)
def test_points_to_memorize_that_are_not_of_the_data_are_refused(memorize):
    m, x, y, _ = case("inf", "box")
    with pytest.raises(BadRequest, match=r"memorize: expected different positions in 0 .. 11, or 12 booleans, got"):
        RobustMemorizer(m.clean_model, x, y, m.threat, memorize=memorize)


def test_an_empty_batch_has_no_indicators():
    m, x, *_ = case("inf", "box")
    assert m.indicators(x[:0]).shape == (0, 12)
    assert m(x[:0]).shape == (0,)
