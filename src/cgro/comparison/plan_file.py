"""The plan of `cgro compare`: a YAML file of a base, remedies that differ from it, seeds and widths.

A plan may come from somebody else, so it is data: names in it that are code are imported only if the caller trusts them
(`cgro.trust`). Every value is checked as one of a file of --config is.
"""

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from cgro._check import bad, count, one_of
from cgro.commands import train
from cgro.commands._admission import admit
from cgro.commands._options import NOT_STORED, options_of
from cgro.commands._training import RECIPES
from cgro.reading import read_yaml_mapping
from cgro.trust import Received, Trust

Settings = dict[str, object]
KEYS = ("base", "remedies", "seeds", "widths")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,39}")
"""Of a remedy: it is that of a folder."""
MOST_SEEDS = 1000
"""Of a plan, which may be of others: each is a list of jobs in memory. A choice, far above what anybody trains."""
RECIPE = "recipe"
"""Names the defaults of the base, as `--recipe` does."""
OF_THE_COMMAND = ("seeds", "device", "threads", "resume", "command", *NOT_STORED)
"""Options of a run's config.yaml that a plan leaves to `cgro compare`; each may stand there with its default."""
COMMON = (
    "data",
    "classes",
    "image_size",
    "n_test",
    "validation",
    "p",
    "radius",
    "seed",
    "eval_attack",
    "eval_n",
    "final_n",
)
"""Options in which no remedy may differ: networks are compared on the same examples against the same threat."""
OPTIONS = options_of(train.Config)


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Args:
        base: options of `cgro train` that all have.
        remedies: name -> options that differ.
        seeds: per remedy and width; they follow that of `base`.
        widths: of the network; empty for that of `base` alone.
    """

    base: Mapping[str, object]
    remedies: Mapping[str, Mapping[str, object]]
    seeds: int
    widths: tuple[int, ...] = ()

    @property
    def reference(self) -> str:
        """The remedy that the others are compared with: the one without options, else the first.

        >>> Plan({}, {"ema": {"extension": ["ema"]}, "plain": {}}, seeds=1).reference
        'plain'
        """
        for name, options in self.remedies.items():
            if not options:
                return name
        return next(iter(self.remedies))

    def settings(self, remedy: str, width: int | None) -> Settings:
        """The options of the trainings of a remedy, before their epochs are set; see `cgro.comparison.trials`.

        Options that may name code are written out, also where they have their default: a run that is taken up has the
        names that were admitted and no others.

        Args:
            remedy: its name.
            width: of the network; None for that of the base or the remedy.

        Returns:
            Option -> value, without the seed.
        """
        found = {name: entry.default for name, entry in OPTIONS.items() if entry.names is not None}
        found |= {**self.base, **self.remedies[remedy]}
        if width is not None:
            found |= {"width": width}
        return found

    def with_remedies(self, remedies: Mapping[str, Mapping[str, object]], where: str) -> "Plan":
        """The plan with further remedies behind its own.

        Args:
            remedies: name -> options.
            where: they come from, for the message.

        Returns:
            Another plan.

        Raises:
            BadRequest: a remedy of the same name has other options; another would be the reference.
        """
        for name, options in remedies.items():
            if name in self.remedies and dict(self.remedies[name]) != dict(options):
                got = "another with other options"
                raise bad(f"{where}: {name}", expected="the remedy that is there", got=got, remedy="name it anew")
        _require_no_width(self.widths, remedies, where)
        joined = replace(self, remedies={**self.remedies, **remedies})
        if joined.reference != self.reference:
            # Its passes set the epochs of all: what is finished had those of the reference that was there.
            got = f"{joined.reference}, without options, in the place of {self.reference}"
            remedy = "give it an option, such as the epochs, or choose another --out"
            raise bad(where, expected="the same reference", got=got, remedy=remedy)
        return joined

    def text(self) -> bytes:
        """The plan as YAML; `read_plan` reads it back.

        Returns:
            Content of the file.
        """
        plain: Settings = {"base": dict(self.base), "seeds": self.seeds}
        if self.widths:
            plain |= {"widths": list(self.widths)}
        plain |= {"remedies": {name: dict(options) for name, options in self.remedies.items()}}
        return yaml.safe_dump(plain, sort_keys=False).encode()


def read_plan(path: Path, trust: Trust = False) -> Plan:
    """Read a plan.

    Args:
        path: of the file.
        trust: what of the names in it may be used.

    Returns:
        The plan; nothing is imported or read yet.

    Raises:
        Untrusted: it names code, a path or a download that is not trusted.
        BadRequest: an unknown key or option, two remedies of one name, a value of another type, no remedy.
    """
    found = read_yaml_mapping(path)
    _require_keys(found, KEYS, f"{path}")
    where = f"{path}: base"
    base = _base(_mapping(found.get("base"), where), where)
    admit(Received(str(path), trust), base, train.Config)
    remedies = _remedies(found.get("remedies"), path, trust)
    asked = found.get("seeds", 1)
    seeds = count(asked, f"{path}: seeds", high=MOST_SEEDS)  # type: ignore[arg-type]  # of any type, as it says
    return Plan(base, remedies, seeds, _widths(found.get("widths"), remedies, path))


def read_remedies(path: Path, trust: Trust = False) -> dict[str, Settings]:
    """Read the file of --add: a mapping of remedies, or a plan of which only `remedies` is written.

    Args:
        path: of the file.
        trust: what of the names in it may be used.

    Returns:
        Name -> options that differ from those of the base.

    Raises:
        Untrusted: see `read_plan`.
        BadRequest: see `read_plan`.
    """
    found = read_yaml_mapping(path)
    if "remedies" in found:
        _require_keys(found, ("remedies",), f"{path}")
        return _remedies(found.get("remedies"), path, trust)
    return _remedies(found, path, trust)


def _remedies(found: object, path: Path, trust: Trust) -> dict[str, Settings]:
    where = f"{path}: remedies"
    named = _mapping(found, where)
    if not named:
        raise bad(where, expected="at least one, NAME: {options}", got="none")
    remedies = {}
    for name, options in named.items():
        if not NAME.fullmatch(name):
            raise bad(where, expected="names of letters, digits and . _ + -, at most 40", got=repr(name))
        own = f"{where}: {name}"
        written = _mapping(options, own)
        if RECIPE in written:
            raise bad(own, expected="no recipe", got=written[RECIPE], remedy="write it in base")
        settings = _settings(written, own)
        for option in (*COMMON, *OF_THE_COMMAND):
            if option in settings:
                remedy = "networks are compared on the same examples against the same threat; write it in base"
                raise bad(own, expected=f"no {option}", got=settings[option], remedy=remedy)
        admit(Received(str(path), trust), settings, train.Config)
        remedies[name] = settings
    return remedies


def _base(found: Mapping[str, object], where: str) -> Settings:
    """The base without what a run's config.yaml says of the command; of a recipe, as `--recipe` does, the defaults."""
    kept = {}
    if RECIPE in found:
        kept |= RECIPES[one_of(str(found[RECIPE]), f"{where}: recipe", RECIPES)]
    for name, value in found.items():
        if name == RECIPE or (name == "command" and value == "train"):
            continue
        if name in OF_THE_COMMAND:
            default = OPTIONS[name].default if name in OPTIONS else None
            if value != default:
                remedy = "it is an option of cgro compare, or a key beside base"
                raise bad(where, expected=f"no {name}", got=value, remedy=remedy)
            continue
        kept[name] = value
    return _settings(kept, where)


