"""Errors after an epoch against a closed form, and how often the network is called for them."""

import pytest
import torch
from torch import Tensor, nn

from cgro.data import Dataset, Split, load
from cgro.definitions import FGSM, PGD, ThreatModel, clean_error, robust_error
from cgro.models import build
from cgro.training import Evaluation, errors_on, shares_on
from cgro.training.evaluation import evaluate

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
