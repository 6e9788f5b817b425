"""Section 6: adversarial training of networks. `fit` is the front door; it is given an objective and extensions."""

from cgro.training.alignment import GradientAlignment, gradient_alignment
from cgro.training.clean import train_clean_model
from cgro.training.engine import fit
from cgro.training.evaluation import Evaluation, Snapshot, errors_on, shares_on
from cgro.training.extensions import (
    ADR,
    AWP,
    DOM,
    EMA,
    MLCATLS,
    MLCATWP,
    SWA,
    CutMix,
    Extension,
    Extra,
    GradAlign,
    LabelSmoothing,
    Mixup,
    SameClassBoxes,
    State,
    evaluated,
    step_cost,
)
from cgro.training.fabric import make_fabric
from cgro.training.objectives import KD, MART, TRADES, Adversarial, Cost, Free, Objective
from cgro.training.recipe import Recipe
from cgro.training.step import Step

__all__ = [
    "ADR",
    "AWP",
    "DOM",
    "EMA",
    "KD",
    "MART",
    "MLCATLS",
    "MLCATWP",
    "SWA",
    "TRADES",
    "Adversarial",
    "Cost",
    "CutMix",
    "Evaluation",
    "Extension",
    "Extra",
    "Free",
    "GradAlign",
    "GradientAlignment",
    "LabelSmoothing",
    "Mixup",
    "Objective",
    "Recipe",
    "SameClassBoxes",
    "Snapshot",
    "State",
    "Step",
    "errors_on",
    "evaluated",
    "fit",
    "gradient_alignment",
    "make_fabric",
    "shares_on",
    "step_cost",
    "train_clean_model",
]
