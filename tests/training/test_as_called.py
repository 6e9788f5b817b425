"""`fit` as a user calls it: networks that answer with an object, and what is refused before any work."""

import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tests.training.cases import ATTACK, EVALUATION, THREAT, same_weights, small, train
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.data import Dataset, Split
from cgro.definitions import PGD
from cgro.flatness import FlatnessMonitor
from cgro.training import (
    ADR,
    EMA,
    KD,
    MART,
    TRADES,
    Adversarial,
    Extension,
    Extra,
    Free,
    GradAlign,
    GradientAlignment,
    Objective,
    Recipe,
    fit,
)
from cgro.training.alignment import KEY
from cgro.trajectory import Trajectory

ONE = Recipe(epochs=1, batch_size=20)


class Answers(nn.Module):
    """As the classifiers of transformers: the logits are an attribute of what comes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.network(x), hidden_states=None)


OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "adversarial": lambda: Adversarial(ATTACK, robust_weight=0.5),
    "trades": lambda: TRADES(ATTACK),
    "mart": lambda: MART(ATTACK),
    "kd": lambda: KD(ATTACK, standard=small(3).eval(), weight_robust=0.0),
    "free": lambda: Free(ATTACK, replays=2),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_network_that_answers_with_logits_is_trained_as_the_one_inside(name: str, digits: Dataset) -> None:
    plain, wrapped = small(), Answers(small())
    extensions: list[Extension] = [EMA(0.9)]
    if name == "adversarial":
        extensions.append(GradAlign(weight=0.1))
    for network in (plain, wrapped):
        fit(network, digits, OBJECTIVES[name](), ONE, evaluation=EVALUATION, extensions=extensions)
    assert same_weights(plain, wrapped.network)


def test_every_other_network_of_a_training_may_answer_with_logits(digits: Dataset) -> None:
    second = replace(digits, train=Split(digits.train.raw.flip(3), digits.train.y, digits.train.index))
    inner = small(3).eval()
    trained: list[nn.Module] = []
    for other in (inner, Answers(inner).eval()):
        for objective, extension in (
            (KD(ATTACK, robust=other, weight_standard=0.0), EMA(0.9)),
            (Adversarial(ATTACK), Extra(second, other)),
        ):
            trained.append(small())
            fit(trained[-1], digits, objective, ONE, extensions=[extension])
    assert same_weights(trained[0], trained[2])
    assert same_weights(trained[1], trained[3])


def test_the_average_and_the_probes_of_a_network_that_answers_with_logits(digits: Dataset) -> None:
    plain, wrapped = small(), Answers(small())
    probe = GradientAlignment(THREAT, n=20)
    found: list[Trajectory] = []
    for network in (plain, wrapped):
        found.append(fit(network, digits, Adversarial(ATTACK), ONE, extensions=[ADR(hot=3.0)], probes=[probe]))
    assert same_weights(plain, wrapped.network)
    assert found[0][KEY].tolist() == found[1][KEY].tolist()


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (
            "evaluation: expected one such as Evaluation.attack., or None, got a value of type PGD",
            {"evaluation": ATTACK},
        ),
        ("recipe: expected one such as Recipe.epochs=20., got a value of type dict", {"recipe": {"epochs": 1}}),
        ("data: expected a Dataset .* got a value of type tuple", {"data": (torch.zeros(2, 1), torch.zeros(2))}),
        ("run: expected a Run, .* got 'runs/mine'", {"run": "runs/mine"}),
        ("extensions: expected several of them in a tuple, got a value of type EMA", {"extensions": EMA(0.9)}),
        ("seed: expected an integer", {"seed": 0.5}),
    ],
)
def test_what_is_of_another_type_is_refused_before_any_work(words: str, given: dict, digits: Dataset) -> None:
    network = small()
    settings = {"data": digits, "recipe": ONE, "evaluation": EVALUATION} | given
    with pytest.raises(BadRequest, match=words):
        fit(network, settings.pop("data"), Adversarial(ATTACK), settings.pop("recipe"), **settings)
    assert same_weights(network, small())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_network_of_another_precision_than_the_data_is_refused_in_one_line(
    dtype: torch.dtype, digits: Dataset
) -> None:
    with pytest.raises(BadRequest, match=f"expected the dtype of the network, {dtype}, got torch.float32; convert"):
        train(small().to(dtype), digits, ONE)


def test_an_error_of_the_objective_is_not_told_as_one_of_the_network(digits: Dataset) -> None:
    class Wrong(Adversarial):
        def __call__(self, step: object) -> Tensor:
            raise RuntimeError("dtype of mine")

    with pytest.raises(RuntimeError, match="dtype of mine"):
        fit(small(), digits, Wrong(ATTACK), ONE)


@pytest.mark.parametrize("name", ["clean_error/test", "train_loss", "prediction_share"])
def test_a_probe_stands_in_place_of_nothing_that_was_measured(name: str, digits: Dataset) -> None:
    with pytest.raises(BadRequest, match=f"probe: expected names of its own, got {name}"):
        train(small(), digits, ONE, probes=(lambda seen: {name: 0.0},))


def test_probes_have_names_of_their_own(digits: Dataset) -> None:
    probes = (FlatnessMonitor((THREAT.radius,), n=8), lambda seen: {"of mine": float(seen.epoch)})
    found = train(small(), digits, ONE, probes=probes)
    assert found["of mine"].tolist() == [1.0]
    assert math.isfinite(found["clean_error/test"][0])
    with pytest.raises(BadRequest, match="probe: expected numbers by name"):
        train(small(), digits, ONE, probes=(lambda seen: None,))
    with pytest.raises(BadRequest, match="probe: expected names of its own, got of mine"):
        fit(small(), digits, Adversarial(PGD(THREAT, n_steps=1)), ONE, probes=(probes[1], probes[1]))
