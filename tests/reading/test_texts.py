"""UTF-8, JSON and YAML: what is damaged, hostile or of another kind is one line."""

import pytest
import yaml
from tests.reading.refusal import refused

from cgro._check import BadRequest
from cgro.reading import (
    attempt,
    parse_json,
    parse_yaml,
    read_json,
    read_json_object,
    read_text,
    read_yaml_mapping,
    texts,
)


@pytest.mark.parametrize("content", [b"\xff\xfe", "\ud800".encode("utf-8", "surrogatepass"), b"a\xc3"])
def test_text_is_utf8_or_one_line(file, content: bytes) -> None:
    assert "UTF-8" in refused(read_text, file(content))


def test_a_text_may_begin_with_a_byte_order_mark(file) -> None:
    assert read_text(file(b"\xef\xbb\xbfepoch")) == "epoch"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[" * 100_000, b"1" * 5_000, b"NaN", b"-Infinity", b"nul", b'{"a": 1}}', b'"\x00"', b"\xff"]
)
def test_json_that_is_none(file, content: bytes) -> None:
    assert refused(read_json, file(content))


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '[{"b": {"a": 1, "a": 1}}]', '{"a": 1, "\\u0061": 2}'])
def test_a_key_that_is_there_twice_is_no_json(file, text: str) -> None:
    """Python takes the last, other readers the first."""
    assert "'a' twice" in refused(read_json, file(text.encode()))


def test_a_key_may_be_in_two_objects(file) -> None:
    assert read_json(file(b'[{"a": 1}, {"a": {"a": 2}}]')) == [{"a": 1}, {"a": {"a": 2}}]


def test_json_of_the_wrong_kind(file) -> None:
    assert "list" in refused(read_json_object, file(b"[]"))
    assert parse_json("[NaN]", "log", non_finite=True)[0] != 0


def test_lists_and_objects_are_counted_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MOST_CONTAINERS", 10)
    for text in ("[" + "[]," * 20 + "1]", "[" + "{}," * 20 + "1]", b"[" + b"{}," * 20 + b"1]"):
        assert "at most 10 lists" in refused(parse_json, text, "x")
    assert parse_json("[" + "1," * 20 + "1]", "x") == [1] * 21


LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 12))


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS, "a: &a [*a]", "a: &x 1\nb: *x", "a: !!python/object/apply:os.abort []", "a: !!python/name:os.system",
        "[" * 5_000, "a: 2020-99-99", "a: " + "1" * 5_000, "- 1", "1: a", "text", "a: [", "\x00", "? {a: b}\n: c", "a: !!int x",
    ],
)  # fmt: skip
def test_yaml_of_anything_but_a_plain_mapping(file, text: str) -> None:
    assert refused(read_yaml_mapping, file(text.encode()))


@pytest.mark.parametrize(
    ("text", "twice"),
    [("a: 1\nb: 2\na: 3", "a"), ("a: {c: 1, c: 1}", "c"), ("- {'x': 1, x: 2}", "x"), ("1: a\n1: b", "1")],
)
def test_a_key_that_is_there_twice_is_no_yaml(text: str, twice: str) -> None:
    """The parser's own habit is to keep the last of them in silence."""
    with pytest.raises(BadRequest, match=f"the key {twice} twice"):
        parse_yaml(text, "a.yaml")
    assert parse_yaml("a: {c: 1}\nb: {c: 1}", "a.yaml") == {"a": {"c": 1}, "b": {"c": 1}}


def test_yaml_of_a_configuration(file) -> None:
    text = "command: train\nradius: 8/255\nlr: 0.1\nruns: [a, b]\nnone: null\n"
    found = read_yaml_mapping(file(text.encode()))
    assert found == {"command": "train", "radius": "8/255", "lr": 0.1, "runs": ["a", "b"], "none": None}


def test_yaml_reads_no_number_in_base_8_or_60() -> None:
    """The parser's own habit makes 15, 90 and 5025.5 of the first three."""
    text = "[017, 1:30, 1:23:45.5, -010, 0, -7, 0.5, 10, 1_000, 0x1F, 1.5e+3]"
    expected = ["017", "1:30", "1:23:45.5", "-010", 0, -7, 0.5, 10, 1000, 31, 1500.0]
    assert parse_yaml(text, "a.yaml") == expected
    assert yaml.safe_load(yaml.safe_dump(expected)) == expected == parse_yaml(yaml.safe_dump(expected), "a.yaml")


def test_only_what_a_reader_refuses_is_made_anew(file) -> None:
    assert attempt(lambda: read_json(file(b"[1]"))) == [1]
    assert attempt(lambda: read_json(file(b"[1"))) is None
    with pytest.raises(ZeroDivisionError):
        attempt(lambda: 1 // 0)
