"""UTF-8 text, JSON and YAML of plain values."""

import json
import re
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import NoReturn, TypeVar

import yaml

from cgro._check import BadRequest, bad, one_line
from cgro.reading.files import read_bytes

TEXT_LIMIT = 64 << 20
"""Bytes of a text that is read. A training log of 200,000 epochs has about 20 MB. A choice."""
YAML_LIMIT = 256 << 10
"""Bytes of a YAML file that is read; ours have a few thousand. The parser takes about a second for so many."""
MOST_CONTAINERS = 2_000_000
"""Lists and objects of one JSON text. An empty one takes 64 bytes of memory and 2 of the text."""

T = TypeVar("T")


def read_text(path: Path, *, limit: int = TEXT_LIMIT, follow: bool = True) -> str:
    """The text of a UTF-8 file; a byte order mark is dropped.

    Args:
        path: the file.
        limit: largest size, in bytes.
        follow: whether a link at `path` is followed.

    Returns:
        All of its text.

    Raises:
        BadRequest: see `read_bytes`; bytes that are not UTF-8 (says where).
    """
    content = read_bytes(path, limit=limit, follow=follow)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise bad(
            str(path),
            expected="UTF-8 text",
            got=f"byte {content[error.start]:#04x} at {error.start}",
            remedy="damaged, or another encoding",
        ) from None


class RepeatedKeyError(BadRequest):
    """A JSON object that has a key twice: readers differ in which value they take."""


def parse_json(text: str | bytes, what: str, *, non_finite: bool = False) -> object:
    """The value of a JSON text.

    Args:
        text: of one value.
        what: how messages call it.
        non_finite: whether NaN and Infinity, which Python writes and JSON has not, are taken.

    Returns:
        None, a bool, a number, a text, a list or a dict with text for keys; which, the caller checks.

    Raises:
        BadRequest: no JSON, nested too deeply, a number of thousands of digits; a `RepeatedKeyError`, where Python
            would take the last of two values in silence.
    """

    def single(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found: dict[str, object] = {}
        for name, value in pairs:
            if name in found:
                got = f"{name!r} twice in one object"
                raise RepeatedKeyError(str(bad(what, expected="each key once", got=got, remedy="rename one of them")))
            found[name] = value
        return found

    # Counted before it is parsed: a text of brackets takes thirty times its size in memory.
    if _n_containers(text) > MOST_CONTAINERS:
        raise bad(what, expected=f"JSON of at most {MOST_CONTAINERS:,} lists and objects", got="more")
    try:
        constant = None if non_finite else _refuse_constant
        return json.loads(text, parse_constant=constant, object_pairs_hook=single)
    except RepeatedKeyError:  # a ValueError, as every BadRequest
        raise
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise bad(what, expected="JSON", got=f"a damaged text ({one_line(str(error), 120)})") from None


def _n_containers(text: str | bytes) -> int:
    """Lists and objects, counted with those that are written inside a string."""
    if isinstance(text, bytes):
        return text.count(b"[") + text.count(b"{")
    return text.count("[") + text.count("{")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def read_json(path: Path, *, follow: bool = True) -> object:
    """The value in a JSON file.

    Args:
        path: the file.
        follow: whether a link at `path` is followed.

    Returns:
        As `parse_json`.

    Raises:
        BadRequest: see `read_text` and `parse_json`.
    """
    return parse_json(read_text(path, follow=follow), str(path))


def read_json_object(path: Path, *, follow: bool = True) -> dict[str, object]:
    """The object in a JSON file.

    Args:
        path: the file.
        follow: whether a link at `path` is followed.

    Returns:
        Its values by name.

    Raises:
        BadRequest: see `read_json`; another value, such as a list.
    """
    value = read_json(path, follow=follow)
    if not isinstance(value, dict):
        raise bad(str(path), expected="a JSON object", got=type(value).__name__)
    return value


class _PlainLoader(yaml.SafeLoader):
    """Tags of Python are refused by its base; here aliases, with which a few lines stand for gigabytes, and a key that
    is there twice, of which the base would keep the last in silence.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse an alias; no configuration needs one."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(None, None, f"the alias *{event.anchor}", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        """Refuse a key that is there twice."""
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.MarkedYAMLError(None, None, f"the key {key.value} twice", key.start_mark)
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> object:
        """A number; 017 and 1:30, which the base reads in base 8 and 60, are texts, as nobody writes 15 and 90 so."""
        if _OTHER_BASE.fullmatch(node.value):
            return node.value
        if node.tag == _FLOAT:
            return self.construct_yaml_float(node)
        return self.construct_yaml_int(node)


_FLOAT = "tag:yaml.org,2002:float"
_OTHER_BASE = re.compile(r"[-+]?(0[0-9_]+|[0-9_]+(:[0-9_.]+)+)")
for _tag in (_FLOAT, "tag:yaml.org,2002:int"):
    _PlainLoader.add_constructor(_tag, _PlainLoader.construct_number)


def parse_yaml(text: str, what: str) -> object:
    """The value of a YAML text of plain values without aliases.

    Args:
        text: of one document.
        what: how messages call it.

    Returns:
        A plain value, such as a dict; what kind, the caller checks.

    Raises:
        BadRequest: no YAML, an alias, a tag, a key twice, nested too deeply, a number or date out of range.
    """
    try:
        return yaml.load(text, _PlainLoader)
    except Exception as error:  # YAMLError, RecursionError, and whatever int, float and datetime raise on odd scalars
        got = one_line(str(error), 200)
        raise bad(what, expected="YAML of plain values, without aliases", got=f"another text ({got})") from None


def read_yaml_mapping(path: Path, *, follow: bool = True) -> dict[str, object]:
    """The mapping in a YAML file, with text for keys.

    Args:
        path: the file.
        follow: whether a link at `path` is followed.

    Returns:
        Its values by name.

    Raises:
        BadRequest: see `read_text` and `parse_yaml`; no mapping, keys that are not text.
    """
    value = parse_yaml(read_text(path, limit=YAML_LIMIT, follow=follow), str(path))
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise bad(str(path), expected="a YAML mapping of names to values", got=type(value).__name__)
    return value


def attempt(read: Callable[[], T]) -> T | None:
    """What a reader gives, for a file that is only kept to save work and is made anew where it is damaged.

    Args:
        read: called without arguments.

    Returns:
        Its answer, or None where it refuses.
    """
    try:
        return read()
    except BadRequest:
        return None
