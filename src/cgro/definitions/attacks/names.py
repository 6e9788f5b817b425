"""Attacks by name: one line in a table here, from which names, help and errors of the command line follow."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from cgro._check import bad
from cgro.definitions.attacks.apgd import APGD, TargetedAPGD
from cgro.definitions.attacks.base import Attack, NoAttack, require_attack_on
from cgro.definitions.attacks.ensemble import standard_ensemble
from cgro.definitions.attacks.function import FunctionAttack, takes_model
from cgro.definitions.attacks.gradient import FGSM
from cgro.definitions.attacks.pgd import PGD
from cgro.definitions.attacks.precision import Precision
from cgro.definitions.attacks.reference import AutoAttack
from cgro.definitions.attacks.square import Square
from cgro.definitions.inputs import describe
from cgro.definitions.threat import ThreatModel, require_threat
from cgro.named import build, look_up, values_of
from cgro.trust import code_of

FAST_STEP = 1.25
"""Step of `fgsm-rs` in radii: Wong, Rice and Kolter, "Fast is better than free" (ICLR 2020), 10/255 at 8/255."""


@dataclass(frozen=True)
class NamedAttack:
    """An attack that has a name on the command line.

    Args:
        about: what it is, for help.
        make: (threat, precision, *numbers) -> attack; a number for each capital letter of its name.
    """

    about: str
    make: Callable[..., Attack]


ATTACKS: dict[str, NamedAttack] = {
    "none": NamedAttack("no attack", lambda t, p: NoAttack(t.at(0.0))),
    "fgsm": NamedAttack("one step along the gradient", lambda t, p: FGSM(t, precision=p)),
    "fgsm-rs": NamedAttack(
        "the same from a random start",
        lambda t, p: PGD(t, n_steps=1, step_size=FAST_STEP * t.radius, precision=p),
    ),
    "pgdK": NamedAttack("projected gradient ascent, K steps", lambda t, p, k: PGD(t, n_steps=k, precision=p)),
    "pgdKxR": NamedAttack("the same, R restarts", lambda t, p, k, r: PGD(t, n_steps=k, n_restarts=r, precision=p)),
    "apgd": NamedAttack("Auto-PGD on cross-entropy", lambda t, p: APGD(t, precision=p)),
    "apgd-dlr": NamedAttack("the same on the ratio of logits", lambda t, p: APGD(t, loss="dlr", precision=p)),
    "apgd-t": NamedAttack("the same, targeted", lambda t, p: TargetedAPGD(t, precision=p)),
    "square": NamedAttack("random search without gradients", lambda t, p: Square(t, precision=p)),
    "ensemble": NamedAttack(
        "four of these at the strength of AutoAttack", lambda t, p: standard_ensemble(t, precision=p)
    ),
    "autoattack": NamedAttack("AutoAttack as published, needs an extra package", lambda t, p: AutoAttack(t)),
}
"""Name -> attack. A capital letter in a name stands for a whole number from 1 on."""
ATTACK_NAMES = tuple(ATTACKS)


def attack_by_name(name: str, threat: ThreatModel, *, precision: Precision = "auto") -> Attack:
    """The attack that a name stands for.

    Args:
        name: one of `ATTACKS`, such as pgd10 or pgd50x10; or `package.module:name`, with `:parameter=value,...` behind
            it where it has parameters. That is imported and called as name(threat, **parameters), so it must be one
            that the caller said or trusts. It is a class of attacks, a function that returns one, or an attack itself
            as a function (model, x, y) -> x_adv, which is wrapped.
        threat: where x_adv may lie.
        precision: of the search; results are evaluated in that of the input. Code of the caller's is given it if it
            has a parameter of this name.

    Returns:
        The attack.

    Raises:
        BadRequest: no such name; no threat model; code that cannot be imported, fails, or returns no attack on this
            threat.

    Example:
        >>> attack_by_name("pgd50x10", ThreatModel("inf", 0.1)).n_restarts
        10
        >>> attack_by_name("cgro.definitions:PGD:n_steps=3", ThreatModel("inf", 0.1)).name
        'pgd3'
    """
    if not isinstance(name, str):
        raise bad("attack", expected="the name of an attack, such as pgd10", got=describe(name))
    require_threat(threat)
    if code_of(name) is not None:
        return _own(name, threat, precision)
    for pattern, named in ATTACKS.items():
        numbers = _numbers(pattern, name)
        if numbers is not None:
            return named.make(threat, precision, *numbers)
    names = ", ".join(ATTACK_NAMES)
    raise bad("attack", expected=f"one of {names}, such as pgd10 or pgd50x10, or package.module:name", got=repr(name))


def _own(name: str, threat: ThreatModel, precision: Precision) -> Attack:
    """The attack of the caller's that a name stands for."""
    what = f"attack {name}"
    named = look_up(name, what, {})
    label = named.name.rpartition(":")[2].lower()
    options = {"precision": precision}
    if takes_model(named.factory, named.parameters):
        values = values_of(named, skip=3, options=options)
        if not values:  # the function itself, so that attacks of one name are equal
            return FunctionAttack(threat, named.factory, label=label)
        return FunctionAttack(threat, partial(named.factory, **values), label=label)
    attack = build(name, what, {}, (threat,), options)
    if callable(attack) and not isinstance(attack, Attack | type):
        return FunctionAttack(threat, attack, label=label)
    require_attack_on(attack, threat, what)
    assert isinstance(attack, Attack)
    return attack


def _numbers(pattern: str, name: str) -> list[int] | None:
    """The numbers in a name where the pattern has capital letters; None if the name does not fit the pattern."""
    match = re.fullmatch(re.sub("[A-Z]", r"(0*[1-9]\\d{0,8})", pattern), name)
    if match is None:
        return None
    return [int(text) for text in match.groups()]


def attack_choices() -> str:
    """Write the names of attacks with what they are, for the help of an option.

    Returns:
        One text, `NAME (what it is), ...`, and the form of the caller's own at its end.
    """
    names = [f"{name} ({named.about})" for name, named in ATTACKS.items()]
    return ", ".join(names) + ", or package.module:name of your own"
