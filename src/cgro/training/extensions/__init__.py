"""What is added to training beside its objective, one file per extension. The names stand in `cgro.training.registry`."""

from cgro.training.extensions.base import Extension, State, evaluated, require_extensions
from cgro.training.extensions.ema import EMA

__all__ = ["EMA", "Extension", "State", "evaluated", "require_extensions"]
