"""APGD and targeted APGD against exact answers."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tests.cases import THREATS, LinearScore, busy_network, images, linear_logits, points
from tests.definitions.attack_cases import IDS, linear_truth
from torch import Tensor

from cgro.definitions import (
    APGD,
    PGD,
    Attack,
    AutoAttack,
    Ensemble,
    Evaluator,
    Square,
    TargetedAPGD,
    ThreatModel,
    margin,
    robust_error,
)
from cgro.definitions.attacks import SearchOptions, dropping
from cgro.definitions.attacks import evaluator as evaluators
from cgro.definitions.attacks.best import Best
from cgro.definitions.draws import Draws, draws_for


@pytest.mark.parametrize("threat", THREATS, ids=IDS)
def test_apgd_reaches_the_closed_form_on_linear_scores(threat: ThreatModel) -> None:
    model, (x, y) = LinearScore(), points(25)
    truth = linear_truth(model, x, y, threat)
    for attack in (APGD(threat), APGD(threat, loss="dlr"), TargetedAPGD(threat)):
        reached = margin(model(attack(model, x, y)), y).detach()
        torch.testing.assert_close(reached.double(), truth, atol=2e-5, rtol=0)


def test_apgd_beats_pgd_with_a_bad_step_where_ascent_needs_adapting() -> None:
    """A narrow valley: steps of fixed length jump over it, halved ones do not."""

    def model(v: Tensor) -> Tensor:
        return (100 * (v[:, 0] - 0.512)).abs() + (v[:, 1] - 0.47).abs() - 0.05

    x, y = torch.full((4, 2), 0.5), torch.ones(4, dtype=torch.long)
    threat = ThreatModel("inf", 0.1)
    assert robust_error(model, x, y, PGD(threat, n_steps=100, step_size=0.1, random_start=False)).wrong == 0
    assert robust_error(model, x, y, APGD(threat)).wrong == 4


def test_dlr_finds_what_a_confident_model_hides_from_cross_entropy() -> None:
    """Logits times 1e5: the gradient of cross-entropy is zero in float32, so its search never moves."""
    model, x = linear_logits(6, 3).eval(), points(60)[0]
    loud, y, threat = (lambda v: 1e5 * model(v)), model(x).argmax(1), ThreatModel("inf", 0.1, None)
    quiet = [robust_error(model, x, y, APGD(threat, loss="dlr")).wrong, robust_error(model, x, y, APGD(threat)).wrong]
    assert robust_error(loud, x, y, APGD(threat, loss="dlr")).wrong == quiet[0] == quiet[1]
    assert robust_error(loud, x, y, APGD(threat)).wrong < quiet[1]


def landscape() -> tuple[object, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    first, last = 3 * torch.randn(64, 64, generator=g), torch.randn(64, 5, generator=g)
    model = lambda v: torch.sin(v.flatten(1) @ first) @ last  # noqa: E731
    x = images(30)[0]
    return model, x, model(x).argmax(1)


@pytest.mark.parametrize(
    ("attack", "change"),
    [
        (APGD, {"n_steps": 5}),
        (APGD, {"loss": "dlr"}),
        (APGD, {"loss": "margin"}),
        (APGD, {"precision": "float32"}),
        (TargetedAPGD, {"n_targets": 1}),
        (Square, {"n_queries": 30}),
        (Square, {"first_share": 0.1}),
        (Square, {"precision": "float32"}),
    ],
)
def test_every_option_has_an_effect(attack: type[Attack], change: dict) -> None:
    model, x, y = landscape()
    size = {"precision": "bfloat16", "n_steps": 3}
    if attack is Square:
        size = {"precision": "bfloat16", "n_queries": 20}
    before = attack(ThreatModel("inf", 0.002), **size)
    assert not torch.equal(before(model, x, y), replace(before, **change)(model, x, y))


@pytest.mark.parametrize(
    "attack", [PGD(ThreatModel("inf", 0.05), n_steps=3), APGD(ThreatModel("inf", 0.05), n_steps=3)]
)
def test_restarts_find_lower_points_of_a_rugged_score_that_never_breaks(attack: Attack) -> None:
    rugged, x, _ = landscape()
    y = torch.ones(len(x), dtype=torch.long)
    model = lambda v: 100 + rugged(v)[:, 0]  # noqa: E731
    once, often = (model(replace(attack, n_restarts=r)(model, x, y)) for r in (1, 4))
    assert bool((often <= once).all())
    assert int((often < once).sum()) > 10


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda t: APGD(t, n_steps=0), "n_steps"),
        (lambda t: APGD(t, n_restarts=0), "n_restarts"),
        (lambda t: APGD(t, loss="ce2"), "one of default, dlr, margin"),
        (lambda t: TargetedAPGD(t, loss="dlr"), "which has its own"),
        (lambda t: TargetedAPGD(t, n_targets=0), "n_targets"),
        (lambda t: Square(t, n_queries=0), "n_queries"),
        (lambda t: Square(t, first_share=0.0), "share"),
        (lambda t: Ensemble(t, ()), "one or more"),
        (lambda t: Ensemble(t, (APGD(t), APGD(t))), "different names"),
        (lambda t: Ensemble(t, (APGD(t.at(0.05)),)), "all on"),
        (lambda t: AutoAttack(t, version="plus"), "standard"),
        (lambda t: AutoAttack(ThreatModel("inf", 0.1, None)), "ensemble"),
    ],
)
def test_bad_settings(make, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        make(ThreatModel("inf", 0.1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "attack",
    [
        APGD(THREATS[0], n_steps=3),
        TargetedAPGD(THREATS[0], n_steps=3),
        Square(THREATS[0], n_queries=3),
        AutoAttack(THREATS[0]),
    ],
    ids=lambda a: a.name,
)
def test_bad_models_are_refused_in_one_line(attack: Attack) -> None:
    x, y = images()
    cases = [(lambda v: v.flatten(1)[:, :1], y, "C >= 2"), (lambda v: v.flatten(1)[:, :3] * torch.nan, y, "NaN")]
    if isinstance(attack, APGD):
        cases.append((lambda v: v.flatten(1)[:, :3] + (v.flatten(1)[:, :3] * 0).sqrt(), y, "gradient"))
    if isinstance(attack, AutoAttack):
        cases.append((lambda v: v.flatten(1)[:, :3], y, "four or more classes.*ensemble"))
    for model, labels, words in cases:
        with pytest.raises(ValueError, match=words) as caught:
            attack(model, x, labels)
        assert "\n" not in str(caught.value)


def test_more_targets_than_classes_a_constant_model_and_radius_zero() -> None:
    x, y = images()
    with pytest.raises(ValueError, match="n_targets: expected at most the 2 wrong classes, got 3"):
        TargetedAPGD(THREATS[0], n_targets=3)(busy_network().eval(), x, y)
    constant = lambda v: v.flatten(1)[:, :3] * 0 + torch.tensor([1.0, 0.0, 0.0])  # noqa: E731
    for attack in (APGD(THREATS[0], n_steps=5), TargetedAPGD(THREATS[0], n_steps=5), Square(THREATS[0], n_queries=5)):
        assert robust_error(constant, x, y, attack).wrong == int((y != 0).sum())
        assert torch.equal(attack.at(0.0)(busy_network().eval(), x, y), x)


@pytest.mark.parametrize("n_targets", [None, 2])
def test_targets_are_counted_in_gradients(n_targets: int | None) -> None:
    seen: list[bool] = []
    classes = torch.cat([torch.ones(1), torch.zeros(10)])

    def model(v: Tensor) -> Tensor:
        seen.append(v.requires_grad)
        return v[:, :1] * torch.linspace(0, 0.1, 11) + 99 * classes

    attack = TargetedAPGD(ThreatModel("inf", 0.01), n_steps=3, n_targets=n_targets)
    attack(model, torch.rand(3, 4), torch.zeros(3, dtype=torch.long))
    assert sum(seen) == attack.n_gradients == 4 * (n_targets or 9)


@pytest.mark.parametrize("p", ["inf", 2, 1])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_starts_side_by_side_find_what_they_find_one_by_one(monkeypatch, p, precision: str) -> None:
    """Same verdict, same step, same point up to the rounding of other batch shapes."""
    model, x = busy_network().eval(), images(24)[0]
    y = model(x).argmax(1)
    threat = ThreatModel(p, {"inf": 0.02, 2: 0.25, 1: 1.5}[p])
    for attack in (
        TargetedAPGD(threat, n_steps=12, precision=precision),
        APGD(threat, loss="margin", n_steps=12, n_restarts=4, precision=precision),
    ):
        found = []
        for limit in (1, 10_000):
            monkeypatch.setattr(dropping, "SIDE_BY_SIDE", {"cpu": limit})
            found.append(attack.find(model, x, y, until_wrong=True))
        one_by_one, beside = found
        assert torch.equal(one_by_one.margins > 0, beside.margins > 0)
        assert 0 < int((beside.margins > 0).sum()) < 24
        if precision == "float32":
            assert torch.equal(one_by_one.step, beside.step)
            torch.testing.assert_close(one_by_one.margins, beside.margins, atol=1e-4, rtol=1e-3)
            assert float((one_by_one.x - beside.x).abs().flatten(1).amax(1).median()) < 1e-4


def test_rows_behind_a_wrong_one_are_left_alone_and_the_first_wrong_one_is_taken() -> None:
    """Three starts of two examples by hand: of the first the second start is wrong, then the third, lower, too."""
    x, y = torch.tensor([[0.5], [0.9]]), torch.tensor([1, 1])
    evaluator = Evaluator.begin(
        lambda v: v[:, 0] - 0.4, x, y, options=SearchOptions(until_wrong=True, dropping="exact")
    )
    beside = evaluator.side_by_side(3)
    points = torch.tensor([[0.45], [0.35], [0.5], [0.7], [0.6], [0.8]])
    beside.update(points, torch.arange(6))
    assert beside.shrunk().tolist() == [0, 3, 4, 5]
    beside.update(torch.where(points == 0.5, 0.1, points), 9)
    evaluator.take_from(beside)
    torch.testing.assert_close(evaluator.best.x, torch.tensor([[0.35], [0.6]]))
    assert evaluator.best.step.tolist() == [1, -1]


def test_what_bfloat16_cannot_tell_is_searched_in_float32(monkeypatch) -> None:
    """Where all that stands counts as too close, nothing is missed that float32 finds by the same starts."""
    model, x = busy_network().eval(), images(24)[0]
    y = model(x).argmax(1)
    threat = ThreatModel("inf", 0.02)
    index = torch.arange(24)

    def found(precision: str, **how) -> Best:
        attack = TargetedAPGD(threat, n_steps=12, precision=precision)
        return attack.find(model, x, y, generator=Draws.of(0, "a", index), until_wrong=True, **how)

    plain, exact = found("bfloat16"), found("float32")
    monkeypatch.setattr(evaluators, "rounding_margin", lambda outputs, by: 1e9 * outputs.abs().amax(1))
    closer = found("bfloat16")
    wrong = exact.margins <= 0
    assert 0 < int(wrong.sum()) < 24
    assert bool((closer.margins[wrong] <= 0).all())
    assert bool((closer.margins[~wrong] <= exact.margins[~wrong] + 1e-6).all())
    assert torch.equal(closer.step[plain.margins <= 0], plain.step[plain.margins <= 0])
    never = found("bfloat16", dropping="never")
    assert torch.equal(never.margins > 0, plain.margins > 0)


def test_too_close_to_tell() -> None:
    """Logits of 10 are known to 10 / 128 = 0.078 in bfloat16: margins 0.07 and 0.08, and one that is wrong."""
    model = lambda v: torch.stack([10 + 0 * v[:, 0], 10 - v[:, 0]], 1)  # noqa: E731
    x, y = torch.tensor([[0.08], [0.07], [-0.01]]), torch.zeros(3, dtype=torch.long)

    def begun(precision: str, *, until_wrong: bool, how: str) -> Evaluator:
        options = SearchOptions(until_wrong=until_wrong, dropping=how)
        return Evaluator.begin(model, x, y, precision=precision, options=options)

    for precision, until_wrong, how in (
        ("float32", True, "exact"),
        ("bfloat16", False, "exact"),
        ("bfloat16", True, "never"),
    ):
        assert begun(precision, until_wrong=until_wrong, how=how).too_close_to_tell() is None
    part, rows = begun("bfloat16", until_wrong=True, how="exact").too_close_to_tell()
    assert rows.tolist() == [1]
    assert not part.bfloat16
    assert torch.equal(part.x, x[1:2])
    assert part.best.margins.tolist() == pytest.approx([0.07], abs=1e-6)


Ask = Callable[[Tensor], tuple[float, Tensor]]  # a point -> its loss and gradient


def halving_by_hand(ask: Ask, threat: ThreatModel, center: Tensor, x: Tensor, n_steps: int) -> list[Tensor]:
    """Algorithm 1 of Croce and Hein (2020) on one example: the iterates, then the best of them and its gradient."""
    share = [0.0, 0.22]
    while share[-1] < 1:
        share.append(share[-1] + max(share[-1] - share[-2] - 0.03, 0.06))
    checkpoints = [math.ceil(round(p * n_steps, 9)) for p in share[1:]]
    size, before, iterates = 2 * threat.radius, x, [x]
    value, gradient = ask(x)
    top, top_x, top_gradient = value, x, gradient
    rises, last, last_top, halved = 1, 0, -math.inf, True
    for step in range(n_steps):
        if step in checkpoints:
            halved = rises < 0.75 * (step - last) or (not halved and top <= last_top)
            if halved:
                size, x, before, gradient = size / 2, top_x, top_x, top_gradient
            rises, last, last_top = 0, step, top
        z = threat.pull_in(x + size * threat.direction(gradient), center)
        if step:
            z = threat.pull_in(x + 0.75 * (z - x) + 0.25 * (x - before), center)
        before, x = x, z
        iterates.append(x)
        (new, gradient), old = ask(x), value
        rises, value = rises + (new > old), new
        if value > top:
            top, top_x, top_gradient = value, x, gradient
    return [*iterates, top_x, top_gradient]


def sparse_by_hand(ask: Ask, threat: ThreatModel, center: Tensor, x: Tensor, n_steps: int) -> list[Tensor]:
    """The same of Croce and Hein (2021), for p = 1, at one radius."""
    size, support = threat.radius, max(0.2 * x.numel(), 1.0)
    if bool((x != center).any()):
        support = max(min(support, int((x != center).sum()) / 1.5), 1.0)
    iterates, period = [x], math.ceil(0.04 * n_steps)
    value, gradient = ask(x)
    top, top_x, top_gradient = value, x, gradient
    for step in range(n_steps):
        if step and step % period == 0:
            now = max(int((top_x != center).sum()) / 1.5, 1.0)
            if now < 0.95 * support:
                size, x, gradient = threat.radius, top_x, top_gradient
            else:
                size = max(size / 1.5, 0.1 * threat.radius)
            support = now
        largest = gradient.abs().flatten().topk(int(support)).values[-1]
        chosen = gradient.sign() * (gradient.abs() >= largest)
        x = threat.project(x + size * chosen / chosen.abs().sum().clamp_min(1), center)
        iterates.append(x)
        value, gradient = ask(x)
        if value > top:
            top, top_x, top_gradient = value, x, gradient
    return [*iterates, top_x, top_gradient]


@pytest.mark.parametrize("n_steps", [1, 24, 60])
@pytest.mark.parametrize(("p", "radius"), [("inf", 0.3), (2, 0.8), (1, 2.0)])
def test_the_search_is_that_of_a_second_implementation(p: float | str, radius: float, n_steps: int) -> None:
    """Example by example and in float64, on a rugged score that never breaks: the lowest point is the same."""
    g = torch.Generator().manual_seed(2)
    first, last = (torch.randn(shape, generator=g, dtype=torch.float64) for shape in ((20, 30), (30,)))
    model = lambda v: 99 + torch.sin(3 * v @ first) @ last  # noqa: E731
    x = torch.rand(6, 20, generator=g, dtype=torch.float64)
    y = torch.ones(6, dtype=torch.long)
    threat = ThreatModel(p, radius)
    found = APGD(threat, loss="margin", n_steps=n_steps).find(model, x, y, generator=torch.Generator().manual_seed(4))
    draws = draws_for(torch.Generator().manual_seed(4), 6, x.device)
    stages = ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4)) if p == 1 else ((1.0, 1.0),)
    starts = threat.at(stages[0][0] * radius).sample(x, draws)

    def ask(v: Tensor) -> tuple[float, Tensor]:
        v = v.detach().requires_grad_()
        loss = -model(v).sum()
        return float(loss.detach()), torch.autograd.grad(loss, v)[0]

    by_hand = sparse_by_hand if p == 1 else halving_by_hand
    lowest: list[Tensor] = []
    for center, start in zip(x.split(1), starts.split(1), strict=True):
        done, until, points_seen = 0, 0.0, []
        for factor, share in stages:
            until += share
            wide, steps = threat.at(factor * radius), round(n_steps * until) - done
            *points_seen, start, gradient = by_hand(ask, wide, center, wide.project(start, center), steps)
            done += steps
        points_seen.append(center)
        if p != "inf":
            points_seen.append(threat.project(center + threat.steepest(gradient, center), center))
        lowest.append(model(torch.cat(points_seen)).amin())
    torch.testing.assert_close(found.margins, torch.stack(lowest), rtol=0, atol=1e-4)
    assert float((model(x) - found.margins).median()) > 0.5


@pytest.mark.parametrize("p", [1, 2])
def test_gradients_are_counted_at_every_radius(p: int) -> None:
    seen: list[bool] = []

    def model(v: Tensor) -> Tensor:
        seen.append(v.requires_grad)
        return 9 + v.sum(1)

    attack = APGD(ThreatModel(p, 0.01), n_steps=10, n_restarts=2)
    attack(model, torch.rand(3, 4), torch.ones(3, dtype=torch.long))
    assert sum(seen) == attack.n_gradients == 2 * (10 + {1: 3, 2: 1}[p])


@pytest.mark.parametrize("threat", THREATS, ids=IDS)
def test_a_score_without_slope_is_asked_at_finite_points_only(threat: ThreatModel) -> None:
    def flat(v: Tensor) -> Tensor:
        assert bool(v.isfinite().all())
        return 1 + 0 * v.sum(1)

    x = torch.rand(3, 6)
    for attack in (APGD(threat, n_steps=30), TargetedAPGD(threat, n_steps=30)):
        assert attack.find(flat, x, torch.ones(3, dtype=torch.long)).margins.tolist() == [1, 1, 1]


def test_the_steps_of_a_later_start_are_counted_on() -> None:
    """What the first start does not break, and a later one does, was broken after all steps of the first."""
    rugged, x, _ = landscape()
    y = torch.ones(len(x), dtype=torch.long)
    once, often = APGD(ThreatModel("inf", 0.05), n_steps=3), APGD(ThreatModel("inf", 0.05), n_steps=3, n_restarts=4)
    level = once.find(lambda v: rugged(v)[:, 0], x, y).margins.median()
    for until_wrong in (False, True):
        model = lambda v: rugged(v)[:, 0] - level + 1e-6  # noqa: E731
        first = once.find(model, x, y, until_wrong=until_wrong).step
        steps = often.find(model, x, y, until_wrong=until_wrong).step
        later = (first < 0) & (steps >= 0)
        assert 1 <= int(later.sum()) < len(x)
        assert bool((steps[later] >= 4).all())
        assert int(steps.max()) <= 15
        assert torch.equal(steps[first >= 0], first[first >= 0])
