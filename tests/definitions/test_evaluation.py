"""survey: the same answers in any batch and after any interruption, and exact bookkeeping."""

from dataclasses import dataclass, replace

import pytest
import torch
from tests.cases import busy_network, images, linear_logits
from torch import Tensor

from cgro.definitions import (
    APGD,
    PGD,
    Attack,
    Ensemble,
    Record,
    Square,
    TargetedAPGD,
    ThreatModel,
    margin,
    robust_error,
    survey,
    survey_series,
)
from cgro.definitions.evaluation import series_visits

THREAT = ThreatModel("inf", 0.02)
PARTS = (
    PGD(THREAT, n_steps=2, n_restarts=2),
    APGD(THREAT, n_steps=10),
    TargetedAPGD(THREAT, n_steps=6),
    Square(THREAT, n_queries=30),
)
TOGETHER = Ensemble(THREAT, PARTS)


def case(n: int = 60) -> tuple[torch.nn.Module, Tensor, Tensor]:
    model = busy_network().eval()
    x = images(n)[0]
    y = model(x).argmax(1)
    y[:3] = (y[:3] + 1) % 3
    return model, x, y


def same(a: Record, b: Record) -> bool:
    exact = all(torch.equal(getattr(a, k), getattr(b, k)) for k in ("by", "step", "tried", "index"))
    return exact and torch.allclose(a.x_adv, b.x_adv, atol=1e-6) and torch.allclose(a.margin, b.margin, atol=1e-5)


def test_the_batch_changes_nothing() -> None:
    model, x, y = case(25)
    records = [survey(model, x, y, TOGETHER, batch=b) for b in (25, 7, 1)]
    assert 5 < int(records[0].wrong.sum()) < 23
    assert same(records[0], records[1])
    assert same(records[0], records[2])


def test_a_part_of_the_examples_gives_that_part_of_the_answer() -> None:
    model, x, y = case()
    rows = torch.arange(0, 60, 7)
    whole, part = survey(model, x, y, TOGETHER), survey(model, x[rows], y[rows], TOGETHER, index=rows)
    assert torch.equal(part.by, whole.by[rows])


def test_every_interruption_resumes_to_the_same_record() -> None:
    model, x, y = case(24)
    whole, calls = survey(model, x, y, TOGETHER, batch=12), []
    survey(model, x, y, TOGETHER, batch=12, saved=lambda r: calls.append(1))
    for stop in range(1, len(calls) + 1):
        seen: list[int] = []

        def interrupt(record: Record, seen: list[int] = seen, stop: int = stop) -> None:
            seen.append(1)
            if len(seen) == stop:
                raise KeyboardInterrupt

        record = Record.fresh(TOGETHER, x, torch.arange(24))
        with pytest.raises(KeyboardInterrupt):
            survey(model, x, y, TOGETHER, batch=12, record=record, saved=interrupt)
        assert same(survey(model, x, y, TOGETHER, batch=7, record=record), whole), stop


def test_bookkeeping_agrees_with_the_points() -> None:
    model, x, y = case()
    record = survey(model, x, y, TOGETHER)
    with torch.no_grad():
        margins = margin(model(record.x_adv), y)
    torch.testing.assert_close(record.margin, margins, atol=1e-5, rtol=0)
    assert torch.equal(record.wrong, ~(margins > 0))
    assert bool(THREAT.contains(record.x_adv, x).all())
    assert sum(record.broken_by().values()) == int(record.wrong.sum()) == record.error().wrong
    assert int((record.by == 0).sum()) == 3
    assert bool((record.step[~record.wrong] == -1).all())
    assert bool((record.step[record.wrong] >= 0).all())
    assert bool((record.tried[~record.wrong] == len(PARTS)).all())


@pytest.mark.parametrize("made_of", [torch.float32, torch.float64])
@pytest.mark.parametrize("weights", [torch.float32, torch.float64])
def test_a_record_may_be_of_another_precision_than_the_network(made_of: torch.dtype, weights: torch.dtype) -> None:
    """Planted: a float64 network was evaluated in float64, and its points did not fit a record of float32 inputs."""
    model, x, y = case(24)
    attack = Ensemble(THREAT, PARTS[:2])
    given = Record.fresh(attack, x.to(made_of), torch.arange(24))
    record = survey(model.to(weights), x, y, attack, record=given)
    assert record is given
    assert record.x_adv.dtype == weights
    alone = survey(model, x, y, attack)
    assert same(record, alone)
    assert torch.equal(record.x_adv, alone.x_adv)


