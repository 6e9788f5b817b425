"""The network against Lemma 4.5's hard indicators, its own expansion, and the textbook construction."""

import math

import pytest
import torch
from torch import nn

from cgro._check import BadRequest
from cgro.definitions import ThreatModel, margin
from cgro.models import build
from cgro.representation import HardMemorizer, RobustMemorizer, certify, lower, separation
from cgro.representation.indicators import LAYERS, Balls, generic_count, sawtooth_error, sawtooth_excess
from cgro.representation.network import dense_layer, evaluate, sparse_layer

VARIANTS = [("inf", "box"), ("inf", "compact"), ("1", "lean"), ("2", "shared")]


def case(p: str, variant: str, *, n: int = 12, dim: int = 5, n_classes: int = 1, seed: int = 0, box=(0.0, 1.0)):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(n, dim, generator=g, dtype=torch.float64).clamp_min(1e-3)
    y = torch.arange(n) % 2 * 2 - 1 if n_classes == 1 else torch.arange(n) % n_classes
    radius = 0.4 * separation(x, y, p).value
    model = build("mlp", (dim,), n_classes, width=8, seed=seed).double().eval().requires_grad_(False)
    return RobustMemorizer(model, x, y, ThreatModel(p, radius, box), variant=variant), x, y, g


def probes(m: RobustMemorizer, x: torch.Tensor, g: torch.Generator, n: int = 300) -> torch.Tensor:
    """Points everywhere, and many in and around the balls."""
    near = x.repeat(20, 1)
    direction = torch.randn(near.shape, generator=g, dtype=torch.float64)
    direction /= torch.linalg.vector_norm(direction, ord=m.threat.p, dim=1, keepdim=True)
    near = near + direction * m.inner * 2.5 * torch.rand(len(near), 1, generator=g, dtype=torch.float64)
    everywhere = torch.rand(n, x.shape[1], generator=g, dtype=torch.float64)
    return torch.cat([x, near, everywhere]).clamp(m.low, m.high)


@pytest.mark.parametrize("n_classes", [1, 3])
@pytest.mark.parametrize(("p", "variant"), VARIANTS)
def test_active_set_full_pass_and_expansion_are_one_function(p, variant, n_classes):
    m, x, _, g = case(p, variant, n_classes=n_classes)
    q = probes(m, x, g)
    full = torch.zeros(len(q), m.n_classes, dtype=torch.float64)
    full.index_add_(1, m.classes[m.memorized], m.indicators(q))
    assert (m.memory(q) - full).abs().max() < 1e-12
    assert full.max() > 0.999
    assert (full.sum(1) == 0).any()
    expanded = evaluate(m.expand(), q)
    assert (m(q) - (expanded[:, 0] if n_classes == 1 else expanded)).abs().max() < 1e-9
    assert (m.to_sequential()(q) - expanded).abs().max() < 1e-12


@pytest.mark.parametrize("n_classes", [1, 3])
@pytest.mark.parametrize(("p", "variant"), VARIANTS)
def test_outside_the_shells_it_answers_as_the_lemma_does(p, variant, n_classes):
    m, x, _, g = case(p, variant, n_classes=n_classes, seed=3)
    q = probes(m, x, g)
    d = torch.cdist(q, x, p=m.threat.p)
    shell = ((d > m.inner) & (d < m.reach)).any(1)
    hard, soft = HardMemorizer(m, m.inner)(q), m(q)
    same = hard.sign() == soft.sign() if n_classes == 1 else hard.argmax(1) == soft.argmax(1)
    assert same[~shell].all()
    assert shell.any()
    assert (d < m.inner).any()


@pytest.mark.parametrize(("p", "variant"), VARIANTS)
def test_indicator_is_one_on_the_ball_and_zero_beyond_the_ramp(p, variant):
    m, x, _, g = case(p, variant, seed=5)
    q = probes(m, x, g, n=0)
    d, ind = torch.cdist(q, x, p=m.threat.p), m.indicators(q)
    assert (ind[d <= m.inner] == 1).all()
    assert (ind[d >= m.reach.expand_as(d)] == 0).all()


def test_sawtooth_is_above_the_square_by_at_most_its_stated_error():
    x = torch.linspace(-0.3, 1.7, 4001, dtype=torch.float64)[:, None]
    for depth in (1, 2, 5, 9):
        excess = sawtooth_excess(x, -0.3, 1.7, depth)
        assert excess.min() > -1e-14
        bound = sawtooth_error(1, -0.3, 1.7, depth)
        assert 0.98 * bound < excess.max() <= bound * (1 + 1e-12)


