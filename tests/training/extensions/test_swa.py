"""SWA against the mean computed outside, where BatchNorm's statistics come from, and its first epoch."""

import pytest
import torch
from tests.training.cases import ATTACK, noisy, small, train
from torch import Tensor, nn

from cgro.data import Dataset
from cgro.training import SWA, Extension, Recipe, evaluated
from cgro.training.extensions.swa import SOURCES, recompute_statistics

RECIPE = Recipe(epochs=5, batch_size=25, lr=0.02)


class Records(Extension):
    """The weights after every epoch."""

    def begin(self, model: nn.Module) -> None:
        self.states: list[dict[str, Tensor]] = []

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        self.states.append({k: v.detach().clone() for k, v in model.state_dict().items()})


def averaged(data: Dataset, swa: SWA) -> tuple[nn.Module, list[dict[str, Tensor]]]:
    records, model = Records(), noisy()
    train(model, data, RECIPE, extensions=[swa, records], evaluation=None)
    return evaluated(model, [swa, records]), records.states


@pytest.mark.parametrize(
    ("start", "every", "epochs"), [(1, 1, range(5)), (3, 1, (2, 3, 4)), (2, 2, (1, 3)), (5, 1, (4,))]
)
def test_the_mean_of_the_weights(digits: Dataset, start: int, every: int, epochs: tuple[int, ...]) -> None:
    network, states = averaged(digits, SWA(start, every))
    for name, parameter in network.named_parameters():
        mean = torch.stack([states[k][name].double() for k in epochs]).mean(0)
        torch.testing.assert_close(parameter.double(), mean, rtol=1e-5, atol=1e-7)


def test_where_the_statistics_of_batchnorm_come_from(digits: Dataset) -> None:
    """By hand: the mean over the training set of what the layer is given, and the mean of the batches' variances."""
    found = {source: averaged(digits, SWA(2, batchnorm=source)) for source in SOURCES}
    for source, (network, states) in found.items():
        mean, variance = network[2].running_mean.double(), network[2].running_var.double()
        if source == "last":
            assert torch.equal(network[2].running_mean, states[-1]["2.running_mean"])
        elif source == "averaged":
            expected = torch.stack([s["2.running_mean"].double() for s in states[1:]]).mean(0)
            torch.testing.assert_close(mean, expected, rtol=1e-5, atol=1e-6)
        else:
            inputs = network[1](digits.train.x.flatten(1)).detach().double()
            torch.testing.assert_close(mean, inputs.mean(0), rtol=1e-5, atol=1e-6)
            batches = inputs.split(RECIPE.batch_size)
            by_hand = sum(len(b) * b.var(0) for b in batches) / len(inputs)
            torch.testing.assert_close(variance, by_hand, rtol=1e-4, atol=1e-6)
        assert network[2].momentum == 0.1
        assert int(network[2].num_batches_tracked) == int(states[-1]["2.num_batches_tracked"])


def test_recomputing_leaves_modes_and_random_numbers_alone(digits: Dataset) -> None:
    network = noisy().train()
    network[0].eval()
    before = torch.get_rng_state()
    recompute_statistics(network, digits.train, 20)
    assert torch.equal(before, torch.get_rng_state())
    assert [m.training for m in network] == [False, True, True, True, True, True]
    recompute_statistics(small(), digits.train, 20)


def test_before_the_first_epoch_the_trained_network_is_evaluated(digits: Dataset) -> None:
    swa, model = SWA(), noisy()
    seen: list[bool] = []

    class Looks(Extension):
        def after_epoch(self, model: nn.Module, epoch: int) -> None:
            seen.append(swa.evaluated_model(model) is model)

    train(model, digits, RECIPE, extensions=[swa, Looks()], evaluation=None)
    assert seen == [True, False, False, False, False]  # from epoch 55 * 5 // 200 + 1 = 2 on


def test_it_changes_no_weight_that_is_trained(digits: Dataset) -> None:
    plain, other = noisy(), noisy()
    train(plain, digits, RECIPE, evaluation=None)
    train(other, digits, RECIPE, evaluation=None, extensions=[SWA(1)])
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), other.state_dict().values(), strict=True))


def test_bad_requests(digits: Dataset) -> None:
    for options in ({"start": -1}, {"every": 0}, {"batchnorm": "none"}):
        with pytest.raises(ValueError, match="swa: "):
            SWA(**options)
    with pytest.raises(ValueError, match="swa: start: expected at most the 2 epochs, got 3"):
        train(small(), digits, Recipe(epochs=2), attack=ATTACK, extensions=[SWA(start=3)])


class Frozen(nn.Sequential):
    """Some of its layers of BatchNorm stay in evaluation mode when it trains."""

    frozen: tuple[int, ...] = ()

    def train(self, mode: bool = True) -> "Frozen":
        super().train(mode)
        for place in self.frozen:
            self[place].eval()
        return self


@pytest.mark.parametrize("frozen", [(2,), (4,), (2, 4), ()])
def test_frozen_layers_keep_the_statistics_that_they_trained_with(digits: Dataset, frozen: tuple[int, ...]) -> None:
    """Planted: the network that was evaluated had statistics that the trained one never used."""
    layers = [nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 10)]
    network = Frozen(*layers)
    network.frozen = frozen
    for place in (2, 4):
        layers[place].running_mean.fill_(3.0)  # type: ignore[union-attr]
        layers[place].running_var.fill_(5.0)  # type: ignore[union-attr]
    network.eval()
    recompute_statistics(network, digits.train, 25)
    for place in (2, 4):
        kept = bool((layers[place].running_mean == 3.0).all() and (layers[place].running_var == 5.0).all())  # type: ignore[union-attr]
        assert kept == (place in frozen)
    assert not any(module.training for module in network.modules())
