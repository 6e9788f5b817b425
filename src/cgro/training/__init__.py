"""Section 6: adversarial training of networks. `fit` is the front door."""

from cgro.training.engine import Evaluation, Snapshot, errors_on, fit, make_fabric
from cgro.training.recipe import Recipe

__all__ = ["Evaluation", "Recipe", "Snapshot", "errors_on", "fit", "make_fabric"]
