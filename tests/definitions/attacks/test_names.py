"""Attacks by name."""

import sys
from pathlib import Path

import pytest
import torch
from tests.cases import THREATS, LinearScore, points, refused

from cgro.definitions import (
    FGSM,
    PGD,
    FunctionAttack,
    ThreatModel,
    attack_by_name,
    robust_error,
)
from cgro.diagnosis.monitor.settings import Settings

THREAT = ThreatModel("inf", 0.05)
THEIRS = """
from dataclasses import dataclass

from cgro.definitions import PGD, Attack, FunctionAttack, NoAttack, ThreatModel


def other_radius(threat):
    return PGD(ThreatModel("inf", 0.5), n_steps=3)


def other_norm(threat, n_steps: int = 2):
    return FunctionAttack(ThreatModel(2, threat.radius), lambda model, x, y: x)


def no_threat(threat):
    return NoAttack()


@dataclass(frozen=True)
class OwnBall(Attack):
    def __post_init__(self):
        object.__setattr__(self, "threat", ThreatModel(2, 3.0))

    def search(self, evaluator, draws):
        evaluator.update(self.threat.sample(evaluator.x, draws), 0)


def same(threat, n_steps: int = 2):
    return PGD(threat.at(threat.radius), n_steps=n_steps)


def by_keyword(model, x, y, *, eps=0.05):
    return (x - eps).clamp_min(0)


def by_default(model, images, labels, eps: float = 0.05, half: bool = False):
    return (images - (eps / 2 if half else eps)).clamp_min(0)


def required(model, x, y, eps: float):
    return (x - eps).clamp_min(0)


def required_keyword(model, x, y, *, eps: float):
    return (x - eps).clamp_min(0)


def made_of_two(threat, size: float, n: int):
    return lambda model, x, y: threat.project(x - size * n, x)


class OfModel:
    def __init__(self, model, eps=0.05):
        self.eps = eps

    def __call__(self, images, labels):
        return images


def made_for_five(threat):
    return lambda model, x, y, targets, mask: x
"""


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of somebody's in the current folder."""
    (tmp_path / "named_attacks.py").write_text(THEIRS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "named_attacks", raising=False)
    return "named_attacks"


def test_names_stand_for_attacks() -> None:
    threat = THREATS[0]
    assert attack_by_name("pgd50x10", threat) == PGD(threat, n_steps=50, n_restarts=10)
    assert attack_by_name("none", threat).threat.radius == 0
    assert isinstance(attack_by_name("fgsm", threat), FGSM)
    for name in ("pgd", "pgd0", "pgd5x0", "autoatack"):
        with pytest.raises(ValueError, match="none, fgsm, fgsm-rs, pgdK, .*ensemble, autoattack"):
            attack_by_name(name, threat)


@pytest.mark.parametrize("name", ["other_radius", "other_norm", "other_norm:n_steps=3", "OwnBall", "no_threat"])
def test_one_that_searches_elsewhere_is_refused(theirs: str, name: str) -> None:
    """Planted: what it found was recorded as the robust error at the radius of the run."""
    words = f"attack {theirs}:{name}: expected one on threat", "radius=0.05", "got one on", "make it from this threat"
    refused(lambda: attack_by_name(f"{theirs}:{name}", THREAT), *words)
    refused(lambda: Settings(THREAT, attack=f"{theirs}:{name}"), *words)
    refused(lambda: Settings(THREAT, strong=(f"{theirs}:{name}", 2)), *words)


def test_one_on_an_equal_threat_model_is_taken(theirs: str) -> None:
    assert attack_by_name(f"{theirs}:same:n_steps=3", THREAT) == PGD(THREAT, n_steps=3)
    assert attack_by_name("cgro.definitions:NoAttack", THREAT).threat == THREAT


@pytest.mark.parametrize(("name", "size"), [
    ("by_keyword", 0.05), ("by_keyword:eps=0.02", 0.02), ("by_default:eps=0.02", 0.02), ("by_default:half=true", 0.025),
    ("required:eps=0.03", 0.03), ("required_keyword:eps=0.03", 0.03), ("made_of_two:size=0.01,n=4", 0.04),
])  # fmt: skip
def test_a_function_takes_its_parameters_from_the_text(theirs: str, name: str, size: float) -> None:
    attack = attack_by_name(f"{theirs}:{name}", THREAT)
    assert attack.name == name.partition(":")[0]
    x, y = points()
    found = attack(LinearScore().eval(), x, torch.ones_like(y))
    moved = (found - x).abs().amax()
    assert float(moved) == pytest.approx(size, abs=1e-6)


def test_functions_without_parameters_are_equal(theirs: str) -> None:
    assert attack_by_name(f"{theirs}:by_keyword", THREAT) == attack_by_name(f"{theirs}:by_keyword", THREAT)


@pytest.mark.parametrize(("name", "words"), [
    ("required", ("expected a function (model, x, y) -> x_adv", "required(model, x, y, eps: float)", ":parameter=value")),
    ("required_keyword", ("expected a function (model, x, y) -> x_adv", "'eps'", ":parameter=value")),
    ("OfModel", ("expected a function (model, x, y) -> x_adv", "ofmodel(images, labels): too many", "wrap")),
    ("made_for_five", ("expected a function (model, x, y) -> x_adv", "'targets'", "functools.partial")),
    ("by_keyword:zz=1", ("expected eps=VALUE, got 'zz=1'",)),
    ("by_default:half=maybe", ("half: expected true or false",)),
    ("made_of_two:size=0.01", ("missing 1 required positional argument: 'n'",)),
])  # fmt: skip
def test_a_function_that_cannot_be_called_is_refused_before_the_work(
    theirs: str, name: str, words: tuple[str, ...]
) -> None:
    refused(lambda: attack_by_name(f"{theirs}:{name}", THREAT), *words)


def test_functions_of_python_are_held_to_the_same() -> None:
    refused(lambda: FunctionAttack(THREAT, lambda x, y: x), "model, x, y", "too many positional arguments")  # type: ignore[arg-type, misc]
    model, (x, y) = LinearScore().eval(), points()
    for function in (lambda *given: given[1], lambda model, x, y, steps=3, **more: x):
        assert robust_error(model, x, y, FunctionAttack(THREAT, function)).wrong >= 0
