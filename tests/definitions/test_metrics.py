"""Errors against closed forms; intervals against published values; the verdict at its thresholds."""

import functools
import math

import pytest
import torch
from scipy.stats import binomtest
from tests import oracles
from tests.cases import THREATS, LinearScore, busy_network, images, points, refused
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.definitions import (
    PGD,
    ErrorRate,
    NoAttack,
    ThreatModel,
    WrongExamples,
    clean_error,
    predicted_shares,
    robust_error,
    wrong_examples,
    wrong_under,
)


@pytest.mark.parametrize(("wrong", "n"), [(0, 10), (10, 100), (37, 37), (500, 1000)])
def test_wilson_interval(wrong: int, n: int) -> None:
    low, high = ErrorRate(wrong, n).interval
    truth = binomtest(wrong, n).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((truth.low, truth.high), abs=1e-12)


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_robust_error_is_the_closed_form_on_linear_scores(threat: ThreatModel) -> None:
    model, (x, y) = LinearScore().eval(), points(120)
    slopes = (-y[:, None] * model.w).detach().double().numpy()
    worst = [
        float(m) - oracles.linear_worst_case(g, row, threat.p, threat.radius, threat.box)
        for m, g, row in zip((y * model(x)).tolist(), slopes, x.double().numpy(), strict=True)
    ]
    exact = sum(m <= 0 for m in worst)
    found = robust_error(model, x, y, PGD(threat, n_steps=60))
    assert found.bound == "lower"
    assert found.wrong == exact
    weak = robust_error(model, x, y, PGD(threat, n_steps=1, step_size=threat.radius / 10))
    assert clean_error(model, x, y).wrong <= weak.wrong <= exact
    assert 0 < exact < len(x)


def test_clean_error_counts_ties_and_equals_no_attack() -> None:
    x, y = torch.tensor([[0.0], [1.0], [0.5]]), torch.tensor([1, 1, -1])
    assert clean_error(lambda v: v[:, 0] - 0.0, x, y).wrong == 2  # sgn 0 is wrong
    assert robust_error(lambda v: v[:, 0], x, y, NoAttack()).wrong == 2
    assert clean_error(lambda v: v[:, 0], x, y).bound == "exact"


def test_batch_size_changes_nothing() -> None:
    model, (x, y) = busy_network().eval(), images(50)
    attack = PGD(ThreatModel("inf", 0.02), n_steps=4, random_start=False)
    assert len({robust_error(model, x, y, attack, batch=b) for b in (7, 50, 256)}) == 1


def test_bad_sets_are_refused() -> None:
    x, y = images()
    attack = PGD(THREATS[0], n_steps=1)
    for call, words in (
        (lambda: robust_error(busy_network().train(), x, y, attack), "train mode"),
        (lambda: clean_error(busy_network().train(), x, y), "train mode"),
        (lambda: robust_error(busy_network().eval(), x[:0], y[:0], attack), "at least one"),
        (lambda: robust_error(busy_network().eval(), x * 255, y, attack), "divide by 255"),
        (lambda: robust_error(busy_network().eval(), x, y[:2], attack), "one per example"),
        (lambda: robust_error(busy_network().eval(), x, y + 7, attack), "labels"),
        (lambda: robust_error(busy_network().eval(), x, y, PGD(ThreatModel(2, 9), n_steps=1)), "diameter"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_nan_weights_are_refused() -> None:
    model, (x, y) = busy_network().eval(), images()
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    with pytest.raises(ValueError, match="NaN"):
        robust_error(model, x, y, PGD(THREATS[0], n_steps=1))


def test_predicted_shares() -> None:
    assert predicted_shares(lambda v: v, torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.3], [1.0, 0.0]])) == [0.75, 0.25]
    assert predicted_shares(lambda v: v[:, 0] - 0.5, torch.tensor([[0.9], [0.1]])) == [0.5, 0.5]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_outputs_that_are_not_finite_predict_no_class(value: float) -> None:
    """NaN was the first class, always: a network that collapsed to it."""
    x = torch.linspace(0.1, 0.9, 15).view(5, 3)
    for network in (lambda v: v * value, lambda v: v[:, 0] * value, lambda v: torch.where(v > 0.8, value, v)):
        with pytest.raises(BadRequest, match="model output: expected finite values"):
            predicted_shares(network, x)
    with pytest.raises(BadRequest, match="examples: expected at least one"):
        predicted_shares(lambda v: v, x[:0])
    assert sum(predicted_shares(lambda v: 1e38 * v, x)) == 1.0


