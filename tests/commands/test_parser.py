"""The command line and files of settings: where a value comes from, what is refused, and what the help lists."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from cgro._check import BadRequest
from cgro.commands._options import Output, Trusting, option
from cgro.commands._parser import parse
from cgro.trust import Received, Untrusted


@dataclass(kw_only=True)
class Options(Trusting, Output):
    """Options of a command that does not exist."""

    target: str | None = option(None, "a run", positional=True)
    n: int = option(3, "a number, in % of all")
    rate: float = option(0.5, "a rate")
    radius: str = option("0.1", "a radius")
    width: int | None = option(None, "a width", low=1)
    share: float = option(0.5, "a share", low=0)
    eval_radius: str = option("0.1", "another radius")
    mode: Literal["fast", "exact"] = option("fast", "how")
    model: str = option("lenet", "a network", names="network", group="network")
    extension: list[str] = option([], "several", names="extension")


RECIPES = {"large": {"n": 100, "width": 8}}


def parsed(*words: str) -> Options:
    return parse("demo", "Help with 100% of it.", Options, words, RECIPES)


def test_flags_win_over_files_over_the_recipe_over_defaults(tmp_path: Path) -> None:
    file, later = tmp_path / "a.yaml", tmp_path / "b.yaml"
    file.write_text("n: 7\nrate: 1\nradius: 8\n")
    later.write_text("n: 8\n")
    assert (parsed().n, parsed().width) == (3, None)
    assert (parsed("--recipe", "large").n, parsed("--recipe=large").width) == (100, 8)
    assert parsed("--recipe", "large", "--config", str(file)).n == 7
    assert parsed("--config", str(file), "--config", str(later)).n == 8
    for words in (("--n", "9", "--config", str(file)), ("--config", str(file), "--n=9")):
        assert parsed(*words).n == 9, "wherever it stands"
    values = parsed("--config", str(file))
    assert (values.rate, values.radius) == (1.0, "8"), "a number where text is expected"
    assert isinstance(values.rate, float)


def test_a_file_names_a_recipe_too(tmp_path: Path) -> None:
    """Below all files, wherever it stands; the command line names another."""
    first, later = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("n: 7\n")
    later.write_text("recipe: large\n")
    found = parsed("--config", str(first), "--config", str(later))
    assert (found.n, found.width) == (7, 8)
    with pytest.raises(BadRequest, match="--recipe: expected one of large, got 'small'"):
        parsed("--config", str(later), "--recipe", "small")
    later.write_text("recipe: [large]\n")
    with pytest.raises(BadRequest, match=r"b\.yaml: recipe: expected one of large, got "):
        parsed("--config", str(later))


def test_words_become_values() -> None:
    found = parsed("runs/a", "--width", "null", "--rate", "1e-3", "--json", "--extension", "a", "--extension", "b")
    assert (found.target, found.width, found.rate, found.json) == ("runs/a", None, 1e-3, True)
    assert found.extension == ["a", "b"]
    assert parsed("--rate", "-1").rate == -1
    assert parsed().extension is not parsed().extension


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--n", "x"], "--n: expected an integer, got 'x'"),
        (["--n", "2.5"], "--n: expected an integer, got '2.5'"),
        (["--rate", "nan"], "--rate: expected a finite number, got nan"),
        (["--width", "wide"], "--width: expected an integer, got 'wide'"),
        (["--mode", "slow"], "--mode: expected one of fast, exact, got 'slow'"),
        (["--n"], "argument --n: expected one argument; see cgro demo --help"),
        (["--radios", "1"], "unrecognized arguments: --radios; did you mean --radius?; see cgro demo --help"),
        (["--rad", "1"], "unrecognized arguments: --rad; did you mean --radius?"),
        (["a", "b"], "unrecognized arguments: b"),
        (["--recipe", "larg"], "--recipe: expected one of large, got 'larg'"),
    ],
)
def test_what_is_refused_on_the_command_line(words: list[str], message: str) -> None:
    with pytest.raises(BadRequest) as error:
        parsed(*words)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("radios: 1", "expected options of cgro demo, got 'radios', did you mean radius?"),
        ("colour: red", "see cgro demo --help"),
        ("n: many", "n: expected an integer, got 'many'"),
        ("mode: slow", "mode: expected one of fast, exact"),
        ("extension: ema", "extension: expected a list"),
        ("trust: true", "expected no trust"),
        ("overwrite: true", "expected no overwrite"),
        ("config: other.yaml", "expected no config"),
        ("command: train", "those of cgro train"),
        ("model: their_package:Net", "add --trust, or --model their_package:Net"),
    ],
)
def test_what_is_refused_in_a_file(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(BadRequest) as error:
        parsed("--config", str(file))
    assert "settings.yaml" in str(error.value)
    assert message in str(error.value).replace("; did", ", did")


def test_of_several_values_the_last_one_counts_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert parsed("--n", "4", "--n=4", "--extension", "ema", "--extension", "awp").n == 4
    assert capsys.readouterr().err == ""
    found = parsed("--n", "4", "x", "--model", "lenet", "--n=5", "--model", "mlp", "--recipe", "large")
    assert (found.n, found.model) == (5, "mlp")
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "remark: --n: '5' counts, which is written last, not '4'",
        "remark: --model: 'mlp' counts, which is written last, not 'lenet'",
    ]
    parsed("--n", "4", "--n", "5", "--quiet")
    assert capsys.readouterr().err == ""


def test_what_the_command_line_names_is_trusted_and_a_positional_word_is_not() -> None:
    trust = parsed("their_package:Net", "--model", "mine:Net", "--extension", "mine:E").trust
    assert trust.names == {"mine:Net", "mine:E"}  # type: ignore[union-attr]
    assert trust.options == {"trust", "model", "extension"}  # type: ignore[union-attr]
    assert not trust.everything  # type: ignore[union-attr]
    assert parsed("--trust").trust.everything  # type: ignore[union-attr]


def test_an_option_that_says_something_else_is_not_advised(tmp_path: Path) -> None:
    """Two runs with networks of their own: to add the one was the advice beside the other, and the other way round."""
    trust = parsed("--model", "mine:A").trust
    with pytest.raises(Untrusted, match="then add --trust$"):
        Received("runs/b", trust).admit("model", "mine:B", "network")
    with pytest.raises(Untrusted, match="then add --trust, or --extension mine:B"):
        Received("runs/b", parsed("--extension", "mine:A").trust).admit("extension", "mine:B", "extension")


def test_help_lists_groups_defaults_and_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        parsed("--help")
    assert done.value.code == 0
    text = capsys.readouterr().out
    for words in ("Help with 100% of it.", "in % of all (default: 3)", "\nnetwork:\n", "\nresults:\n", "large"):
        assert words in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--width", "0"], "--width: expected an integer >= 1, got 0"),
        (["--width=-3"], "--width: expected an integer >= 1, got -3"),
        (["--share", "-0.5"], "--share: expected a number >= 0, got -0.5"),
    ],
)
def test_a_number_below_the_bound_is_refused_by_its_flag(words: list[str], message: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(message)):
        parsed(*words)


def test_a_bound_holds_in_files_as_well(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("width: -1\n")
    with pytest.raises(BadRequest, match=r"a.yaml: width: expected an integer >= 1, got -1"):
        parsed("--config", str(file))
    file.write_text("width: 1\nshare: 0\n")
    assert (parsed("--config", str(file)).width, parsed("--config", str(file)).share) == (1, 0.0)


def test_letters_stand_for_options() -> None:
    assert not parsed().quiet
    assert parsed("-q").quiet
    assert parsed("-v").verbose
    assert parsed("--quiet", "--verbose") == parsed("-q", "-v")


def test_help_shows_a_default_of_zero_and_breaks_no_name(capsys: pytest.CaptureFixture[str]) -> None:
    """Planted: 0 == False hid the default of every option that is off, and lines ended within `mlcat-wp`."""

    @dataclass(kw_only=True)
    class Many(Output):
        clip: float = option(0.0, "largest norm; 0 for none")
        seed: int = option(0, "first seed")
        extension: str = option("", " ".join(f"mlcat-wp{n}:weight_standard={n},batch-norm=last" for n in range(20)))
        objective: str = option("", "kd:" + ",".join(f"weight_standard_{n}=0.5" for n in range(20)))

    with pytest.raises(SystemExit):
        parse("demo", "Help.", Many, ["--help"])
    lines = capsys.readouterr().out.splitlines()
    text = "\n".join(lines)
    assert "0 for none (default: 0)" in text
    assert "first seed (default: 0)" in text
    assert "no progress, no remarks, no next step\n" in text, "a flag has no default to show"
    for n in range(20):
        assert any(f"mlcat-wp{n}:weight_standard={n},batch-norm=last" in line for line in lines)
        assert any(f"weight_standard_{n}=0.5" in line for line in lines)
