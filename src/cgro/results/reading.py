"""Summaries as JSON: read strictly, each by its own type, and written plainly."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from cgro._check import bad, one_line
from cgro.results.records import (
    SPELLED,
    Json,
    Real,
    read_special,
)
from cgro.results.summaries import BY_COMMAND, ArtifactSummary, SeedsSummary, Summary

DAMAGED = "damaged, or not written by cgro"

S = TypeVar("S", bound=Summary)
T = TypeVar("T")


def summary_type(found: Mapping[str, object]) -> type[Summary]:
    """Which type a summary has.

    Args:
        found: as parsed from `summary.json`.

    Returns:
        That of its command; `SeedsSummary` of several seeds; `Summary` of a command that is not known.
    """
    command = found.get("command")
    if "n_seeds" in found and command != "dynamics":
        return SeedsSummary
    if "artifact" in found:
        return ArtifactSummary
    return BY_COMMAND.get(str(command), Summary)


def json_schema(kind: type[Summary]) -> dict[str, Json]:
    """The JSON schema of a summary, for readers in other languages and for checks in continuous integration.

    Args:
        kind: type of the summary, such as one of `BY_COMMAND`.

    Returns:
        The schema (draft 2020-12), ready to be written as JSON.

    Example:
        >>> json_schema(SeedsSummary)["$ref"]
        '#/$defs/SeedsSummary'
    """
    return _with_plain_descriptions(msgspec.json.schema(kind, schema_hook=_schema_of_special))


def _with_plain_descriptions(part: dict[str, Json]) -> dict[str, Json]:
    """Without the indentation of the source, which Python 3.13 takes from docstrings and older versions leave."""
    plain: dict[str, Json] = {}
    for key, value in part.items():
        if isinstance(value, dict):
            plain[key] = _with_plain_descriptions(value)
        elif key == "description" and isinstance(value, str):
            plain[key] = inspect.cleandoc(value)
        else:
            plain[key] = value
    return plain


def _schema_of_special(kind: type) -> dict[str, Json]:
    """Of the one type that msgspec does not know: a number, or an infinite one as it is spelled."""
    if kind is Real:
        return {"anyOf": [{"type": "number"}, {"enum": list(SPELLED)}]}
    raise NotImplementedError(kind)


def read_summary(found: Mapping[str, object], what: str, kind: type[S]) -> S:
    """The typed summary in a parsed file.

    Args:
        found: the object of `summary.json`.
        what: the file, as messages call it.
        kind: the type that the caller reads, such as `TrainSummary`; `Summary` for any.

    Returns:
        A value of that type or, where `kind` is `Summary`, of the type of the command.

    Raises:
        BadRequest: a summary of another command, or a value of another type; names the place.

    Example:
        >>> from cgro.results import QuickstartSummary
        >>> found = {"schema": 1, "command": "quickstart", "seed": 0, "threat": None, "verdict": None, "metrics": {},
        ...          "outcome": {"kind": "completed", "reason": "done"}, "parts": {"images": "seen"}}
        >>> read_summary(found, "summary.json", QuickstartSummary).parts["images"]
        'seen'
        >>> read_summary(found | {"parts": 3}, "summary.json", QuickstartSummary)
        Traceback (most recent call last):
            ...
        cgro._check.BadRequest: summary.json: expected `object` at parts, got `int`; damaged, or not written by cgro
    """
    own = summary_type(found)
    if not issubclass(own, kind):
        raise bad(what, expected=f"the summary of a {_called(kind)}", got=f"that of a {_called(own)}")
    return read_value(found, what, own)


def read_value(found: object, what: str, kind: type[T]) -> T:
    """The typed value in a parsed file.

    Args:
        found: objects, lists, text, numbers.
        what: the file, as messages call it.
        kind: the type to read, such as a `Record` or a list of them.

    Returns:
        A value of that type.

    Raises:
        BadRequest: a value of another type; names the place.

    Example:
        >>> read_value([1, 2], "a.json", list[float])
        [1.0, 2.0]
    """
    try:
        return msgspec.convert(found, kind, dec_hook=read_special)
    except msgspec.ValidationError as error:
        raise _refusal(what, one_line(str(error))) from None
    except UnicodeEncodeError:  # JSON can spell half of a surrogate pair, which is no text
        raise bad(what, expected="text", got="half of a character", remedy=DAMAGED) from None
    except RecursionError:
        raise bad(what, expected="values a few levels deep", got="deeper ones", remedy=DAMAGED) from None


def plain_summary(result: Summary) -> dict[str, object]:
    """The plain values that `summary.json` holds, the keys that every summary has first.

    Args:
        result: of a command.

    Returns:
        Names to strict JSON values; see `cgro.writing.plain`.
    """
    values = result.plain()
    first = ("schema", "command", "seed", "threat", "outcome", "verdict", "metrics")
    ordered = {key: values.pop(key) for key in first}
    return ordered | values


@dataclass(frozen=True)
class Unsaved:
    """The answer of a command that was asked to look, not to keep: a result without a directory.

    Args:
        result: a summary; of cgro report, plain values.
    """

    result: Summary | Mapping[str, Json]
    path: None = None

    def read(self) -> Summary | Mapping[str, Json]:
        """The result, as `Run.read` gives that of a run.

        Returns:
            It.
        """
        return self.result


def plain_result(result: Summary | Mapping[str, Json]) -> Mapping[str, Json]:
    """A result as strict JSON values.

    Args:
        result: of a run or of `Unsaved`.

    Returns:
        Names to values.
    """
    return plain_summary(result) if isinstance(result, Summary) else result


def _called(kind: type[Summary]) -> str:
    return kind.__name__.removesuffix("Summary").lower() + " run"


def _refusal(what: str, message: str) -> Exception:
    """msgspec's message in our form: expected X at PLACE, got Y."""
    text, _, place = message.partition(" - at `")
    where = place.rstrip("`").removeprefix("$").removeprefix(".")
    expected, _, got = text.partition(", got ")
    expected = expected.removeprefix("Expected ")
    at = f" at {where}" if where else ""
    if not got:  # such as: Object contains unknown field `x`
        return bad(what, expected=f"the fields of this version{at}", got=text, remedy="written by another version?")
    return bad(what, expected=expected + at, got=got, remedy=DAMAGED)
