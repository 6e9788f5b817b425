"""Section 6: adversarial training of networks. `fit` is the front door."""

from cgro.training.engine import fit
from cgro.training.fabric import make_fabric
from cgro.training.judging import Evaluation, Snapshot, errors_on, shares_on
from cgro.training.recipe import Recipe

__all__ = ["Evaluation", "Recipe", "Snapshot", "errors_on", "fit", "make_fabric", "shares_on"]