def test_the_recorded_attack_breaks_the_example_alone_and_those_before_do_not() -> None:
    model, x, y = case()
    record = survey(model, x, y, TOGETHER)
    for k, part in enumerate(PARTS, 1):
        alone = survey(model, x, y, part)
        assert bool(alone.wrong[record.by == k].all()), part
        assert not bool(alone.wrong[(record.by > k) | (record.by == -1)].any()), part


def test_steps_are_those_at_which_the_point_was_first_wrong() -> None:
    """One coordinate, one direction: APGD moves by 2 * radius at once, so step 1 is the first that can break."""
    model = lambda v: v[:, 0] - 0.5  # noqa: E731
    x, y = torch.tensor([[0.59], [0.9], [0.4]]), torch.tensor([1, 1, 1])
    record = survey(model, x, y, APGD(ThreatModel("inf", 0.095), n_steps=5), index=torch.tensor([1, 2, 3]))
    assert record.by.tolist() == [1, -1, 0]
    assert record.step.tolist()[1:] == [-1, 0]
    assert record.step[0] in (0, 1)


def test_only_standing_examples_are_attacked() -> None:
    seen: list[int] = []

    @dataclass(frozen=True)
    class Counting(Attack):
        def search(self, evaluator, draws) -> None:
            seen.append(len(evaluator.x))

    model, x, y = case()
    survey(model, x, y, Ensemble(THREAT, (PARTS[0], Counting(THREAT))))
    assert seen == [60 - int(survey(model, x, y, PARTS[0]).wrong.sum())]


def test_survey_equals_robust_error_where_nothing_is_random() -> None:
    model, x, y = case()
    attack = PGD(THREAT, n_steps=5, random_start=False)
    assert survey(model, x, y, attack).error() == robust_error(model, x, y, attack)


def test_seed_has_an_effect_and_purposes_are_independent() -> None:
    model, x, y = case()
    attack = APGD(THREAT, n_steps=3)
    assert not torch.equal(survey(model, x, y, attack).x_adv, survey(model, x, y, attack, seed=1).x_adv)


def test_an_unfinished_or_foreign_record_is_refused() -> None:
    model, x, y = case(5)
    fresh = Record.fresh(TOGETHER, x, torch.arange(5))
    with pytest.raises(ValueError, match="complete"):
        fresh.error()
    with pytest.raises(ValueError, match="record"):
        survey(model, x, y, PARTS[0], record=fresh)
    with pytest.raises(ValueError, match="record"):
        survey(model, x, y, TOGETHER, record=fresh, index=torch.arange(1, 6))


@pytest.mark.parametrize("stages", [0, None])
def test_a_record_of_other_labels_is_refused(stages: int | None) -> None:
    """Planted: its examples counted as wrong or right by the labels of before."""
    model, x, y = case(12)
    known = survey(model, x, y, TOGETHER, stages=stages)
    one = y.clone()
    one[5] = (one[5] + 1) % 3
    for other, n in (((y + 1) % 3, 12), (one, 1)):
        with pytest.raises(ValueError, match=f"record: expected one of these labels, got others at {n} of 12 examples"):
            survey(model, x, other, TOGETHER, record=known)
    assert same(survey(model, x, y.to(torch.uint8), TOGETHER, record=known), survey(model, x, y, TOGETHER))
    stored = replace(known, labels=None)  # of an older version
    assert survey(model, x, y, TOGETHER, record=stored).labels is not None


def test_a_record_of_another_threat_or_of_other_examples_is_refused() -> None:
    """Its finished examples would be reported as results of these: they would not be attacked again."""
    model, x, y = case(12)
    attack = PGD(ThreatModel("inf", 0.01), n_steps=2)
    done = survey(model, x, y, attack)
    norm = PGD(ThreatModel(2, 0.01), n_steps=2)
    for other, images_now in ((attack.at(0.05), x), (attack.at(0.001), x), (norm, x), (attack, x.flip(0))):
        with pytest.raises(ValueError, match="record: expected .* leave record out"):
            survey(model, images_now, y, other, record=done)
    stored = replace(done, threat="")  # one of an older version says it by its points alone
    with pytest.raises(ValueError, match="points in the balls"):
        survey(model, x, y, attack.at(0.001), record=stored)
    with pytest.raises(ValueError, match="points of shape"):
        survey(model, x.flatten(2), y, attack, record=stored)
    assert same(survey(model, x, y, PGD(ThreatModel("inf", 0.01), n_steps=2), record=stored), done)
    begun = survey(model.double(), x, y, attack, stages=0)  # points in float64, images in float32
    assert survey(model, x, y, attack, record=begun).complete


