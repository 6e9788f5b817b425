"""Objectives and extensions by name: one line in a table here, from which the command line's help and errors follow."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from cgro._check import bad, number
from cgro.definitions import Attack
from cgro.training.extensions import EMA, Extension, require_extensions
from cgro.training.objectives import TRADES, Adversarial, Objective, require_objective
from cgro.trust import PREFIXES, code_of, current_folder, one_line_if_it_fails, resolve

Made = TypeVar("Made")
Factory: TypeAlias = Callable[..., Made]
Value: TypeAlias = bool | int | float | str
"""What a parameter can be set to by a text."""

PLAIN: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str}
"""The types of `Value` by the text of an annotation."""

OBJECTIVES: dict[str, Factory[Objective]] = {"adversarial": Adversarial, "trades": TRADES}
"""Called as factory(attack, **parameters)."""
EXTENSIONS: dict[str, Factory[Extension]] = {"ema": EMA}
"""Called as factory(**parameters)."""
assert set(OBJECTIVES) | set(EXTENSIONS) <= set(PREFIXES), "a name that is not registered would be taken for code"


def objective_by_name(text: str, attack: Attack, **options: float) -> Objective:
    """The objective that a text stands for.

    Args:
        text: `NAME` or `NAME:parameter=value,...`; a name of `OBJECTIVES`, or `package.module:name`, which is imported
            and called as name(attack, **parameters). Only for texts that the caller said or trusts.
        attack: of the training.
        **options: further parameters, for factories that have them; the text goes first.

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
    values: dict[str, Value] = {key: value for key, value in options.items() if key in known}
    values |= _typed(parameters, known, name)
    objective = _call(factory, name, "--objective", (attack,), values)
    require_objective(objective)
    return objective


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
    factory, parameters, name = _read(text, "--extension", EXTENSIONS)
    values = _typed(parameters, _parameters(factory, skip=0), name)
    extension = _call(factory, name, "--extension", (), values)
    require_extensions([extension])
    return extension


def takes(text: str, parameter: str) -> bool:
    """Whether the objective that a text names has a parameter of some name; code of the caller's is imported.

    Args:
        text: as for `objective_by_name`.
        parameter: its name.

    Returns:
        Whether a text could set it.

    Example:
        >>> takes("adversarial", "robust_weight"), takes("trades:beta=3", "robust_weight")
        (True, False)
    """
    factory, _, _ = _read(text, "--objective", OBJECTIVES)
    return parameter in _parameters(factory, skip=1)


def listed(table: Mapping[str, Factory[object]], *, skip: int) -> str:
    """The names of a table with their parameters and defaults, for help.

    Args:
        table: `OBJECTIVES` or `EXTENSIONS`.
        skip: positional arguments that are no parameters.

    Returns:
        Such as `adversarial:robust_weight=1.0, trades:beta=6.0`.
    """
    texts: list[str] = []
    for name, factory in table.items():
        values: list[str] = []
        for parameter in _parameters(factory, skip=skip).values():
            values.append(f"{parameter.name}={parameter.default}")
        texts.append(":".join([name, ",".join(values)]).removesuffix(":"))
    return ", ".join(texts)


def _read(text: str, what: str, table: Mapping[str, Factory[Made]]) -> tuple[Factory[Made], str, str]:
    """The factory, the text of its parameters, and its name."""
    code = code_of(text)
    if code is not None:
        return resolve(code, what), text.removeprefix(code).removeprefix(":"), code
    name, _, parameters = text.partition(":")
    if name not in table:
        raise bad(what, expected=f"one of {', '.join(table)}, or package.module:name", got=repr(text))
    return table[name], parameters, name


def _parameters(factory: Factory[object], *, skip: int) -> dict[str, inspect.Parameter]:
    """The parameters that a text can set, by name."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found: dict[str, inspect.Parameter] = {}
    for parameter in inspect.signature(factory).parameters.values():
        if parameter.kind in named:
            found[parameter.name] = parameter
    for name in list(found)[:skip]:
        del found[name]
    return found


def _typed(text: str, known: Mapping[str, inspect.Parameter], name: str) -> dict[str, Value]:
    """`a=1,b=2` as values of the parameters' types."""
    values: dict[str, Value] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or key not in known:
            expected = ", ".join(f"{k}=VALUE" for k in known) or "no parameters"
            raise bad(name, expected=expected, got=repr(part))
        values[key] = _value(value, _kind(known[key]), f"{name}: {key}")
    return values


def _kind(parameter: inspect.Parameter) -> type:
    """The type of a parameter by its annotation (such as `float` or `float | None`), else of its default, else str."""
    annotation = parameter.annotation
    # Annotations are texts in a module that begins with `from __future__ import annotations`.
    text = str(annotation)
    if isinstance(annotation, type):
        text = annotation.__name__
    kind = PLAIN.get(text.removesuffix(" | None"))
    if kind is not None:
        return kind
    if parameter.default is inspect.Parameter.empty or parameter.default is None:
        return str
    return type(parameter.default)


def _value(text: str, kind: type, what: str) -> Value:
    if kind is bool:
        if text not in ("true", "false"):
            raise bad(what, expected="true or false", got=repr(text))
        return text == "true"
    if kind is int:
        if not text.removeprefix("-").isdecimal() or len(text) > 18:
            raise bad(what, expected="an integer", got=repr(text))
        return int(text)
    if kind is float:
        return number(text, what)
    return text


def _call(
    factory: Factory[Made], name: str, what: str, arguments: Sequence[object], parameters: Mapping[str, Value]
) -> Made:
    expected = f"{name} called with {', '.join(parameters) or 'no parameters'}"
    with current_folder(), one_line_if_it_fails(what, expected):
        return factory(*arguments, **parameters)
