"""Losses against their formulas, number by number, and their invariances."""

import math

import pytest
import torch
from torch.nn import functional as F

from cgro._check import BadRequest
from cgro.definitions.losses import (
    FromClean,
    check_labels,
    cross_entropy,
    cross_entropy_slope,
    default_loss,
    divergence,
    dlr,
    is_wrong,
    log_probabilities,
    logistic,
    loss_of_rows,
    margin,
    most_likely_others,
    negative_margin,
    predict,
    targeted_dlr,
)


def test_dlr_ignores_shift_and_scale_and_moves_for_every_number_of_classes() -> None:
    g = torch.Generator().manual_seed(0)
    for n_classes in (2, 3, 4, 10):
        z = torch.randn(50, n_classes, generator=g)
        y = z.argmax(1)
        targets = (y + 1) % n_classes
        for loss in (dlr, lambda o, y, t=targets: targeted_dlr(o, y, t)):
            v = z.clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(loss(v, y).sum(), v)
            assert bool((gradient.abs().sum(1) > 0).all()), n_classes
            if n_classes > 2:
                torch.testing.assert_close(loss(7 * z + 3, y), loss(z, y), atol=1e-5, rtol=1e-5)


def softmax(z: list[float]) -> list[float]:
    weights = [math.exp(v - max(z)) for v in z]
    return [w / sum(weights) for w in weights]


