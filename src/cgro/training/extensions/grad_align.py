"""GradAlign: the gradient at an example and at a random point of its ball are kept parallel.

Andriushchenko and Flammarion, "Understanding and improving fast adversarial training" (NeurIPS 2020): training with a
single step breaks down as they stop being so. `cgro.training.alignment` watches the same cosine without changing it.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from cgro._check import bad, number
from cgro.definitions import default_loss
from cgro.definitions.inputs import logits_of
from cgro.training.extensions.base import Extension, with_parameters
from cgro.training.objectives.cost import Cost
from cgro.training.step import Step

UPDATES_OF_A_DOUBLE = 2
"""Updates that a gradient costs which is differentiated again in the weights: its forward and its backward pass are
each passed back through, at some six operations of a forward pass, two updates' worth."""


class GradAlign(Extension):
    """Adds weight (1 - cos(grad_x L(f(X), y), grad_x L(f(X + d), y))) to each loss, with X + d uniform in the ball.

    Eq. (5) of the paper; the network is in training mode for both, and its BatchNorm sees them, as in the authors'
    code. Meant for an attack of a single step (`--attack fgsm`, `fgsm-rs`), but any may stand beside it. Where a
    gradient is 0 the cosine is 0 and its own gradient too; the authors leave such examples out of the mean.

    Args:
        weight: at least 0; 0.2 in the authors' command for CIFAR-10 at 8/255.
        detach: whether the gradient at X is a constant, as in the authors' script for FGSM; else both are
            differentiated, as in the equation and in the authors' short listing.

    Raises:
        BadRequest: a negative weight; in the first step, an objective without an attack, whose ball is taken.

    Example:
        >>> GradAlign().cost(Cost(n_forward=2, n_gradients=1, n_updates=1))
        Cost(n_forward=2, n_gradients=1, n_updates=5)
    """

    capturable = True

    def __init__(self, weight: float = 0.2, *, detach: bool = False) -> None:
        self.weight = number(weight, "grad-align: weight", low=0.0)
        self.detach = detach

    @property
    def name(self) -> str:
        """As on a command line."""
        return "grad-align"

    __repr__ = with_parameters

    def cost(self, step: Cost) -> Cost:
        """Two gradients in the input, of which both or one are differentiated again.

        Args:
            step: without it.

        Returns:
            With it; a gradient that is differentiated counts as two updates.
        """
        if self.detach:
            return step + Cost(n_gradients=1, n_updates=UPDATES_OF_A_DOUBLE)
        return step + Cost(n_updates=2 * UPDATES_OF_A_DOUBLE)

    def around(self, step: Step, compute: Callable[[], Tensor]) -> Tensor:
        """Gradients of the losses with the term.

        Args:
            step: the batch.
            compute: sets the gradients of the objective.

        Returns:
            The mean with the term.

        Raises:
            BadRequest: there is no ball.
        """
        if step.attack is None or step.attack.threat.radius == 0:
            raise bad("grad-align", expected="an attack in training, whose ball is taken", got="none")

        def with_term(losses: Tensor) -> Tensor:
            return losses + self.weight * (1 - self.cosine(step))

        with step.reweighed(with_term):
            return compute()

    def cosine(self, step: Step) -> Tensor:
        """The alignment of each example, differentiable in the weights.

        Args:
            step: the batch; its radius warm-up counts.

        Returns:
            (B,) in [-1, 1].
        """
        assert step.attack is not None, "around refuses it"
        threat = step.attack.threat.at(step.attack.threat.radius * step.radius_share)
        near = threat.sample(step.x, step.streams(self.name))
        at_x = self._gradient(step, step.x, constant=self.detach)
        at_near = self._gradient(step, near, constant=False)
        return cosine_similarity(at_x.flatten(1), at_near.flatten(1), dim=1)

    def _gradient(self, step: Step, x: Tensor, *, constant: bool) -> Tensor:
        point = x.detach().requires_grad_()
        loss = default_loss(logits_of(step.model(point)), step.y).sum()
        (gradient,) = torch.autograd.grad(loss, point, create_graph=not constant)
        return gradient
