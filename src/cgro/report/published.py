"""Published numbers of the same setting as a run, to be shown beside its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cgro._check import BadRequest, number
from cgro.report.curves import ROBUST_TEST, Epoch


@dataclass(frozen=True)
class Published:
    """Robust test errors of one network.

    Attributes:
        model: its name here.
        last: mean over the last five epochs, in percent.
        lowest: at the epoch with the lowest test error, in percent.
    """

    model: str
    last: float
    lowest: float


DATA = "cifar10"
NORM = "inf"
RADIUS = 8 / 255
WIDTH = 64
# CIFAR-10, l_inf 8/255, PGD-10, 200 epochs: Rice, Wong and Kolter, ICML 2020.
PUBLISHED = (
    Published("preactresnet", last=53.92, lowest=46.51),
    Published("wrn-34-1", last=51.33, lowest=50.11),
    Published("wrn-34-5", last=53.13, lowest=45.00),
    Published("wrn-34-10", last=51.38, lowest=43.20),
    Published("wrn-34-20", last=48.83, lowest=41.84),
)


@dataclass(frozen=True)
class Comparison:
    """One number beside the published one, in percent.

    Attributes:
        what: which number.
        ours: of the run.
        theirs: the published one.
        delta: ours minus theirs.
    """

    what: str
    ours: float
    theirs: float
    delta: float


def compare(config: Mapping[str, object], epochs: Sequence[Epoch]) -> list[Comparison]:
    """Put the robust test error of a run beside the published ones.

    Args:
        config: the settings of the run, whatever they are.
        epochs: what it recorded.

    Returns:
        The mean of the last five epochs, and the lowest error, which is selected on test; empty where no published
        setting is the same.
    """
    errors = [100 * one.errors[ROBUST_TEST.key] for one in epochs if ROBUST_TEST.key in one.errors]
    if not errors or not _same_setting(config):
        return []
    for network in PUBLISHED:
        if network.model == config.get("model"):
            last = float(np.mean(errors[-5:]))
            lowest = min(errors)
            return [
                Comparison("mean of the last five", last, network.last, last - network.last),
                Comparison("selected on test", lowest, network.lowest, lowest - network.lowest),
            ]
    return []


def _same_setting(config: Mapping[str, object]) -> bool:
    if config.get("data") != DATA or str(config.get("p")) != NORM or config.get("width") not in (None, WIDTH):
        return False
    radius = config.get("radius")
    if not isinstance(radius, str | int | float):
        return False
    try:
        return abs(number(radius, "radius") - RADIUS) < 1e-6
    except BadRequest:  # not as cgro writes it
        return False