def test_an_attack_that_leaves_the_ball_is_refused() -> None:
    @dataclass(frozen=True)
    class Leaving(Attack):
        def search(self, evaluator, draws) -> None:
            evaluator.best.update(evaluator.x + 0.5, evaluator.best.margins - 1)

    x = images(5)[0] * 0.4
    model = linear_logits(64).eval()
    with pytest.raises(ValueError, match="inside its own ball and box"):
        survey(model, x, model(x).argmax(1), Leaving(THREAT))


def test_given_points_count_where_they_are_allowed_and_wrong() -> None:
    """Points that broke the model break it again, without a step; others do nothing."""
    model, x, y = case(24)
    alone = survey(model, x, y, TOGETHER)
    again = survey(model, x, y, TOGETHER, given=[x, x + 0.3, alone.x_adv], stages=1)
    assert torch.equal(again.wrong, alone.wrong)
    counts = again.broken_by()
    assert counts["given"] == int(alone.wrong.sum()) - counts["clean"] > 0
    assert survey(model, x, y, TOGETHER, given=[x]).broken_by() == alone.broken_by()


def test_stopped_and_staged_surveys_prove_less_and_go_on() -> None:
    model, x, y = case(24)
    whole, asked = survey(model, x, y, TOGETHER, batch=6), [0]

    def over() -> bool:
        asked[0] += 1
        return asked[0] > 6

    record = survey(model, x, y, TOGETHER, batch=6, stop=over)
    assert not record.complete
    assert record.so_far.wrong < whole.so_far.wrong
    with pytest.raises(ValueError, match="unfinished"):
        record.error()
    for stages in (1, 2, None):
        survey(model, x, y, TOGETHER, batch=6, record=record, stages=stages)
        assert int(record.tried[~record.wrong].min()) == (4 if stages is None else stages)
    assert same(record, whole)


def series(n: int = 4) -> list[torch.nn.Module]:
    """One network whose weights drift: neighbors share adversarial examples, first and last fewer."""
    networks = []
    for k in range(n):
        model = busy_network().eval()
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in model.parameters():
                weight += 0.002 * k * torch.randn(weight.shape, generator=generator)
        networks.append(model)
    return networks


def test_a_series_is_nowhere_weaker_than_its_networks_alone_and_every_broken_example_is_broken() -> None:
    networks, (_, x, y) = series(), case(40)
    together = survey_series(networks.__getitem__, 4, x, y, TOGETHER)
    n_given = 0
    for model, record in zip(networks, together, strict=True):
        alone = survey(model, x, y, TOGETHER)
        assert record.complete
        assert not bool((alone.wrong & ~record.wrong).any())
        n_given += record.broken_by().get("given", 0)
        with torch.no_grad():
            wrong = ~(margin(model(record.x_adv), y) > 0)
        assert torch.equal(wrong, record.wrong)
        assert bool(THREAT.contains(record.x_adv, x).all())
        assert 5 < int(record.wrong.sum()) < 40
    assert n_given > 5, "the neighbors' points broke nothing: the series saves nothing"


def test_points_of_a_neighbor_count_only_where_float32_says_so() -> None:
    """Points that break a network are shown to neighbors that nothing breaks, and to one that they break as well."""
    x, y = torch.tensor([[0.45], [0.55], [0.60], [0.80]]), torch.tensor([1, 1, 1, 1])

    def weak(v: Tensor) -> Tensor:
        return v[:, 0] - 0.5

    def sure(v: Tensor) -> Tensor:
        return 1 + 0 * v[:, 0]

    networks = [weak, sure, weak, weak]
    records = survey_series(networks.__getitem__, 4, x, y, PGD(ThreatModel("inf", 0.11), n_steps=3))
    assert [int(record.wrong.sum()) for record in records] == [3, 0, 3, 3]
    assert [record.broken_by().get("given", 0) for record in records] == [0, 0, 2, 0]


@pytest.mark.parametrize(("n", "n_stages"), [(1, 2), (2, 0), (5, 3)])
def test_every_stage_of_every_network_is_visited_once(n: int, n_stages: int) -> None:
    visits = list(series_visits(n, n_stages))
    places = [(visit.stage, visit.position) for visit in visits]
    assert sorted(places) == [(stage, position) for stage in range(n_stages + 1) for position in range(n)]
    for visit in visits:
        assert all(abs(neighbor - visit.position) == 1 and 0 <= neighbor < n for neighbor in visit.neighbors)
