"""Options of commands: fields of a dataclass, from which flags, the keys of a file of settings, and the help follow.

A value comes from the flags, else from the files of --config, else from the recipe, else it is the default. The parser
is the standard library's, msgspec turns words into values, and what was written where is known from the start: it
decides what may be trusted (see `cgro.trust`). jsonargparse did this before; its own merging hid where a value came
from, so the words had to be parsed a second time by hand, and its messages had to be taken apart by regular
expressions.
"""

import argparse
import difflib
import json
import math
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

import msgspec

from cgro._check import BadRequest, bad, one_line, one_of
from cgro.reading import read_yaml_mapping
from cgro.results import BY_COMMAND, json_schema
from cgro.trust import CommandLine, Received, Trust

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

WORDS = {int: "an integer", float: "a number", str: "text", bool: "true or false"}
"""Types of options in messages."""
NOT_STORED = ("out", "overwrite", "json", "quiet", "verbose", "trust", "received")
"""Options that do not make the result."""
SHORT = {"quiet": "-q", "verbose": "-v"}
"""Options that a single letter stands for."""
ONLY_TYPED = ("trust", "overwrite", "config")
"""Options that count on the command line alone: a file of others must not trust itself, nor delete anything."""

Precision = Literal["auto", "float32", "bfloat16"]
Config = TypeVar("Config", bound="DataclassInstance")


@dataclass(frozen=True)
class About:
    """What is said of an option beside its type and default; see `option`."""

    help: str
    positional: bool = False
    names: str | None = None
    flag: bool = False
    group: str = ""
    low: float | None = None


ABOUT = "about"
"""Where a field keeps its `About`."""


def option(
    default: Any,
    help: str,
    *,
    positional: bool = False,
    names: str | None = None,
    flag: bool = False,
    group: str = "",
    low: float | None = None,
) -> Any:
    """A dataclass field with its help text.

    Args:
        default: of the field.
        help: for --help.
        positional: whether it is written without its name.
        names: what its value names, such as network or data, where that may be code, a path or a data set of the hub:
            the command line on which it stands trusts it (see `cgro.trust`).
        flag: whether it takes no value.
        group: the heading under which --help lists it; default that of all options without one.
        low: smallest number that is taken, wherever it was written; None: there is none.

    Returns:
        The field.
    """
    meta = {ABOUT: About(help, positional, names, flag, group, low)}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=meta)
    return field(default=default, metadata=meta)


@dataclass(kw_only=True)
class Telling:
    """How much is said on stderr, beside errors."""

    quiet: bool = option(False, "no progress, no remarks, no next step", group="results")
    verbose: bool = option(
        False, "progress lines every second without a terminal, and the whole trace of an error", group="results"
    )


@dataclass(kw_only=True)
class Output(Telling):
    """Where results go."""

    out: str | None = option(None, "run directory; default runs/COMMAND-TIME", group="results")
    overwrite: bool = option(False, "delete a run that is already in --out", group="results")
    json: bool = option(False, "print the summary as JSON on stdout, nothing else", group="results")


@dataclass(kw_only=True)
class Seeded:
    """Where something is random."""

    seed: int = option(0, "first seed", group="seeds", low=0)
    seeds: int = option(1, "number of seeds: seed, seed+1, ...; each in DIR/seed-S", group="seeds", low=1)


@dataclass(kw_only=True)
class Trusting:
    """What of the names in a run or in a file of --config may be used."""

    trust: Trust = option(
        False,
        "use what the run or the file of --config names: import its code, read its paths, fetch its data",
        flag=True,
        group="results",
    )


@dataclass(kw_only=True)
class Computing:
    """Where it computes."""

    device: str = option("auto", "auto, cpu, cuda or cuda:N", group="computing")
    threads: int | None = option(None, "CPU threads; default: all cores", group="computing", low=1)
    precision: Precision = option(
        "auto",
        "precision of the attack's gradients: auto, float32 or bfloat16; errors are always evaluated in float32",
        group="computing",
    )


