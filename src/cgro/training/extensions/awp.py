"""Adversarial weight perturbation: the gradient of a step is taken where the loss is higher.

Wu, Xia and Wang, "Adversarial weight perturbation helps robust generalization" (NeurIPS 2020).
"""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from cgro._check import bad, count, number, one_of
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

SCALES = ("layer", "network")
STATISTICS = ("perturbed", "unperturbed")


class AWP(Extension):
    """The step's gradient at w + v, with v_l = gamma ||w_l|| g_l / ||g_l|| in each layer l; eqs. (9) and (10).

    g is the gradient of the objective at w, on the same adversarial examples: one ascent step, as published. Weights of
    more than one dimension are perturbed, without biases and BatchNorm, and given back to the bit before the optimizer
    moves them. In the authors' code it moves w + v and v is subtracted afterwards, so that there the weight decay acts
    on w + v. The direction does not depend on the learning rate of the authors' proxy network, so there is none.

    Args:
        gamma: size relative to the weights, at least 0. The authors' value is 0.01, with TRADES 0.005.
        warmup: epochs at the beginning without it. The authors' value is 0, with TRADES 10.
        scale: `layer`, as published, or `network`: one ratio for all layers, v = gamma ||w|| g / ||g||, as in MAIR.
        batchnorm: whether BatchNorm's running averages follow the passes at the `perturbed` weights, as in the
            authors' code, or the `unperturbed` ones, which are those that are evaluated.

    Raises:
        BadRequest: a negative gamma or warm-up, another word; before work, a warm-up that outlasts the training,
            a network without such weights.

    Example:
        >>> AWP(gamma=0.01).cost(Cost(n_forward=2, n_gradients=10, n_updates=1))
        Cost(n_forward=2, n_gradients=10, n_updates=2)
    """

    capturable = True

    def __init__(
        self, gamma: float = 0.01, warmup: int = 0, *, scale: str = "layer", batchnorm: str = "perturbed"
    ) -> None:
        self.gamma = number(gamma, "awp: gamma", low=0.0)
        self.warmup = count(warmup, "awp: warmup", low=0)
        self.scale = one_of(scale, "awp: scale", SCALES)
        self.batchnorm = one_of(batchnorm, "awp: batchnorm", STATISTICS)

    __repr__ = with_parameters

    def prepare(self, model: nn.Module, recipe: Recipe, data: Dataset) -> None:
        """Refuse a warm-up after which nothing is left, and a network of which nothing would be perturbed.

        Args:
            model: the network that will be trained.
            recipe: says the epochs.
            data: unused.

        Raises:
            BadRequest: it lasts the whole training; no weight of the network has two dimensions.
        """
        require_layers(model, "awp")
        if self.warmup >= recipe.epochs:
            raise bad("awp: warmup", expected=f"less than the {recipe.epochs} epochs", got=self.warmup)

    @property
    def idle_epochs(self) -> int:
        """Those of the warm-up."""
        return self.warmup

    def cost(self, step: Cost) -> Cost:
        """The terms of the loss twice; the attack once.

        Args:
            step: without it.

        Returns:
            With it, after the warm-up.
        """
        return step + Cost(n_updates=step.n_updates)

    def around(self, step: Step, compute: Callable[[], Tensor]) -> Tensor:
        """Gradients at the perturbed weights.

        Args:
            step: the batch.
            compute: sets the gradients of the objective.

        Returns:
            The loss at the perturbed weights, which is the one that is minimized.
        """
        if step.decide(lambda moment: moment.epoch < self.warmup):
            return compute()
        layers = layers_of(step.network)
        with without_statistics(step, off=self.batchnorm == "perturbed"):
            compute()
        with given_back(layers) as weights:
            move(layers, weights, self.perturbation(weights, gradients_of(layers)))
            with without_statistics(step, off=self.batchnorm == "unperturbed"):
                return compute()

    def perturbation(self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The ascent step v.

        Args:
            weights: by name.
            gradients: of the loss, by name.

        Returns:
            v by name; 0 where the gradient is.

        Example:
            >>> import torch
            >>> w, g = {"w": torch.tensor([[3.0, 4.0]])}, {"w": torch.tensor([[0.0, 2.0]])}
            >>> AWP(gamma=0.5).perturbation(w, g)["w"]
            tensor([[0.0000, 2.5000]])
        """
        if self.scale == "network":
            factor = self.gamma * joint_norm(weights) / (joint_norm(gradients) + TINY)
            return {name: factor * gradient for name, gradient in gradients.items()}
        found: dict[str, Tensor] = {}
        for name, gradient in gradients.items():
            found[name] = self.gamma * weights[name].norm() / (gradient.norm() + TINY) * gradient
        return found
