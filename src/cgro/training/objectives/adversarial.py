"""Adversarial training, standard training, and every mix of the two."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from cgro._check import number_field
from cgro.definitions import Attack
from cgro.definitions.attacks import require_attack
from cgro.training.objectives.cost import Cost, attack_cost
from cgro.training.step import Step


@dataclass(frozen=True)
class Adversarial:
    """The mixed objective of Section 5, (1 - lambda) L(f(X), y) + lambda L(f(X'), y), with X' by an attack.

    Terms of weight 0 are not computed: lambda = 1 is adversarial training (Madry et al., ICLR 2018), 0 standard
    training. L is cross-entropy for (B, C) logits and the logistic loss for (B,) scores.

    Args:
        attack: makes X'; `NoAttack()` is standard training.
        robust_weight: the paper's lambda, in [0, 1].

    Raises:
        BadRequest: no attack, or a weight outside [0, 1].

    Example:
        >>> from cgro.definitions import PGD, ThreatModel
        >>> attack = PGD(ThreatModel("inf", 0.1), n_steps=7)
        >>> Adversarial(attack).cost
        Cost(n_forward=2, n_gradients=7, n_updates=1)
        >>> Adversarial(attack, robust_weight=0.0).cost
        Cost(n_forward=0, n_gradients=0, n_updates=1)
    """

    capturable: ClassVar[bool] = True

    attack: Attack
    robust_weight: float = 1.0

    def __post_init__(self) -> None:
        require_attack(self.attack)
        number_field(self, "robust_weight", low=0.0, high=1.0)

    @property
    def cost(self) -> Cost:
        """Of the terms that have a weight, and of the attack if the robust one has."""
        if self.robust_weight == 0:
            return Cost(n_updates=1)
        if self.robust_weight == 1:
            return attack_cost(self.attack) + Cost(n_updates=1)
        return attack_cost(self.attack) + Cost(n_updates=2)

    def __call__(self, step: Step) -> Tensor:
        """The mixed loss of each example.

        Args:
            step: the batch.

        Returns:
            (B,).
        """
        if self.robust_weight == 0:
            return step.loss(step.model(step.x))
        x_adv = step.craft(self.attack)
        if self.robust_weight == 1:
            return step.loss(step.model(x_adv))
        clean = step.loss(step.model(step.x))
        robust = step.loss(step.model(x_adv))
        return (1 - self.robust_weight) * clean + self.robust_weight * robust
