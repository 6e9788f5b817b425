"""TRADES, whose attack maximizes the distance to the clean outputs.

Zhang, Yu, Jiao, Xing, El Ghaoui and Jordan, "Theoretically principled trade-off between robustness and accuracy" (ICML
2019).
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from cgro._check import number_field
from cgro.definitions import Attack, FromClean, divergence
from cgro.definitions.inputs import logits_of
from cgro.training.objectives.base import SearchFromBeside, require_pgd
from cgro.training.objectives.cost import Cost, attack_cost
from cgro.training.step import Step


@dataclass(frozen=True)
class TRADES(SearchFromBeside):
    """L(f(X), y) + beta max_{X' in the ball} KL(f(X) || f(X')), eq. (5) of Zhang et al. with beta = 1 / lambda.

    X' maximizes the divergence by projected gradient ascent from Proj(X + 0.001 N(0, I)); its last iterate is taken.
    The clean outputs in the attack are those of the attack's mode (evaluation mode, unless the recipe says otherwise);
    both terms of the loss are differentiated through f(X) as well. All as in the authors' code, with one difference:
    that passes X through the network once more for the second term, and so updates the running averages of BatchNorm
    twice on it.

    Args:
        attack: PGD with one start: the threat, the steps and the step size of the search. Its loss and its start are
            those of TRADES instead of its own.
        beta: weight of the divergence, at least 0; 0 is standard training. The authors' value for CIFAR-10 is 6.

    Raises:
        BadRequest: another attack than PGD, several restarts, a negative weight.

    Example:
        >>> from cgro.definitions import PGD, ThreatModel
        >>> TRADES(PGD(ThreatModel("inf", "8/255"), n_steps=10, step_size=2 / 255)).cost
        Cost(n_forward=3, n_gradients=10, n_updates=2)
    """

    capturable: ClassVar[bool] = True

    attack: Attack
    beta: float = 6.0

    def __post_init__(self) -> None:
        require_pgd(self.attack, "TRADES")
        number_field(self, "beta", low=0.0)

    @property
    def cost(self) -> Cost:
        """Of both terms, of the attack, and of the clean outputs that it is given; of the first alone with beta = 0."""
        if self.beta == 0:
            return Cost(n_updates=1)
        return attack_cost(self.search) + Cost(n_forward=1, n_updates=2)

    def __call__(self, step: Step) -> Tensor:
        """The loss of each example.

        Args:
            step: the batch.

        Returns:
            (B,).
        """
        if self.beta == 0:
            return step.loss(step.model(step.x))
        x_adv = step.craft(self.search, loss=FromClean(step.outputs()))
        clean = logits_of(step.model(step.x))
        return step.loss(clean) + self.beta * divergence(clean, logits_of(step.model(x_adv)))