@dataclass(frozen=True)
class Option:
    """One option, as its field describes it.

    Attributes:
        field: of the dataclass.
        hint: type of its value.
    """

    field: "Field[Any]"
    hint: object

    @property
    def name(self) -> str:
        """The field's name, which is the key in files."""
        return self.field.name

    @property
    def about(self) -> About:
        """What is said of it."""
        return self.field.metadata[ABOUT]

    @property
    def flag(self) -> str:
        """As it is typed.

        >>> Option(fields(Computing)[2], str).flag
        '--precision'
        """
        return _flag(self.name)

    @property
    def spellings(self) -> list[str]:
        """Every way to type it, a single letter first."""
        if self.name in SHORT:
            return [SHORT[self.name], self.flag]
        return [self.flag]

    @property
    def positional(self) -> bool:
        """Whether it is written without its name."""
        return self.about.positional

    @property
    def names(self) -> str | None:
        """What its value names, where that may be code, a path or a data set of the hub."""
        return self.about.names

    @property
    def takes_no_value(self) -> bool:
        """Whether it is a mere flag."""
        return self.hint is bool or self.about.flag

    @property
    def takes_several(self) -> bool:
        """Whether its value is a list."""
        return typing.get_origin(self.hint) is list

    @property
    def default(self) -> Any:
        """Its value where nothing says otherwise."""
        factory = self.field.default_factory
        return self.field.default if factory is MISSING else factory()

    @property
    def help(self) -> str:
        """Its line in --help, with the default where there is one to show."""
        text = self.about.help.replace("%", "%%")
        if self.default in (None, "", [], False):
            return text
        return f"{text} (default: {self.default})"

    def add_to(self, group: "argparse._ActionsContainer") -> None:
        """Add it to a parser. Without a default, so that the parser answers with what was written and nothing else.

        Args:
            group: that --help lists it in.
        """
        if self.positional and self.takes_several:
            group.add_argument(self.name, nargs="*", default=argparse.SUPPRESS, help=self.help)
        elif self.positional:
            group.add_argument(self.name, nargs="?", default=argparse.SUPPRESS, help=self.help)
        elif self.takes_no_value:
            group.add_argument(*self.spellings, action="store_true", default=argparse.SUPPRESS, help=self.help)
        elif self.takes_several:
            group.add_argument(self.flag, action="append", default=argparse.SUPPRESS, help=self.help)
        else:
            group.add_argument(self.flag, default=argparse.SUPPRESS, help=self.help)

    def from_word(self, word: object) -> object:
        """The value of what was typed.

        Args:
            word: text, a list of texts, or True for a flag.

        Returns:
            A value of the option's type.

        Raises:
            BadRequest: it is none.
        """
        if not isinstance(word, str) or self.hint is str:
            return word
        try:
            value = msgspec.convert(word, self.hint, strict=False)
        except msgspec.ValidationError:
            raise bad(self.flag, expected=in_words(self.hint), got=repr(word)) from None
        if isinstance(value, float) and not math.isfinite(value):
            raise bad(self.flag, expected="a finite number", got=word)
        return self.within(value, self.flag)

    def within(self, value: object, what: str) -> object:
        """A value that is not below the bound of the option, if it has one.

        Args:
            value: of the option's type.
            what: how the message calls it.

        Returns:
            The value.

        Raises:
            BadRequest: a smaller number.

        Example:
            >>> Option(fields(Computing)[1], int).within(2, "--threads")
            2
        """
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        low = self.about.low
        if low is not None and value < low:
            raise bad(what, expected=f"{in_words(self.hint)} >= {low:g}", got=value)
        return value

    def from_file(self, value: object, where: str) -> object:
        """The value of what a file says.

        Args:
            value: as YAML reads it.
            where: the file, for the message.

        Returns:
            A value of the option's type; a number where text is expected, such as a radius of 0.1, as text.

        Raises:
            BadRequest: another type.
        """
        if not fits(value, self.hint):
            raise bad(f"{where}: {self.name}", expected=in_words(self.hint), got=repr(value))
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        self.within(value, f"{where}: {self.name}")
        kinds = _kinds(self.hint)
        if str in kinds and type(value) not in kinds and float not in kinds:
            return str(value)
        if float in kinds and int not in kinds:
            return float(value)
        return value


