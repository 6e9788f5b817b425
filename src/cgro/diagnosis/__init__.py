"""Does MY model overfit robustly? Verdicts on curves, runs, logs and models, selection accounting, evaluation lint."""

from cgro.diagnosis.columns import Column
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.findings import Check, faults, left_for_queries, masked
from cgro.diagnosis.headline import point_with_lint, with_caveats, with_lint
from cgro.diagnosis.importers import read_curves, read_log, read_run
from cgro.diagnosis.lint import lint, quick_lint
from cgro.diagnosis.model import diagnose_model, measured
from cgro.diagnosis.rise import Rise, rise_of
from cgro.diagnosis.rule import CurveRule
from cgro.diagnosis.selection import Selection, select
from cgro.diagnosis.strength import BESIDE, name_of_attack, too_low
from cgro.diagnosis.verdict import Diagnosis, diagnose
from cgro.training.weights import checkpoint_files

__all__ = [
    "BESIDE",
    "Check",
    "Column",
    "CurveRule",
    "Curves",
    "Diagnosis",
    "Rise",
    "Selection",
    "checkpoint_files",
    "diagnose",
    "diagnose_model",
    "faults",
    "left_for_queries",
    "lint",
    "masked",
    "measured",
    "name_of_attack",
    "point_with_lint",
    "quick_lint",
    "read_curves",
    "read_log",
    "read_run",
    "rise_of",
    "select",
    "too_low",
    "with_caveats",
    "with_lint",
]
