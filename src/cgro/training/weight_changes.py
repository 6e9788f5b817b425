"""What extensions that move the weights within a step share: which weights, and giving all back to the bit."""

import contextlib
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from cgro._check import bad
from cgro.definitions import Model
from cgro.training.step import Step

TINY = 1e-20
"""Added to the norm of a direction, which may be 0; the authors' code of AWP and MLCAT."""


def layers_of(network: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that are perturbed as published: those of more than one dimension, without biases and BatchNorm.

    Args:
        network: any.

    Returns:
        The trainable parameters called `weight` with at least two dimensions, by name.

    Example:
        >>> list(layers_of(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))))
        ['0.weight']
    """
    trainable = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    return {name: weight for name, weight in trainable.items() if weight.ndim > 1 and "weight" in name}


def require_layers(network: nn.Module, what: str) -> None:
    """Refuse a network without weights that can be perturbed.

    Args:
        network: any.
        what: the extension, for the message.

    Raises:
        BadRequest: `layers_of` finds none.
    """
    if not layers_of(network):
        expected = "a network with trainable weights of at least two dimensions, called weight"
        raise bad(what, expected=expected, got=type(network).__name__)


def gradients_of(layers: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Copies of the gradients that a call of `compute` set.

    Args:
        layers: weights by name.

    Returns:
        Gradients by name; 0 where the loss does not depend on the weight.
    """
    found: dict[str, Tensor] = {}
    for name, weight in layers.items():
        found[name] = torch.zeros_like(weight) if weight.grad is None else weight.grad.detach().clone()
    return found


def joint_norm(tensors: Mapping[str, Tensor]) -> Tensor:
    """The l_2 norm of all tensors as one vector.

    Args:
        tensors: by name.

    Returns:
        0-dimensional, on their device.
    """
    return torch.stack([tensor.detach().norm() for tensor in tensors.values()]).norm()


@contextlib.contextmanager
def given_back(weights: Mapping[str, nn.Parameter]) -> Iterator[dict[str, Tensor]]:
    """Give weights back after the block, to the bit, also when it raises.

    Args:
        weights: by name.

    Yields:
        Copies of them as they are before the block.
    """
    kept = {name: weight.detach().clone() for name, weight in weights.items()}
    try:
        yield kept
    finally:
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(kept[name])


@torch.no_grad()
def move(weights: Mapping[str, nn.Parameter], kept: Mapping[str, Tensor], by: Mapping[str, Tensor]) -> None:
    """Set weights to their kept values plus a perturbation.

    Args:
        weights: by name; changed.
        kept: as `given_back` yields them.
        by: perturbations by name.
    """
    for name, weight in weights.items():
        torch.add(kept[name], by[name], out=weight.data)


@contextlib.contextmanager
def without_statistics(step: Step, *, off: bool = True) -> Iterator[None]:
    """Passes of `step.model` in the block update no running averages of BatchNorm; those of attacks do as ever.

    Args:
        step: its `model` is replaced in the block.
        off: False changes nothing.

    Yields:
        Nothing.
    """
    buffers = [buffer for buffer in step.network.buffers() if buffer is not None]
    if not off or not buffers:
        yield
        return
    model = step.model
    step.model = _restoring(model, buffers)
    try:
        yield
    finally:
        step.model = model


def _restoring(model: Model, buffers: list[Tensor]) -> Callable[[Tensor], Tensor]:
    def call(x: Tensor) -> Tensor:
        before = [buffer.clone() for buffer in buffers]
        outputs = model(x)
        for buffer, value in zip(buffers, before, strict=True):
            # Past the version counter: the backward pass of BatchNorm saves its averages and does not use them.
            buffer.data.copy_(value)
        return outputs

    return call
