"""Section 6: adversarial training of networks. `fit` is the front door; it is given an objective and extensions."""

from cgro.training.clean import train_clean_model
from cgro.training.engine import fit
from cgro.training.evaluation import Evaluation, Snapshot, errors_on, shares_on
from cgro.training.extensions import EMA, Extension, State, evaluated
from cgro.training.fabric import make_fabric
from cgro.training.objectives import TRADES, Adversarial, Cost, Objective
from cgro.training.recipe import Recipe
from cgro.training.step import Step

__all__ = [
    "EMA",
    "TRADES",
    "Adversarial",
    "Cost",
    "Evaluation",
    "Extension",
    "Objective",
    "Recipe",
    "Snapshot",
    "State",
    "Step",
    "errors_on",
    "evaluated",
    "fit",
    "make_fabric",
    "shares_on",
    "train_clean_model",
]
