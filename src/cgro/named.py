"""Values by name: `NAME:parameter=value,...` of a table, or `package.module:name` of the caller's own. No torch here.

A registry is a table name -> factory. From it follow the value that a text stands for, the help, and the errors. A text
that names code is imported, so it must be one that the caller said or trusts (`cgro.trust`).
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cgro._check import bad, number
from cgro.trust import code_of, current_folder, one_line_if_it_fails, resolve

Factory = Callable[..., object]
SETTABLE = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
PLAIN: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str}
"""The types that a text can be read as, by the text of an annotation."""
LONGEST_INTEGER = 18
"""Digits: more do not fit 64 bits."""


@dataclass(frozen=True)
class Named:
    """What a text names.

    Args:
        factory: what is called.
        name: of the table, or the code.
        parameters: the text of the parameters, such as `beta=6,steps=3`.
    """

    factory: Factory
    name: str
    parameters: str


def look_up(text: str, what: str, table: Mapping[str, Factory]) -> Named:
    """Find what a text names. Imports it if it is code of the caller's.

    Args:
        text: `NAME`, `NAME:parameter=value,...`, or the same with `package.module:name` in place of NAME.
        what: how messages call it, such as --objective.
        table: name -> factory.

    Returns:
        The factory, not called yet.

    Raises:
        BadRequest: no such name, or code that cannot be imported.

    Example:
        >>> look_up("pair:b=2", "--pair", {"pair": dict}).parameters
        'b=2'
    """
    code = code_of(text)
    if code is not None:
        return Named(factory_of(code, what), code, text.removeprefix(code).removeprefix(":"))
    name, _, parameters = text.partition(":")
    if name not in table:
        expected = f"one of {', '.join(table)}, or package.module:name" if table else "package.module:name"
        raise bad(what, expected=expected, got=repr(text))
    return Named(table[name], name, parameters)


def factory_of(code: str, what: str) -> Factory:
    """Import what makes a value. A value that was made already is refused: two runs would share it.

    Args:
        code: `package.module:name`.
        what: how messages call it, such as --objective.

    Returns:
        A class or a function.

    Raises:
        BadRequest: code that cannot be imported, or that is something else.
    """
    found = resolve(code, what)
    if isinstance(found, type | functools.partial) or inspect.isroutine(found):
        return found
    name = code.rpartition(":")[2]
    remedy = f"write def make_{name}(): return ... and name that"
    expected = "a class, or a function that makes one"
    raise bad(f"{what} {code}", expected=expected, got=f"a {type(found).__name__}", remedy=remedy)


def build(
    text: str,
    what: str,
    table: Mapping[str, Factory],
    arguments: Sequence[object] = (),
    options: Mapping[str, object] | None = None,
) -> object:
    """Make the value that a text stands for: factory(*arguments, **parameters).

    Args:
        text: as of `look_up`.
        what: how messages call it, such as --objective.
        table: name -> factory.
        arguments: what every factory takes first.
        options: further parameters, for factories that have them; the text goes first.

    Returns:
        What the factory returned. The caller checks its type.

    Raises:
        BadRequest: an unknown name or parameter, a value of the wrong type, a factory that fails.

    Example:
        >>> def scaled(x: float, *, factor: float = 1.0) -> float:
        ...     return factor * x
        >>> build("scaled:factor=3", "--scale", {"scaled": scaled}, [2.0], {"factor": 5.0, "unknown": 1})
        6.0
    """
    named = look_up(text, what, table)
    values = values_of(named, skip=len(arguments), options=options)
    said = ", ".join([*(type(argument).__name__ for argument in arguments), *values]) or "no parameters"
    with current_folder(), one_line_if_it_fails(what, f"{named.name} called with {said}"):
        return named.factory(*arguments, **values)


def values_of(named: Named, *, skip: int = 0, options: Mapping[str, object] | None = None) -> dict[str, object]:
    """Read the values that a text sets, by the types of the parameters.

    Args:
        named: of `look_up`.
        skip: positional arguments that are no parameters.
        options: further parameters, for factories that have them; the text goes first.

    Returns:
        Values by the names of the parameters.

    Raises:
        BadRequest: an unknown parameter, or a value of the wrong type.

    Example:
        >>> values_of(Named(lambda x, y=1.0: x * y, "scaled", "y=3"), skip=1)
        {'y': 3.0}
    """
    known = parameters_of(named.factory, skip=skip)
    values = {key: value for key, value in (options or {}).items() if key in known}
    return values | _typed(named.parameters, known, named.name)


def misfit(function: Factory, *values: object) -> str:
    """Why a function cannot be called with some values.

    Args:
        function: any.
        values: its positional arguments.

    Returns:
        The reason; "" where it can be, or where Python does not know its parameters.

    Example:
        >>> misfit(lambda x, y: x, 1), misfit(lambda x, y=2: x, 1)
        ("missing a required argument: 'y'", '')
    """
    try:
        parameters = inspect.signature(function)
    except (ValueError, TypeError):
        return ""
    try:
        parameters.bind(*values)
    except TypeError as error:
        return str(error)
    return ""


def parameters_of(factory: Factory, *, skip: int = 0) -> dict[str, inspect.Parameter]:
    """Find the parameters of a factory that a text can set.

    Args:
        factory: a function or a class.
        skip: positional arguments that are no parameters.

    Returns:
        The parameters by name.

    Example:
        >>> list(parameters_of(lambda attack, beta=6.0, **rest: None, skip=1))
        ['beta']
    """
    settable = [p for p in inspect.signature(factory).parameters.values() if p.kind in SETTABLE]
    return {p.name: p for p in settable[skip:]}


def listed(table: Mapping[str, Factory], *, skip: int = 0) -> str:
    """Write the names of a table with their parameters and defaults, for help.

    Args:
        table: name -> factory.
        skip: positional arguments that are no parameters.

    Returns:
        Such as `adversarial:robust_weight=1.0, trades:beta=6.0`.
    """
    texts: list[str] = []
    for name, factory in table.items():
        values = ",".join(f"{p.name}={_as_text(p.default)}" for p in parameters_of(factory, skip=skip).values())
        texts.append(f"{name}:{values}".removesuffix(":"))
    return ", ".join(texts)


def _as_text(default: object) -> str:
    """A default as `_value` reads it; an ellipsis where there is none to write."""
    if default is None or default is inspect.Parameter.empty:
        return "..."
    if isinstance(default, bool):
        return str(default).lower()
    return str(default)


def _typed(text: str, known: Mapping[str, inspect.Parameter], name: str) -> dict[str, object]:
    """`a=1,b=2` as values of the parameters' types."""
    values: dict[str, object] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or key not in known:
            expected = ", ".join(f"{k}=VALUE" for k in known) or "no parameters"
            raise bad(name, expected=expected, got=repr(part))
        if key in values:
            raise bad(f"{name}: {key}", expected="one value", got="two", remedy="leave one out")
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


def _value(text: str, kind: type, what: str) -> object:
    """A text as a value of a type."""
    if kind is bool:
        if text not in ("true", "false"):
            raise bad(what, expected="true or false", got=repr(text))
        return text == "true"
    if kind is int:
        if not text.removeprefix("-").isdecimal() or len(text) > LONGEST_INTEGER:
            raise bad(what, expected="an integer", got=repr(text))
        return int(text)
    if kind is float:
        return number(text, what)
    return text
