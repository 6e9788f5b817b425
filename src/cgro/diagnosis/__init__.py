"""Does MY model overfit robustly? Verdicts on curves, runs, logs and models, selection accounting, evaluation lint."""

from cgro.diagnosis.columns import Column
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.findings import Check, masked
from cgro.diagnosis.importers import read_curves, read_log, read_run
from cgro.diagnosis.lint import lint
from cgro.diagnosis.model import diagnose_model, measured
from cgro.diagnosis.rise import Rise, rise_of
from cgro.diagnosis.rule import CurveRule
from cgro.diagnosis.selection import Selection, select
from cgro.diagnosis.verdict import Diagnosis, diagnose, with_lint
from cgro.training.weights import checkpoint_files

__all__ = [
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
    "lint",
    "masked",
    "measured",
    "read_curves",
    "read_log",
    "read_run",
    "rise_of",
    "select",
    "with_lint",
]