def logits(n_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(n_classes)
    z = 2 * torch.randn(30, n_classes, generator=g, dtype=torch.float64)
    return z, torch.randint(0, n_classes, (30,), generator=g)


@pytest.mark.parametrize("n_classes", [2, 3, 4, 7])
def test_losses_of_logits_are_their_formulas(n_classes: int) -> None:
    z, y = logits(n_classes)
    other = z.flip(1)
    targets = most_likely_others(z, y, n_classes - 1)
    for k, (row, label) in enumerate(zip(z.tolist(), y.tolist(), strict=True)):
        rest = [v for j, v in enumerate(row) if j != label]
        gap = row[label] - max(rest)
        assert float(margin(z, y)[k]) == pytest.approx(gap)
        assert bool(is_wrong(z, y)[k]) == (gap <= 0)
        assert int(predict(z)[k]) == row.index(max(row))
        assert float(cross_entropy(z, y)[k]) == pytest.approx(-math.log(softmax(row)[label]))
        assert float(default_loss(z, y)[k]) == float(cross_entropy(z, y)[k])
        assert float(negative_margin(z, y)[k]) == pytest.approx(-gap)
        assert log_probabilities(z)[k].exp().tolist() == pytest.approx(softmax(row))
        p, q = softmax(row), softmax(other[k].tolist())
        kl = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        assert float(divergence(z, other)[k]) == pytest.approx(kl)
        ranked = sorted(row, reverse=True)
        by_likelihood = sorted((j for j in range(n_classes) if j != label), key=lambda j: -row[j])
        assert targets[k].tolist() == by_likelihood
        for target in by_likelihood:
            value = float(targeted_dlr(z, y, torch.full((30,), target))[k])
            if n_classes == 2:
                assert value == pytest.approx(-gap)
                continue
            low = (ranked[1] + ranked[2]) / 2 if n_classes == 3 else (ranked[2] + ranked[3]) / 2
            assert value == pytest.approx((row[target] - row[label]) / (ranked[0] - low))
        expected = -gap if n_classes == 2 else -gap / (ranked[0] - ranked[2])
        assert float(dlr(z, y)[k]) == pytest.approx(expected)


@pytest.mark.parametrize("spread", [0.1, 1.0, 10.0, 30.0, 60.0])
@pytest.mark.parametrize("n_classes", [2, 10])
def test_cross_entropy_and_its_gradient_are_precise_for_confident_networks(n_classes: int, spread: float) -> None:
    """In the usual form both lose the label from a margin of 17 on: an attack then climbs the other logits alone."""
    g = torch.Generator().manual_seed(1)
    z = spread * torch.randn(40, n_classes, generator=g)
    y = torch.where(torch.arange(40) < 30, z.argmax(1), z.argmin(1))
    exact = z.double().requires_grad_(True)
    wanted = F.cross_entropy(exact, y, reduction="none")
    (slope,) = torch.autograd.grad(wanted.sum(), exact)
    # float64 loses the label itself beyond a margin of 36: the sum of the others is exact.
    slope = slope.scatter(1, y[:, None], 0).detach()
    slope = slope.scatter(1, y[:, None], -slope.sum(1, keepdim=True))

    # Logits of up to 200 are rounded by 1e-5, which is the relative error of the exponential of their difference.
    taken = z.clone().requires_grad_(True)
    value = cross_entropy(taken, y)
    (by_autograd,) = torch.autograd.grad(value.sum(), taken)
    near = wanted > 1e-12  # beyond that float64's own loss is rounded
    torch.testing.assert_close(value[near].double(), wanted[near], rtol=1e-4, atol=1e-30)
    for found in (by_autograd, cross_entropy_slope(z, y)):
        torch.testing.assert_close(found.double(), slope, rtol=1e-4, atol=1e-30)

    usual = z.clone().requires_grad_(True)
    (planted,) = torch.autograd.grad(F.cross_entropy(usual, y, reduction="sum"), usual)
    lost = (planted.double() - slope).abs() > 0.5 * slope.abs()
    assert bool(lost.any()) == (spread > 1.0)


def test_cross_entropy_of_outputs_of_16_bits_and_without_other_classes() -> None:
    z = torch.tensor([[3.0, 1.0, -2.0]])
    y = torch.tensor([0])
    for dtype in (torch.bfloat16, torch.float16):
        torch.testing.assert_close(cross_entropy(z.to(dtype), y), cross_entropy(z, y), rtol=1e-2, atol=0)
    impossible = torch.tensor([[1.0, -math.inf, -math.inf]], requires_grad=True)
    value = cross_entropy(impossible, y)
    assert value.item() == 0
    assert torch.autograd.grad(value.sum(), impossible)[0].tolist() == [[0.0, 0.0, 0.0]]
    assert torch.autograd.gradgradcheck(lambda v: cross_entropy(v, y), z.double().requires_grad_(True))


def test_losses_of_scores_are_their_formulas() -> None:
    f = torch.tensor([-40.0, -1.5, -0.25, 0.0, 0.25, 1.5, 40.0], dtype=torch.float64)
    for label in (-1, 1):
        y = torch.full((7,), label)
        for k, score in enumerate(f.tolist()):
            assert float(margin(f, y)[k]) == label * score
            assert bool(is_wrong(f, y)[k]) == (label * score <= 0)
            assert float(logistic(f, y)[k]) == pytest.approx(math.log1p(math.exp(-label * score)), rel=1e-12)
            for loss in (dlr, negative_margin, lambda o, t: targeted_dlr(o, t, t)):
                assert float(loss(f, y)[k]) == -label * score
        assert torch.equal(default_loss(f, y), logistic(f, y))
        assert most_likely_others(f, y, 1).tolist() == [[-label]] * 7
    assert predict(f).tolist() == [-1, -1, -1, 1, 1, 1, 1]
    torch.testing.assert_close(log_probabilities(f)[:, 1], -logistic(f, torch.ones(7)))
    torch.testing.assert_close(log_probabilities(f)[:, 0], -logistic(f, -torch.ones(7)))


@pytest.mark.parametrize(
    ("outputs", "y", "words"),
    [
        (torch.zeros(2, 3), torch.tensor([0, 3]), "expected 0 .. 2"),
        (torch.zeros(2, 3), torch.tensor([-1, 2]), "expected 0 .. 2, got -1; relabel the data$"),
        (torch.zeros(2, 3), torch.tensor([0, 9]), "or give the network an output for each class, 10 or more"),
        (torch.zeros(2, 2), torch.tensor([1, 2]), "or give the network an output for each class, 3 or more"),
        (torch.zeros(2, 2), torch.tensor([-1, 1]), "as 0 and 1, or of two logits"),
        (torch.zeros(4), torch.tensor([1]), r"use squeeze\(1\), not squeeze\(\)"),
        (torch.zeros(10), torch.tensor([3]), r"use squeeze\(1\), not squeeze\(\)"),
        (torch.zeros(2, 3), torch.tensor([0.0, 1.0]), "integers"),
        (torch.zeros(2), torch.tensor([0, 1]), "-1 or \\+1"),
        (torch.zeros(2, 1), torch.tensor([0, 0]), "squeeze a single output"),
        (torch.zeros(2, 3, 4), torch.tensor([0, 0]), "flatten to one row"),
    ],
)
def test_labels_and_outputs_that_do_not_fit_are_refused(outputs: torch.Tensor, y: torch.Tensor, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        check_labels(outputs, y)
    check_labels(torch.zeros(2, 3), torch.tensor([0, 2]))
    check_labels(torch.zeros(2), torch.tensor([-1, 1]))
    with pytest.raises(BadRequest, match="C >= 2"):
        predict(torch.zeros(2, 0))


def test_the_distance_from_clean_outputs_is_that_of_its_rows() -> None:
    z, y = logits(4)
    loss = FromClean(z)
    assert torch.equal(loss(z.flip(1), y), divergence(z, z.flip(1)))
    rows = torch.tensor([3, 1])
    assert torch.equal(loss_of_rows(loss, rows)(z[[5, 6]], y[rows]), divergence(z[rows], z[[5, 6]]))
    assert loss_of_rows(loss, None) is loss
    assert loss_of_rows(dlr, rows) is dlr
    with pytest.raises(BadRequest, match=r"outputs of shape \(30, 4\)"):
        loss(z[:2], y[:2])
