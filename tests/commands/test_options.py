"""Options: what a field says of its flag, its type and its bound, and how messages name it."""

import re
from dataclasses import dataclass
from typing import Literal

import pytest

from cgro._check import BadRequest
from cgro.commands._options import Output, fits, flag_of, in_flags, in_words, option, options_of


@dataclass(kw_only=True)
class Options(Output):
    """Options of a command that does not exist."""

    target: str | None = option(None, "a run", positional=True)
    n: int = option(3, "a number")
    radius: str = option("0.1", "a radius")
    width: int | None = option(None, "a width", low=1)
    share: float = option(0.5, "a share", low=0)
    eval_radius: str = option("0.1", "another radius")
    extension: list[str] = option([], "several", names="extension")


OPTIONS = options_of(Options)


def test_an_option_is_as_its_field_says() -> None:
    width, extension = OPTIONS["width"], OPTIONS["extension"]
    assert (width.flag, width.default, width.takes_no_value, width.positional) == ("--width", None, False, False)
    assert (extension.takes_several, extension.names, extension.default) == (True, "extension", [])
    assert OPTIONS["target"].positional
    assert OPTIONS["quiet"].spellings == ["-q", "--quiet"]
    assert OPTIONS["eval_radius"].flag == flag_of("eval_radius") == "--eval-radius"


def test_a_list_is_not_shared_between_configs() -> None:
    assert Options().extension is not Options().extension


def test_words_and_values_of_files_become_values_of_the_type() -> None:
    assert OPTIONS["n"].from_word("7") == 7
    assert OPTIONS["width"].from_word("null") is None
    assert OPTIONS["radius"].from_file(8, "a.yaml") == "8"
    share = OPTIONS["share"].from_file(1, "a.yaml")
    assert isinstance(share, float)


@pytest.mark.parametrize(("text", "number"), [("1e-3", 1e-3), ("5E2", 500.0), ("2.e+1", 20.0), (".5e0", 0.5)])
def test_a_number_without_a_dot_is_one_where_a_file_should_have_it(text: str, number: float) -> None:
    """YAML 1.1 takes 1e-3 for a text."""
    assert OPTIONS["share"].from_file(text, "a.yaml") == number
    assert OPTIONS["radius"].from_file(text, "a.yaml") == text


@pytest.mark.parametrize("text", ["1e400", "e5", "1e", "1e-3x", "0.5", "nan"])
def test_other_texts_are_no_numbers_of_a_file(text: str) -> None:
    with pytest.raises(BadRequest, match="share: expected a number"):
        OPTIONS["share"].from_file(text, "a.yaml")
    with pytest.raises(BadRequest, match="n: expected an integer"):
        OPTIONS["n"].from_file("1e3", "a.yaml")


@pytest.mark.parametrize(
    ("name", "word", "message"),
    [
        ("n", "x", "--n: expected an integer, got 'x'"),
        ("share", "inf", "--share: expected a finite number, got inf"),
        ("width", "0", "--width: expected an integer >= 1, got 0"),
        ("share", "-0.5", "--share: expected a number >= 0, got -0.5"),
        ("n", str(2**64), "--n: expected an integer of at most 9,007,199,254,740,992, got 18446744073709551616"),
    ],
)
def test_words_that_are_no_value(name: str, word: str, message: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(message)):
        OPTIONS[name].from_word(word)


def test_the_bound_itself_is_a_value_and_nothing_below_it() -> None:
    assert OPTIONS["width"].within(1, "--width") == 1
    with pytest.raises(BadRequest, match=r"a.yaml: share: expected a number >= 0, got -1"):
        OPTIONS["share"].from_file(-1, "a.yaml")
    assert OPTIONS["n"].within(2**53, "--n") == 2**53
    with pytest.raises(BadRequest, match=r"a.yaml: n: expected an integer of at most"):
        OPTIONS["n"].from_file(2**53 + 1, "a.yaml")


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [(1, float, True), (True, int, False), (0.1, str, True), (None, str, False), (["a"], list[str], True),
     ([1], list[int], True), (["a"], list[int], False), ("fast", Literal["fast"], True)],
)  # fmt: skip
def test_which_values_of_a_file_fit(value: object, hint: object, expected: bool) -> None:
    assert fits(value, hint) is expected


def test_types_in_words() -> None:
    assert [in_words(hint) for hint in (int, str | None, int | str, list[str])] == [
        "an integer", "text", "an integer or text", "a list",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("n: expected an integer >= 4, got 3", "--n: expected an integer >= 4, got 3"),
        ("radius: expected a number, got 8", "--radius: expected a number, got 8"),
        ("radius: expected a number, got '3'", "--eval-radius: expected a number, got '3'"),
        ("radius: expected a number, got 31", "--radius: expected a number, got 31"),
        ("width: expected fewer, got 900", "width: expected fewer, got 900"),
        ("target: expected a run, got a", "target: expected a run, got a"),
        ("height: expected a number, got 1", "height: expected a number, got 1"),
        ("no name at all", "no name at all"),
    ],
)
def test_the_library_names_a_parameter_and_the_command_line_a_flag(message: str, said: str) -> None:
    assert in_flags(message, Options(target="a", radius="8", eval_radius="3")) == said
