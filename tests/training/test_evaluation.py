"""Errors after an epoch against a closed form, and how often the network is called for them."""

import math

import numpy as np
import pytest
import torch
from tests.cases import refused
from torch import Tensor, nn

from cgro.data import Dataset, Split, load
from cgro.definitions import FGSM, PGD, ThreatModel, clean_error, robust_error
from cgro.models import build
from cgro.training import Evaluation, errors_on, shares_on
from cgro.training.evaluation import evaluate, own_numbers

ATTACK = PGD(ThreatModel("inf", 0.1), n_steps=2)


class Linear(nn.Module):
    """f(x) = w . x + b; counts the rows of its passes."""

    def __init__(self, n: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.w = nn.Parameter(torch.randn(n, generator=generator))
        self.b = nn.Parameter(-0.5 * self.w.detach().sum())
        self.n_rows = 0

    def forward(self, x: Tensor) -> Tensor:
        self.n_rows += len(x)
        return x.flatten(1) @ self.w + self.b


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits", n_train=60, n_test=40, validation=0.05)


def test_errors_of_a_linear_score_in_closed_form() -> None:
    """y f falls by at most radius * ||w||_1, and by exactly that where the box is far; FGSM is exact."""
    radius, n = 0.05, 30
    raw = 0.3 + 0.4 * torch.rand(n, 8, generator=torch.Generator().manual_seed(1))
    y = torch.arange(n) % 2 * 2 - 1
    model = Linear(8)
    with torch.no_grad():
        margins = y * (raw @ model.w + model.b)
        lowest = margins - radius * model.w.abs().sum()
    assert ((margins > 0) & (lowest < 0)).any()
    errors = errors_on(model.eval(), Split(raw, y, torch.arange(n)), FGSM(ThreatModel("inf", radius)), n, "test")
    assert list(errors) == ["clean_error/test", "robust_error/test"]
    assert errors["clean_error/test"].wrong == int((margins <= 0).sum())
    assert errors["robust_error/test"].wrong == int((lowest <= 0).sum())


def test_the_clean_inputs_are_passed_once_and_the_rest_is_the_attack() -> None:
    """With FGSM: a clean pass of all, then of the correct ones a first look, a gradient, and two passes of the end."""
    n = 20
    raw = torch.rand(n, 8, generator=torch.Generator().manual_seed(2))
    y = torch.arange(n) % 2 * 2 - 1
    model = Linear(8).eval()
    with torch.no_grad():
        n_right = int((y * model(raw) > 0).sum())
    model.n_rows = 0
    errors_on(model, Split(raw, y, torch.arange(n)), FGSM(ThreatModel("inf", 0.05)), n, "test")
    assert model.n_rows == n + 4 * n_right


def test_the_numbers_are_those_of_the_definitions(digits: Dataset) -> None:
    model = build("mlp", digits.shape, 10, width=16).eval()
    errors = errors_on(model, digits.test, ATTACK, 25, "test", show=False)
    x, y = digits.test.x[:25], digits.test.y[:25]
    assert errors["clean_error/test"] == clean_error(model, x, y)
    assert errors["robust_error/test"] == robust_error(model, x, y, ATTACK)


def test_a_row_has_the_errors_of_the_parts_that_are_not_empty(digits: Dataset) -> None:
    model = build("mlp", digits.shape, 10, width=16)
    empty = digits.validation.head(0)
    row = evaluate(model, {"test": digits.test, "validation": empty}, Evaluation(ATTACK, n=30))
    assert list(row) == ["clean_error/test", "robust_error/test", "prediction_share"]
    assert row["prediction_share"] == max(shares_on(model, digits.test, 30))
    assert not model.training


def test_shares_of_predictions() -> None:
    raw = torch.tensor([[0.0], [0.6], [0.7], [0.8]])
    split = Split(raw, torch.ones(4, dtype=torch.int64), torch.arange(4))
    scores = nn.Sequential(nn.Linear(1, 1), nn.Flatten(0)).eval()
    nn.init.constant_(scores[0].weight, 1.0)
    nn.init.constant_(scores[0].bias, -0.5)
    assert shares_on(scores, split, 4) == [0.25, 0.75]
    assert shares_on(scores, split, 2) == [0.5, 0.5]


def test_bad_numbers() -> None:
    for change in ({"n": 0}, {"every": 0}, {"keep_every": -1}):
        with pytest.raises(ValueError, match=next(iter(change))):
            Evaluation(ATTACK, **change)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (torch.tensor(1.5, requires_grad=True), 1.5),
        (torch.tensor(3), 3),
        (np.float32(0.5), 0.5),
        (np.int64(4), 4),
        (np.array(0.25), 0.25),
        (2, 2),
        (math.inf, math.inf),
    ],
)
def test_what_a_probe_saw_becomes_numbers_of_python(value: object, expected: float) -> None:
    """Planted: a tensor was refused by the file after the first epoch, and taken where there was none."""
    (found,) = own_numbers({"mine": value}, {"epoch": 1.0}).values()
    assert type(found) is type(expected)
    assert found == expected


def test_a_number_that_is_not_defined_stays_one() -> None:
    assert math.isnan(own_numbers({"correlation": math.nan}, {})["correlation"])


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ({"mine": "high"}, "probe: mine: expected a number, got 'high'"),
        ({"mine": [1.0, 2.0]}, "got a value of type list"),
        ({"mine": torch.ones(1)}, "got a value of type Tensor; record several"),
        ({"mine": np.ones(2)}, "got a value of type ndarray"),
        ({"mine": None}, "got None"),
        ({"mine": 1j}, "got a value of type complex"),
        ({1: 2.0}, "the name 1; names are text"),
    ],
)
def test_what_a_probe_saw_and_is_no_number_is_refused(seen: object, words: str) -> None:
    refused(lambda: own_numbers(seen, {}), "probe", words)
