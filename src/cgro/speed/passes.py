"""The bare passes through a network, and the floor that they set for a work.

floor = n_forward f + n_gradients g + n_updates u,

with the counts of `Cost` and the seconds f, g, u of one example in the three kinds of pass, in the layout and the
precision that the work takes for them. Nothing that makes these passes can be faster; what it takes beyond them is its
own. A graph of the whole may take less, since launches then cost nothing: the ratio to the floor is below 1 there.
"""

import copy
import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from cgro.definitions import Attack
from cgro.definitions.attacks import evaluated_outputs, image_layout, loss_gradient
from cgro.definitions.attacks.folding import folded
from cgro.definitions.attacks.precision import proposing
from cgro.definitions.losses import default_loss
from cgro.models import fast_layout
from cgro.training import Cost

FORWARD = "forward"
GRADIENT = "gradient"
UPDATE = "update"
PASSES = (FORWARD, GRADIENT, UPDATE)
"""Names of the kinds of pass, in the order of `Cost`."""
IN_A_TURN = 4
"""Passes of one kind in a turn: several, as in the work, so that a GPU has the next one waiting. A choice."""


class Passes:
    """The three kinds of pass, ready to be timed. They work on copies of the network in the layout that is fast.

    Args:
        model: (B, *S) -> (B, C) or (B,), in evaluation mode; left as it is.
        x: (B, *S) a batch.
        y: (B,) its labels.
        attack: whose precision the gradients are in, and whose copy of the network they pass through.
    """

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor, attack: Attack) -> None:
        self._network = fast_layout(copy.deepcopy(model))
        self._trained = copy.deepcopy(self._network).train()
        self._x = image_layout(x, self._network)
        self._y = y
        by = proposing(attack.search_precision, self._network, x)
        self.bfloat16 = by == "bfloat16"
        self._searched = self._network if by == "exactly" else folded(self._network)

    def calls(self) -> dict[str, Callable[[], object]]:
        """One turn of each kind.

        Returns:
            Name -> `IN_A_TURN` passes of the batch.
        """
        kinds = {FORWARD: self._forward, GRADIENT: self._gradient, UPDATE: self._update}
        return {name: functools.partial(_several, one) for name, one in kinds.items()}

    def _forward(self) -> None:
        evaluated_outputs(self._network, self._x)

    def _gradient(self) -> None:
        with torch.autocast(self._x.device.type, dtype=torch.bfloat16, enabled=self.bfloat16):
            loss_gradient(self._searched, self._x, self._y, default_loss)

    def _update(self) -> None:
        default_loss(self._trained(self._x), self._y).mean().backward()
        self._trained.zero_grad(set_to_none=True)


def _several(one: Callable[[], object]) -> None:
    for _ in range(IN_A_TURN):
        one()


def floor_seconds(cost: Cost, forward: float, gradient: float, update: float) -> float:
    """The time of the bare passes of one example.

    Args:
        cost: how often it passes through the network.
        forward: seconds of a forward pass.
        gradient: seconds of a pass with the gradient to the input.
        update: seconds of a pass with the gradient to the weights.

    Returns:
        Seconds.

    Example:
        >>> floor_seconds(Cost(n_forward=2, n_gradients=10, n_updates=1), 1.0, 2.0, 3.0)
        25.0
    """
    return cost.n_forward * forward + cost.n_gradients * gradient + cost.n_updates * update


def counted_cost(model: nn.Module, work: Callable[[], object]) -> Sequence[int]:
    """Count the examples that a work passes through a network, where no formula says it: what breaks early stops early.

    Args:
        model: that the work calls.
        work: without training.

    Returns:
        Examples in forward passes without gradients, and in those with them.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> counted_cost(net, lambda: net(torch.zeros(5, 2)))
        (0, 5)
    """
    without = 0
    differentiated = 0

    def see(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal without, differentiated
        if torch.is_grad_enabled():
            differentiated += len(inputs[0])
        else:
            without += len(inputs[0])

    handle = model.register_forward_pre_hook(see)
    try:
        work()
    finally:
        handle.remove()
    return without, differentiated
