"""Certificates against attacks, interval arithmetic, closed forms, a MILP solver, and planted faults."""

import math

import pytest
import torch
from tests.representation.test_memorizer import VARIANTS, case
from torch import nn

from cgro._check import BadRequest
from cgro.data import load
from cgro.definitions import PGD, ThreatModel, margin
from cgro.models import build
from cgro.models.head import Scores
from cgro.representation import (
    HardMemorizer,
    RobustMemorizer,
    bracket,
    broken_by,
    certified_margin,
    certified_robust,
    certify,
    interval_check,
    lower,
    separation,
    small_margin_points,
)
from cgro.representation.network import dense_layer
from cgro.training import train_clean_model


@pytest.fixture(scope="module")
def digits():
    data = load("digits", classes="3,8")
    model = train_clean_model(build("mlp", data.shape, 1, width=16, seed=0), data.train.x, data.train.y, epochs=30)
    return data, model


def pixel_case(p: str, n: int = 30, dim: int = 60, seed: int = 0, **more):
    g = torch.Generator().manual_seed(seed)
    x, y = torch.randint(0, 256, (n, dim), generator=g).to(torch.uint8), torch.arange(n) % 2 * 2 - 1
    radius = 0.45 * separation(x, y, p).value
    model = build("mlp", (dim,), 1, width=8, seed=seed).eval().requires_grad_(False)
    return RobustMemorizer(model, x, y, ThreatModel(p, radius), **more)


@pytest.mark.parametrize("n_classes", [1, 3])
@pytest.mark.parametrize(("p", "variant"), VARIANTS)
def test_no_attack_goes_below_the_certified_margin(p, variant, n_classes):
    m, x, y, _ = case(p, variant, n_classes=n_classes, seed=7)
    certificate = certify(m)
    assert certificate.holds
    assert certificate.min_margin == 1.0
    x_adv = PGD(m.threat, n_steps=40, n_restarts=3)(m, x, y)
    found = margin(m(x_adv), y) / (1 if n_classes == 1 else 2)
    assert (found >= certificate.margin - 1e-9).all()


@pytest.mark.parametrize("p", ["inf", "1", "2"])
def test_rationals_agree_with_floats_and_hold_close_to_half_the_separation(p):
    m = pixel_case(p)
    exact, rough = certify(m, exact=True), certify(m)
    assert exact.holds
    assert "exact rational" in exact.method
    assert exact.min_margin == rough.min_margin == 1.0
    edge = RobustMemorizer(m.clean_model, m.pixels, m.y, m.threat.at(0.4999 * m.separation.value))  # type: ignore[arg-type]
    assert certify(edge, exact=True).holds


@pytest.mark.parametrize("p", ["inf", "1", "2"])
def test_wide_ramps_are_certified_by_what_overlaps(p):
    """A': with a ramp too wide for A the margin falls, and an attack towards the other class confirms the direction."""
    m = pixel_case(p, n=12, dim=6)
    wide = RobustMemorizer(m.clean_model, m.pixels, m.y, m.threat, ramp=1.3 * float(m.ramp.max()) + m.threat.radius)  # type: ignore[arg-type]
    exact, rough = certify(wide, exact=True), certify(wide)
    assert "A'" in exact.method
    assert exact.min_margin < 1
    assert torch.allclose(exact.margin, rough.margin, atol=1e-6)
    assert (rough.margin <= exact.margin + 1e-12).all()
    x = wide.points(torch.arange(12)).float()
    found = margin(wide(PGD(wide.threat, n_steps=60, n_restarts=5)(wide, x, wide.y)), wide.y)
    assert (found.double() >= exact.margin - 1e-5).all()


@pytest.mark.parametrize("n_classes", [1, 3])
@pytest.mark.parametrize("variant", ["box", "compact"])
def test_interval_propagation_is_exactly_one_on_every_ball(variant, n_classes):
    m, *_ = case("inf", variant, n=20, dim=9, n_classes=n_classes, seed=1)
    assert (interval_check(m) == 1).all()


def test_interval_propagation_is_exactly_one_on_every_ball_of_real_digits(digits):
    data, model = digits
    m = RobustMemorizer(model, data.train.x[:60], data.train.y[:60], ThreatModel("inf", 0.1), variant="box")
    assert (interval_check(m) == 1).all()


