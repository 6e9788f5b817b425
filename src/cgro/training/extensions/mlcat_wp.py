"""MLCAT by weight perturbation: the weights move where the loss of the examples of small loss is higher.

Yu, Han, Shen, Yu, Gong, Gong and Liu, "Understanding robust overfitting of adversarial training and beyond" (ICML
2022).
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from cgro._check import count, number
from cgro.data import Dataset
from cgro.training.extensions.base import Extension, with_parameters
from cgro.training.objectives.cost import Cost
from cgro.training.recipe import Recipe
from cgro.training.step import Step
from cgro.training.weight_changes import (
    TINY,
    given_back,
    gradients_of,
    joint_norm,
    layers_of,
    move,
    require_layers,
    without_statistics,
)


class MLCATWP(Extension):
    """The step's gradient, of all examples, at w + v, where v raises the losses below l_min.

    v_0 = 0, d_k = d_(k-1) + grad mean_b( 1[l_b < l_min] l_b )(w + v_(k-1)), v_k = gamma ||w|| d_k / ||d_k||, on the
    same adversarial examples; n_steps of them. As in the authors' code one norm runs over the perturbed weights of all
    layers, those of more than one dimension, and the running averages of BatchNorm follow the last pass alone. Where no
    loss is below l_min, v = 0. The weights are given back to the bit before the optimizer moves them.

    Args:
        gamma: size relative to the weights, at least 0; the authors' value is 0.01.
        l_min: in nats; the authors' value for CIFAR-10 is 1.5.
        n_steps: of the ascent; the authors took 10, each a forward and a backward pass.

    Raises:
        BadRequest: a negative number; before work, a network without such weights.

    Example:
        >>> MLCATWP(n_steps=10).cost(Cost(n_forward=2, n_gradients=10, n_updates=1))
        Cost(n_forward=2, n_gradients=10, n_updates=11)
    """

    capturable = True

    def __init__(self, gamma: float = 0.01, l_min: float = 1.5, n_steps: int = 10) -> None:
        self.gamma = number(gamma, "mlcat-wp: gamma", low=0.0)
        self.l_min = number(l_min, "mlcat-wp: l_min", low=0.0)
        self.n_steps = count(n_steps, "mlcat-wp: n_steps")

    __repr__ = with_parameters

    @property
    def looks_below(self) -> float:
        """Of the examples whose losses are raised."""
        return self.l_min

    def prepare(self, model: nn.Module, recipe: Recipe, data: Dataset) -> None:
        """Refuse a network of which nothing would be perturbed.

        Args:
            model: the network that will be trained.
            recipe: unused.
            data: unused.

        Raises:
            BadRequest: no weight of the network has two dimensions.
        """
        require_layers(model, "mlcat-wp")

    def cost(self, step: Cost) -> Cost:
        """The terms of the loss once more for each step of the ascent.

        Args:
            step: without it.

        Returns:
            With it.
        """
        return step + Cost(n_updates=self.n_steps * step.n_updates)

    def around(self, step: Step, compute: Callable[[], Tensor]) -> Tensor:
        """Gradients at the perturbed weights.

        Args:
            step: the batch.
            compute: sets the gradients of the objective.

        Returns:
            The loss of all examples at the perturbed weights.
        """
        layers = layers_of(step.network)
        with given_back(layers) as weights:
            total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
            for _ in range(self.n_steps):
                self._ascend(step, compute)
                for name, gradient in gradients_of(layers).items():
                    total[name] += gradient
                move(layers, weights, self.perturbation(weights, total))
            return compute()

    def perturbation(self, weights: Mapping[str, Tensor], direction: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """v = gamma ||w|| d / ||d||, with norms over all layers.

        Args:
            weights: by name.
            direction: d by name.

        Returns:
            v by name; 0 where d is.

        Example:
            >>> w, d = {"w": torch.tensor([[3.0, 4.0]])}, {"w": torch.tensor([[0.0, 2.0]])}
            >>> MLCATWP(gamma=0.5).perturbation(w, d)["w"]
            tensor([[0.0000, 2.5000]])
        """
        factor = self.gamma * joint_norm(weights) / (joint_norm(direction) + TINY)
        return {name: factor * value for name, value in direction.items()}

    def _ascend(self, step: Step, compute: Callable[[], Tensor]) -> None:
        """Set the gradients to those of the small losses."""
        with step.reweighed(self._small), without_statistics(step):
            compute()

    def _small(self, losses: Tensor) -> Tensor:
        return torch.where(losses < self.l_min, losses, 0.0)
