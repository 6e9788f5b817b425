"""What training minimizes, one file per objective, each an `Objective`. `cgro.training.registry` has their names."""

from cgro.training.objectives.adversarial import Adversarial
from cgro.training.objectives.base import Objective, attack_of, loss_of_guessing, require_objective
from cgro.training.objectives.cost import Cost, attack_cost
from cgro.training.objectives.free import Free
from cgro.training.objectives.kd import KD
from cgro.training.objectives.mart import MART
from cgro.training.objectives.trades import TRADES

__all__ = [
    "KD",
    "MART",
    "TRADES",
    "Adversarial",
    "Cost",
    "Free",
    "Objective",
    "attack_cost",
    "attack_of",
    "loss_of_guessing",
    "require_objective",
]
