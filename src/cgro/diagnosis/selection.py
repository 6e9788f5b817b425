"""Selection accounting: which epoch is reported, selected on what, and what that choice is worth."""

from dataclasses import asdict, dataclass

import numpy as np

from cgro._check import bad
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.rise import LAST
from cgro.results.keys import CLEAN_TEST, ROBUST_TEST, ROBUST_TRAIN, ROBUST_VALIDATION


@dataclass(frozen=True)
class Selected:
    """What one rule reports.

    Args:
        rule: what the epoch was selected on.
        epoch: None for a mean over epochs.
        robust_error: on the test set.
        clean_error: on the test set, at the same epoch; None where it was not measured.
        robust_error_train: on the training set, at the same epoch; None where it was not measured.
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
        on_test: lowest robust test error, selected on the very numbers it reports.
        on_validation: selected on robust validation error, measured on test; None without one.
        last: the last epoch.
        last_five: mean of five.
        gap: last five minus selected on test, the "diff" of published tables.
        bias: selected on validation minus selected on test: what choosing on test data flatters. None without one.
    """

    on_test: Selected
    on_validation: Selected | None
    last: Selected
    last_five: Selected
    gap: float
    bias: float | None

    def to_dict(self) -> dict[str, object]:
        """Plain values for `summary.json`.

        Returns:
            The fields by name.
        """
        return asdict(self)


def select(curves: Curves) -> Selection:
    """Report one training by each rule of selection.

    final = mean of the last five measured epochs; selected on test = minimum over epochs (of equals the earliest). The
    minimum over noisy epochs is too low whatever the data, so `gap` is positive also for a flat curve: `rise_of` says
    how much of it is real.

    Args:
        curves: with `robust_error/test`.

    Returns:
        The reports side by side.

    Raises:
        BadRequest: no robust test error.

    Example:
        >>> s = select(Curves(range(6), {"robust_error/test": [0.6, 0.5, 0.55, 0.56, 0.57, 0.58],
        ...                              "robust_error/validation": [0.6, 0.52, 0.51, 0.56, 0.57, 0.58]}))
        >>> s.on_test.epoch, s.on_validation.epoch, round(s.bias, 3), round(s.gap, 3)
        (1.0, 2.0, 0.05, 0.052)
    """
    if not curves.has(ROBUST_TEST):
        raise bad("curves", expected=ROBUST_TEST, got="none of it measured", remedy="measure it, or use --map")
    known = np.nonzero(~np.isnan(curves[ROBUST_TEST]))[0]
    on_test = _at(curves, int(known[curves[ROBUST_TEST][known].argmin()]), "selected on test")
    last = _at(curves, int(known[-1]), "last epoch")
    end = known[-LAST:]
    last_five = Selected(
        rule=f"mean of the last {len(end)} epochs",
        epoch=None,
        robust_error=float(curves[ROBUST_TEST][end].mean()),
        clean_error=_mean(curves, CLEAN_TEST, end),
        robust_error_train=_mean(curves, ROBUST_TRAIN, end),
    )
    on_validation = _on_validation(curves, known)
    bias = None
    if on_validation is not None:
        bias = on_validation.robust_error - on_test.robust_error
    return Selection(on_test, on_validation, last, last_five, last_five.robust_error - on_test.robust_error, bias)


def _on_validation(curves: Curves, known: np.ndarray) -> Selected | None:
    chosen = curves[ROBUST_VALIDATION][known]
    if np.isnan(chosen).all():
        return None
    return _at(curves, int(known[np.nanargmin(chosen)]), "selected on validation")


def _at(curves: Curves, t: int, rule: str) -> Selected:
    return Selected(
        rule=rule,
        epoch=float(curves.epoch[t]),
        robust_error=float(curves[ROBUST_TEST][t]),
        clean_error=_mean(curves, CLEAN_TEST, np.array([t])),
        robust_error_train=_mean(curves, ROBUST_TRAIN, np.array([t])),
    )


def _mean(curves: Curves, key: str, rows: np.ndarray) -> float | None:
    values = curves[key][rows]
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else None
