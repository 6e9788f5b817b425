"""Learning curves as values: what every importer returns and every diagnosis reads."""

import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cgro._check import BadRequest, bad, one_line

PARTS = ("train", "validation", "test")
ERRORS = tuple(f"{kind}_error/{part}" for kind in ("clean", "robust") for part in PARTS)
LOSSES = tuple(f"{kind}_loss/{part}" for kind in ("clean", "robust") for part in PARTS)
KNOWN = ("epoch", *ERRORS, *LOSSES, "lr", "prediction_share")
PERCENT = 1.5
"""Errors above this are read as percent. A choice: fractions end at 1, and no measured curve stays below 1.5%."""

CONSTANT = 0.01
"""A clean error that varies less is that of a constant answer, which no attack changes: equality then proves nothing."""


@dataclass(frozen=True)
class Curves:
    """One training, epoch by epoch.

    Args:
        epoch: (T,) strictly increasing, as the file counts them.
        values: name -> (T,) float64, NaN where not measured. Errors are fractions in [0, 1] under the keys of
            `summary.json` (`robust_error/test`); also `lr` (in force during the epoch), losses, `prediction_share`.
        meta: `source`, `attack`, `n_classes`, `n/train`, `n/test`, and `remarks`: what the importer had to repair.

    Raises:
        BadRequest: no epochs, epochs that do not increase, columns of another length, errors outside [0, 1].

    Example:
        >>> c = Curves([1, 2], {"robust_error/test": [0.6, 0.5]})
        >>> c["robust_error/test"].tolist(), c.has("clean_error/test")
        ([0.6, 0.5], False)
    """

    epoch: np.ndarray
    values: Mapping[str, np.ndarray]
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        epoch = np.asarray(self.epoch, float)
        if epoch.ndim != 1 or not len(epoch):
            raise bad("curves", expected="at least one epoch", got="none")
        if not np.isfinite(epoch).all():
            raise bad("epoch", expected="finite numbers", got="NaN or infinity")
        if np.any(np.diff(epoch) <= 0):
            raise bad("epoch", expected="strictly increasing values", got="others", remedy="use Curves.from_rows")
        values = {k: np.asarray(v, float) for k, v in self.values.items()}
        other = [f"{k} {len(v)}" for k, v in values.items() if v.shape != epoch.shape]
        if other:
            raise bad("curves", expected=f"{len(epoch)} values each, one per epoch", got=", ".join(other))
        for key in ERRORS:
            known = values.get(key, epoch[:0])
            known = known[~np.isnan(known)]
            if len(known) and (known.min() < 0 or known.max() > 1):
                got = f"[{known.min():g}, {known.max():g}]"
                raise bad(key, expected="fractions in [0, 1] or percent throughout", got=got)
        object.__setattr__(self, "epoch", epoch)
        object.__setattr__(self, "values", values)

    def __len__(self) -> int:
        return len(self.epoch)

    def __getitem__(self, name: str) -> np.ndarray:
        """A curve; all NaN when it was not measured."""
        return self.values.get(name, np.full(len(self.epoch), np.nan))

    def has(self, name: str) -> bool:
        """Whether at least one epoch has a value."""
        return bool((~np.isnan(self[name])).any())

    def measured(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """(epochs, values) where the curve was measured."""
        known = ~np.isnan(self[name])
        return self.epoch[known], self[name][known]

    @property
    def standard(self) -> bool:
        """Whether it is standard training: nothing was attacked while it learned."""
        return self.meta.get("attack") == "none"

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the importer had to repair or refused to believe."""
        return tuple(self.meta.get("remarks", ()))

    def rows(self) -> list[dict[str, Any]]:
        """One row per epoch, for `metrics.jsonl`."""
        return [
            {"epoch": float(e)} | {k: float(v[t]) for k, v in self.values.items() if not np.isnan(v[t])}
            for t, e in enumerate(self.epoch)
        ]

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], meta: Mapping[str, Any] | None = None) -> "Curves":
        """Curves from rows in the order of a file: sorted by epoch; of a value given twice the last one counts.

        Errors are read as percent if any of them is above 1.5; minus one means not measured.

        >>> c = Curves.from_rows([{"epoch": 2, "robust_error/test": 50}, {"epoch": 1, "robust_error/test": -1},
        ...                       {"epoch": 2, "robust_error/test": 40}])
        >>> c.epoch.tolist(), c["robust_error/test"].tolist(), c.remarks
        ([1.0, 2.0], [nan, 0.4], ('1 epoch was recorded more than once; the last record counts',))
        """
        rows, meta = list(rows), dict(meta or {})
        of_row = [_epoch(row, str(meta.get("source", "curves"))) for row in rows]
        seen = Counter(of_row)
        place = {epoch: t for t, epoch in enumerate(sorted(seen))}
        values: dict[str, np.ndarray] = {}
        for epoch, row in zip(of_row, rows, strict=True):
            for name, value in row.items():
                if name == "epoch" or not _measured(name, value):
                    continue
                if name not in values:
                    values[name] = np.full(len(place), np.nan)
                values[name][place[epoch]] = value
        again = sum(n > 1 for n in seen.values())
        remarks = [f"{again} epoch{'s were' if again > 1 else ' was'} recorded more than once; the last record counts"]
        meta["remarks"] = [*meta.get("remarks", ()), *(remarks if again else ())]
        values = {name: values[name] for name in sorted(values)}
        return checked(cls(np.array(list(place)), _as_fractions(values), meta))


def _epoch(row: Mapping[str, Any], source: str) -> float:
    try:
        epoch = float(row["epoch"])
    except (KeyError, TypeError, ValueError, OverflowError):  # none, a list, text, an integer of 400 digits
        epoch = math.nan
    if not math.isfinite(epoch):
        raise bad(f"{source}: epoch", expected="a finite number in every row", got=row.get("epoch"))
    return epoch


def _measured(name: str, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if not abs(value) <= sys.float_info.max:  # NaN, infinity, an integer that no float holds
        return False
    return not (value == -1 and name in (*ERRORS, *LOSSES, "lr"))


def _as_fractions(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    errors = [v[~np.isnan(v)] for k, v in values.items() if k in ERRORS]
    top = max((float(v.max()) for v in errors if len(v)), default=0.0)
    return {k: v / 100 if top > PERCENT and k in ERRORS else v for k, v in values.items()}


def checked(curves: Curves) -> Curves:
    """Take robust columns away that are copies of the clean ones: standard training, nothing was attacked.

    >>> c = checked(Curves([1, 2], {"clean_error/test": [0.2, 0.1], "robust_error/test": [0.2, 0.1]}))
    >>> c.standard, c.has("robust_error/test")
    (True, False)
    """
    pairs = [(curves[f"clean_error/{part}"], curves[f"robust_error/{part}"]) for part in PARTS]
    both = [(~np.isnan(a) & ~np.isnan(b), a, b) for a, b in pairs]
    shared = sum(int(known.sum()) for known, _, _ in both)
    varies = max((float(np.ptp(a[known])) for known, a, _ in both if known.any()), default=0.0) > CONSTANT
    copies = (
        shared > 1
        and varies
        and not curves.meta.get("attacked_in_evaluation")
        and all(np.array_equal(a[known], b[known]) for known, a, b in both)
    )
    told = curves.standard and not curves.meta.get("attacked_in_evaluation")
    if not (told or copies):
        return curves
    said = "the log says attack='none'" if told else "the robust columns equal the clean ones"
    remark = f"standard training ({said}): its robust columns are copies of the clean ones and are not used"
    kept = {k: v for k, v in curves.values.items() if not k.startswith("robust_")}
    remarks = [*curves.remarks, *([remark] if len(kept) < len(curves.values) else [])]
    return replace(curves, values=kept, meta={**curves.meta, "attack": "none", "remarks": remarks})


def require_robust(curves: Curves) -> None:
    """Refuse curves without a single error.

    Raises:
        BadRequest: lists what there is.
    """
    if not any(curves.has(k) for k in ERRORS):
        names = ", ".join(sorted(curves.values)) or "none"
        source = curves.meta.get("source", "curves")
        raise BadRequest(one_line(f"{source}: no error or accuracy was found; columns: {names}"))
