"""Who may be captured: every registered objective, extension and attack of ours says so, and nobody inherits it."""

import pytest
from tests.training.cases import ATTACK, small
from tests.training.tape import Tape

from cgro.data import Dataset
from cgro.definitions import FunctionAttack
from cgro.definitions.attacks import ATTACKS, attack_by_name
from cgro.definitions.attacks.capturable import declares_capturable
from cgro.definitions.graphs import capturing_by
from cgro.training import EMA, TRADES, Adversarial, Recipe, make_fabric
from cgro.training.capturable import obstacle
from cgro.training.objectives import KD, MART, Free, Objective
from cgro.training.registry import EXTENSIONS, OBJECTIVES, extension_by_name
from cgro.training.steps import Steps


def steps_of(data: Dataset, objective: Objective, extensions: tuple = ()) -> Steps:
    with capturing_by(Tape()):
        return Steps(small(), data.train, objective, Recipe(), extensions, 0, make_fabric("cpu"))


@pytest.mark.parametrize("name", EXTENSIONS)
def test_every_extension_of_ours_says_so(name: str) -> None:
    assert declares_capturable(extension_by_name(name))


def test_every_objective_of_ours_says_so() -> None:
    ours = {
        "adversarial": Adversarial(ATTACK),
        "trades": TRADES(ATTACK),
        "mart": MART(ATTACK),
        "free": Free(ATTACK),
        "kd": KD(ATTACK, standard=small(), robust=small()),
    }
    assert set(ours) >= set(OBJECTIVES) - {"standard"}
    assert all(declares_capturable(objective) for objective in ours.values())


def test_a_subclass_does_not_inherit_it() -> None:
    class Own(EMA):
        pass

    class Said(EMA):
        capturable = True

    class Unsaid(EMA):
        capturable = "yes"

    assert [declares_capturable(value) for value in (Own(), Said(), Unsaid(), EMA, "ema", None)] == [
        False, True, False, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["fgsm", "pgd3", "apgd", "square"])
def test_attacks_of_ours_may_be_captured(digits: Dataset, name: str) -> None:
    assert name in ATTACKS or name == "pgd3"
    attack = attack_by_name(name, ATTACK.threat)
    assert obstacle(steps_of(digits, Adversarial(attack))) == ""


def test_code_of_others_may_not(digits: Dataset) -> None:
    attack = FunctionAttack(ATTACK.threat, lambda model, x, y: x)
    assert "runs code that may read on the host" in obstacle(steps_of(digits, Adversarial(attack)))
    assert obstacle(steps_of(digits, Adversarial(ATTACK))) == ""
