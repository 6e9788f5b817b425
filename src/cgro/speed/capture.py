"""A whole search, or a whole step of training, as one CUDA graph."""

from collections.abc import Callable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.data import Dataset
from cgro.definitions import Attack
from cgro.definitions.attacks import SearchOptions
from cgro.definitions.attacks.reads import read_batch
from cgro.definitions.draws import draws_for
from cgro.definitions.graphs import N_WARM_UPS, CudaGraphs
from cgro.definitions.random_state import preserve_random_state
from cgro.training import Recipe
from cgro.training.capture import StepRunner
from cgro.training.compiling import Decision
from cgro.training.engine import deterministic_kernels
from cgro.training.objectives import Objective
from cgro.training.steps import Steps


def pure_search(attack: Attack, model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    """A search of one batch without the reads before and after it: what a graph can hold.

    Args:
        attack: any whose search runs no code of others.
        model: (B, *S) -> (B, C) or (B,), the caller's to change; in evaluation mode.
        x: (B, *S) inputs in the box; read here.
        y: (B,) labels; read here.

    Returns:
        () -> (B, *S), the points that the attack finds from seed 0.

    Raises:
        BadRequest: inputs out of the box.

    Example:
        >>> from cgro.definitions import PGD, ThreatModel
        >>> net, x, y = nn.Linear(2, 3), torch.rand(4, 2), torch.arange(4) % 3
        >>> attack = PGD(ThreatModel("inf", 0.1), n_steps=3)
        >>> torch.equal(pure_search(attack, net, x, y)(), attack.find(net, x, y, dropping="never").x)
        True
    """
    options = SearchOptions(dropping="never", labels=read_batch(attack.threat, x, y))
    draws = draws_for(None, len(x), x.device)

    def search() -> Tensor:
        return attack.search_batch(model, x, y, draws.copy(), options).best.x

    return search


def captured(call: Callable[[], Tensor], device: torch.device) -> Callable[[], Tensor]:
    """A call as one CUDA graph: each replay does its work on the tensors that it read, as they are then.

    Args:
        call: reads no value on the host, and keeps to tensors that stay where they are.
        device: of CUDA.

    Returns:
        A function that replays the graph and returns the tensor that `call` returned, written anew.

    Raises:
        BadRequest: no CUDA device.
        RuntimeError: the call reads a value on the host, or does something else that a graph cannot hold.
    """
    backend = CudaGraphs(device)
    for _ in range(N_WARM_UPS):
        backend.warm_up(call)
    return backend.capture(call)


def captured_search(attack: Attack, model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    """`pure_search`, captured.

    Args:
        attack: see `pure_search`.
        model: see `pure_search`; its weights must stay where they are as long as the graph is used.
        x: (B, *S), on a CUDA device.
        y: (B,) labels.

    Returns:
        () -> (B, *S).

    Raises:
        BadRequest: no CUDA device.
        RuntimeError: see `captured`.
    """
    return captured(pure_search(attack, model, x, y), x.device)


def captured_epoch(
    model: nn.Module, data: Dataset, objective: Objective, recipe: Recipe, fabric: Fabric, *, compiled: bool = False
) -> Callable[[], None]:
    """The steps of one epoch, as `fit` takes them in a long training: captured in the first calls, replayed after them.

    Args:
        model: trained in place.
        data: its training part, a whole number of batches, on the device.
        objective: such as `Adversarial(attack)`.
        recipe: the loop.
        fabric: device and precision.
        compiled: with the network compiled before.

    Returns:
        A function that takes every step once.

    Raises:
        BadRequest: the steps cannot be captured, or the network cannot be compiled; the reason is that of `fit`.
    """
    steps = Steps(model.to(fabric.device), data.train, objective, recipe, (), 0, fabric)
    runner = StepRunner(steps, Decision(True) if compiled else None)
    batches = steps.order(0).to(fabric.device).split(recipe.batch_size)

    def epoch() -> None:
        with deterministic_kernels(), preserve_random_state(fabric.device):
            for k, rows in enumerate(batches):
                runner.take(0, k, rows)

    if steps.graphs is not None:
        for _ in range(N_WARM_UPS + 1):  # one batch an epoch at the least
            epoch()
            if runner.refusal:
                raise BadRequest(f"captured epoch: not compiled: {runner.refusal}")
            if runner.n_replays:
                return epoch
    raise BadRequest(f"captured epoch: {runner.note or 'only CUDA has graphs'}")
