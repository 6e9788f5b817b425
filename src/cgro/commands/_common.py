"""What commands share: option groups, parsing from one schema (flags and YAML), seeds, and text on the terminal."""

import re
import typing
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from cgro._check import BadRequest, bad, count, one_line, one_of
from cgro.reading import read_yaml_mapping
from cgro.results import commonest
from cgro.runs import Run, over_seeds, plain, summary
from cgro.trust import CommandLine, Received, Trust

if TYPE_CHECKING:
    from dataclasses import Field

    from _typeshed import DataclassInstance

WORDS = {int: "an integer", float: "a number", str: "text", bool: "true or false"}
"""Types of options in messages."""
NOT_STORED = ("out", "overwrite", "json", "trust", "received")
ONLY_TYPED = ("trust", "overwrite", "config")
"""Options that count on the command line alone: a file of others must not trust itself, nor delete anything."""


def option(default: Any, help: str, *, positional: bool = False, names: str | None = None, flag: bool = False) -> Any:
    """A dataclass field with its help text.

    Args:
        default: of the field.
        help: for --help.
        positional: whether it is written without its name.
        names: what its value names, such as network or data, where that may be code, a path or a data set of the hub: the
            command line on which it stands trusts it (see `cgro.trust`).
        flag: whether it takes no value.

    Returns:
        The field.
    """
    meta = {"help": help, "positional": positional, "names": names, "flag": flag}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=meta)
    return field(default=default, metadata=meta)


@dataclass(kw_only=True)
class Output:
    """Where results go."""

    out: str | None = option(None, "run directory; default runs/COMMAND-TIME")
    overwrite: bool = option(False, "delete a run that is already in --out")
    json: bool = option(False, "print the summary as JSON on stdout, nothing else")


@dataclass(kw_only=True)
class Seeded:
    """Where something is random."""

    seed: int = option(0, "first seed")
    seeds: int = option(1, "number of seeds: seed, seed+1, ...; each in DIR/seed-S")


@dataclass(kw_only=True)
class Trusting:
    """What of the names in a run or in a file of --config may be used."""

    trust: Trust = option(
        False,
        "use what the run or the file of --config names: import its code, read its paths, fetch its data",
        flag=True,
    )


@dataclass(kw_only=True)
class Computing:
    """Where it computes."""

    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    threads: int | None = option(None, "CPU threads; default: all cores")
    precision: Literal["auto", "float32", "bfloat16"] = option(
        "auto", "precision of the attack's gradients: auto, float32 or bfloat16; errors are always evaluated in float32"
    )


Config = TypeVar("Config", bound="DataclassInstance")


def stored(config: Any) -> dict[str, Any]:
    """The settings that make the result, without those that say where it goes and what was trusted."""
    return {k: v for k, v in asdict(config).items() if k not in NOT_STORED}


def begin(command: str, config: Any, path: str | Path | None = None) -> AbstractContextManager[Run]:
    """The run of a command, begun or taken up; held until the block ends.

    Args:
        command: its name.
        config: its options, `Output` among them.
        path: the directory; None means --out.

    Raises:
        BadRequest: see `Run.start`.
    """
    defaults = stored(type(config)())
    return Run.start(
        config.out if path is None else path, command, stored(config), overwrite=config.overwrite, defaults=defaults
    )


def admit(received: Received, settings: Mapping[str, Any], config_class: type, *, fetch: bool = True) -> None:
    """Let settings pass that were read from a run or a file, unless one names what the caller does not trust.

    Every text among them is looked at, not only the options of today that may be code.

    Args:
        received: where they were read, and what is trusted.
        settings: option -> value, of those that were read there.
        config_class: of the command that they belong to; says which options name what.
        fetch: whether a data set of the hub needs trust as well. False for a caller who then takes it from the cache.

    Raises:
        Untrusted: code, or a path or a download of data, that is not trusted. BadRequest: a name that is no text.
    """
    from cgro.data.sources import kind_of

    hints = typing.get_type_hints(config_class)
    for f in fields(config_class):
        if f.name not in settings or f.name in NOT_STORED:
            continue
        if not _fits(settings[f.name], hints[f.name]):
            raise bad(f"{received.where}: {f.name}", expected=_in_words(hints[f.name]), got=repr(settings[f.name]))
        value, names = settings[f.name], f.metadata.get("names")
        words = value if isinstance(value, list) else [value]
        fits = isinstance(value, list) == (f.default_factory is not MISSING)  # one name, or an option of several
        if names is not None and value is not None and not (fits and all(isinstance(word, str) for word in words)):
            raise bad(f"{received.where}: {f.name}", expected="a name", got=type(value).__name__)
        for word in words:
            if isinstance(word, str):
                received.admit(f.name, word, names or f.name)
        if names == "data" and isinstance(value, str) and not received.trusts(value):
            kind = kind_of(value)
            if kind == "path" or (kind == "hub" and fetch):
                raise received.untrusted(f.name, value, names, kind)


