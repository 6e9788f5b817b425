"""Several attacks in order, each on the examples that the ones before left standing."""

from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor

from cgro._check import bad
from cgro.definitions.attacks.apgd import APGD, TargetedAPGD
from cgro.definitions.attacks.base import Attack, Best
from cgro.definitions.attacks.gradient import Precision
from cgro.definitions.attacks.pgd import PGD
from cgro.definitions.attacks.square import Square
from cgro.definitions.draws import Draws
from cgro.definitions.losses import Model
from cgro.definitions.threat import ThreatModel


@dataclass(frozen=True)
class Ensemble(Attack):
    """The worst case over several attacks of one threat model.

    An example is wrong if one of them makes it so. `evaluation.survey` records which one, and at which step.

    Args:
        attacks: in the order in which they are tried: the cheap and strong ones first.

    Raises:
        BadRequest: no attacks, two of one name, or attacks on different threat models.
    """

    attacks: tuple[Attack, ...]

    def __post_init__(self) -> None:
        names = [attack.name for attack in self.attacks]
        if not names or len(set(names)) < len(names):
            raise bad("attacks", expected="one or more of different names", got=names)
        if any(attack.threat != self.threat for attack in self.attacks):
            raise bad("attacks", expected=f"all on {self.threat}", got=[a.threat for a in self.attacks])

    @property
    def parts(self) -> tuple[Attack, ...]:
        """The attacks, in order."""
        return self.attacks

    def at(self, radius: float) -> Self:
        """The same attacks at another radius."""
        attacks = tuple(attack.at(radius) for attack in self.attacks)
        return replace(self, threat=self.threat.at(radius), attacks=attacks)

    def search(self, model: Model, x: Tensor, y: Tensor, draws: Draws, best: Best) -> None:
        """Each attack on what still stands."""
        for attack in self.attacks:
            rows = best.standing()
            if not len(rows):
                return
            own = draws.rows(rows)
            found = Best(best.x[rows], best.margins[rows], until_wrong=best.until_wrong)
            attack.search(model, x[rows], y[rows], own, found)
            draws.position = own.position
            best.offer(found.x, found.margins, rows, found.step)


def standard_ensemble(threat: ThreatModel, *, precision: Precision = "float32") -> Ensemble:
    """The ensemble at the strength of AutoAttack's standard version (Croce and Hein, ICML 2020).

    APGD-CE, APGD-T (9 targets, or all), APGD on the plain margin where AutoAttack has FAB-T, Square with 5,000 queries.
    Why not FAB: docs/decisions.md. For p = 1, as there, APGD-CE has 5 restarts, and the third attack takes dense steps,
    which find what sparse ones miss where the inputs are few.
    """
    third = PGD if threat.p == 1 else APGD
    attacks = (
        APGD(threat, n_restarts=5 if threat.p == 1 else 1, precision=precision),
        TargetedAPGD(threat, precision=precision),
        third(threat, loss="margin", n_steps=100, n_restarts=5, precision=precision),
        Square(threat, precision=precision),
    )
    return Ensemble(threat, attacks)