def _settings(found: Mapping[str, object], where: str) -> Settings:
    """Values of the options' types."""
    settings = {}
    for name, value in found.items():
        if name not in OPTIONS:
            raise bad(where, expected="options of cgro train", got=repr(name), remedy=_meant(name, OPTIONS))
        settings[name] = OPTIONS[name].from_file(value, where)
    return settings


def _widths(found: object, remedies: Mapping[str, Mapping[str, object]], path: Path) -> tuple[int, ...]:
    if found is None:
        return ()
    where = f"{path}: widths"
    if not isinstance(found, list) or not found:
        raise bad(where, expected="a list of widths such as [4, 8]", got=repr(found))
    widths = tuple(count(width, where) for width in found)
    if len(set(widths)) < len(widths):
        raise bad(where, expected="each width once", got=found)
    _require_no_width(widths, remedies, f"{path}")
    return widths


def _require_no_width(widths: tuple[int, ...], remedies: Mapping[str, Mapping[str, object]], where: str) -> None:
    for name, options in remedies.items():
        if widths and "width" in options:
            raise bad(f"{where}: {name}", expected="no width beside widths", got=options.get("width"))


def _mapping(found: object, where: str) -> dict[str, object]:
    """A mapping of names; empty where nothing is written behind the colon."""
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise bad(where, expected="a mapping of names to values", got=type(found).__name__)
    for key in found:
        if not isinstance(key, str):
            remedy = "write it in quotes: YAML reads numbers, yes, no, on, off and null as values"
            raise bad(where, expected="names", got=repr(key), remedy=remedy)
    return found


def _require_keys(found: Mapping[str, object], known: Collection[str], where: str) -> None:
    for name in found:
        if name not in known:
            raise bad(where, expected=f"the keys {', '.join(known)}", got=repr(name), remedy=_meant(name, known))


def _meant(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    if close:
        return f"did you mean {close[0]}?"
    return "see cgro compare --help"
