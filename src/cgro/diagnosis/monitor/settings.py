"""The settings of a monitor, checked before a training begins, and as its run stores them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cgro._check import BadRequest, bad, count, count_field, number, one_of, seconds_of
from cgro.definitions import APGD, Attack, Square, ThreatModel, attack_by_name, standard_ensemble
from cgro.definitions.attacks import require_attack_on
from cgro.definitions.threat import require_threat
from cgro.results.records import Json
from cgro.training.objectives import attack_cost

Keep = Literal["none", "last", "best"] | int
Strong = tuple[str, int]
Statistics = tuple[tuple[float, ...], tuple[float, ...]]
KEPT: tuple[Literal["none", "last", "best"], ...] = ("none", "last", "best")
UNKNOWN = "unknown"
"""Stands for the attack of the training, which the monitor does not see, and for names that nobody gave."""


@dataclass(frozen=True)
class Budget:
    """What an epoch's evaluation may cost on average.

    Attributes:
        amount: in units of `unit`.
        unit: seconds, or passes: forward passes of one example; a gradient counts as two.
    """

    amount: float
    unit: Literal["seconds", "passes"]


@dataclass(frozen=True)
class Settings:
    """What is measured, how often, and what is kept.

    Args:
        threat: the adversary, in the units of images in [0, 1].
        attack: by name, after every epoch; see `cgro.definitions.attack_by_name`.
        n: examples of each part, at most.
        strong: name of a stronger attack, and every how many evaluations it is made; None for none.
        budget: what an epoch may cost, as text (90s, 2m) or a number of passes; None for no limit.
        keep: which weights: none, those of the last evaluation, those selected on validation as well, or with a number
            k those of every k-th evaluation as well.
        normalize: mean and standard deviation of each channel, where the loop normalizes outside the network.
        seed: of the samples, and of the simulations behind the verdict.

    Raises:
        BadRequest: a value of another kind, or outside its range.

    Example:
        >>> settings = Settings(ThreatModel("inf", "8/255"), budget="2m", strong=("pgd50x10", 10))
        >>> settings.limit, settings.passes(settings.cheap)
        (Budget(amount=120.0, unit='seconds'), 24)
    """

    threat: ThreatModel
    attack: str = "pgd10"
    n: int = 1000
    strong: Strong | None = None
    budget: str | int | None = None
    keep: Keep = "last"
    normalize: Statistics | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        require_threat(self.threat)
        if self.threat.box != (0.0, 1.0):
            remedy = "images are in [0, 1]; a loop that normalizes them says normalize=(mean, std)"
            raise bad("threat", expected="the box (0, 1)", got=self.threat.box, remedy=remedy)
        count_field(self, "n")
        count_field(self, "seed", low=0)
        if isinstance(self.keep, str):
            one_of(self.keep, "keep", KEPT)
        else:
            count_field(self, "keep")
        if self.normalize is not None:
            object.__setattr__(self, "normalize", _statistics(self.normalize))
        if self.strong is not None:
            object.__setattr__(self, "strong", _strong(self.strong))
        _ = self.limit, self.cheap, self.thorough

    @property
    def cheap(self) -> Attack:
        """The attack after every epoch."""
        return attack_by_name(self.attack, self.threat, precision="auto")

    @property
    def thorough(self) -> Attack | None:
        """The stronger attack."""
        if self.strong is None:
            return None
        return attack_by_name(self.strong[0], self.threat, precision="auto")

    @property
    def limit(self) -> Budget | None:
        """The budget.

        Raises:
            BadRequest: neither a time nor a number of passes.
        """
        if self.budget is None:
            return None
        if isinstance(self.budget, str):
            expected = "a time per epoch such as 90s or 2m, or a number of passes"
            return Budget(seconds_of(self.budget, "budget", expected=expected), "seconds")
        return Budget(count(self.budget, "budget"), "passes")

    def passes(self, attack: Attack) -> int:
        """What an example costs at most, in forward passes; a gradient counts as two.

        Args:
            attack: that is made.

        Returns:
            With the clean pass and the one that evaluates what the attack found.
        """
        further = 0
        for part in attack.parts:
            if isinstance(part, Square):
                further += part.most_images - part.n_queries
            if isinstance(part, APGD) and part.search_precision != "float32":
                further += 2 * part.n_gradients  # once more in float32, if bfloat16 cannot tell
        return 2 + attack_cost(attack).operations + further

    def stored(self, names: tuple[str, str]) -> dict[str, Json]:
        """What `config.yaml` holds, under the names that readers of a training know.

        Args:
            names: of the data and of the network, as the caller calls them.

        Returns:
            Plain values. The attack of the training is unknown, and nothing was cut from the training part.
        """
        data, model = names
        p = self.threat.p
        shown = "inf"
        if p != math.inf:
            shown = str(int(p))
        return {
            "data": data,
            "model": model,
            "classes": None,
            "width": None,
            "p": shown,
            "radius": repr(self.threat.radius),
            "validation": 0.0,
            "attack": UNKNOWN,
            "eval_attack": self.attack,
            "eval_n": self.n,
            "strong": self.strong,
            "budget": self.budget,
            "keep": self.keep,
            "normalize": self.normalize,
            "seed": self.seed,
        }


def name_of(attack: str | Attack, threat: ThreatModel) -> str:
    """The name that stands for an attack, under which a run records it.

    Args:
        attack: a name, which is left as it is, or an attack.
        threat: of the monitor.

    Returns:
        A name from which `attack_by_name` makes the same attack.

    Raises:
        BadRequest: an attack on another threat model, or one that no name stands for.

    Example:
        >>> from cgro.definitions import PGD
        >>> threat = ThreatModel("inf", "8/255")
        >>> name_of(PGD(threat, n_steps=20), threat), name_of("apgd", threat)
        ('pgd20', 'apgd')
    """
    if not isinstance(attack, Attack):
        return attack
    require_attack_on(attack, threat)
    name = attack.name
    if attack == standard_ensemble(threat):
        name = "ensemble"
    try:
        same = attack_by_name(name, threat, precision="auto") == attack
    except BadRequest:
        same = False
    if not same:
        remedy = 'write package.module:NAME:parameter=value, such as "cgro.definitions:PGD:n_steps=10,step_size=0.01"'
        raise bad("attack", expected="one that a name stands for, to be recorded", got=repr(attack), remedy=remedy)
    return name


def named_strong(strong: tuple[str | Attack, int] | None, threat: ThreatModel) -> Strong | None:
    """The stronger attack by its name.

    Args:
        strong: (attack, every how many evaluations), whatever the attack is given by; None for none.
        threat: of the monitor.

    Returns:
        The same with a name; what is no such pair is left for `Settings` to refuse.

    Raises:
        BadRequest: see `name_of`.
    """
    if isinstance(strong, tuple | list) and len(strong) == 2:
        return name_of(strong[0], threat), strong[1]
    return strong


def two_names(names: object) -> tuple[str, str]:
    """What a run calls the data and the network.

    Args:
        names: whatever was given for both.

    Returns:
        Both.

    Raises:
        BadRequest: no pair of texts.

    Example:
        >>> two_names(["digits", "LeNet"])
        ('digits', 'LeNet')
    """
    if isinstance(names, tuple | list) and len(names) == 2 and all(isinstance(name, str) for name in names):
        return names[0], names[1]
    raise bad("names", expected='two texts, (data, network), such as ("cifar10", "LeNet")', got=repr(names))


def _statistics(given: object) -> Statistics:
    """Mean and standard deviation as tuples of floats."""
    expected = "(mean, std), each one number per channel"
    if isinstance(given, Mapping) or not hasattr(given, "__len__") or len(given) != 2:  # type: ignore[arg-type]
        raise bad("normalize", expected=expected, got=repr(given))
    found: list[tuple[float, ...]] = []
    for values in given:  # type: ignore[attr-defined]
        if not hasattr(values, "__iter__"):
            values = (values,)
        found.append(tuple(number(float(value), "normalize") for value in values))
    mean, std = found
    if len(mean) != len(std) or not mean or min(std) <= 0:
        raise bad("normalize", expected=f"{expected}, std above 0", got=repr(given))
    return mean, std


def _strong(given: object) -> Strong:
    if not isinstance(given, tuple | list) or len(given) != 2 or not isinstance(given[0], str):
        raise bad("strong", expected='(attack, every), such as ("pgd50x10", 10)', got=repr(given))
    return given[0], count(given[1], "strong: every")
