"""What is added to training beside its objective, one file per extension. `cgro.training.registry` has their names."""

from cgro.training.extensions.adr import ADR
from cgro.training.extensions.awp import AWP
from cgro.training.extensions.base import Extension, State, evaluated, require_extensions, step_cost
from cgro.training.extensions.cutmix import CutMix
from cgro.training.extensions.dom import DOM
from cgro.training.extensions.ema import EMA
from cgro.training.extensions.extra import Extra
from cgro.training.extensions.grad_align import GradAlign
from cgro.training.extensions.label_smoothing import LabelSmoothing
from cgro.training.extensions.mixup import Mixup
from cgro.training.extensions.mlcat_ls import MLCATLS
from cgro.training.extensions.mlcat_wp import MLCATWP
from cgro.training.extensions.same_class_boxes import SameClassBoxes
from cgro.training.extensions.swa import SWA

__all__ = [
    "ADR",
    "AWP",
    "DOM",
    "EMA",
    "MLCATLS",
    "MLCATWP",
    "SWA",
    "CutMix",
    "Extension",
    "Extra",
    "GradAlign",
    "LabelSmoothing",
    "Mixup",
    "SameClassBoxes",
    "State",
    "evaluated",
    "require_extensions",
    "step_cost",
]
