"""Checks without an attack: outputs that are no scores, classes in another order, and networks that deserve no warning.

The networks are lookups of planted truth: x carries its class (and a number between 0 and 1) as pixels.
"""

import pytest
import torch
from tests.cases import refused
from torch import Tensor, nn

from cgro.definitions import PGD, ThreatModel
from cgro.diagnosis import diagnose_model, lint, quick_lint
from cgro.diagnosis.findings import Check
from cgro.diagnosis.setup_checks import setup_checks

THREAT = ThreatModel("inf", 0.02)


def found(model, x: Tensor, y: Tensor, name: str) -> Check:
    return next(one for one in setup_checks(model, x, y, THREAT) if one.name == name)


def points(n_classes: int, n: int = 128, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(N, C) points near the unit vector of their class."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % n_classes
    x = 0.4 * torch.rand(n, n_classes, generator=generator)
    x[torch.arange(n), y] = 1.0
    return x, y


def binary(n: int = 128) -> tuple[Tensor, Tensor]:
    x, y = points(2, n)
    return x, 2 * y - 1


def logit(x: Tensor) -> Tensor:
    return 8 * (x[:, 1] - x[:, 0])


def test_probabilities_are_no_scores() -> None:
    x, y = binary()
    one = found(lambda v: torch.sigmoid(logit(v)), x, y, "classes and loss")
    assert one.status == "WARN"
    assert "Clean error 50.0% with the limit at 0, 0.0% with the limit at 0.5" in one.finding
    assert found(logit, x, y, "classes and loss").status == "PASS"


def test_sigmoids_per_class_are_no_logits() -> None:
    x, y = points(6)
    one = found(lambda v: torch.sigmoid(20 * (v - 0.7)), x, y, "classes and loss")
    assert (one.status, "sigmoid" in one.finding) == ("WARN", True)
    assert found(lambda v: 20 * (v - 0.7), x, y, "classes and loss").status == "PASS"


def test_a_collapsed_network_answers_no_probabilities() -> None:
    x, y = binary()
    assert found(lambda v: v.new_full((len(v),), 0.3), x, y, "classes and loss").status == "PASS"
    x, y = points(6)
    assert found(lambda v: v.new_full((len(v), 6), 0.7), x, y, "classes and loss").status == "PASS"


@pytest.mark.parametrize("n_classes", [11, 12, 20])
def test_the_order_of_class_names_as_text_is_named(n_classes: int) -> None:
    x, y = points(n_classes)
    as_text = torch.tensor(sorted(range(n_classes), key=str))
    one = found(lambda v: v[:, as_text], x, y, "class order")  # output k is the class of the k-th name
    assert one.status == "WARN"
    assert "their numbers as text (0, 1, 10, " in one.finding


def test_labels_counted_from_another_number_and_swapped_ones() -> None:
    x, y = points(8)
    one = found(lambda v: torch.nn.functional.pad(v, (0, 1)), x, y + 1, "class order")
    assert (one.status, "each label is one too high" in one.finding) == ("WARN", True)
    x, y = binary()
    one = found(lambda v: -logit(v), x, y, "class order")
    assert one.status == "WARN"
    assert "output -1 is class 1, 1 is class -1" in one.finding


def test_any_other_order_is_listed() -> None:
    x, y = points(6)
    one = found(lambda v: v[:, torch.tensor([3, 0, 5, 1, 2, 4])], x, y, "class order")
    assert one.finding.endswith("output 0 is class 3, 1 is class 0, 2 is class 5, 3 is class 1 and 2 more")
    assert "clean error 100.0%, but 0.0%" in one.finding


@pytest.mark.parametrize("n_classes", [2, 10, 100, 1000])
@pytest.mark.parametrize("seed", range(5))
def test_guessing_is_in_no_order(n_classes: int, seed: int) -> None:
    """An assignment of many classes to 128 examples fits chance: that is why it is tried on the other half."""
    x, y = points(n_classes)
    noise = torch.rand(n_classes, n_classes, generator=torch.Generator().manual_seed(seed)) - 0.5
    y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))]
    assert found(lambda v: v @ noise, x, y, "class order").status == "PASS"
    assert found(lambda v: 0 * v, x, y, "class order").status == "PASS"


