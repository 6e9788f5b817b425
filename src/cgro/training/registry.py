"""Objectives and extensions by name: one line in a table here, from which the command line's help and errors follow."""

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from cgro._check import bad, number
from cgro.definitions import Attack
from cgro.training.extensions import EMA, Extension, require_extensions
from cgro.training.objectives import TRADES, Adversarial, Objective, require_objective
from cgro.trust import PREFIXES, code_of, current_folder, one_line_if_it_fails, resolve

Factory = Callable[..., Any]
OBJECTIVES: dict[str, Factory] = {"adversarial": Adversarial, "trades": TRADES}
"""Called as factory(attack, **parameters)."""
EXTENSIONS: dict[str, Factory] = {"ema": EMA}
"""Called as factory(**parameters)."""
assert set(OBJECTIVES) | set(EXTENSIONS) <= set(PREFIXES), "a name that is not registered would be taken for code"


def objective_by_name(text: str, attack: Attack, **options: float) -> Objective:
    """The objective that a text stands for.

    Args:
        text: `NAME` or `NAME:parameter=value,...`; a name of `OBJECTIVES`, or `package.module:name`, which is imported and
            called as name(attack, **parameters). Only for texts that the caller said or trusts.
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
    factory, parameters, name = _read(text, "--objective", OBJECTIVES)
    known = _parameters(factory, skip=1)
    given = {key: value for key, value in options.items() if key in known}
    objective = _call(factory, name, "--objective", (attack,), given | _typed(parameters, known, name))
    require_objective(objective)
    return objective


def extension_by_name(text: str) -> Extension:
    """The extension that a text stands for.

    Args:
        text: `NAME` or `NAME:parameter=value,...`; a name of `EXTENSIONS`, or `package.module:name`, which is imported and
            called as name(**parameters). Only for texts that the caller said or trusts.

    Returns:
        A new one.

    Raises:
        BadRequest: as `objective_by_name`.

    Example:
        >>> extension_by_name("ema:decay=0.99")
        EMA(decay=0.99)
    """
    factory, parameters, name = _read(text, "--extension", EXTENSIONS)
    extension = _call(factory, name, "--extension", (), _typed(parameters, _parameters(factory, skip=0), name))
    require_extensions([extension])
    return extension


def takes(text: str, parameter: str) -> bool:
    """Whether the objective that a text names has a parameter of this name; code of the caller's is imported."""
    factory, _, _ = _read(text, "--objective", OBJECTIVES)
    return parameter in _parameters(factory, skip=1)


def listed(table: Mapping[str, Factory], *, skip: int) -> str:
    """The names of a table with their parameters and defaults, for help.

    Args:
        table: `OBJECTIVES` or `EXTENSIONS`.
        skip: positional arguments that are no parameters.

    Returns:
        Such as `adversarial:robust_weight=1.0, trades:beta=6.0`.
    """
    texts: list[str] = []
    for name, factory in table.items():
        parameters = _parameters(factory, skip=skip).values()
        values = ",".join(f"{p.name}={p.default}" for p in parameters)
        texts.append(f"{name}:{values}" if values else name)
    return ", ".join(texts)


def _read(text: str, what: str, table: Mapping[str, Factory]) -> tuple[Factory, str, str]:
    """The factory, the text of its parameters, and its name."""
    code = code_of(text)
    if code is not None:
        return resolve(code, what), text.removeprefix(code).removeprefix(":"), code
    name, _, parameters = text.partition(":")
    if name not in table:
        raise bad(what, expected=f"one of {', '.join(table)}, or package.module:name", got=repr(text))
    return table[name], parameters, name


def _parameters(factory: Factory, *, skip: int) -> dict[str, inspect.Parameter]:
    """The parameters that a text can set, by name."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = [p for p in inspect.signature(factory).parameters.values() if p.kind in named]
    return {p.name: p for p in parameters[skip:]}


def _typed(text: str, known: Mapping[str, inspect.Parameter], name: str) -> dict[str, Any]:
    """`a=1,b=2` as values of the parameters' types."""
    values: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or key not in known:
            expected = ", ".join(f"{k}=VALUE" for k in known) or "no parameters"
            raise bad(name, expected=expected, got=repr(part))
        values[key] = _value(value, known[key], f"{name}: {key}")
    return values


def _value(text: str, parameter: inspect.Parameter, what: str) -> Any:
    kind = parameter.annotation
    if kind not in (bool, int, float, str):
        kind = type(parameter.default) if parameter.default is not inspect.Parameter.empty else str
    if kind is bool:
        if text not in ("true", "false"):
            raise bad(what, expected="true or false", got=repr(text))
        return text == "true"
    if kind is int:
        if not text.removeprefix("-").isdecimal() or len(text) > 18:
            raise bad(what, expected="an integer", got=repr(text))
        return int(text)
    return number(text, what) if kind is float else text


def _call(
    factory: Factory, name: str, what: str, arguments: typing.Sequence[Any], parameters: Mapping[str, Any]
) -> Any:
    with current_folder(), one_line_if_it_fails(what, f"{name} called with {', '.join(parameters) or 'no parameters'}"):
        return factory(*arguments, **parameters)
