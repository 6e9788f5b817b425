"""Whether an unfinished run may go on: with the settings it was begun with, by a version that knows all of them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from cgro._check import BadRequest, one_line
from cgro.environment import changes, environment, sentence
from cgro.own_code import CODE, SHOWN, digests_of_code
from cgro.results.records import Json
from cgro.seal import entry

LONGEST = 80
"""Characters of a value in a message."""


def check_settings(
    path: Path,
    there: Mapping[str, Json],
    asked: Mapping[str, Json],
    defaults: Mapping[str, Json],
    *,
    otherwise: str = "choose another --out",
) -> None:
    """Refuse to go on with other settings; an option that the writer did not know must have its default now.

    Args:
        path: of the run, for the message.
        there: its settings.
        asked: those of the call.
        defaults: of the options of this version.
        otherwise: what to do if not to use the same settings.

    Raises:
        BadRequest: one differs; names it.
    """
    for name, value in asked.items():
        before = there.get(name, defaults.get(name))
        if (name in there or name in defaults) and before == value:
            continue
        raise BadRequest(
            f"{path}: holds an unfinished run with other settings: {name} {one_line(str(before), LONGEST)} there, "
            f"{one_line(str(value), LONGEST)} here; use the same, or {otherwise}"
        )


def check_known(path: Path, made_in: Mapping[str, Json], there: Iterable[str], known: Iterable[str]) -> None:
    """Refuse to go on with a run of a later version, whose further options would be left out in silence.

    Args:
        path: of the run, for the message.
        made_in: its environment, which names the version.
        there: names of its settings.
        known: names of the settings of this version.

    Raises:
        BadRequest: the run has others; names them.
    """
    unknown = sorted(set(there) - set(known))
    if not unknown:
        return
    writer = one_line(str(made_in.get("cgro", "that wrote it")), LONGEST // 2)
    raise BadRequest(
        f"{path}: holds an unfinished run with options that this version does not know "
        f"({one_line(', '.join(unknown), 120)}); go on with cgro {writer}, or choose another --out"
    )


def with_changes(made_in: Mapping[str, Json]) -> tuple[dict[str, Json], str]:
    """The environment of a run that goes on here.

    Args:
        made_in: as it was begun, and resumed before.

    Returns:
        The same with an entry under `resumed` where software, threads, instructions or the caller's own code are others
        than last time; and words that say what is other, and what that may change: "" where nothing is.
    """
    now = environment()
    code = digests_of_code(entry(made_in, "settings"))
    if code:
        now = {**now, CODE: code}
    earlier = made_in.get("resumed", [])
    latest = dict(made_in)
    if isinstance(earlier, list) and earlier:
        latest |= earlier[-1].get("environment", {})
    found = changes(latest, now)
    moved = "its last bits"
    for module, digest in code.items():
        before = entry(latest, CODE).get(module)
        if before not in (None, digest):
            found[f"the file of {module}"] = (str(before)[:SHOWN], digest[:SHOWN])
            moved = "what it ends with"
    if not found:
        return dict(made_in), ""
    change = {"changed": {name: list(pair) for name, pair in found.items()}, "environment": now}
    words = f"{sentence(found)}; {moved} may differ from those of an undisturbed run"
    return {**made_in, "resumed": [*earlier, change]}, words