class _ShowSchema(argparse.Action):
    """Prints the JSON schema of a command's summary and ends, as --help does."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        kind = BY_COMMAND[parser.prog.removeprefix("cgro ")]
        print(json.dumps(json_schema(kind), indent=2))
        parser.exit()


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
        recipes: named settings; `--recipe NAME` makes them the defaults, which flags and YAML override.

    Returns:
        The options. `trust`, where there is such an option, says what these words trust: all, or the names among them.

    Raises:
        Untrusted: a file of --config names code, a path or a data set of the hub that does not stand among the words.
        BadRequest: an unknown option or recipe, or a value of the wrong type.
    """
    options = options_of(config_class)
    parser = _parser(command, doc, options.values(), recipes or {})
    written, unknown = parser.parse_known_args(list(argv))
    if unknown:
        raise BadRequest(f"{_unknown(unknown, options)}; see cgro {command} --help")
    words = vars(written)
    files, recipe = words.pop("config", []), words.pop("recipe", None)
    typed = {name: options[name].from_word(word) for name, word in words.items()}
    in_files = _from_files(files, command, options)
    values: dict[str, Any] = {}
    if recipe is not None:
        values |= (recipes or {})[one_of(recipe, "--recipe", recipes or {})]
    values |= in_files | typed
    trust = _trust(options.values(), typed)
    if files:
        received = {name: value for name, value in in_files.items() if name not in typed}
        admit(Received(", ".join(files), trust), received, config_class)
    if "trust" in options:
        values["trust"] = trust
    return config_class(**values)


def options_of(config_class: type) -> dict[str, Option]:
    """The options of a command by name; fields that are hidden are none.

    Args:
        config_class: its dataclass.

    Returns:
        Name -> option, in the order of the fields.
    """
    hints = typing.get_type_hints(config_class)
    found = {}
    for f in fields(config_class):
        if not f.metadata.get("hidden"):
            found[f.name] = Option(f, hints[f.name])
    return found


def _parser(command: str, doc: str, options: Iterable[Option], recipes: Mapping[str, object]) -> _Parser:
    parser = _Parser(
        prog=f"cgro {command}",
        description=doc,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config",
        action="append",
        default=argparse.SUPPRESS,
        help="YAML file of these options, such as a run's config.yaml; may be repeated",
    )
    if command in BY_COMMAND:
        parser.add_argument(
            "--schema", action=_ShowSchema, nargs=0, default=argparse.SUPPRESS, help="print the JSON schema of --json"
        )
    if recipes:
        names = ", ".join(recipes)
        parser.add_argument("--recipe", default=argparse.SUPPRESS, help=f"defaults from: {names}")
    groups: dict[str, argparse._ActionsContainer] = {"": parser}
    for entry in options:
        title = "" if entry.positional else entry.about.group
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        entry.add_to(groups[title])
    return parser


def _unknown(words: Sequence[str], options: Mapping[str, Option]) -> str:
    """Which words no option explains, and what the first may have meant."""
    text = f"unrecognized arguments: {one_line(' '.join(words), 300)}"
    flags = [entry.flag for entry in options.values() if not entry.positional]
    close = difflib.get_close_matches(words[0].partition("=")[0], [*flags, "--config", "--recipe"], n=1)
    if words[0].startswith("--") and close:
        text += f"; did you mean {close[0]}?"
    return text


def _from_files(files: Sequence[str], command: str, options: Mapping[str, Option]) -> dict[str, object]:
    """The settings in the files of --config, a later one over an earlier one."""
    found: dict[str, object] = {}
    for file in files:
        mapping = read_yaml_mapping(Path(file))
        for name in ONLY_TYPED:
            if mapping.get(name):
                raise bad(
                    file, expected=f"no {name}", got=mapping[name], remedy=f"write {_flag(name)} where you call it"
                )
        written_for = mapping.pop("command", None)
        if written_for not in (None, command):
            raise bad(f"--config {file}", expected=f"settings of cgro {command}", got=f"those of cgro {written_for}")
        for name, value in mapping.items():
            if name in options:
                found[name] = options[name].from_file(value, file)
            elif name not in ONLY_TYPED:
                raise bad(
                    file, expected=f"options of cgro {command}", got=repr(name), remedy=_meant(name, command, options)
                )
    return found