def test_planted_faults_are_found_by_the_certificate():
    m = pixel_case("inf")
    assert not certify(m, threat=m.threat.at(1.2 * m.inner)).holds, "radius too large"
    m.y[4] *= -1
    m.classes[4] = 1 - m.classes[4]
    assert certify(m).holds, "still right about the label it was given"
    m.y[4] *= -1
    m.classes = (m.y + 1) // 2
    m.memorized = m.memorized.clone()
    m.memorized[4] = 5
    fault = certify(m)
    assert not fault.holds or fault.margin[4] < 1, "an indicator was dropped"


def test_milp_agrees_and_finds_planted_faults():
    pytest.importorskip("highspy")
    pytest.importorskip("onnxruntime")
    from cgro.representation.verify import verify_balls

    g = torch.Generator().manual_seed(0)
    x, y = torch.rand(10, 16, generator=g), torch.arange(10) % 2 * 2 - 1
    model = build("mlp", (16,), 1, width=4, seed=0).eval().requires_grad_(False)
    m = RobustMemorizer(model, x, y, ThreatModel("inf", 0.35 * separation(x, y, "inf").value))
    some, layers = torch.tensor([0, 3]), m.expand()
    good = verify_balls(m, some, layers=layers)
    assert good["agrees"]
    assert good["least"] == pytest.approx(1.0, abs=1e-7)
    assert good["n_binaries"] > 10, "the solver had something to decide"

    m.y = -m.y
    flipped = verify_balls(m, some, layers=layers)
    m.y = -m.y
    assert flipped["n_counterexamples"] == flipped["n_replayed"] == 2

    dropped = list(layers)
    bias = layers[1].bias.clone()
    bias[3 + _clean_width(m)] = -0.5  # the indicator of point 3 never answers
    dropped[1] = type(layers[1])(layers[1].weight, bias)
    wrong_there = int(y[3]) * float(model(x[3:4].float())) < 0
    found = verify_balls(m, torch.tensor([3]), layers=dropped)
    assert found["least"] < 1
    if wrong_there:
        assert found["n_replayed"] == 1

    large = verify_balls(m, some, threat=m.threat.at(0.75 * m.separation.value), layers=layers)
    assert large["n_counterexamples"] == large["n_replayed"] >= 1


def _clean_width(m: RobustMemorizer) -> int:
    """Rows of the clean branch before the indicators in the second layer."""
    return m.lowered_clean()[1].weight.shape[0]


def test_milp_on_l1_balls_gives_the_certified_one():
    pytest.importorskip("highspy")
    from cgro.representation.verify import verify_balls

    m, *_ = case("1", "lean", n=6, dim=5)
    assert verify_balls(m, torch.tensor([0, 1]))["least"] == pytest.approx(1.0, abs=1e-6)
    shared, *_ = case("2", "shared", n=6, dim=5)
    with pytest.raises(BadRequest, match="p = 1 or inf"):
        verify_balls(shared, torch.tensor([0]))


def test_exported_network_answers_as_torch_does(tmp_path):
    pytest.importorskip("onnxruntime")
    from cgro.representation.export import export, run_onnx, to_onnx, vnnlib

    m, x, _, _ = case("inf", "box", n_classes=3)
    outputs = run_onnx(to_onnx(m.expand()), x)
    assert (outputs - m(x)).abs().max() < 2e-5
    assert (run_onnx(to_onnx(m.expand(), double=True), x) - m(x)).abs().max() < 1e-12
    text = vnnlib(m, 0)
    assert text.count("declare-const X_") == 5
    assert text.count("(assert") == 11
    assert export(m, tmp_path, limit=3)["n_properties"] == 3


@pytest.mark.parametrize("n_classes", [1, 3])
@pytest.mark.parametrize("p", ["inf", "1", "2"])
def test_linear_relaxation_is_sound_and_exact_for_linear_networks(p, n_classes):
    g = torch.Generator().manual_seed(0)
    x = torch.rand(60, 6, generator=g)
    net = build("mlp", (6,), n_classes, width=16, seed=1).eval()
    threat = ThreatModel(p, {"inf": 0.05, "1": 0.2, "2": 0.1}[p])
    y = net(x).sign().long() if n_classes == 1 else net(x).argmax(1)
    bound = certified_margin(lower(net, (6,)), x, y, threat)
    x_adv = PGD(threat, n_steps=40, n_restarts=4)(net, x, y)
    gap = margin(net(x_adv), y).double() - bound
    assert gap.min() > -1e-6
    assert gap.mean() < 0.1 * margin(net(x), y).abs().mean()
    w = torch.randn(1 if n_classes == 1 else 3, 6, generator=g)
    rows = w * y[:, None] if n_classes == 1 else w[y] - w[(y + 1) % 3]
    truth = (rows * (x + threat.steepest(-rows, x))).sum(1)
    if n_classes == 1:
        assert torch.allclose(certified_margin([dense_layer(w)], x, y, threat).float(), truth, atol=1e-5)
    else:
        assert (certified_margin([dense_layer(w)], x, y, threat).float() <= truth + 1e-5).all()