@pytest.mark.parametrize("call", [
    lambda net, x, y: clean_error(net, x, y),
    lambda net, x, y: robust_error(net, x, y, PGD(THREATS[0], n_steps=1)),
    lambda net, x, y: predicted_shares(net, x),
], ids=["clean_error", "robust_error", "predicted_shares"])  # fmt: skip
def test_classes_that_are_masked_by_infinity_are_told_how(call) -> None:
    """Planted: the line said no more than to check the weights."""
    x, y = points(8)
    labels = (y > 0).long()

    def masked(v: Tensor, by: float) -> Tensor:
        return torch.cat([v[:, :2], v.new_full((len(v), 1), by)], 1)

    refused(
        lambda: call(lambda v: masked(v, -math.inf), x, labels), "expected finite values", "masked by -1e9, not by -inf"
    )
    assert call(lambda v: masked(v, -1e9), x, labels) is not None


def test_clean_and_robust_errors_come_from_one_clean_pass() -> None:
    model, (x, y) = busy_network().eval(), images(50)
    attack = PGD(ThreatModel("inf", 0.02), n_steps=4)
    passes: list[tuple[int, bool]] = []

    def counting(v: torch.Tensor) -> torch.Tensor:
        passes.append((len(v), v.requires_grad))
        return model(v)

    found = wrong_examples(counting, x, y, attack, batch=50)
    n_right = int((~found.clean).sum())
    assert passes.count((50, False)) == 1
    assert passes.count((n_right, True)) == 4
    assert found.clean_error == clean_error(model, x, y)
    assert found.robust_error == robust_error(model, x, y, attack)
    assert torch.equal(found.robust, wrong_under(model, x, y, attack))
    assert 0 < found.clean_error.wrong < found.robust_error.wrong
    assert found.robust_error.bound == "lower"
    assert WrongExamples(found.clean, found.robust, exact=True).robust_error.bound == "exact"


def test_what_is_no_network_is_refused_in_a_line() -> None:
    (x, y), model = points(), LinearScore().eval()
    attack = PGD(ThreatModel("inf", 0.1), n_steps=2)
    for given, words in (
        (LinearScore, "the class LinearScore"),
        (model.state_dict(), "OrderedDict"),
        ([model], "list"),
    ):
        for call in (
            lambda m: clean_error(m, x, y),
            lambda m: robust_error(m, x, y, attack),
            lambda m: attack(m, x, y),
        ):
            refused(lambda m=given, c=call: c(m), "model: expected a network or a function", words, "load_state_dict")
    assert clean_error(model.forward, x, y) == clean_error(model, x, y)


def test_labels_in_a_column_are_to_be_squeezed_not_to_be_argmaxed() -> None:
    """Of (N, 1) labels `argmax(1)` makes 0 everywhere, and the errors would be those of class 0."""
    x, y = images(6)
    model = busy_network().eval()
    assert "squeeze(1)" in refused(lambda: clean_error(model, x, y[:, None]), "labels: expected shape (6,)")
    assert "argmax(1)" in refused(lambda: clean_error(model, x, torch.eye(3, dtype=torch.long)[y]))


@pytest.mark.parametrize("wrap", [
    lambda model: model.forward, functools.partial, lambda model: functools.partial(model.forward),
    lambda model: functools.partial(functools.partial(model)),
])  # fmt: skip
def test_train_mode_is_seen_through_methods_and_partial_functions(wrap) -> None:
    """Planted: BatchNorm mixed the examples of a batch, and its running means moved, where `forward` was given."""
    model, (x, y) = busy_network(), images(12)
    for call in (clean_error, lambda *given: robust_error(*given, PGD(ThreatModel("inf", 0.1), n_steps=2))):
        refused(lambda c=call: c(wrap(model.train()), x, y), "expected eval mode, got train mode", "model.eval()")
    assert clean_error(wrap(model.eval()), x, y) == clean_error(model, x, y)


class Dropping(nn.Module):
    """A function of the mode, without a module of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(nn.functional.dropout(x.flatten(1), 0.3, training=self.training))


@pytest.mark.parametrize("make", [busy_network, Dropping, lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3))])
def test_a_program_of_torch_export_is_in_the_mode_of_its_graph(make) -> None:
    """Its flags are those of new modules, and its `eval` raises, so that it is no remedy."""
    (x, y), model = images(12), make().eval()
    program = torch.export.export(model, (x,)).module()
    for given in (program, nn.Sequential(program)):
        given.training = False
        assert clean_error(given, x, y) == clean_error(model, x, y)
    trained = torch.export.export(model.train(), (x,)).module()
    if make is busy_network or make is Dropping:
        refused(lambda: clean_error(trained, x, y), "expected eval mode", "export it in eval mode")


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:UserWarning")
def test_modules_that_were_quantized_only_evaluate() -> None:
    """`quantize_dynamic` makes them anew, with the flag of train mode."""
    (x, y), model = images(12), busy_network().eval()
    found = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    assert any(module.training for module in found.modules())
    assert clean_error(found, x, y).n == 12
    found[3].train()  # dropout
    refused(lambda: clean_error(found, x, y), "expected eval mode, got train mode")
