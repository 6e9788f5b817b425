"""SGD and Adam whose learning rate lies in a tensor, so that a captured step can be taken again with another one.

Torch's own SGD reads a learning rate in a tensor on the host at every step (2.13, unless it is compiled), and its Adam
takes one on GPUs alone. These are torch's, settings, state and its names in checkpoints included, with a step of their
own on lists of tensors: a launch for all weights where a loop has hundreds.
"""

# Torch documents these functions, and does not list them.
# pyright: reportPrivateImportUsage=false

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

PARAMS = "params"
LR = "lr"
MOMENTUM = "momentum"
DECAY = "weight_decay"
BETAS = "betas"
EPS = "eps"
"""Names of torch's in the settings of an optimizer."""
STEP = "step"
BUFFER = "momentum_buffer"
FIRST = "exp_avg"
SECOND = "exp_avg_sq"
"""Names of torch's in the state of an optimizer."""


class _TensorRate(torch.optim.Optimizer):
    """What both have: a learning rate in a tensor, and a step of one group on lists."""

    _rate: Tensor

    def set_rate(self, lr: float) -> None:
        """Write the learning rate of the next steps.

        Args:
            lr: as a number; it is kept with the group too, for checkpoints.
        """
        self.param_groups[0][LR] = lr
        self._rate.fill_(lr)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """Move the weights that have a gradient.

        Args:
            closure: not used.
        """
        (group,) = self.param_groups
        weights = [weight for weight in group[PARAMS] if weight.grad is not None]
        if not weights:
            return
        self._move(weights, [weight.grad for weight in weights])

    def _move(self, weights: list[Tensor], gradients: "list[Tensor] | tuple[Tensor, ...]") -> None:
        raise AssertionError("each kind has its own")


class TensorSGD(_TensorRate, torch.optim.SGD):
    """g <- grad + weight_decay w; m <- momentum m + g (m = g at first); w <- w - lr m.

    Args:
        of: the optimizer whose parameters and settings are taken: one group, without Nesterov, dampening or `maximize`.
    """

    def __init__(self, of: torch.optim.SGD) -> None:
        (group,) = of.param_groups
        super().__init__(group[PARAMS], group[LR], momentum=group[MOMENTUM], weight_decay=group[DECAY])
        self._rate = _rate(group[PARAMS])

    def _move(self, weights: list[Tensor], gradients: "list[Tensor] | tuple[Tensor, ...]") -> None:
        (group,) = self.param_groups
        moves = gradients
        if group[DECAY]:
            moves = torch._foreach_add(moves, weights, alpha=group[DECAY])
        if group[MOMENTUM]:
            moves = self._momenta(weights, list(moves), group[MOMENTUM])
        torch._foreach_sub_(weights, torch._foreach_mul(moves, self._rate))

    def _momenta(self, weights: list[Tensor], gradients: list[Tensor], momentum: float) -> list[Tensor]:
        old: list[Tensor] = []
        new: list[Tensor] = []
        found: list[Tensor] = []
        for weight, gradient in zip(weights, gradients, strict=True):
            slots = self.state[weight]
            if slots.get(BUFFER) is None:
                slots[BUFFER] = gradient.detach().clone()
            else:
                old.append(slots[BUFFER])
                new.append(gradient)
            found.append(slots[BUFFER])
        if old:
            torch._foreach_mul_(old, momentum)
            torch._foreach_add_(old, new)
        return found


class TensorAdam(_TensorRate, torch.optim.Adam):
    """m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2; w <- w - lr m_t / (sqrt(v_t) + eps), m_t = m / (1 - b1^t).

    v_t alike. The weight decay enters g as in Adam, or shrinks w by lr weight_decay before as in AdamW (Loshchilov and
    Hutter, ICLR 2019).

    Args:
        of: the optimizer whose parameters and settings are taken: Adam or AdamW with one group, without `amsgrad` or
            `maximize`.
    """

    def __init__(self, of: torch.optim.Adam | torch.optim.AdamW) -> None:
        (group,) = of.param_groups
        self._decoupled = type(of) is torch.optim.AdamW
        super().__init__(group[PARAMS], group[LR])
        # All of them, also those that only one kind has: a checkpoint must go on as the same kind on a CPU.
        self.param_groups[0].update(group)
        self._rate = _rate(group[PARAMS])

    def _move(self, weights: list[Tensor], gradients: "list[Tensor] | tuple[Tensor, ...]") -> None:
        (group,) = self.param_groups
        if group[DECAY] and self._decoupled:
            torch._foreach_mul_(weights, 1 - self._rate * group[DECAY])
        elif group[DECAY]:
            gradients = torch._foreach_add(gradients, weights, alpha=group[DECAY])
        slots = [self._slots(weight) for weight in weights]
        steps = [slot[STEP] for slot in slots]
        means = [slot[FIRST] for slot in slots]
        squares = [slot[SECOND] for slot in slots]
        b1, b2 = group[BETAS]
        torch._foreach_add_(steps, 1)
        torch._foreach_lerp_(means, gradients, 1 - b1)
        torch._foreach_mul_(squares, b2)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - b2)
        # Parameters without a gradient in some step have a count of their own.
        roots = torch._foreach_div(squares, _remainders(b2, steps))
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, group[EPS])
        moves = torch._foreach_div(means, _remainders(b1, steps))
        torch._foreach_div_(moves, roots)
        torch._foreach_sub_(weights, torch._foreach_mul(moves, self._rate))

    def _slots(self, weight: Tensor) -> dict[str, Any]:
        slots = self.state[weight]
        if not slots:
            slots[STEP] = torch.zeros((), device=weight.device)
            slots[FIRST] = torch.zeros_like(weight, memory_format=torch.preserve_format)
            slots[SECOND] = torch.zeros_like(weight, memory_format=torch.preserve_format)
        elif slots[STEP].device != weight.device:  # as torch loads it from a checkpoint
            slots[STEP] = slots[STEP].to(weight.device)
        return slots


def _remainders(beta: float, steps: list[Tensor]) -> list[Tensor]:
    """1 - beta^t. By the power itself, as torch does on GPUs, four digits of float32 cancel at the first steps."""
    found = torch._foreach_mul(steps, math.log(beta))
    torch._foreach_expm1_(found)
    torch._foreach_neg_(found)
    return list(found)


def _rate(weights: list[Tensor]) -> Tensor:
    return torch.zeros((), device=weights[0].device)


def on_tensors(optimizer: torch.optim.Optimizer) -> "TensorSGD | TensorAdam | None":
    """The same optimizer with its learning rate in a tensor.

    Args:
        optimizer: before its first step.

    Returns:
        None where there is none for it.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(()))
        >>> optimizer = on_tensors(torch.optim.SGD([weight], 0.5))
        >>> weight.grad = torch.tensor(2.0)
        >>> optimizer.set_rate(0.25)
        >>> optimizer.step()
        >>> weight.item()
        0.5
    """
    if type(optimizer) is torch.optim.SGD:
        return TensorSGD(optimizer)
    if type(optimizer) is torch.optim.Adam or type(optimizer) is torch.optim.AdamW:
        return TensorAdam(optimizer)
    return None
