"""The part of the data that the verdict is about, test or validation, and the errors at the end of a curve."""

from dataclasses import replace

from cgro.definitions import FOUR, ErrorRate
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.rise import LAST
from cgro.results.keys import CLEAN_TEST, CLEAN_VALIDATION, ROBUST_TEST, ROBUST_VALIDATION

LIKELY_N = 1000
"""Examples behind a curve's errors where a file does not say. On the low side of what is published."""


def held_out(curves: Curves, min_epochs: int) -> tuple[Curves, str]:
    """The curves with the held-out data under the names of the test set.

    Args:
        curves: of one training.
        min_epochs: fewer measured epochs are no curve. Programs that validate every epoch test once, at the end.

    Returns:
        The curves, and on which set the held-out errors were measured: `test`, or `validation` where nothing robust (or
        nothing at all) was measured on test, or too little for a curve that validation has.
    """
    on_test = curves.has(ROBUST_TEST) or (curves.has(CLEAN_TEST) and not curves.has(ROBUST_VALIDATION))
    if _n_measured(curves, ROBUST_TEST) < min_epochs <= _n_measured(curves, ROBUST_VALIDATION):
        on_test = False
    if on_test or not (curves.has(ROBUST_VALIDATION) or curves.has(CLEAN_VALIDATION)):
        return curves, "test"
    values = dict(curves.values)
    for kind in ("clean", "robust"):
        values.pop(f"{kind}_error/test", None)
        if f"{kind}_error/validation" in values:
            values[f"{kind}_error/test"] = values.pop(f"{kind}_error/validation")
    meta = dict(curves.meta)
    meta.pop("n/test", None)
    if "n/validation" in meta:
        meta["n/test"] = meta["n/validation"]
    return replace(curves, values=values, meta=meta), "validation"


def _n_measured(curves: Curves, key: str) -> int:
    return len(curves.measured(key)[0])


def last_errors(curves: Curves) -> dict[str, ErrorRate]:
    """The means of the last epochs as counts of the examples they were measured on (a low guess if unknown).

    Args:
        curves: of one training.

    Returns:
        Key -> error, of the four errors those that were measured.
    """
    found: dict[str, ErrorRate] = {}
    for key in FOUR:
        values = curves.measured(key)[1][-LAST:]
        if not len(values):
            continue
        n = curves.meta.get(f"n/{key.partition('/')[2]}", LIKELY_N)
        assert isinstance(n, int)
        found[key] = ErrorRate(round(float(values.mean()) * n), n, "lower" if "robust" in key else "exact")
    return found
