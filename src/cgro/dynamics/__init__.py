"""The three stages: training dynamics on structured data (Section 5)."""

from cgro.dynamics.full_ball import full_ball_errors
from cgro.dynamics.setting import ADVERSARIES, CALIBRATED, PRESETS, Setting, theorem_radius_ratio
from cgro.dynamics.simulate import largest_stable_lr, simulate, unseen_errors
from cgro.dynamics.unseen import noise_variance, probability_correct

__all__ = [
    "ADVERSARIES", "CALIBRATED", "PRESETS", "Setting", "full_ball_errors", "largest_stable_lr", "noise_variance",
    "probability_correct", "simulate", "theorem_radius_ratio", "unseen_errors",
]  # fmt: skip
