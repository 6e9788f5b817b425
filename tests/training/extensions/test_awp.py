"""AWP against the authors' steps written out in float64: norms, gradients, restoration to the bit, BatchNorm."""

import copy

import pytest
import torch
from tests.training.cases import ATTACK, compute_of, gradients, small, toy, toy_data, toy_step, train
from torch import Tensor, nn

from cgro.data import Dataset
from cgro.training import AWP, TRADES, Adversarial, Cost, Recipe, Step
from cgro.training.extensions.awp import STATISTICS

OBJECTIVES = (Adversarial(ATTACK), Adversarial(ATTACK, 0.5), TRADES(ATTACK))


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.flatten() for t in tensors])


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: type(o).__name__)
def test_the_gradient_is_that_at_the_perturbed_weights(objective: Adversarial | TRADES) -> None:
    """w + v by hand in a copy of the network, v_l = gamma ||w_l|| g_l / ||g_l||, on the same adversarial examples."""
    model, twin = toy(), toy()
    step = toy_step(model)
    AWP(gamma=0.1).around(step, compute_of(step, objective))
    other = toy_step(twin)
    compute = compute_of(other, objective)
    compute()
    with torch.no_grad():
        for layer in (twin[1], twin[4]):
            v = 0.1 * layer.weight.norm() * layer.weight.grad / layer.weight.grad.norm()
            torch.testing.assert_close(v.norm(), 0.1 * layer.weight.norm())
            layer.weight += v
    compute()
    torch.testing.assert_close(flat(gradients(model)), flat(gradients(twin)), rtol=1e-10, atol=1e-13)


def test_one_norm_for_all_layers() -> None:
    weights = {"a": torch.tensor([[3.0]]), "b": torch.tensor([[4.0]])}
    slopes = {"a": torch.tensor([[0.0]]), "b": torch.tensor([[2.0]])}
    assert AWP(0.5, scale="network").perturbation(weights, slopes) == {"a": 0.0, "b": 2.5}
    assert AWP(0.5).perturbation(weights, slopes) == {"a": 0.0, "b": 2.0}


class Raises:
    """An objective that raises in one of its calls."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.n = 0

    def __call__(self, step: Step) -> Tensor:
        self.n += 1
        if self.n == self.at:
            raise RuntimeError("half-way")
        return Adversarial(ATTACK)(step)


@pytest.mark.parametrize("at", [1, 2, 3])
def test_weights_are_given_back_to_the_bit_also_when_it_raises(at: int) -> None:
    model = toy().float()
    step = toy_step(model)
    step.x = step.x.float()
    before = copy.deepcopy(dict(model.named_parameters()))
    seen: list[bool] = []

    def look(module: nn.Module, inputs: object) -> None:
        seen.append(torch.equal(model[1].weight, before["1.weight"]))

    model.register_forward_pre_hook(look)
    if at < 3:
        with pytest.raises(RuntimeError, match="half-way"):
            AWP(0.3).around(step, compute_of(step, Raises(at)))
    else:
        AWP(0.3).around(step, compute_of(step, Raises(at)))
        assert not seen[-1]
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


@pytest.mark.parametrize("batchnorm", STATISTICS)
def test_which_pass_updates_the_averages_of_batchnorm(batchnorm: str) -> None:
    model, twin = toy(), toy()
    step = toy_step(model)
    AWP(0.5, batchnorm=batchnorm).around(step, compute_of(step, Adversarial(ATTACK)))
    other = toy_step(twin)
    compute_of(other, Adversarial(ATTACK))()
    assert int(model[2].num_batches_tracked) == 1
    assert torch.equal(model[2].running_mean, twin[2].running_mean) == (batchnorm == "unperturbed")


def test_every_option_changes_the_result_and_gamma_zero_nothing(digits: Dataset) -> None:
    results: list[Tensor] = []
    for awp in ([], [AWP(0.0)], [AWP(0.1)], [AWP(0.2)], [AWP(0.1, warmup=1)], [AWP(0.1, scale="network")]):
        model = small()
        train(model, digits, Recipe(epochs=2, lr=0.01), extensions=awp, evaluation=None)
        results.append(flat([p.detach() for p in model.parameters()]))
    assert torch.equal(results[0], results[1])
    for k, result in enumerate(results[1:], 1):
        assert all(not torch.equal(result, other) for other in results[k + 1 :])


def test_it_costs_one_forward_and_backward_pass() -> None:
    assert AWP().cost(Cost(n_forward=2, n_gradients=10, n_updates=1)) == Cost(n_forward=2, n_gradients=10, n_updates=2)


def test_bad_requests(digits: Dataset) -> None:
    for options in ({"gamma": -0.1}, {"warmup": -1}, {"scale": "filter"}, {"batchnorm": "none"}):
        with pytest.raises(ValueError, match="awp: "):
            AWP(**options)
    with pytest.raises(ValueError, match="awp: warmup: expected less than the 2 epochs"):
        train(small(), digits, Recipe(epochs=2), extensions=[AWP(warmup=2)])
    with pytest.raises(ValueError, match="awp: expected a network with trainable weights"):
        AWP().prepare(nn.BatchNorm1d(3), Recipe(), toy_data())
