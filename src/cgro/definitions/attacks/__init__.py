"""Attacks: the promises (base), along the gradient (gradient, pgd, apgd), by queries (square), together (ensemble)."""

from cgro.definitions.attacks.apgd import APGD, TargetedAPGD
from cgro.definitions.attacks.base import Attack, NoAttack, require_attack, require_attack_on
from cgro.definitions.attacks.best import Best, per_example
from cgro.definitions.attacks.ensemble import Ensemble, standard_ensemble
from cgro.definitions.attacks.evaluator import Evaluator, SearchOptions
from cgro.definitions.attacks.function import FunctionAttack
from cgro.definitions.attacks.gradient import FGSM, GradientAttack
from cgro.definitions.attacks.names import ATTACK_NAMES, ATTACKS, NamedAttack, attack_by_name, attack_choices
from cgro.definitions.attacks.passes import evaluated_outputs, first_pass, image_layout, loss_gradient, outputs_of
from cgro.definitions.attacks.pgd import PGD
from cgro.definitions.attacks.precision import Precision, bfloat16_pays
from cgro.definitions.attacks.reads import require_finite
from cgro.definitions.attacks.reference import AutoAttack
from cgro.definitions.attacks.square import Square
from cgro.definitions.attacks.state import evaluation_flags, preserve_state

__all__ = [
    "APGD",
    "ATTACKS",
    "ATTACK_NAMES",
    "FGSM",
    "PGD",
    "Attack",
    "AutoAttack",
    "Best",
    "Ensemble",
    "Evaluator",
    "FunctionAttack",
    "GradientAttack",
    "NamedAttack",
    "NoAttack",
    "Precision",
    "SearchOptions",
    "Square",
    "TargetedAPGD",
    "attack_by_name",
    "attack_choices",
    "bfloat16_pays",
    "evaluated_outputs",
    "evaluation_flags",
    "first_pass",
    "image_layout",
    "loss_gradient",
    "outputs_of",
    "per_example",
    "preserve_state",
    "require_attack",
    "require_attack_on",
    "require_finite",
    "standard_ensemble",
]
