"""Several attacks in order, each on the examples that the ones before left correctly classified."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from cgro._check import bad
from cgro.definitions.attacks.apgd import APGD, TargetedAPGD
from cgro.definitions.attacks.base import Attack, require_attack
from cgro.definitions.attacks.evaluator import Evaluator
from cgro.definitions.attacks.pgd import PGD
from cgro.definitions.attacks.precision import Precision
from cgro.definitions.attacks.square import Square
from cgro.definitions.draws import Draws
from cgro.definitions.inputs import describe
from cgro.definitions.threat import ThreatModel, require_threat


@dataclass(frozen=True)
class Ensemble(Attack):
    """The worst case over several attacks of one threat model.

    An example is wrong if one of them makes it so. `evaluation.survey` records which one, and at which step.

    Args:
        threat: of all attacks.
        attacks: in the order in which they are tried: the cheap and strong ones first.

    Raises:
        BadRequest: no attacks, what is no attack, two of one name, or attacks on different threat models.
    """

    attacks: tuple[Attack, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.attacks, Sequence) or isinstance(self.attacks, str):
            remedy = "write (attack,) for a single one"
            raise bad("attacks", expected="attacks in a tuple", got=describe(self.attacks), remedy=remedy)
        for attack in self.attacks:
            require_attack(attack)
        names = [attack.name for attack in self.attacks]
        if not names or len(set(names)) < len(names):
            raise bad("attacks", expected="one or more of different names", got=names)
        threats = [attack.threat for attack in self.attacks]
        if set(threats) != {self.threat}:
            raise bad("attacks", expected=f"all on {self.threat}", got=threats)

    @property
    def n_gradients(self) -> int:
        """Those of all attacks, for an example that none of them breaks."""
        return sum(attack.n_gradients for attack in self.attacks)

    @property
    def lowest_precision(self) -> Precision:
        """That of the attack that asks for the lowest."""
        found = {attack.lowest_precision for attack in self.attacks}
        for precision in ("bfloat16", "auto"):
            if precision in found:
                return precision
        return "float32"

    @property
    def parts(self) -> tuple[Attack, ...]:
        """The attacks, in order."""
        return self.attacks

    def at(self, radius: float) -> Self:
        """The same attacks at another radius.

        Args:
            radius: in units of the input.

        Returns:
            A new ensemble.
        """
        attacks = tuple(attack.at(radius) for attack in self.attacks)
        return replace(self, threat=self.threat.at(radius), attacks=attacks)

    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        """Run each attack on the examples that are still correctly classified.

        Args:
            evaluator: the network and the batch.
            draws: (B,) streams; the attacks take their numbers one after another.
        """
        best = evaluator.best
        for attack in self.attacks:
            part, rows = evaluator.apart(attack.search_precision)
            if not len(part.x):
                return
            if attack is self.attacks[0]:
                part = replace(part, reached=None)  # the margins of the clean inputs: no attack reached anything yet
            own = draws.rows(rows)
            with part.searching():
                attack.run_search(part, own)
            draws.position = own.position
            best.update(part.best.x, part.best.margins, rows, part.best.step)


def standard_ensemble(threat: ThreatModel, *, precision: Precision = "auto") -> Ensemble:
    """The ensemble at the strength of AutoAttack's standard version (Croce and Hein, ICML 2020).

    APGD-CE, APGD-T (9 targets, or all), APGD on the plain margin where AutoAttack has FAB-T, Square with 5,000 queries.
    Why not FAB: docs/decisions.md. For p = 1, as there, APGD-CE has 5 restarts, and the third attack takes dense steps,
    which find what sparse ones miss where the inputs are few.

    Args:
        threat: of all attacks.
        precision: of their searches; results are evaluated in that of the input.

    Returns:
        The ensemble of four attacks.

    Raises:
        BadRequest: no threat model.
    """
    require_threat(threat)
    first_restarts = 1
    third = APGD
    if threat.p == 1:
        first_restarts = 5
        third = PGD
    attacks = (
        APGD(threat, n_restarts=first_restarts, precision=precision),
        TargetedAPGD(threat, precision=precision),
        third(threat, loss="margin", n_steps=100, n_restarts=5, precision=precision),
        Square(threat, precision=precision),
    )
    return Ensemble(threat, attacks)