def ghost(x: Tensor) -> Tensor:
    """Statistics of every 16 neighbours."""
    parts = x.view(-1, 16, x.shape[1])
    return ((parts - parts.mean(1, keepdim=True)) / parts.std(1, keepdim=True)).view_as(x)


@pytest.mark.parametrize("model", [
    nn.BatchNorm1d(3, track_running_stats=False).eval(), lambda v: v - v.mean(0), lambda v: v @ (v.T @ v), ghost,
], ids=["BatchNorm", "mean", "attention over the batch", "groups"])  # fmt: skip
def test_answers_that_depend_on_the_batch_are_told(model) -> None:
    """Planted: such a network had any number, by its batch size, and no check warned."""
    one = found(model, *points(3), "determinism")
    assert one.status == "WARN"
    assert "the answers depend on the batch, by up to " in one.finding


@pytest.mark.parametrize("model", [
    nn.BatchNorm1d(3).eval(), nn.LayerNorm(3), lambda v: v - v.mean(1, keepdim=True), lambda v: 1e6 * v @ torch.eye(3),
    lambda v: (v * 50).round(), lambda v: v.view(128, 3),
], ids=["BatchNorm", "LayerNorm", "mean of an example", "large", "rounded", "of one batch size"])  # fmt: skip
def test_answers_of_each_example_alone_pass(model) -> None:
    assert found(model, *points(3), "determinism").status == "PASS"


def test_one_example_and_noise_are_told_as_before() -> None:
    x, y = points(3)
    assert found(lambda v: v, x[:1], y[:1], "determinism").status == "PASS"
    one = found(lambda v: v + torch.rand_like(v), x, y, "determinism")
    assert (one.status, one.finding.startswith("two forward passes differ by")) == ("WARN", True)


def test_pictures_that_use_a_share_of_the_range() -> None:
    x, y = points(6)
    for scaled in (x / 255, (x > 0.5).float() / 255):
        one = found(lambda v: v, scaled, y, "input range")
        assert one.status == "WARN"
        assert "0.4% of the box" in one.finding


class Merging(nn.Module):
    """Low-rank adapters: `eval` adds them to the weight, `train` takes them out again."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(3))

    def train(self, mode: bool = True) -> "Merging":
        if not mode:
            self.weight.data.add_(1.0)
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


def test_a_network_whose_eval_does_work_is_left_as_it_was() -> None:
    model, (x, y) = Merging(), points(3)
    for call in (lint, quick_lint):
        call(model, x, y, THREAT, n=16)
        assert model.training
        assert torch.equal(model.weight, torch.eye(3))


@pytest.mark.parametrize("call", [
    lambda model, x, y, threat: lint(model, x, y, threat), lambda model, x, y, threat: quick_lint(model, x, y, threat),
    lambda model, x, y, threat: diagnose_model(model, (x, y), (x, y), threat),
], ids=["lint", "quick_lint", "diagnose_model"])  # fmt: skip
def test_an_attack_or_a_radius_in_the_place_of_the_threat_is_refused(call) -> None:
    x, y = points(3)
    for given in (PGD(THREAT, n_steps=2), 0.1):
        refused(lambda g=given: call(lambda v: v, x, y, g), "threat: expected a ThreatModel")


def test_of_two_explanations_the_better_one_is_told() -> None:
    """Planted: scores of the other sign were "normalized twice", since a conversion made half of the answers right."""
    x, y = binary()
    turned = found(lambda v: 0.5 - v[:, 1], x, y, "normalization")
    assert (turned.status, turned.finding.endswith(", which class order explains better")) == ("PASS", True)
    assert found(lambda v: 0.5 - v[:, 1], x, y, "class order").status == "WARN"
    not_scaled = found(lambda v: v[:, 1] - 128, x, y, "normalization")
    assert not_scaled.status == "WARN"
    assert "on x * 255" in not_scaled.finding
    assert found(lambda v: v[:, 1] - 128, x, y, "class order").status == "PASS"


def test_the_weaker_order_is_not_told_beside_a_conversion() -> None:
    x, y = points(4)

    def mixed(v: Tensor) -> Tensor:  # right in 0..255; else two classes for one another, and one as another
        usual = 8 * v[:, [1, 0, 2, 2]]
        return torch.where(v.amax(1, keepdim=True) > 2, v, usual)

    assert found(mixed, x, y, "class order").finding.endswith(", which normalization explains better")
    assert found(mixed, x, y, "normalization").status == "WARN"
