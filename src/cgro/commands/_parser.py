"""From the words of a command line and the files of --config to the options of a command.

A value comes from the flags, else from the files of --config, else from the recipe, else it is the default. The parser
is the standard library's, and what was written where is known from the start: it decides what may be trusted (see
`cgro.trust`). jsonargparse did this before; its own merging hid where a value came from, so the words had to be parsed
a second time by hand, and its messages had to be taken apart by regular expressions.
"""

import argparse
import difflib
import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from cgro._check import BadRequest, bad, one_line, one_of
from cgro._progress import is_beside
from cgro.commands._admission import admit
from cgro.commands._options import REPEATED, LastValue, Option, flag_of, options_of
from cgro.commands._said import require_effect
from cgro.reading import read_yaml_mapping
from cgro.results import BY_COMMAND, json_schema
from cgro.runs import say
from cgro.trust import CommandLine, Received

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ONLY_TYPED = ("trust", "overwrite", "config")
"""Options that count on the command line alone: a file of others must not trust itself, nor delete anything."""

Config = TypeVar("Config", bound="DataclassInstance")


class _ShowSchema(argparse.Action):
    """Prints the JSON schema of a command's summary and ends, as --help does."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        kind = BY_COMMAND[parser.prog.removeprefix("cgro ")]
        print(json.dumps(json_schema(kind), indent=2))
        parser.exit()


class _WholeWords(textwrap.TextWrapper):
    """Breaks no name at its hyphens; a word longer than a line behind its commas, which stand between parameters."""

    def _split(self, text: str) -> list[str]:
        chunks: list[str] = []
        for chunk in re.split(r"(\s+)", text):
            if len(chunk) <= self.width:
                chunks.append(chunk)
            else:
                chunks += re.split(r"(?<=,)", chunk)
        return [chunk for chunk in chunks if chunk]


class _Help(argparse.RawDescriptionHelpFormatter):
    """The standard library's breaks lines at hyphens, and long words anywhere: `mlcat- wp`, `weight_s tandard`."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return _WholeWords(width, break_long_words=False).wrap(" ".join(text.split()))


class _Parser(argparse.ArgumentParser):
    """Raises where argparse would print and exit, and knows what a mistyped option may have meant."""

    def error(self, message: str) -> NoReturn:
        raise BadRequest(f"{one_line(message, 400)}; see {self.prog} --help")


def parse(
    command: str,
    doc: str,
    config_class: type[Config],
    argv: Sequence[str],
    recipes: Mapping[str, Mapping[str, object]] | None = None,
) -> Config:
    """Read flags and YAML into a config dataclass.

    Args:
        command: its name.
        doc: its help.
        config_class: its options, fields made by `option`.
        argv: the words behind the command's name.
        recipes: named settings; `--recipe NAME`, or `recipe: NAME` in YAML, makes them the defaults, below flags and
            YAML.

    Returns:
        The options. `trust`, where there is such an option, says what these words trust: all, or the names among them.

    Raises:
        Untrusted: a file of --config names code, a path or a data set of the hub that does not stand among the words.
        BadRequest: an unknown option or recipe, a value of the wrong type, or an option among the words that has no
            effect beside the others.
    """
    options, recipes = options_of(config_class), recipes or {}
    parser = parser_of(command, doc, options.values(), recipes)
    written, unknown = parser.parse_known_args(list(argv))
    if unknown:
        raise BadRequest(f"{_unknown(unknown, options)}; see cgro {command} --help")
    words = vars(written)
    files, repeated = words.pop("config", []), words.pop(REPEATED, [])
    asked = None
    if recipes:  # otherwise a command may have an option of this name
        asked = words.pop("recipe", None)
    typed = {name: options[name].from_word(word) for name, word in words.items()}
    in_files, recipe = _from_files(files, command, options, recipes)
    if asked is not None:
        recipe = one_of(asked, "--recipe", recipes)
    values: dict[str, Any] = {}
    if recipe is not None:
        values |= recipes[recipe]
    values |= in_files | typed
    trust = _trust(options.values(), typed)
    if files:
        received = {name: value for name, value in in_files.items() if name not in typed}
        admit(Received(", ".join(files), trust), received, config_class)
    if "trust" in options:
        values["trust"] = trust
        values.update(typed=frozenset(typed))
    config = config_class(**values)
    require_effect(config, typed)
    if not is_beside() and not getattr(config, "quiet", False):
        for remark in repeated:
            say(f"remark: {remark}")
    return config


