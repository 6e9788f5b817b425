"""Weights that no process has whole (FSDP2), for `tests.training.test_sharded`: what works with them, and what is refused."""

import copy
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.training.together import as_launched, digits
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from cgro._check import BadRequest
from cgro.definitions import PGD, ThreatModel
from cgro.definitions.draws import Draws
from cgro.ranks import Ranks
from cgro.training import Adversarial, Recipe, Step, fit, make_fabric
from cgro.training.objectives.trades import TRADES
from cgro.training.part import Part
from cgro.training.step import descend

ATTACK = PGD(ThreatModel(2, 0.5), n_steps=2)
N_STEPS = 6
BATCH = 9
"""Examples: two processes have 5 and 4."""
WHOLE = StateDictOptions(full_state_dict=True)


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))


def shard(network: nn.Module) -> nn.Module:
    """Every process has half of each weight."""
    for layer in (network[1], network[3], network):
        fully_shard(layer)
    return network


def train(network: nn.Module, optimizer: torch.optim.Optimizer, ranks: Ranks, steps: Sequence[int]) -> None:
    """A loop of one's own, as docs/distributed.md describes it.

    FSDP2 takes the mean of the processes' gradients, and a step has divided its losses by the whole batch: so they are
    multiplied. Gloo has no other way: "Cannot use ReduceOp.PREMUL_SUM with Gloo", which `set_gradient_divide_factor` asks for.
    """
    data = digits().train
    trades = TRADES(ATTACK, beta=2.0)
    for k in steps:
        part = Part.of(BATCH, ranks)
        rows = torch.arange(k * BATCH, (k + 1) * BATCH)[part.rows] % len(data)
        x, y = data.batch(rows)
        streams = partial(draws, k, data.index[rows])
        step = Step(network, x, y, network, streams, ATTACK, part=part)
        descend(step, lambda step: ranks.size * trades(step), optimizer)


def draws(k: int, index: Tensor, purpose: str) -> Draws:
    return Draws.of(1, f"{purpose} in step {k}", index)


def sgd(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), lr=0.2, momentum=0.9)


def whole_weights(network: nn.Module) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        found[name] = value.full_tensor() if isinstance(value, DTensor) else value
    return found


def cases(ranks: Ranks, folder: Path) -> None:
    """All, in each process."""
    if ranks.shared:
        as_launched(ranks)
        resumed(ranks, folder)
        attacked(ranks)
        obstacles()
        refused()
        return
    alone = network()
    train(alone, sgd(alone), ranks, range(N_STEPS))
    save_file(whole_weights(alone), folder / "one.safetensors")


def resumed(ranks: Ranks, folder: Path) -> None:
    """Without a break, and with one after half of the steps, into weights that were other ones."""
    model = shard(network())
    optimizer = sgd(model)
    train(model, optimizer, ranks, range(N_STEPS // 2))
    saved = copy.deepcopy(get_state_dict(model, optimizer, options=WHOLE))
    train(model, optimizer, ranks, range(N_STEPS // 2, N_STEPS))
    save_file(whole_weights(model), folder / f"whole-{ranks.number}.safetensors")
    again = network()
    nn.init.zeros_(again[1].weight)
    shard(again)
    optimizer = sgd(again)
    weights, moments = saved
    set_state_dict(again, optimizer, model_state_dict=weights, optim_state_dict=moments, options=WHOLE)
    train(again, optimizer, ranks, range(N_STEPS // 2, N_STEPS))
    save_file(whole_weights(again), folder / f"cut-{ranks.number}.safetensors")


def attacked(ranks: Ranks) -> None:
    """The gradient in the inputs goes through sharded weights, to the bit as through whole ones."""
    data = digits().train
    x, y = data.batch(torch.arange(8) + 8 * ranks.number)
    index = torch.arange(8)
    sharded = ATTACK(shard(network()).eval(), x, y, generator=Draws.of(0, "attack", index))
    whole = ATTACK(network().eval(), x, y, generator=Draws.of(0, "attack", index))
    assert torch.equal(sharded, whole)
    assert not torch.equal(whole, x)


def obstacles() -> None:
    """Why `fit` refuses such weights: what its parts need, and what torch answers. A torch that can do it fails here."""
    x = torch.rand(4, 1, 8, 8, requires_grad=True)
    with pytest.raises(
        AssertionError, match="does not support deepcopy"
    ):  # averages of weights (EMA, SWA), kept copies
        copy.deepcopy(shard(network()))
    (gradient,) = torch.autograd.grad(shard(network())(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="storage of size 0"):  # penalties on gradients (GradAlign)
        gradient.square().sum().backward()


def refused() -> None:
    fabric = make_fabric("cpu")
    fabric.launch()
    with pytest.raises(BadRequest, match="model: expected whole weights in every process, got sharded ones"):
        fit(shard(network()), digits(), Adversarial(ATTACK), Recipe(epochs=1), fabric=fabric)
