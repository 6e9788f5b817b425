"""Distillation from a standard and a robust teacher into a network in adversarial training.

Chen, Zhang, Liu, Chang and Wang, "Robust overfitting may be mitigated by properly learned smoothening" (ICLR
2021). With `SWA` beside it this is their KD-SWA.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from cgro._check import bad, number, number_field
from cgro.definitions import Attack, Model, log_probabilities, soft_cross_entropy
from cgro.definitions.attacks import require_attack
from cgro.definitions.inputs import describe, logits_of
from cgro.training.given import weights_digest
from cgro.training.objectives.cost import Cost, attack_cost
from cgro.training.step import Step


@dataclass(frozen=True)
class KD:
    """a L(f(X'), y) + T^2 sum_t a_t CE(softmax(t(X') / T), softmax(f(X') / T)) over the teachers t.

    X' is made by the attack against the network alone. The teachers, in evaluation mode, see X' too. T^2 keeps the
    gradients' size (Hinton, Vinyals and Dean, 2015). The published weights are the defaults.

    Args:
        attack: makes X'.
        standard: a network trained without attacks: a module or another function (B, *S) -> outputs; by the name of
            its run on a command line. A module is copied.
        robust: one trained adversarially.
        weight: a, of the labels.
        weight_standard: of the standard teacher; 0 for none.
        weight_robust: of the robust teacher; 0 for none.
        temperature: T > 0.

    Raises:
        BadRequest: no attack, a weight without its teacher or a teacher without a weight, a negative number; in the
            first step, a teacher with other outputs than the network.

    Example:
        >>> from cgro.definitions import PGD, ThreatModel
        >>> attack = PGD(ThreatModel("inf", 0.1), n_steps=7)
        >>> KD(attack, robust=lambda x: x.flatten(1), weight_standard=0.0).cost
        Cost(n_forward=3, n_gradients=7, n_updates=1)
        >>> KD(attack)
        Traceback (most recent call last):
        ...
        cgro._check.BadRequest: kd: expected a standard teacher, got none; name its run, kd:standard=RUN, or set \
weight_standard=0
    """

    capturable: ClassVar[bool] = True

    attack: Attack
    standard: Model | None = None
    robust: Model | None = None
    weight: float = 0.3
    weight_standard: float = 0.1
    weight_robust: float = 0.6
    temperature: float = 2.0

    def __post_init__(self) -> None:
        require_attack(self.attack)
        number_field(self, "weight", "kd: weight", low=0.0)
        number(self.temperature, "kd: temperature", above=0.0)
        object.__setattr__(self, "standard", _teacher(self.standard, self.weight_standard, "standard"))
        object.__setattr__(self, "robust", _teacher(self.robust, self.weight_robust, "robust"))

    @property
    def cost(self) -> Cost:
        """Of the attack, of one term of the loss, and of a pass of each teacher, as if it were of the same size."""
        return attack_cost(self.attack) + Cost(n_forward=len(self._teachers()), n_updates=1)

    def loss_of_guessing(self, n_classes: int) -> float:
        """Of a network that answers every class alike: a cross-entropy of log C in each term, times its weight.

        Args:
            n_classes: C.

        Returns:
            (a + T^2 sum_t a_t) log C.
        """
        weights = self.weight
        for _, weight in self._teachers():
            weights += self.temperature**2 * weight
        return weights * math.log(n_classes)

    def __call__(self, step: Step) -> Tensor:
        """The loss of each example.

        Args:
            step: the batch.

        Returns:
            (B,).

        Raises:
            BadRequest: a teacher has other outputs than the network.
        """
        x_adv = step.craft(self.attack)
        outputs = logits_of(step.model(x_adv))
        loss = self.weight * step.loss(outputs)
        for teacher, weight in self._teachers():
            targets = self._targets(teacher, x_adv, outputs)
            loss = loss + weight * self.temperature**2 * soft_cross_entropy(outputs / self.temperature, targets)
        return loss

    def given(self) -> dict[str, str]:
        """Which teachers these are; see `cgro.training.given`.

        Returns:
            Which -> digest of its weights; a teacher that is no module has none.
        """
        found: dict[str, str] = {}
        for which, teacher in (("standard", self.standard), ("robust", self.robust)):
            if isinstance(teacher, nn.Module):
                found[which] = weights_digest(teacher)
        return found

    def _teachers(self) -> list[tuple[Model, float]]:
        found: list[tuple[Model, float]] = []
        for teacher, weight in ((self.standard, self.weight_standard), (self.robust, self.weight_robust)):
            if teacher is not None:
                found.append((teacher, weight))
        return found

    def _targets(self, teacher: Model, x: Tensor, outputs: Tensor) -> Tensor:
        """(B, C) probabilities of a teacher."""
        if isinstance(teacher, nn.Module):
            teacher.to(x.device)
        with torch.no_grad():
            theirs = logits_of(teacher(x))
        if theirs.shape != outputs.shape:
            expected = f"a teacher with outputs of shape {tuple(outputs.shape)}, as the network's"
            raise bad("kd", expected=expected, got=tuple(theirs.shape))
        return log_probabilities(theirs / self.temperature).exp()


def kd_by_name(read: Callable[[str, str], Model]) -> Callable[..., KD]:
    """The factory of `KD` for texts, which name the teachers' runs.

    Args:
        read: (run, what for, such as "kd: robust") -> network with its weights.

    Returns:
        Called as factory(attack, standard="runs/a", robust="runs/b", ...).
    """

    def make(
        attack: Attack,
        standard: str = "",
        robust: str = "",
        weight: float = 0.3,
        weight_standard: float = 0.1,
        weight_robust: float = 0.6,
        temperature: float = 2.0,
    ) -> KD:
        teachers: list[Model | None] = []
        for run, which in ((standard, "standard"), (robust, "robust")):
            teachers.append(read(run, f"kd: {which}") if run else None)
        weights = (weight, weight_standard, weight_robust)
        return KD(attack, teachers[0], teachers[1], *weights, temperature=temperature)

    return make


def _teacher(teacher: object, weight: float, which: str) -> Model | None:
    """The network that is asked, in evaluation mode; None for none."""
    number(weight, f"kd: weight_{which}", low=0.0)
    if teacher is None:
        if weight > 0:
            remedy = f"name its run, kd:{which}=RUN, or set weight_{which}=0"
            raise bad("kd", expected=f"a {which} teacher", got="none", remedy=remedy)
        return None
    if not callable(teacher):
        raise bad("kd", expected=f"a network as {which} teacher", got=describe(teacher))
    if weight == 0:
        raise bad(f"kd: weight_{which}", expected=f"a weight > 0 for the {which} teacher", got=weight)
    if isinstance(teacher, nn.Module):
        teacher = copy.deepcopy(teacher).eval().requires_grad_(False)
    return cast(Model, teacher)
