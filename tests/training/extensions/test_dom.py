"""DOM: which examples are left, their mean, and when it begins."""

import pytest
import torch
from tests.training.cases import ATTACK, compute_of, gradients, same_weights, small, toy, toy_step, train

from cgro.data import Dataset
from cgro.definitions import default_loss
from cgro.training import DOM, TRADES, Adversarial, Recipe


@pytest.mark.parametrize("mean", ["batch", "kept"])
def test_the_mean_of_those_that_are_left(mean: str) -> None:
    model, twin = toy(), toy()
    step, other = toy_step(model, progress=0.5), toy_step(twin, progress=0.5)
    clean = default_loss(twin.eval()(other.x).detach(), other.y)
    threshold = float(clean.sort().values[2]) + 1e-9
    left = clean > threshold
    assert int(left.sum()) == 3
    loss = DOM(threshold, mean=mean).around(step, compute_of(step, Adversarial(ATTACK)))
    x_adv = other.craft()
    kept = default_loss(twin.train()(x_adv), other.y)[left]
    expected = kept.mean() if mean == "kept" else kept.sum() / len(left)
    expected.backward()
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=0)
    for ours, theirs in zip(gradients(model), gradients(twin), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-14)


def test_where_none_is_left_there_is_no_gradient() -> None:
    model = toy()
    step = toy_step(model, progress=0.9)
    assert float(DOM(100.0).around(step, compute_of(step, Adversarial(ATTACK)))) == 0.0
    assert all(not gradient.any() for gradient in gradients(model))


def test_it_begins_after_its_share_and_each_option_has_an_effect(digits: Dataset) -> None:
    plain, late, early, lower, kept = (small() for _ in range(5))
    recipe = Recipe(epochs=4, lr=0.01)
    train(plain, digits, recipe, evaluation=None)
    others = ((late, DOM(2.2, 0.8)), (early, DOM(2.2, 0.0)), (lower, DOM(2.0, 0.0)), (kept, DOM(2.2, 0.0, mean="kept")))
    for model, dom in others:
        train(model, digits, recipe, evaluation=None, extensions=[dom])
    assert same_weights(plain, late)  # the last epoch begins at 0.75
    assert not same_weights(plain, early)
    assert not same_weights(early, lower)
    assert not same_weights(early, kept)


def test_the_clean_pass_is_shared_with_trades() -> None:
    model = toy()
    step = toy_step(model, progress=0.9)
    passes: list[int] = []
    model.register_forward_pre_hook(lambda module, inputs: passes.append(len(inputs[0])))
    DOM().around(step, compute_of(step, TRADES(ATTACK)))
    assert len(passes) == TRADES(ATTACK).cost.n_forward + ATTACK.n_steps + 2


def test_bad_requests(digits: Dataset) -> None:
    for options in ({"threshold": -1.0}, {"start": 1.5}, {"mean": "all"}):
        with pytest.raises(ValueError, match="dom: "):
            DOM(**options)
    with pytest.raises(ValueError, match="dom: start"):
        train(small(), digits, Recipe(epochs=2), extensions=[DOM(start=1.0)])
