"""Which settings of a run or of a file may be used: those that name nothing, and names that the caller trusts."""

from collections.abc import Mapping

from cgro._check import bad
from cgro.commands._options import NOT_STORED, Option, fits, in_words, options_of
from cgro.trust import Received


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
        BadRequest: a name that is no text, a value of another type, or out of its range.
    """
    for name, entry in options_of(config_class).items():
        if name in settings and name not in NOT_STORED:
            _admit_one(received, entry, settings[name], fetch=fetch)


def _admit_one(received: Received, entry: Option, value: object, *, fetch: bool) -> None:
    if not fits(value, entry.hint):
        raise bad(f"{received.where}: {entry.name}", expected=in_words(entry.hint), got=repr(value))
    entry.within(value, f"{received.where}: {entry.name}")
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
