"""Does MY model overfit robustly? Verdicts on curves, runs, logs and models, selection accounting, evaluation lint.

The modules in the order in which a log passes through them:

importers                             a file -> named columns -> `Curves`
vocabulary, keys, words, run_names    what the name of a column means: its words, then the whole name
columns, units, rows, fillers, checks what columns hold: curves, percent, one value an epoch, nothing, the impossible
curves                                `Curves`, what all that follows reads
rate, valley, noise, rise, shape      the statistics of a curve: did it rise, from when, did it jump
rule, held_out, selection, settings   thresholds, the part that is judged, the epoch that is reported, what a log says
sentences, remedies, verdict          `diagnose`: the label with everything behind it, in words

setup_checks, lint, findings          can the robust numbers of a model be believed; `headline` puts it into a verdict
model, strength                       verdicts on a model, and on errors under stronger attacks
monitor                               the same beside any training loop
"""

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
