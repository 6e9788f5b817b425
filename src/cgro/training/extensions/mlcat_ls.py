"""MLCAT by loss scaling: examples of small loss are given at least a minimum loss.

Yu, Han, Shen, Yu, Gong, Gong and Liu, "Understanding robust overfitting of adversarial training and beyond" (ICML
2022).
"""

from collections.abc import Callable

from torch import Tensor

from cgro._check import number
from cgro.training.extensions.base import Extension, with_parameters
from cgro.training.step import Step

TINY = 1e-12
"""Least loss by which is divided. Affects losses below it only; a choice."""


class MLCATLS(Extension):
    """A loss l < l_min becomes (l_min / l) l, the others stay.

    As published the factor is not detached: the product is the constant l_min, and the gradient of every such example
    is zero exactly, so that they are left out of the step. Detached, their gradient is that of l times l_min / l > 1:
    they are pulled at harder, which is another method.

    Args:
        l_min: the minimum loss, in nats; the authors' value for CIFAR-10 is 1.5.
        detach: whether the factor is a constant in the gradient; False as published.

    Raises:
        BadRequest: a negative l_min.

    Example:
        >>> import torch
        >>> losses = torch.tensor([0.5, 2.0], requires_grad=True)
        >>> scaled = MLCATLS().scaled(losses)
        >>> scaled.sum().backward()
        >>> scaled.tolist(), losses.grad.tolist()
        ([1.5, 2.0], [0.0, 1.0])
    """

    capturable = True

    def __init__(self, l_min: float = 1.5, *, detach: bool = False) -> None:
        self.l_min = number(l_min, "mlcat-ls: l_min", low=0.0)
        self.detach = detach

    __repr__ = with_parameters

    @property
    def flat_below(self) -> float:
        """The minimum loss, as published; a detached factor leaves gradients."""
        return 0.0 if self.detach else self.l_min

    def around(self, step: Step, compute: Callable[[], Tensor]) -> Tensor:
        """Gradients of the scaled losses.

        Args:
            step: the batch.
            compute: sets the gradients of the objective.

        Returns:
            The mean of the scaled losses.
        """
        with step.reweighed(self.scaled):
            return compute()

    def scaled(self, losses: Tensor) -> Tensor:
        """The losses that the step minimizes.

        Args:
            losses: (B,) of the objective, at least 0.

        Returns:
            (B,).
        """
        if self.detach:
            factor = (self.l_min / losses.detach().clamp_min(TINY)).clamp_min(1.0)
            return losses * factor
        # l (l_min / l) without its 0 / 0: a constant, to the bit.
        return losses.clamp_min(self.l_min)
