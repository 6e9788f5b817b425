"""The three stages: training dynamics on structured data (Section 5)."""

from cgro.dynamics.backends import Backend
from cgro.dynamics.full_ball import full_ball_errors
from cgro.dynamics.setting import ADVERSARIES, CALIBRATED, PRESETS, Setting, theorem_radius_ratio
from cgro.dynamics.simulate import Simulation, simulate, unseen_errors
from cgro.dynamics.stability import largest_stable_lr
from cgro.dynamics.stages import Boundary, Stage, Stages, detect_stages, summarize_stages
from cgro.dynamics.stopping import LossBelow, StopRule
from cgro.dynamics.theory import (
    compare,
    extinction_ratio,
    final_signal,
    growth_end,
    onset_ratio,
    plateau,
    signal_exponent,
)
from cgro.dynamics.threshold import (
    RACE_ENDS,
    SampleThreshold,
    examples_at_share,
    lone_example_error,
    noise_limit,
    sample_threshold,
)
from cgro.dynamics.unseen import noise_variance, probability_correct

__all__ = [
    "ADVERSARIES",
    "CALIBRATED",
    "PRESETS",
    "RACE_ENDS",
    "Backend",
    "Boundary",
    "LossBelow",
    "SampleThreshold",
    "Setting",
    "Simulation",
    "Stage",
    "Stages",
    "StopRule",
    "compare",
    "detect_stages",
    "examples_at_share",
    "extinction_ratio",
    "final_signal",
    "full_ball_errors",
    "growth_end",
    "largest_stable_lr",
    "lone_example_error",
    "noise_limit",
    "noise_variance",
    "onset_ratio",
    "plateau",
    "probability_correct",
    "sample_threshold",
    "signal_exponent",
    "simulate",
    "summarize_stages",
    "theorem_radius_ratio",
    "unseen_errors",
]
