"""What is drawn for mixing: others of the right class, shares of the right distribution, boxes of the right size."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from scipy.stats import kstest
from tests.training.cases import ATTACK, compute_of, small, toy_data, train

from cgro.data import Dataset, Split
from cgro.definitions import Draws
from cgro.models import build
from cgro.training import Adversarial, CutMix, Extension, LabelSmoothing, Mixup, Recipe, SameClassBoxes, Step, fit
from cgro.training.extensions.mixing import box

KINDS = (CutMix, Mixup, SameClassBoxes)


def draws(n: int) -> Draws:
    return Draws.of(0, "test", torch.arange(n))


@pytest.mark.parametrize("alpha", [0.4, 1.0, 1.4])
def test_shares_follow_the_beta_distribution(alpha: float) -> None:
    shares = Mixup(alpha)._share(draws(4000)).numpy()
    assert kstest(shares, "beta", args=(alpha, alpha)).pvalue > 1e-3
    assert kstest(shares, "beta", args=(alpha + 0.3, alpha)).pvalue < 1e-6  # the check can fail


def test_others_come_from_the_whole_training_set_or_from_the_class() -> None:
    data = toy_data(30)
    for kind in KINDS:
        extension = kind()
        extension.prepare(small(), Recipe(), data)
        y = data.train.y.repeat(40)
        rows = extension._others(y, draws(len(y)))
        assert set(rows.tolist()) == set(range(30))
        same = data.train.y[rows] == y
        assert bool(same.all()) == extension.same_class


def test_signs_are_classes_too() -> None:
    data = toy_data(n_outputs=1)
    extension = SameClassBoxes()
    extension.prepare(small(), Recipe(), data)
    rows = extension._others(data.train.y, draws(12))
    assert torch.equal(data.train.y[rows], data.train.y)


def test_boxes_have_their_size_and_are_cut_by_the_border() -> None:
    inside = box(torch.full((500,), 0.75), draws(500), 8, 8)
    assert inside.shape == (500, 1, 8, 8)
    sizes = inside.sum((1, 2, 3))
    assert int(sizes.max()) == 16  # sides 8 sqrt(1 / 4)
    assert int(sizes.min()) >= 4
    assert not box(torch.ones(5), draws(5), 8, 8).any()
    rows = inside.any(3)[:, 0].float().mean(0)
    assert float(rows.max() - rows.min()) < 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_what_happens_to_an_example_does_not_depend_on_its_batch(digits: Dataset, kind: type) -> None:
    seen: list[dict[int, torch.Tensor]] = []

    class Looks(Extension):
        def around(self, step: Step, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
            for key, x in zip(step.y.tolist(), step.x, strict=True):
                seen[-1][key] = x.clone()
            return compute()

    split = Split(digits.train.raw, torch.arange(60), digits.train.index)
    own = replace(digits, train=split, n_outputs=60)
    for size in (60, 7):
        seen.append({})
        model = build("mlp", (1, 8, 8), 60, width=8)
        recipe = Recipe(epochs=1, batch_size=size, augment="crop1-flip")
        fit(model, own, Adversarial(ATTACK, 0.0), recipe, extensions=[kind(), Looks()])
    assert all(torch.equal(seen[0][key], seen[1][key]) for key in range(60))


@pytest.mark.parametrize("kind", KINDS)
def test_probability_zero_changes_nothing_and_each_option_has_an_effect(digits: Dataset, kind: type) -> None:
    results: list[torch.Tensor] = []
    for options in (None, {"probability": 0.0}, {}, {"probability": 0.3}, {"alpha": 0.5}):
        model = small()
        extensions = [] if options is None else [kind(**options)]
        train(model, digits, Recipe(epochs=2, lr=0.01), weight=0.0, extensions=extensions, evaluation=None)
        results.append(model[1].weight.detach())
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-6)
    for k, result in enumerate(results[1:], 1):
        assert all(not torch.equal(result, other) for other in results[k + 1 :])


@pytest.mark.parametrize("kind", KINDS)
def test_the_batch_is_put_back_also_when_it_raises(digits: Dataset, kind: type) -> None:
    extension = kind(probability=1.0)
    extension.prepare(small(), Recipe(), digits)
    model = small()
    x, y = digits.train.batch(torch.arange(10))
    step = Step(model, x, y, model, lambda purpose: draws(10), ATTACK)
    extension.around(step, compute_of(step, Adversarial(ATTACK)))
    assert step.x is x
    assert step.targets is None
    with pytest.raises(ZeroDivisionError):
        extension.around(step, lambda: 1 / 0)
    assert step.x is x


def test_bad_requests(digits: Dataset) -> None:
    for kind in KINDS:
        for options in ({"alpha": 0.0}, {"alpha": -1.0}, {"probability": 1.5}):
            with pytest.raises(ValueError, match=f"{kind.__name__.lower()}: "):
                kind(**options)
        flat = Split(torch.rand(12, 16), torch.arange(12) % 3, torch.arange(12))
        with pytest.raises(ValueError, match="expected images"):
            kind().prepare(small(), Recipe(), replace(toy_data(), train=flat))
    with pytest.raises(ValueError, match="cutmix: expected plain labels, got soft ones; name it before"):
        train(small(), digits, Recipe(epochs=1), extensions=[LabelSmoothing(), CutMix()])
    train(small(), digits, Recipe(epochs=1), extensions=[CutMix(), LabelSmoothing()])
