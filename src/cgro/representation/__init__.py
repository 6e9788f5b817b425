"""Section 4 of the paper: robust memorization is cheap, robust generalization is not.

Assumption 4.2   separation: how far apart the classes are
Assumption 4.3   cgro.training.train_clean_model: a small clean model
Theorem 4.4      memorizer: the CGRO network; supports, indicators, sawtooth, combination, parameters: its parts
                 certificate: y F >= margin on every ball; verify, milp, export: checks by others' means
                 bracket: its robust test error between attack and certificate
Lemma 4.5        hard_memorizer: f_S, with hard indicators
v1 Theorem 3.3, Corollary 3.4   certificate.small_margin_points
Theorem 4.7      lower_bound: the counting floor, and a network that meets it up to logarithms
Remark 3.5       worst_case: the memorizer on the family of Theorem 4.7, where CGRO appears with the dimension
"""

from cgro.representation.bracket import Bracket, bracket, broken_by
from cgro.representation.certificate import Certificate, certified_robust, certify, small_margin_points
from cgro.representation.hard_memorizer import HardMemorizer
from cgro.representation.memorizer import RobustMemorizer
from cgro.representation.parameters import Parameters
from cgro.representation.separation import Separation, separation
from cgro.representation.verify import interval_check

__all__ = [
    "Bracket",
    "Certificate",
    "HardMemorizer",
    "Parameters",
    "RobustMemorizer",
    "Separation",
    "bracket",
    "broken_by",
    "certified_robust",
    "certify",
    "interval_check",
    "separation",
    "small_margin_points",
]
