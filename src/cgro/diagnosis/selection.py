"""Selection accounting: which epoch is reported, selected on what, and what that choice is worth."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cgro._check import bad
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.rise import LAST

KEY = "robust_error/test"


@dataclass(frozen=True)
class Selected:
    """What one rule reports.

    Args:
        rule: what the epoch was selected on. epoch: None for a mean over epochs.
        robust_error, clean_error: on the test set. robust_error_train: at the same epoch. None where not measured.
    """

    rule: str
    epoch: float | None
    robust_error: float
    clean_error: float | None
    robust_error_train: float | None


@dataclass(frozen=True)
class Selection:
    """The same training reported by each rule, and the differences.

    Args:
        on_test: lowest robust test error, selected on the very numbers it reports. on_validation: selected on robust
            validation error, measured on test; None without one. last: the last epoch. last_five: mean of five.
        gap: last five minus selected on test, the "diff" of published tables.
        bias: selected on validation minus selected on test: what choosing on test data flatters. None without one.
    """

    on_test: Selected
    on_validation: Selected | None
    last: Selected
    last_five: Selected
    gap: float
    bias: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `summary.json`."""
        return asdict(self)


def select(curves: Curves) -> Selection:
    """Report one training by each rule of selection.

    final = mean of the last five measured epochs; selected on test = minimum over epochs (of equals the earliest). The
    minimum over noisy epochs is too low whatever the data, so `gap` is positive also for a flat curve: `rise_of` says
    how much of it is real.

    Args:
        curves: with `robust_error/test`.

    Raises:
        BadRequest: no robust test error.

    Example:
        >>> s = select(Curves(range(6), {"robust_error/test": [0.6, 0.5, 0.55, 0.56, 0.57, 0.58],
        ...                              "robust_error/validation": [0.6, 0.52, 0.51, 0.56, 0.57, 0.58]}))
        >>> s.on_test.epoch, s.on_validation.epoch, round(s.bias, 3), round(s.gap, 3)
        (1.0, 2.0, 0.05, 0.052)
    """
    if not curves.has(KEY):
        raise bad("curves", expected=f"{KEY}", got="none of it measured", remedy="measure it, or use --map")
    known = np.nonzero(~np.isnan(curves[KEY]))[0]
    on_test = _at(curves, int(known[curves[KEY][known].argmin()]), "selected on test")
    last = _at(curves, int(known[-1]), "last epoch")
    last_five = Selected(
        f"mean of the last {min(LAST, len(known))} epochs", None, float(curves[KEY][known[-LAST:]].mean()),
        *(_mean(curves, k, known[-LAST:]) for k in ("clean_error/test", "robust_error/train")),
    )  # fmt: skip
    chosen = curves["robust_error/validation"][known]
    on_validation = None
    if not np.isnan(chosen).all():
        on_validation = _at(curves, int(known[np.nanargmin(chosen)]), "selected on validation")
    bias = None if on_validation is None else on_validation.robust_error - on_test.robust_error
    gap = last_five.robust_error - on_test.robust_error
    return Selection(on_test, on_validation, last, last_five, gap, bias)


def _at(curves: Curves, t: int, rule: str) -> Selected:
    clean, train = (_value(curves, k, t) for k in ("clean_error/test", "robust_error/train"))
    return Selected(rule, float(curves.epoch[t]), float(curves[KEY][t]), clean, train)


def _value(curves: Curves, key: str, t: int) -> float | None:
    value = float(curves[key][t])
    return None if np.isnan(value) else value


def _mean(curves: Curves, key: str, rows: np.ndarray) -> float | None:
    values = curves[key][rows]
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else None