def test_small_margin_points_alone_suffice(digits):
    data, model = digits
    x, y, threat = data.train.x, data.train.y, ThreatModel("inf", 0.02)
    whole = RobustMemorizer(model, x, y, threat)
    mask = small_margin_points(whole)
    assert 0 < int(mask.sum()) < len(y)
    few = RobustMemorizer(model, x, y, threat, memorize=mask)
    certificate = certify(few)
    assert certificate.holds
    assert certificate.method.startswith("A+B")
    assert few.parameters_of(measure=False).generic < whole.parameters_of(measure=False).generic
    x_adv = PGD(threat, n_steps=20)(few, x, y)
    assert (margin(few(x_adv), y).double() >= certificate.margin - 1e-6).all()
    dropped = RobustMemorizer(model, x, y, threat, memorize=torch.nonzero(mask).squeeze(1)[1:])
    assert not certify(dropped).holds, "one that was needed is missing"


def test_bracket_holds_and_shows_the_masked_gradient(digits):
    data, model = digits
    threat = ThreatModel("inf", 0.1)
    m = RobustMemorizer(model, data.train.x, data.train.y, threat)
    found = bracket(m, data.test.x, data.test.y)
    assert found.upper is not None
    assert found.naive.value <= found.lower.value <= found.upper.value
    assert found.transfer.value <= found.lower.value
    certified = certified_robust(m, data.test.x, data.test.y)
    assert int((~certified).sum()) == found.upper.wrong
    trained_on = certified_robust(m, data.train.x, data.train.y)
    assert trained_on.all(), "a training ball lies in its own core"
    broken = broken_by(m, data.train.x, data.train.y, n_restarts=1)
    assert not any(bool(b.any()) for b in broken.values())


def test_naive_pgd_is_blind_inside_a_support_and_the_joint_attack_is_not():
    """f_clean is right everywhere; x lies on the slope of a support of the other class, off f_clean's gradient."""
    x, y = torch.tensor([[0.2, 0.2], [0.8, 0.8]]), torch.tensor([-1, 1])
    flat = nn.Sequential(nn.Linear(2, 1), Scores()).eval().requires_grad_(False)
    flat[0].weight.zero_()  # type: ignore[union-attr]
    flat[0].bias.fill_(0.3)  # type: ignore[union-attr]
    m = RobustMemorizer(flat, x, y, ThreatModel("inf", 0.1))
    q, label = torch.tensor([[0.42, 0.2]]).expand(200, 2), torch.ones(200, dtype=torch.long)
    assert bool((margin(m(q), label) > 0).all())
    found = broken_by(m, q, label, n_steps=10, n_restarts=1)
    # Without a gradient PGD succeeds only where its random start lands on the slope, in less than half of the ball.
    assert int(found["naive"].sum()) < 0.6 * 200
    assert not bool(found["transfer"].any())
    assert bool(found["joint"].all())
    assert not bool(certified_robust(m, q[:1], label[:1]))


def test_covered_support_makes_f_s_robust_instead():
    """Item 7: on points that S covers, f_S has no robust error left."""
    m, x, y, _ = case("2", "shared")
    hard = HardMemorizer(m)
    x_adv = PGD(m.threat, n_steps=5)(m.clean_model, x, y)
    inside = m.threat.distance(x_adv, x) <= m.threat.radius
    assert (margin(hard(x_adv), y)[inside] > 0).all()


def test_certify_refuses_what_it_cannot_answer():
    m, *_ = case("inf", "box")
    with pytest.raises(BadRequest, match="pixels"):
        certify(m, exact=True)
    with pytest.raises(BadRequest, match="p = inf"):
        certify(m, threat=ThreatModel(2, 0.1))
    assert math.isinf(m.threat.p)
