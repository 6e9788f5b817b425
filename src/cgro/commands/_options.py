"""Options of commands: fields of a dataclass, from which flags, the keys of a file of settings, and the help follow.

msgspec turns words into values of the field's type. `_parser` reads the command line and files of settings,
`_admission` says which of their names may be used.
"""

import argparse
import math
import re
import typing
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, ClassVar, Literal

import msgspec

from cgro._check import LARGEST_COUNT, bad
from cgro.commands._effect import Effects, beside
from cgro.trust import Trust

WORDS = {int: "an integer", float: "a number", str: "text", bool: "true or false"}
"""Types of options in messages."""
NOT_STORED = (
    "out",
    "overwrite",
    "json",
    "quiet",
    "verbose",
    "trust",
    "received",
    "typed",
    "max_seconds",
    "budget",
    "executor",
    "workers",
    "slurm_options",
)
"""Options that do not make the result."""
SHORT = {"quiet": "-q", "verbose": "-v"}
"""Options that a single letter stands for."""

Precision = Literal["auto", "float32", "bfloat16"]


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

    # Without --out the directory is a new one.
    HAS_EFFECT: ClassVar[Effects] = {"overwrite": beside("--out", lambda c: c.out is not None)}


@dataclass(kw_only=True)
class Seeded:
    """Where something is random."""

    seed: int = option(0, "first seed", group="seeds", low=0)
    seeds: int = option(1, "number of seeds: seed, seed+1, ...; each in DIR/seed-S", group="seeds", low=1)


EXECUTORS = ("local", "slurm")


@dataclass(kw_only=True)
class Spreading:
    """Where the runs of a command that makes many are carried out."""

    executor: str = option("local", "what carries runs out: local, or slurm, where each is a job", group="many runs")
    workers: int | None = option(
        None,
        "runs at a time, local ones each with its share of the threads; default 1, in Slurm 100",
        group="many runs",
        low=1,
    )
    slurm_options: str = option(
        "", 'of sbatch, such as "partition=gpu time=4:00:00 gpus=1"; see docs/clusters.md', group="many runs"
    )


@dataclass(kw_only=True)
class Trusting:
    """What of the names in a run or in a file of --config may be used."""

    trust: Trust = option(
        False,
        "use what the run or the file of --config names: import its code, read its paths, fetch its data",
        flag=True,
        group="results",
    )
    typed: frozenset[str] = field(default=frozenset(), metadata={"hidden": True})
    """Names of the options that stand on the command line, also where they have their default."""


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


REPEATED = "repeated options"
"""Where `LastValue` keeps what is to be said, among the words of the command line."""


class LastValue(argparse.Action):
    """Takes the last of several values, as scripts count on that add options to those they have; to be said."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, flag: str | None = None
    ) -> None:
        before = getattr(namespace, self.dest, values)
        if before != values:
            told = [
                *getattr(namespace, REPEATED, ()),
                f"{flag}: {values!r} counts, which is written last, not {before!r}",
            ]
            setattr(namespace, REPEATED, told)
        setattr(namespace, self.dest, values)


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
        return flag_of(self.name)

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
        if self.default in (None, "", []) or self.default is False:
            return text
        shown = f"{self.default:g}" if isinstance(self.default, float) else self.default
        return f"{text} (default: {shown})"

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
            group.add_argument(self.flag, action=LastValue, default=argparse.SUPPRESS, help=self.help)

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
        """A value that is not below the bound of the option, if it has one, and no integer beyond `LARGEST_COUNT`.

        Args:
            value: of the option's type.
            what: how the message calls it.

        Returns:
            The value.

        Raises:
            BadRequest: a smaller or a larger number.

        Example:
            >>> Option(fields(Computing)[1], int).within(2, "--threads")
            2
        """
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        low = self.about.low
        if low is not None and value < low:
            raise bad(what, expected=f"{in_words(self.hint)} >= {low:g}", got=value)
        if isinstance(value, int) and value > LARGEST_COUNT:
            raise bad(what, expected=f"{in_words(self.hint)} of at most {LARGEST_COUNT:,}", got=value)
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
        value = self._as_number(value)
        if not fits(value, self.hint):
            remedy = ""
            if isinstance(value, bool):
                remedy = "if it is a word, write it in quotes: YAML reads yes, no, on and off as true and false"
            raise bad(f"{where}: {self.name}", expected=in_words(self.hint), got=repr(value), remedy=remedy)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        self.within(value, f"{where}: {self.name}")
        kinds = _kinds(self.hint)
        if str in kinds and type(value) not in kinds and float not in kinds:
            return str(value)
        if float in kinds and int not in kinds:
            return float(value)
        return value

    def _as_number(self, value: object) -> object:
        """The number of a text such as 1e-3, which YAML 1.1 takes for text since it has no dot, where one is asked."""
        kinds = _kinds(self.hint)
        if float not in kinds or str in kinds or not isinstance(value, str) or not _SCIENTIFIC.fullmatch(value):
            return value
        found = float(value)
        return found if math.isfinite(found) else value


_SCIENTIFIC = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+")


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


def flag_of(name: str) -> str:
    """An option as it is typed.

    Args:
        name: of the field.

    Returns:
        With two dashes before it, and dashes in place of underscores.

    Example:
        >>> flag_of("n_train")
        '--n-train'
    """
    return "--" + name.replace("_", "-")
