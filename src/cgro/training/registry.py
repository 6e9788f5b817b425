"""Objectives and extensions by name, as classes; the names are in `cgro.remedy_names`, a line each."""

import importlib
from collections.abc import Callable, Mapping
from typing import cast

from cgro._check import bad
from cgro.data import Dataset
from cgro.definitions import Attack, Model
from cgro.named import Factory, build, listed, look_up, parameters_of
from cgro.remedy_names import EXTENSION_NAMES, OBJECTIVE_NAMES, RemedyName
from cgro.training.extensions import Extension, require_extensions
from cgro.training.extensions.extra import extra_by_name
from cgro.training.objectives import Objective, require_objective
from cgro.training.objectives.kd import kd_by_name

__all__ = [
    "EXTENSIONS",
    "OBJECTIVES",
    "extension_by_name",
    "listed",
    "objective_by_name",
    "summary_of",
    "takes",
]


def _classes(names: Mapping[str, RemedyName]) -> dict[str, Factory]:
    """What stands under each name, imported."""
    found: dict[str, Factory] = {}
    for name, remedy in names.items():
        module, _, attribute = remedy.place.partition(":")
        found[name] = getattr(importlib.import_module(f"cgro.training.{module}"), attribute)
    return found


OBJECTIVES = _classes(OBJECTIVE_NAMES)
"""Called as factory(attack, **parameters)."""
EXTENSIONS = _classes(EXTENSION_NAMES)
"""Called as factory(**parameters)."""


def summary_of(names: Mapping[str, RemedyName]) -> str:
    """Names with a line and the source of each, for help.

    Args:
        names: of objectives or of extensions.

    Returns:
        One line each, indented.

    Example:
        >>> print(summary_of({"ema": EXTENSION_NAMES["ema"]}))
          ema               evaluates a moving average of the weights (Rebuffi et al., NeurIPS 2021)
    """
    return "\n".join(f"  {name:17} {entry.line} ({entry.source})" for name, entry in names.items())


def _no_teacher(run: str, what: str) -> Model:
    raise bad(what, expected="a network", got=repr(run), remedy="in Python use KD(attack, standard=network)")


def _no_data(name: str, has_labels: bool) -> Dataset:
    raise bad("extra: data", expected="a data set", got=repr(name), remedy="in Python use Extra(load(name))")


def objective_by_name(
    text: str, attack: Attack, *, teacher: Callable[[str, str], Model] = _no_teacher, **options: float
) -> Objective:
    """The objective that a text stands for.

    Args:
        text: `NAME` or `NAME:parameter=value,...`; a name of `OBJECTIVES`, or `package.module:name`, which is imported
            and called as name(attack, **parameters). Only for texts that the caller said or trusts.
        attack: of the training.
        teacher: (run, what for) -> network, for `kd`.
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
    table = {**OBJECTIVES, "kd": kd_by_name(teacher)}
    objective = build(text, "--objective", table, (attack,), options)
    require_objective(objective)
    return cast(Objective, objective)


def extension_by_name(
    text: str,
    *,
    second: Callable[[str, bool], Dataset] = _no_data,
    teacher: Callable[[str, str], Model] = _no_teacher,
) -> Extension:
    """The extension that a text stands for.

    Args:
        text: `NAME` or `NAME:parameter=value,...`; a name of `EXTENSIONS`, or `package.module:name`, which is imported
            and called as name(**parameters). Only for texts that the caller said or trusts.
        second: (name, whether its own labels count) -> data set, for `extra`.
        teacher: (run, what for) -> network, for `extra`.

    Returns:
        A new one.

    Raises:
        BadRequest: as `objective_by_name`.

    Example:
        >>> extension_by_name("ema:decay=0.99")
        EMA(decay=0.99)
    """
    table = {**EXTENSIONS, "extra": extra_by_name(second, teacher)}
    extension = cast(Extension, build(text, "--extension", table))
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
