"""MART: misclassified examples count more.

Wang, Zou, Yi, Bailey, Ma and Gu, "Improving adversarial robustness requires revisiting misclassified examples" (ICLR
2020).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cgro._check import number_field
from cgro.definitions import Attack, classes_of, divergence, log_probabilities
from cgro.definitions.inputs import logits_of
from cgro.training.objectives.base import SearchFromBeside, require_pgd
from cgro.training.objectives.cost import Cost, attack_cost
from cgro.training.step import Step

FLOOR = 1e-4
"""Added to 1 - max p, whose logarithm is taken; the authors' code."""


@dataclass(frozen=True)
class MART(SearchFromBeside):
    """BCE(f(X'), y) + beta KL(f(X) || f(X')) (1 - p_y(X)), eq. (11) of Wang et al.

    BCE = -log p_y(X') - log(1 - max_{k != y} p_k(X')) is the boosted cross-entropy. X' maximizes the cross-entropy by
    projected gradient ascent from Proj(X + 0.001 N(0, I)) in the attack's mode; its last iterate is taken. Both terms
    are differentiated through f(X) as well, the factor 1 - p_y included. Scores f stand for the logits (0, f).

    Args:
        attack: PGD with one start: the threat, the steps and the step size. Its start is that of MART instead.
        beta: weight of the divergence, at least 0. The authors' code has 5 for ResNet-18 and 6 for WideResNet.
        floor: added to 1 - max p before its logarithm; 1e-4 in the authors' code, 0 is the equation.

    Raises:
        BadRequest: another attack than PGD, several restarts, a negative number.

    Example:
        >>> from cgro.definitions import PGD, ThreatModel
        >>> MART(PGD(ThreatModel("inf", "8/255"), n_steps=10, step_size=2 / 255)).cost
        Cost(n_forward=2, n_gradients=10, n_updates=2)
    """

    capturable: ClassVar[bool] = True

    attack: Attack
    beta: float = 5.0
    floor: float = FLOOR

    def __post_init__(self) -> None:
        require_pgd(self.attack, "MART")
        number_field(self, "beta", "mart: beta", low=0.0)
        number_field(self, "floor", "mart: floor", low=0.0)

    @property
    def cost(self) -> Cost:
        """Of the attack and of both terms; of the first alone with beta = 0."""
        n_updates = 1 if self.beta == 0 else 2
        return attack_cost(self.search) + Cost(n_updates=n_updates)

    def __call__(self, step: Step) -> Tensor:
        """The loss of each example.

        Args:
            step: the batch.

        Returns:
            (B,).
        """
        outputs = logits_of(step.model(step.craft(self.search)))
        boosted = self._boosted(outputs, step.y)
        if self.beta == 0:
            return boosted
        clean = logits_of(step.model(step.x))
        right = _at(log_probabilities(clean), classes_of(step.y, are_signs=clean.ndim == 1))
        # 1 - p without its rounding where p is near 1.
        return boosted + self.beta * divergence(clean, outputs) * -torch.expm1(right)

    def _boosted(self, outputs: Tensor, y: Tensor) -> Tensor:
        log_p = log_probabilities(outputs)
        columns = classes_of(y, are_signs=outputs.ndim == 1)
        wrong = log_p.scatter(1, columns[:, None], -torch.inf).amax(1)
        return -_at(log_p, columns) - torch.log(self.floor - torch.expm1(wrong))


def _at(values: Tensor, columns: Tensor) -> Tensor:
    return values.gather(1, columns[:, None]).squeeze(1)