def tree_layers(b: Balls) -> list:
    """The textbook construction: |x_j - x_ij| by two ReLUs, a tournament max(a, b) = ReLU(a - b) + ReLU(b)."""
    n, dim = b.centers.shape
    assert dim & (dim - 1) == 0, "powers of two"
    eye, flat = torch.eye(dim, dtype=torch.float64), b.centers.flatten()
    first = dense_layer(torch.cat([eye.repeat(n, 1), -eye.repeat(n, 1)]), torch.cat([-flat, flat]))
    both = torch.eye(n * dim, dtype=torch.float64)
    layers, carry = [first], torch.cat([both, both], 1)
    width = n * dim
    while width > n:
        pairs = torch.zeros(width, width, dtype=torch.float64)
        for k in range(width // 2):
            pairs[2 * k, 2 * k], pairs[2 * k, 2 * k + 1], pairs[2 * k + 1, 2 * k + 1] = 1, -1, 1
        layers.append(dense_layer(pairs @ carry))
        carry = torch.zeros(width // 2, width, dtype=torch.float64)
        for k in range(width // 2):
            carry[k, 2 * k] = carry[k, 2 * k + 1] = 1
        width //= 2
    layers.append(dense_layer(carry, torch.full((n,), -b.inner, dtype=torch.float64)))
    each = torch.arange(n)
    layers.append(sparse_layer(each, each, -1 / b.gap, torch.ones(n, dtype=torch.float64), n))
    return layers


def test_textbook_tree_has_the_same_core_and_more_parameters():
    m, x, _, g = case("inf", "box", n=6, dim=8)
    q = probes(m, x, g)
    tree, box = (evaluate(layers(m.balls()), q).clamp_min(0) for layers in (tree_layers, LAYERS["box"]))
    d = torch.cdist(q, x, p=math.inf)
    expected = (1 - (d - m.inner).clamp_min(0) / m.gap).clamp_min(0)
    assert (tree - expected).abs().max() < 1e-9
    assert ((box > 0) <= (tree > 0)).all(), "the l_1 distance to the cube is at least the l_inf one"
    n_tree = sum(layer.n_nonzero for layer in tree_layers(m.balls()))
    assert generic_count("box", 6, 8) < n_tree


def test_formula_equals_the_measured_non_zeros_in_a_hundred_cases_and_more():
    n_cases = 0
    for seed in range(9):
        for p, variant in VARIANTS:
            for n_classes in (1, 3):
                for box in ((0.0, 1.0), None):
                    m, *_ = case(
                        p, variant, n=4 + 3 * seed, dim=2 + (5 * seed) % 11, n_classes=n_classes, seed=seed, box=box
                    )
                    count = m.parameters_of()
                    assert count.total == count.formula, (p, variant, n_classes, box, seed)
                    n_cases += 1
    assert n_cases >= 100


@pytest.mark.parametrize(("p", "variant"), VARIANTS)
def test_formula_predicts_the_zeros_of_pixels(p, variant):
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (10, 40), generator=g) * (torch.rand(10, 40, generator=g) < 0.3)
    y = torch.arange(10) % 2 * 2 - 1
    radius = 0.3 * separation(x.to(torch.uint8), y, p).value
    m = RobustMemorizer(build("mlp", (40,), 1).eval(), x.to(torch.uint8), y, ThreatModel(p, radius), variant=variant)
    count = m.parameters_of()
    assert count.total == count.formula
    if variant in ("lean", "shared"):
        branch = sum(a.n_nonzero for a in LAYERS[variant](m.balls()))
        assert branch == count.generic - int((x == 0).sum())


def test_shared_has_no_logarithm_on_nd():
    one, more = (generic_count("shared", n, 784, 9) for n in (1000, 100_000))
    assert more - one == 99_000 * (784 + 4)


def test_lowering_equals_the_module_and_refuses_by_name():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(3, 2, 3, stride=2),
            nn.ReLU(), nn.Flatten(), nn.Linear(18, 3),
        )  # fmt: skip
    bn = net[1]
    assert isinstance(bn, nn.BatchNorm2d)
    bn.running_mean, bn.running_var = torch.tensor([0.1, -0.2, 0.3]), torch.tensor([0.5, 2.0, 1.0])
    net = net.double().eval()
    x = torch.rand(7, 1, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        assert (evaluate(lower(net, (1, 16, 16)), x.flatten(1)) - net(x)).abs().max() < 1e-12
    with pytest.raises(BadRequest, match="MaxPool2d"):
        lower(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()).eval(), (1, 8, 8))
    with pytest.raises(BadRequest, match="eval"):
        lower(net.train(), (1, 16, 16))


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


def test_a_float32_point_on_the_edge_of_its_ball_is_answered_with_full_strength():
    m, x, y, _ = case("inf", "box", seed=2)
    edge = (x + m.threat.radius * torch.ones_like(x)).float().clamp(0, 1).double()
    assert (margin(m(edge), y) >= 1 - 1e-12).all()
    assert certify(m).holds
