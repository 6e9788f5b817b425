"""Section 3 of the paper: what is measured. Threat models, losses, attacks, errors and the verdict."""

from cgro.definitions.attacks import FGSM, PGD, Attack, GradientAttack, NoAttack
from cgro.definitions.losses import (
    Loss,
    Model,
    cross_entropy,
    default_loss,
    logistic,
    margin,
    negative_margin,
    predict,
)
from cgro.definitions.metrics import (
    DEFAULT_RULE,
    FOUR,
    DistanceBracket,
    ErrorRate,
    Verdict,
    VerdictRule,
    boundary_distance,
    cgro_verdict,
    clean_error,
    difference_interval,
    predicted_shares,
    robust_error,
    wrong_under,
)
from cgro.definitions.threat import ThreatModel

__all__ = [
    "DEFAULT_RULE", "FGSM", "FOUR", "PGD", "Attack", "DistanceBracket", "ErrorRate", "GradientAttack", "Loss", "Model",
    "NoAttack", "ThreatModel", "Verdict", "VerdictRule", "boundary_distance", "cgro_verdict", "clean_error",
    "cross_entropy", "default_loss", "difference_interval", "logistic", "margin", "negative_margin", "predict",
    "predicted_shares", "robust_error", "wrong_under",
]  # fmt: skip
