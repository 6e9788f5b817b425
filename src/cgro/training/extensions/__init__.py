"""What is added to training beside its objective, one file per extension. `cgro.training.registry` has their names."""

from cgro.training.extensions.base import Extension, State, evaluated, require_extensions
from cgro.training.extensions.ema import EMA

__all__ = ["EMA", "Extension", "State", "evaluated", "require_extensions"]
