"""Attacks by name."""

import pytest
from tests.cases import THREATS

from cgro.definitions import (
    FGSM,
    PGD,
    attack_by_name,
)


def test_names_stand_for_attacks() -> None:
    threat = THREATS[0]
    assert attack_by_name("pgd50x10", threat) == PGD(threat, n_steps=50, n_restarts=10)
    assert attack_by_name("none", threat).threat.radius == 0
    assert isinstance(attack_by_name("fgsm", threat), FGSM)
    for name in ("pgd", "pgd0", "pgd5x0", "autoatack"):
        with pytest.raises(ValueError, match="none, fgsm, fgsm-rs, pgdK, .*ensemble, autoattack"):
            attack_by_name(name, threat)
