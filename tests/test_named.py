"""Values by name: what a text becomes, and what is refused."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cgro._check import BadRequest
from cgro.named import build, factory_of, listed, look_up, parameters_of


def scaled(x: float, *, factor: float = 1.0, times: int = 1, up: bool = True, unit: str = "") -> tuple:
    return x, factor, times, up, unit


def failing(x: float) -> None:
    raise RuntimeError("not today")


TABLE = {"scaled": scaled, "failing": failing}


def made(text: str, **options: object) -> object:
    return build(text, "--scale", TABLE, [2.0], options)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("scaled", (2.0, 1.0, 1, True, "")),
        ("scaled:factor=1/4", (2.0, 0.25, 1, True, "")),
        ("scaled:times=-3,up=false,unit=a=b", (2.0, 1.0, -3, False, "a=b")),
    ],
)
def test_a_text_becomes_a_call(text: str, expected: tuple) -> None:
    assert made(text) == expected


def test_the_text_goes_before_the_options_and_unknown_options_are_left_out() -> None:
    assert made("scaled:factor=3", factor=5.0, times=7, other=1) == (2.0, 3.0, 7, True, "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scalde", "--scale: expected one of scaled, failing, or package.module:name, got 'scalde'"),
        ("scaled:speed=3", "scaled: expected factor=VALUE, times=VALUE, up=VALUE, unit=VALUE, got 'speed=3'"),
        ("scaled:factor=1,times", "factor=VALUE"),
        ("scaled:factor=1,factor=6", "scaled: factor: expected one value, got two; leave one out"),
        ("scaled:times=2,up=true,times=2", "scaled: times: expected one value, got two"),
        ("scaled:factor=many", "scaled: factor: expected a number"),
        ("scaled:times=1.5", "scaled: times: expected an integer"),
        ("scaled:times=" + "9" * 19, "expected an integer"),
        ("scaled:up=yes", "expected true or false"),
        ("failing", "RuntimeError: not today"),
        ("failing:x=1", "expected no parameters"),
        ("no.such.module:name", "importable"),
    ],
)
def test_bad_texts_are_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        made(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "theirs_by_name.py").write_text("def make(x, *, factor: float = 1.0):\n    return x * factor\n")
    monkeypatch.chdir(tmp_path)
    yield "theirs_by_name"
    sys.modules.pop("theirs_by_name", None)


def test_code_of_the_callers_own(module: str) -> None:
    assert made(f"{module}:make:factor=4", factor=2.0, other=3) == 8.0
    assert made(f"{module}:make", factor=2.0) == 4.0
    with pytest.raises(BadRequest, match="make called with str, factor, got"):
        build(f"{module}:make:factor=4.5", "--scale", {}, ["x"])
    named = look_up(f"{module}:make:factor=4", "--scale", {})
    assert (named.name, named.parameters) == (f"{module}:make", "factor=4")


def test_help_follows_from_the_table() -> None:
    assert list(parameters_of(scaled, skip=1)) == ["factor", "times", "up", "unit"]
    assert listed({"scaled": scaled, "failing": failing}, skip=1) == (
        "scaled:factor=1.0,times=1,up=true,unit=, failing"
    )


@pytest.mark.parametrize("made", ["{}", "object()", "functools.partial(dict)", "dict", "len", "lambda: 3"])
def test_what_makes_a_value_is_taken_and_a_value_is_not(
    made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that was made already, an instance of an attack or an extension, ended in an error of inspect's."""
    monkeypatch.chdir(tmp_path)
    name = f"made_{abs(hash(made))}"
    (tmp_path / f"{name}.py").write_text(f"import functools\nthing = {made}\n")
    try:
        if made in ("{}", "object()"):
            with pytest.raises(BadRequest, match=f"{name}:thing: expected a class, or a function .*make_thing"):
                factory_of(f"{name}:thing", "--scale")
        else:
            assert callable(factory_of(f"{name}:thing", "--scale"))
    finally:
        sys.modules.pop(name, None)
