"""When an option has an effect: what the author of a command declares beside its options.

A dataclass of options has its conditions in `HAS_EFFECT`; those of a subclass stand before those of its bases.
`cgro.commands._said` holds what was said against them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

HAS_EFFECT = "HAS_EFFECT"
"""Name of the class attribute."""
WITHOUT_PRECISION = ("none", "autoattack")
"""Names of attacks that are made in float32 whatever is asked for."""
LEAVE_OUT = "leave it out: it would have no effect"


@dataclass(frozen=True)
class Only:
    """The condition under which an option has an effect.

    Args:
        expected: what must be so, for the message.
        holds: whether it is so, of the options of the command. True where that is not known yet.
        got: what is there instead; "" for the value of the option.
        remedy: what to do.

    Example:
        >>> Only("auto or cpu", lambda config: config == "cpu").holds("cuda")
        False
    """

    expected: str
    holds: Callable[..., bool]
    got: str = ""
    remedy: str = LEAVE_OUT


Effects = Mapping[str, Only | None]
"""Option -> when it has an effect; None: always, other than a base class says."""


def beside(words: str, holds: Callable[..., bool]) -> Only:
    """The condition that other options stand beside an option.

    Args:
        words: the others, such as "--out".
        holds: whether one does, of the options of the command.

    Returns:
        The condition.

    Example:
        >>> beside("--out", bool).expected
        '--out beside it'
    """
    return Only(f"{words} beside it", holds, "none")


def of_attack() -> Only:
    """The condition of --precision where `attack` alone computes in it.

    Returns:
        It holds for float32, in which everything else is computed, and for attacks that take a precision.
    """
    expected = "float32, or an attack that has a precision"
    return Only(expected, lambda c: c.precision == "float32" or c.attack not in WITHOUT_PRECISION)


def effects_of(config_class: type) -> dict[str, Only]:
    """The conditions of a command's options.

    Args:
        config_class: its dataclass.

    Returns:
        Option -> condition; an option that always has an effect is not there.

    Example:
        >>> class Base:
        ...     HAS_EFFECT = {"out": beside("--in", bool), "n": beside("--out", bool)}
        >>> class Own(Base):
        ...     HAS_EFFECT = {"out": None}
        >>> list(effects_of(Own))
        ['n']
    """
    found: dict[str, Only | None] = {}
    for one in reversed(config_class.__mro__):
        found |= vars(one).get(HAS_EFFECT, {})
    return {name: only for name, only in found.items() if only is not None}
