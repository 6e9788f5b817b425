"""Attacks by name, for the command line."""

import re

from cgro._check import bad
from cgro.definitions.attacks.apgd import APGD, TargetedAPGD
from cgro.definitions.attacks.base import Attack, NoAttack
from cgro.definitions.attacks.ensemble import standard_ensemble
from cgro.definitions.attacks.gradient import FGSM, Precision
from cgro.definitions.attacks.pgd import PGD
from cgro.definitions.attacks.reference import AutoAttack
from cgro.definitions.attacks.square import Square
from cgro.definitions.threat import ThreatModel

ATTACK_NAMES = (
    "none", "fgsm", "fgsm-rs", "pgdK", "pgdKxR", "apgd", "apgd-dlr", "apgd-t", "square", "ensemble", "autoattack",
)  # fmt: skip

FAST_STEP = 1.25
"""Step of `fgsm-rs` in radii: Wong, Rice and Kolter, "Fast is better than free" (ICLR 2020), 10/255 at 8/255."""


def attack_by_name(name: str, threat: ThreatModel, *, precision: Precision = "float32") -> Attack:
    """The attack that a name stands for; pgdK has K steps, pgdKxR also R restarts; fgsm-rs starts at random.

    >>> attack_by_name("pgd50x10", ThreatModel("inf", 0.1)).n_restarts
    10
    """
    fixed = {
        "none": lambda: NoAttack(threat.at(0.0)),
        "fgsm": lambda: FGSM(threat, precision=precision),
        "fgsm-rs": lambda: PGD(threat, n_steps=1, step_size=FAST_STEP * threat.radius, precision=precision),
        "apgd": lambda: APGD(threat, precision=precision),
        "apgd-dlr": lambda: APGD(threat, loss="dlr", precision=precision),
        "apgd-t": lambda: TargetedAPGD(threat, precision=precision),
        "square": lambda: Square(threat, precision=precision),
        "ensemble": lambda: standard_ensemble(threat, precision=precision),
        "autoattack": lambda: AutoAttack(threat),
    }
    if name in fixed:
        return fixed[name]()
    match = re.fullmatch(r"pgd(\d+)(?:x(\d+))?", name)
    if match is None or not int(match[1]) or match[2] == "0":
        names = ", ".join(ATTACK_NAMES)
        raise bad("attack", expected=f"one of {names}, such as pgd10 or pgd50x10", got=repr(name))
    return PGD(threat, n_steps=int(match[1]), n_restarts=int(match[2] or 1), precision=precision)