def parse(
    command: str, doc: str, config_class: type[Config], argv: Sequence[str],
    recipes: Mapping[str, Mapping[str, Any]] | None = None,
) -> Config:  # fmt: skip
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
    import argparse

    import jsonargparse

    parser = jsonargparse.ArgumentParser(
        prog=f"cgro {command}", description=doc, exit_on_error=False, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--config", action="config", help="YAML file of these options, such as a run's config.yaml")
    files = _values_of("--config", argv)
    hints, written = typing.get_type_hints(config_class), _written(files)
    options = [f for f in fields(config_class) if not f.metadata.get("hidden")]
    for f in options:
        default = f.default if f.default_factory is MISSING else f.default_factory()
        text = f.metadata.get("help", "") + ("" if default in (None, "", [], False) else f" (default: {default})")
        if f.metadata.get("positional"):
            many = typing.get_origin(hints[f.name]) is list
            shape = {"nargs": "*", "type": str} if many else {"nargs": "?", "type": hints[f.name]}
            parser.add_argument(f.name, default=written.get(f.name, default), help=text, **shape)
        elif hints[f.name] is bool or f.metadata.get("flag"):
            parser.add_argument(_flag(f.name), action="store_true", default=default, help=text)
        elif typing.get_origin(hints[f.name]) is list:  # an option that may be repeated
            if not isinstance(written.get(f.name, []), list):
                raise bad(f"{', '.join(files)}: {f.name}", expected="a list", got=repr(written[f.name]))
            parser.add_argument(_flag(f.name), action="append", default=default, help=text)
        else:
            parser.add_argument(_flag(f.name), type=hints[f.name], default=default, help=text)
    parser.add_argument("--command", type=str | None, default=None, help=argparse.SUPPRESS)
    if recipes:
        parser.add_argument("--recipe", type=str | None, default=None, help="defaults from: " + ", ".join(recipes))
        for name in _values_of("--recipe", argv)[:1]:
            parser.set_defaults(**recipes[one_of(name, "--recipe", recipes)])
    try:
        values = parser.parse_args(list(argv)).as_dict()
    except (argparse.ArgumentError, jsonargparse.ArgumentError) as error:
        raise BadRequest(f"{one_line(_plainly(str(error), hints), 400)}; see cgro {command} --help") from None
    for name in ("config", "recipe"):
        values.pop(name, None)
    if (written_for := values.pop("command", None)) not in (None, command):
        raise bad("--config", expected=f"settings of cgro {command}", got=f"those of cgro {written_for}")
    said = _said(options, values, argv)
    if files:
        settings = {k: v for k, v in values.items() if v not in said.get(k, ())}
        admit(Received(", ".join(files), _trust(options, said, values)), settings, config_class)
    if "trust" in values:
        values["trust"] = _trust(options, said, values)
    return config_class(**values)


def _said(options: Sequence["Field[Any]"], values: Mapping[str, Any], argv: Sequence[str]) -> dict[str, list[Any]]:
    """By option the values that stand among the words: those of its flag, or, of one without a flag, its own if it does."""
    said: dict[str, list[Any]] = {}
    for f in options:
        if not f.metadata.get("positional"):
            said[f.name] = list(_values_of(_flag(f.name), argv))
        elif isinstance(values[f.name], list):
            said[f.name] = [values[f.name]] if all(word in argv for word in values[f.name]) else []
        else:
            said[f.name] = [values[f.name]] if values[f.name] in argv else []
    return said


def _trust(options: Sequence["Field[Any]"], said: Mapping[str, list[Any]], values: Mapping[str, Any]) -> CommandLine:
    """Positional words are mostly folders, which others may have named: only those that are names of data count."""
    naming = [f for f in options if f.metadata.get("names")]
    offered = {f.name for f in naming if not f.metadata["positional"]} | {f.name for f in options if f.name == "trust"}
    names = {name for f in naming for name in said[f.name] if isinstance(name, str)}
    return CommandLine(bool(values.get("trust")), frozenset(names), frozenset(offered))


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _written(files: Sequence[str]) -> dict[str, Any]:
    """The files of --config, before the parser reads them: checked, and for arguments without a flag, whose defaults
    argparse puts above them.

    Raises:
        BadRequest: see `cgro.reading.read_yaml_mapping`; an option that counts on the command line only.
    """
    found: dict[str, Any] = {}
    for file in files:
        mapping = read_yaml_mapping(Path(file))
        for name in ONLY_TYPED:
            if mapping.get(name):
                raise bad(
                    file, expected=f"no {name}", got=mapping[name], remedy=f"write {_flag(name)} where you call it"
                )
        found |= mapping
    return found


def _values_of(flag: str, argv: Sequence[str]) -> list[str]:
    """All that a flag is given, before the parser has seen it."""
    found = []
    for word, following in zip(argv, [*argv, ""][1:], strict=True):
        if word == flag:
            found.append(following)
        elif word.startswith(flag + "="):
            found.append(word.removeprefix(flag + "="))
    return found


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from a file is one of an option: of its type, or a number where text may be one, such as 0.1.

    >>> [_fits(v, int | None) for v in (3, None, 0.5, "3", True)]
    [True, True, False, False, False]
    """
    choices = typing.get_args(hint) or (hint,)
    if typing.get_origin(hint) is Literal:
        return value in choices
    if typing.get_origin(hint) is list:
        return isinstance(value, list) and all(_fits(v, choices[0]) for v in value)
    if value is None:
        return type(None) in choices
    if isinstance(value, bool):
        return bool in choices
    if isinstance(value, int | float):
        return type(value) in choices or float in choices or str in choices
    return type(value) in choices


def _in_words(hint: Any) -> str:
    """The values of an option, for a message."""
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    kinds = [kind for kind in typing.get_args(hint) or (hint,) if kind is not type(None)]
    return " or ".join(WORDS.get(kind, str(kind)) for kind in kinds)


def _plainly(message: str, hints: Mapping[str, Any]) -> str:
    """The parser's message in our words where it is about a value: which option, what was expected, what came."""
    key, given = re.search(r'Parser key "(\w+)"', message), re.search(r"Given value: (.*)", message)
    if not (key and given and key[1] in hints):
        return " ".join(message.split())
    expected = _in_words(hints[key[1]])
    return f"--{key[1].replace('_', '-')}: expected {expected}, got {given[1].strip()!r}"


def for_seeds(
    command: str, config: Any, one: Callable[[Any, Path | None], Run], draw: Callable[[Path], object] | None = None
) -> Run:
    """Run one seed in DIR, or several in DIR/seed-S with their mean and spread in DIR/summary.json.

    Seeds that are already finished are not run again, so an interrupted call goes on where it was. `draw` makes the
    figures over seeds.
    """
    if count(config.seeds, "--seeds") == 1:
        return one(config, config.out)
    with begin(command, config) as run:
        parts = []
        for seed in range(config.seed, config.seed + config.seeds):
            path = run.part(f"seed-{seed}")
            done = Run(path)
            if not done.finished:
                done = one(replace(config, seed=seed, seeds=1, overwrite=False), path)
            parts.append(done.summary)
        run.finish(_over_seeds(command, config, parts), draw)
    return run


def _over_seeds(command: str, config: Any, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The summary of several seeds."""
    verdicts = [p["verdict"]["label"] for p in parts if p["verdict"]]
    verdict = None
    if verdicts:
        label, reason = commonest(verdicts)
        verdict = {"label": label, "reason": reason, "per_seed": verdicts}
    outcomes = [p["outcome"]["kind"] for p in parts]
    worst = next((o for o in outcomes if o != "completed"), "completed")
    return summary(
        command, seed=config.seed, threat=parts[0]["threat"],
        outcome={"kind": worst, "reason": f"{config.seeds} seeds", "per_seed": outcomes},
        verdict=verdict, metrics=over_seeds(parts), n_seeds=config.seeds,
    )  # fmt: skip


def lines_of(result: Mapping[str, Any]) -> str:
    """The verdict and every metric of a summary, for the terminal."""
    lines = []
    if result.get("verdict"):
        lines += [f"{result['verdict']['label']}: {result['verdict']['reason']}", ""]
    for key, m in result["metrics"].items():
        if "mean" in m:
            mean, sd = (("  n/a" if m[k] is None else f"{m[k]:.4f}") for k in ("mean", "sd"))
            lines.append(f"  {key:34} {mean}  sd {sd}  ({len(m['per_seed'])} seeds)")
        elif m.get("interval") and m.get("n"):
            low, high = m["interval"]
            lines.append(f"  {key:34} {m['value']:.4f}  [{low:.4f}, {high:.4f}]  n={m['n']}  {m['bound']}")
        else:
            lines.append(f"  {key:34} {plain(m.get('value'))}")
    return "\n".join(lines)


def set_up(config: Computing) -> None:
    """Apply --threads to this process. Commands call it once; no library function touches global settings."""
    import torch

    if config.threads is not None:
        torch.set_num_threads(count(config.threads, "--threads"))
