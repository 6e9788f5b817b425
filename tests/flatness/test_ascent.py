"""The ascent finds more the longer it looks, costs what it says, and one that does not move is caught."""

import math

import pytest
import torch
import torch.nn.functional as F
from tests.cases import LinearScore, hidden_scores, points, refused
from tests.flatness.test_search import truth_of_a_linear_score
from torch import nn

from cgro._check import BadRequest
from cgro.definitions import ThreatModel
from cgro.flatness import Search, ascent, flatness
from cgro.models import build


def test_longer_searches_and_restarts_find_no_less_on_average() -> None:
    model = build("mlp", (1, 4, 4), 3, width=32, seed=2).eval()
    x, y = torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(30, dtype=torch.long)

    def mean(**settings: int) -> tuple[float, float]:
        f = flatness(model, x, y, [0.1, 0.3], search=Search(**settings))
        return f.average("gradient", 1).value, f.average("loss", 1).value

    short, full, twice = mean(n_steps=1, n_loss_steps=1), mean(), mean(n_restarts=3)
    assert short[0] < full[0] <= twice[0]
    assert short[1] < full[1] <= twice[1]
    assert mean(n_loss_steps=1)[1] < full[1]


def test_a_search_that_does_not_move_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: without steps the closed form is missed, so the oracle tests have teeth."""
    monkeypatch.setattr(ascent, "FIRST_STEP", 0.0)
    model, (x, y), threat = LinearScore().eval(), points(25), ThreatModel("inf", 0.1)
    found = flatness(model, x, y, [0.1])
    gradient, rise = truth_of_a_linear_score(model, x, y, threat)
    assert float(found.gradient.sum()) < 0.98 * float(gradient.sum())
    assert float(found.rise.sum()) < 0.1 * float(rise.sum())


@pytest.mark.parametrize("p", [1, 2, math.inf])
def test_a_search_costs_the_passes_it_says(p: float) -> None:
    model, (x, y), calls = hidden_scores(), points(3), []
    search = Search(n_steps=3, n_loss_steps=2, n_restarts=2)

    def counted(v):
        calls.append(v.requires_grad)
        return model(v)

    flatness(counted, x, y, [0.05], p=p, search=search)
    once = sum(calls)
    calls.clear()
    flatness(counted, x, y, [0.05, 0.1], p=p, search=search)
    one_more = search.n_restarts * (p != math.inf)
    assert sum(calls) - once == search.passes + one_more


@pytest.mark.parametrize(("loss", "words"), [
    (F.cross_entropy, ("loss: expected one value per example, shape (6,)", "shape ()", 'reduction="none"')),
    (lambda outputs, y: outputs - F.one_hot(y, 3), ("loss: expected one value per example", "shape (6, 3)")),
    (lambda outputs, y: F.cross_entropy(outputs, y, reduction="none")[:, None], ("shape (6, 1)",)),
    (lambda outputs, y: torch.zeros(len(y)), ("loss: expected one that is differentiable in the outputs",)),
])  # fmt: skip
def test_a_loss_that_is_not_one_number_per_example_is_refused(loss, words: tuple[str, ...]) -> None:
    """Planted: the mean was an IndexError, and a column gave losses of shape (N, 1)."""
    x, y = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3
    model = build("mlp", (1, 4, 4), 3, width=8).eval()
    search = Search(n_steps=1, n_loss_steps=1)
    refused(lambda: flatness(model, x, y, [0.1], loss=loss, search=search), *words)
    fine = flatness(model, x, y, [0.1], loss=nn.CrossEntropyLoss(reduction="none"), search=search)
    torch.testing.assert_close(fine.gradient, flatness(model, x, y, [0.1], search=search).gradient)


def test_searches_of_no_steps_are_refused() -> None:
    for settings in ({"n_steps": 0}, {"n_loss_steps": 0}, {"n_restarts": 0}):
        with pytest.raises(BadRequest, match=next(iter(settings))):
            Search(**settings)