def parser_of(command: str, doc: str, options: Iterable[Option], recipes: Mapping[str, object]) -> _Parser:
    """The parser of a command's words.

    Args:
        command: its name.
        doc: its help.
        options: what it takes.
        recipes: named settings; empty where there are none.

    Returns:
        It raises where argparse would print and exit.
    """
    parser = _Parser(
        prog=f"cgro {command}",
        description=doc,
        allow_abbrev=False,
        formatter_class=_Help,
    )
    parser.add_argument(
        "--config",
        action="append",
        default=argparse.SUPPRESS,
        help="YAML file of these options, such as a run's config.yaml; may be repeated",
    )
    if recipes:
        names = ", ".join(recipes)
        parser.add_argument("--recipe", action=LastValue, default=argparse.SUPPRESS, help=f"defaults from: {names}")
    groups: dict[str, argparse._ActionsContainer] = {"": parser}
    for entry in options:
        title = "" if entry.positional else entry.about.group
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        entry.add_to(groups[title])
    if command in BY_COMMAND:
        groups["results"].add_argument(
            "--schema", action=_ShowSchema, nargs=0, default=argparse.SUPPRESS, help="print the JSON schema of --json"
        )
    return parser


def _unknown(words: Sequence[str], options: Mapping[str, Option]) -> str:
    """Which words no option explains, and what the first may have meant."""
    text = f"unrecognized arguments: {one_line(' '.join(words), 300)}"
    flags = [entry.flag for entry in options.values() if not entry.positional]
    close = difflib.get_close_matches(words[0].partition("=")[0], [*flags, "--config", "--recipe"], n=1)
    if words[0].startswith("--") and close:
        text += f"; did you mean {close[0]}?"
    return text


def _from_files(
    files: Sequence[str], command: str, options: Mapping[str, Option], recipes: Mapping[str, object]
) -> tuple[dict[str, object], str | None]:
    """The settings in the files of --config, a later one over an earlier one, and the recipe that one of them names."""
    found: dict[str, object] = {}
    recipe = None
    for file in files:
        mapping = read_yaml_mapping(Path(file))
        for name in ONLY_TYPED:
            if mapping.get(name):
                raise bad(
                    file, expected=f"no {name}", got=mapping[name], remedy=f"write {flag_of(name)} where you call it"
                )
        written_for = mapping.pop("command", None)
        if written_for not in (None, command):
            raise bad(f"--config {file}", expected=f"settings of cgro {command}", got=f"those of cgro {written_for}")
        for name, value in mapping.items():
            if name in options:
                found[name] = options[name].from_file(value, file)
            elif name == "recipe" and recipes:
                recipe = one_of(str(value), f"{file}: recipe", recipes)
            elif name not in ONLY_TYPED:
                raise bad(
                    file, expected=f"options of cgro {command}", got=repr(name), remedy=_meant(name, command, options)
                )
    return found, recipe


def _meant(name: object, command: str, options: Mapping[str, Option]) -> str:
    close = difflib.get_close_matches(str(name), options, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"see cgro {command} --help"


def _trust(options: Iterable[Option], typed: Mapping[str, object]) -> CommandLine:
    """What the command line trusts. Positional words are mostly folders, which others may have named: only those that
    are names of data count.
    """
    offered: set[str] = set()
    names: set[str] = set()
    said: set[str] = set()
    for entry in options:
        if entry.name == "trust":
            offered.add("trust")
        if entry.names is None:
            continue
        if not entry.positional:
            offered.add(entry.name)
        value = typed.get(entry.name)
        if isinstance(value, str):
            said.add(entry.name)
        for name in value if isinstance(value, list) else [value]:
            if isinstance(name, str):
                names.add(name)
    return CommandLine(bool(typed.get("trust")), frozenset(names), frozenset(offered), frozenset(said))
