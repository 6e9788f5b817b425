"""KD against the authors' loss written out, its teachers, and what is refused."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from tests.training.cases import ATTACK, gradients, same_weights, small, toy, toy_step
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.data import Dataset
from cgro.training import KD, SWA, Adversarial, Recipe, evaluated, fit
from cgro.training.objectives import loss_of_guessing
from cgro.training.objectives.kd import kd_by_name


def distilled(outputs: Tensor, theirs: Tensor, temperature: float) -> Tensor:
    """loss_fn_kd of Chen et al."""
    log_p = nn.functional.log_softmax(outputs / temperature, dim=1)
    return -(nn.functional.softmax(theirs / temperature, dim=1) * log_p).sum(1) * temperature**2


def test_the_loss_and_its_gradient_are_the_authors() -> None:
    model, twin, standard, robust = toy(), toy(), toy(1).train(), toy(2).train()
    step, other = toy_step(model), toy_step(twin)
    losses = KD(ATTACK, standard, robust, temperature=3.0)(step)
    x_adv = other.craft()
    outputs = twin(x_adv)
    expected = 0.3 * nn.functional.cross_entropy(outputs, other.y, reduction="none")
    for weight, teacher in ((0.1, standard), (0.6, robust)):
        with torch.no_grad():
            theirs = copy.deepcopy(teacher).eval()(x_adv)
        expected = expected + weight * distilled(outputs, theirs, 3.0)
    torch.testing.assert_close(losses, expected, rtol=1e-10, atol=0)
    losses.sum().backward()
    expected.sum().backward()
    for ours, by_hand in zip(gradients(model), gradients(twin), strict=True):
        torch.testing.assert_close(ours, by_hand, rtol=1e-9, atol=1e-14)


def test_teachers_are_copied_and_asked_in_evaluation_mode() -> None:
    teacher = toy(1).train()
    before = copy.deepcopy(teacher)
    kd = KD(ATTACK, robust=teacher, weight_standard=0.0)
    kd(toy_step(toy())).sum().backward()
    assert same_weights(teacher, before)
    assert teacher.training
    assert all(p.grad is None for p in teacher.parameters())


def test_without_teachers_weight_it_is_adversarial_training(digits: Dataset) -> None:
    a, b = small(), small()
    fit(a, digits, KD(ATTACK, weight=1.0, weight_standard=0.0, weight_robust=0.0), Recipe(epochs=2))
    fit(b, digits, Adversarial(ATTACK), Recipe(epochs=2))
    assert same_weights(a, b)


def test_each_option_has_an_effect(digits: Dataset) -> None:
    teachers, models = (small(1), small(2)), []
    for options in ({}, {"weight": 0.5}, {"weight_standard": 0.3}, {"weight_robust": 0.3}, {"temperature": 4.0}):
        model = small()
        fit(model, digits, KD(ATTACK, *teachers, **options), Recipe(epochs=2, lr=0.01))
        models.append(model)
    for k, model in enumerate(models):
        assert all(not same_weights(model, other) for other in models[k + 1 :])


@pytest.mark.parametrize(
    ("temperature", "weights"), [(1.0, (0.3, 0.1, 0.6)), (6.0, (0.3, 0.0, 0.6)), (4.0, (0.0, 2.0, 0.0))]
)
def test_the_loss_of_guessing_is_that_of_a_network_that_answers_every_class_alike(
    temperature: float, weights: tuple[float, float, float]
) -> None:
    """Planted: the loss was held against log C whatever the temperature, so a training at T = 6 had diverged at once."""
    step = toy_step(toy())
    teachers = [toy(k) if weight else None for k, weight in enumerate(weights[1:], 1)]
    kd = KD(ATTACK, *teachers, *weights, temperature)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in step.model.parameters():
            parameter.zero_()
    n_classes = step.outputs().shape[1]
    assert kd(step).detach().numpy() == pytest.approx(kd.loss_of_guessing(n_classes), rel=1e-5)
    assert loss_of_guessing(kd, n_classes) == kd.loss_of_guessing(n_classes)
    assert loss_of_guessing(Adversarial(ATTACK), 10) == pytest.approx(math.log(10))
    with pytest.raises(BadRequest, match="loss_of_guessing"):
        loss_of_guessing(SimpleNamespace(loss_of_guessing=lambda n_classes: -1.0), 10)


def test_a_training_of_another_scale_has_not_diverged(digits: Dataset) -> None:
    kd = KD(ATTACK, robust=small(2), weight_standard=0.0, temperature=8.0)
    assert fit(small(), digits, kd, Recipe(epochs=2)).end.kind == "completed"


def test_kd_swa_is_their_sum(digits: Dataset) -> None:
    kd, swa = KD(ATTACK, small(1), small(2)), SWA(1)
    model, plain = small(), small()
    fit(model, digits, kd, Recipe(epochs=2), extensions=[swa])
    fit(plain, digits, kd, Recipe(epochs=2))
    assert same_weights(model, plain)
    assert not same_weights(evaluated(model, [swa]), model)


def test_names_are_read() -> None:
    asked: list[tuple[str, str]] = []

    def read(run: str, which: str) -> nn.Module:
        asked.append((run, which))
        return toy(1)

    made = kd_by_name(read)(ATTACK, standard="runs/a", robust="runs/b", temperature=4.0)
    assert asked == [("runs/a", "kd: standard"), ("runs/b", "kd: robust")]
    assert made.temperature == 4.0


def test_bad_requests() -> None:
    teacher = toy(1)
    for options, words in (
        ({}, "kd: expected a standard teacher, got none; name its run, kd:standard=RUN, or set weight_standard=0"),
        ({"standard": teacher}, "kd: expected a robust teacher"),
        ({"standard": teacher, "robust": 3}, "kd: expected a network as robust teacher"),
        ({"standard": teacher, "weight_standard": 0.0}, "weight_standard"),
        ({"temperature": 0.0}, "temperature"),
        ({"weight": -1.0}, "kd: weight"),
    ):
        with pytest.raises(ValueError, match=words):
            KD(ATTACK, **options)
    kd = KD(ATTACK, robust=toy(1, n_outputs=4), weight_standard=0.0)
    with pytest.raises(ValueError, match=r"kd: expected a teacher with outputs of shape \(6, 3\)"):
        kd(toy_step(toy()))
