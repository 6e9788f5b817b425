"""Section 4 of the paper: robust memorization is cheap, robust generalization is not."""

from cgro.representation.bracket import Bracket, bracket, broken_by
from cgro.representation.certificate import (
    Certificate,
    certified_robust,
    certify,
    interval_check,
    small_margin_points,
)
from cgro.representation.linear_relaxation import certified_margin
from cgro.representation.memorizer import HardMemorizer, Parameters, RobustMemorizer
from cgro.representation.network import lower
from cgro.representation.separation import Separation, separation

__all__ = [
    "Bracket", "Certificate", "HardMemorizer", "Parameters", "RobustMemorizer", "Separation", "bracket", "broken_by",
    "certified_margin", "certified_robust", "certify", "interval_check", "lower", "separation", "small_margin_points",
]  # fmt: skip
