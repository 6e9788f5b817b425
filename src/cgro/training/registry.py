"""Objectives and extensions by name: one line in a table here, from which the command line's help and errors follow."""

from typing import cast

from cgro.definitions import Attack
from cgro.named import Factory, build, listed, look_up, parameters_of
from cgro.training.extensions import EMA, Extension, require_extensions
from cgro.training.objectives import TRADES, Adversarial, Objective, require_objective
from cgro.trust import PREFIXES

__all__ = ["EXTENSIONS", "OBJECTIVES", "extension_by_name", "listed", "objective_by_name", "takes"]

OBJECTIVES: dict[str, Factory] = {"adversarial": Adversarial, "trades": TRADES}
"""Called as factory(attack, **parameters)."""
EXTENSIONS: dict[str, Factory] = {"ema": EMA}
"""Called as factory(**parameters)."""
assert set(OBJECTIVES) | set(EXTENSIONS) <= set(PREFIXES), "a name that is not registered would be taken for code"


def objective_by_name(text: str, attack: Attack, **options: float) -> Objective:
    """The objective that a text stands for.

    Args:
        text: `NAME` or `NAME:parameter=value,...`; a name of `OBJECTIVES`, or `package.module:name`, which is imported
            and called as name(attack, **parameters). Only for texts that the caller said or trusts.
        attack: of the training.
        options: further parameters, for factories that have them; the text goes first.

    Returns:
        The objective.

    Raises:
        BadRequest: an unknown name or parameter, a value of the wrong type, code of the caller's that fails.

    Example:
        >>> from cgro.definitions import PGD, ThreatModel
        >>> objective_by_name("trades:beta=3", PGD(ThreatModel("inf", 0.1), n_steps=2)).beta
        3.0
    """
    objective = build(text, "--objective", OBJECTIVES, (attack,), options)
    require_objective(objective)
    return cast(Objective, objective)


def extension_by_name(text: str) -> Extension:
    """The extension that a text stands for.

    Args:
        text: `NAME` or `NAME:parameter=value,...`; a name of `EXTENSIONS`, or `package.module:name`, which is imported
            and called as name(**parameters). Only for texts that the caller said or trusts.

    Returns:
        A new one.

    Raises:
        BadRequest: as `objective_by_name`.

    Example:
        >>> extension_by_name("ema:decay=0.99")
        EMA(decay=0.99)
    """
    extension = cast(Extension, build(text, "--extension", EXTENSIONS))
    require_extensions([extension])
    return extension


def takes(text: str, parameter: str) -> bool:
    """Whether the objective that a text names has a parameter of some name.

    Args:
        text: as of `objective_by_name`; code of the caller's is imported.
        parameter: the name.

    Returns:
        Whether it can be set.
    """
    named = look_up(text, "--objective", OBJECTIVES)
    return parameter in parameters_of(named.factory, skip=1)