def _meant(name: object, command: str, options: Mapping[str, Option]) -> str:
    close = difflib.get_close_matches(str(name), options, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"see cgro {command} --help"


def _trust(options: Iterable[Option], typed: Mapping[str, object]) -> CommandLine:
    """What the command line trusts. Positional words are mostly folders, which others may have named: only those that
    are names of data count.
    """
    offered, names = set(), set()
    for entry in options:
        if entry.name == "trust":
            offered.add("trust")
        if entry.names is None:
            continue
        if not entry.positional:
            offered.add(entry.name)
        value = typed.get(entry.name)
        for name in value if isinstance(value, list) else [value]:
            if isinstance(name, str):
                names.add(name)
    return CommandLine(bool(typed.get("trust")), frozenset(names), frozenset(offered))


def admit(received: Received, settings: Mapping[str, object], config_class: type, *, fetch: bool = True) -> None:
    """Let settings pass that were read from a run or a file, unless one names what the caller does not trust.

    Every text among them is looked at, not only the options of today that may be code.

    Args:
        received: where they were read, and what is trusted.
        settings: option -> value, of those that were read there.
        config_class: of the command that they belong to; says which options name what.
        fetch: whether a data set of the hub needs trust as well. False for a caller who then takes it from the cache.

    Raises:
        Untrusted: code, or a path or a download of data, that is not trusted.
        BadRequest: a name that is no text, a value of another type.
    """
    for name, entry in options_of(config_class).items():
        if name in settings and name not in NOT_STORED:
            _admit_one(received, entry, settings[name], fetch=fetch)


def _admit_one(received: Received, entry: Option, value: object, *, fetch: bool) -> None:
    if not fits(value, entry.hint):
        raise bad(f"{received.where}: {entry.name}", expected=in_words(entry.hint), got=repr(value))
    words = value if isinstance(value, list) else [value]
    for word in words:
        if isinstance(word, str):
            received.admit(entry.name, word, entry.names or entry.name)
        elif entry.names is not None and word is not None:
            raise bad(f"{received.where}: {entry.name}", expected="a name", got=type(word).__name__)
    if entry.names == "data" and isinstance(value, str) and not received.trusts(value):
        from cgro.data.sources import kind_of

        kind = kind_of(value)
        if kind == "path" or (kind == "hub" and fetch):
            raise received.untrusted(entry.name, value, "data", kind)


def fits(value: object, hint: object) -> bool:
    """Whether a value from a file is one of an option: of its type, or a number where text may be one, such as 0.1.

    Args:
        value: as YAML or JSON reads it.
        hint: type of the option.

    Returns:
        False for a value of another type.

    Example:
        >>> [fits(v, int | None) for v in (3, None, 0.5, "3", True)]
        [True, True, False, False, False]
    """
    choices = _kinds(hint)
    if typing.get_origin(hint) is Literal:
        return value in choices
    if typing.get_origin(hint) is list:
        return isinstance(value, list) and all(fits(v, choices[0]) for v in value)
    if value is None:
        return type(None) in choices
    if isinstance(value, bool):
        return bool in choices
    if isinstance(value, int | float):
        return type(value) in choices or float in choices or str in choices
    return type(value) in choices


def in_words(hint: object) -> str:
    """The values of an option, for a message.

    Args:
        hint: its type.

    Returns:
        Such as "an integer or text".

    Example:
        >>> in_words(int | None), in_words(Literal["a", "b"])
        ('an integer', 'one of a, b')
    """
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    if typing.get_origin(hint) is list:
        return "a list"
    kinds = [kind for kind in _kinds(hint) if kind is not type(None)]
    return " or ".join(WORDS.get(kind, str(kind)) for kind in kinds)


def in_flags(message: str, config: object) -> str:
    """A refusal in the words of the command line: an option by its flag, which the library calls by a parameter's name.

    Where several options have the parameter's name in theirs, such as attack and eval_attack, the one counts whose
    value the message repeats. One that has its default, which the message does not repeat, is not meant: the value
    came from elsewhere, such as --sweep.

    Args:
        message: of a `BadRequest`, `NAME: expected ..., got ...`.
        config: the options that the command was called with.

    Returns:
        The message with the flag in place of the name; itself if it begins with no option's name.

    Example:
        >>> in_flags("threads: expected an integer >= 1, got 0", Computing(threads=0))
        '--threads: expected an integer >= 1, got 0'
    """
    name, colon, rest = message.partition(": ")
    if not colon:
        return message
    found: list[Option] = []
    repeated: list[Option] = []
    for entry in options_of(type(config)).values():
        if entry.positional or not (entry.name == name or entry.name.endswith("_" + name)):
            continue
        value = getattr(config, entry.name)
        if value != entry.default:
            found.append(entry)
        if re.search(rf"got (?:{re.escape(str(value))}|{re.escape(repr(value))})(?![\w.])", rest):
            repeated.append(entry)
    for entry in repeated or found:
        if entry.name == name or len(repeated) == 1:
            return f"{entry.flag}: {rest}"
    return message


def _kinds(hint: object) -> tuple[object, ...]:
    return typing.get_args(hint) or (hint,)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
