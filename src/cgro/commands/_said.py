"""Options that would be left out in silence: beside a run, which has settings of its own, or beside other options.

One that says otherwise than the run is refused, and so is one that has no effect; see `cgro.commands._effect`.
"""

from collections.abc import Collection, Iterable, Mapping

from cgro._check import BadRequest, bad, number
from cgro.commands._effect import Only, effects_of
from cgro.commands._options import Option, flag_of, options_of
from cgro.trust import code_of, is_same, runs_in

OF_A_CHECKPOINT = ("data", "classes", "model", "width", "image_size")
"""What a run says of itself, and a bare checkpoint does not: see `CheckpointOptions`."""
AUTO = "auto"
"""Leaves a choice to the command: no setting differs from it."""
LEAVE_OUT = "leave it out: a run has settings of its own"


def given(config: object) -> set[str]:
    """The options that the caller gave: those on the command line, and others that are not at their default.

    Args:
        config: options of a command.

    Returns:
        Their names. An option that a file of --config or a recipe has at its default is none.

    Example:
        >>> from cgro.commands._options import Computing
        >>> given(Computing(threads=2))
        {'threads'}
    """
    found: set[str] = set(getattr(config, "typed", frozenset()))
    for name, entry in options_of(type(config)).items():
        if getattr(config, name) != entry.default:
            found.add(name)
    return found


def in_vain(config: object) -> dict[str, Only]:
    """The options that are not at their default and have no effect beside the others.

    Args:
        config: options of a command.

    Returns:
        Option -> the condition that does not hold. An option at its default is never one of them.
    """
    options = options_of(type(config))
    changed = [name for name, entry in options.items() if getattr(config, name) != entry.default]
    conditions = effects_of(type(config))
    return {name: conditions[name] for name in changed if name in conditions and not conditions[name].holds(config)}


def require_effect(config: object, said: Collection[str]) -> None:
    """Refuse options that the caller said and that have no effect.

    One that stands in a file of --config or a recipe is remarked on instead: such a file may be a run's, which holds
    every option, or serve several calls.

    Args:
        config: options of a command.
        said: names of those on the command line.

    Raises:
        BadRequest: one of them has no effect.
    """
    for name, only in in_vain(config).items():
        if name in said:
            got = only.got or getattr(config, name)
            raise bad(flag_of(name), expected=only.expected, got=got, remedy=only.remedy)


def remarks_of(config: object) -> list[str]:
    """A remark for each option that was set somewhere else than on the command line and has no effect.

    Args:
        config: options of a command that `require_effect` has let pass.

    Returns:
        Sentences.
    """
    remarks: list[str] = []
    for name, only in in_vain(config).items():
        got = only.got or getattr(config, name)
        remarks.append(f"{flag_of(name)} has no effect: expected {only.expected}, got {got}")
    return remarks


def require_own(
    config: object, settings: Mapping[str, object], names: Iterable[str], *, where: str, remedy: str = LEAVE_OUT
) -> None:
    """Refuse options that say of a run what it says of itself, and something else.

    Args:
        config: options of a command.
        settings: of the run; one that an older version did not know has its default.
        names: of the options that are compared.
        where: the run, for the message.
        remedy: what to do instead.

    Raises:
        BadRequest: an option that was given, and is not as the run has it.
    """
    asked = given(config)
    options = options_of(type(config))
    known = _names_in(settings)
    for name in names:
        if name not in asked or name not in options:
            continue
        value = getattr(config, name)
        before = settings.get(name, options[name].default)
        if _agrees(options[name], value, before, known):
            continue
        was = "none" if before in (None, "", []) else before
        raise bad(options[name].flag, expected=f"{was}, as {where} has it", got=value, remedy=remedy)


def _names_in(settings: Mapping[str, object]) -> set[str]:
    """All that the settings of a run name: saying one of these trusts it, whichever option says it."""
    found: set[str] = set()
    for value in settings.values():
        for word in value if isinstance(value, list) else [value]:
            if isinstance(word, str):
                found |= {word, *runs_in(word)}
    return found


def _agrees(entry: Option, value: object, before: object, known: Collection[str]) -> bool:
    if value == AUTO or _is_equal(value, before):
        return True
    if entry.names is None:
        return False
    words = value if isinstance(value, list) else [value]
    return all(any(_means(word, name) for name in known) for word in words)


def _means(word: object, name: str) -> bool:
    """Whether a name on the command line is that of a run: without options it stands for the code with its own."""
    if not isinstance(word, str):
        return False
    code = code_of(word)
    return word == name or (code in (None, word) and is_same(name, word))


def _is_equal(value: object, before: object) -> bool:
    """Whether two settings are the same, such as a radius of "0.10" and 0.1, or drops at "15,25" and "15 25"."""
    if value == before or str(value).replace(",", " ").split() == str(before).replace(",", " ").split():
        return True
    try:
        return number(str(value), "value") == number(str(before), "value")
    except BadRequest:
        return False
