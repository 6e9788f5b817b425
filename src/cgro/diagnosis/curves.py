"""Learning curves as values: what every importer returns and every diagnosis reads."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from cgro._check import BadRequest, bad, one_line
from cgro.definitions import ErrorRate
from cgro.definitions.inputs import describe
from cgro.diagnosis.columns import CURVES, ERRORS, LOSSES, PARTS, Column, Unit
from cgro.diagnosis.rows import merge
from cgro.diagnosis.units import agreed_unit, unit_of
from cgro.diagnosis.words import Meaning, closest, meaning_of

Rows = Iterable[Mapping[str, object]] | Mapping[str, Sequence[object]]
"""One mapping per epoch, or one of columns."""
CONSTANT = 0.01
"""A clean error that varies less is that of a constant answer, which no attack changes: equality proves nothing."""
NOT_MEASURED = -1
"""What the programs of this field write for an error, loss or rate that was not measured."""


@dataclass(frozen=True, init=False)
class Curves:
    """One training, epoch by epoch.

    Args:
        epoch: (T,) strictly increasing, as the file counts them.
        values: name -> (T,) float64, NaN where not measured. Errors are fractions in [0, 1] under the keys of
            `summary.json` (`robust_error/test`); also `lr` (in force during the epoch), losses, `prediction_share`.
        meta: `source`, `attack`, `n_classes`, `n/train`, `n/test`; `remarks`: what the importer had to repair; and
            `caveats`: what makes the numbers doubtful, which stands beside every verdict.
        columns: what each column of a file was read as.

    Raises:
        BadRequest: no epochs, epochs that do not increase, an unknown name, columns of another length, errors outside
            [0, 1].

    Example:
        >>> c = Curves([1, 2], {"robust_error/test": [0.6, 0.5]})
        >>> c["robust_error/test"].tolist(), c.has("clean_error/test")
        ([0.6, 0.5], False)
    """

    epoch: np.ndarray
    values: Mapping[str, np.ndarray]
    meta: Mapping[str, object]
    columns: tuple[Column, ...]

    def __init__(
        self,
        epoch: ArrayLike | range,
        values: Mapping[str, ArrayLike],
        meta: Mapping[str, object] | None = None,
        columns: Sequence[Column] = (),
    ) -> None:
        of_epochs = _numbers("epoch", epoch)
        if of_epochs.ndim != 1 or not len(of_epochs):
            raise bad("curves", expected="at least one epoch", got="none")
        if not np.isfinite(of_epochs).all():
            raise bad("epoch", expected="finite numbers", got="NaN or infinity")
        if np.any(np.diff(of_epochs) <= 0):
            raise bad("epoch", expected="strictly increasing values", got="others", remedy="use Curves.from_rows")
        _require_names(values, str((meta or {}).get("source", "curves")))
        arrays = {name: _numbers(name, value) for name, value in values.items()}
        other = [f"{name} {_extent(value)}" for name, value in arrays.items() if value.shape != of_epochs.shape]
        if other:
            raise bad("curves", expected=f"{len(of_epochs)} values each, one per epoch", got=", ".join(other))
        for name in ERRORS:
            _require_fractions(name, arrays.get(name, of_epochs[:0]))
        object.__setattr__(self, "epoch", of_epochs)
        object.__setattr__(self, "values", arrays)
        object.__setattr__(self, "meta", dict(meta or {}))
        object.__setattr__(self, "columns", tuple(columns))

    def __len__(self) -> int:
        return len(self.epoch)

    def __getitem__(self, name: str) -> np.ndarray:
        """A curve; all NaN when it was not measured."""
        return self.values.get(name, np.full(len(self.epoch), np.nan))

    def has(self, name: str) -> bool:
        """Whether at least one epoch has a value.

        Args:
            name: of a curve.

        Returns:
            False also for a name that is not there.
        """
        return bool((~np.isnan(self[name])).any())

    def measured(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A curve where it was measured.

        Args:
            name: of a curve.

        Returns:
            Its epochs and its values, of one length, without NaN.
        """
        known = ~np.isnan(self[name])
        return self.epoch[known], self[name][known]

    @property
    def source(self) -> str:
        """The name of the file or run, for messages."""
        return str(self.meta.get("source", "curves"))

    @property
    def standard(self) -> bool:
        """Whether it is standard training: nothing was attacked while it learned."""
        return self.meta.get("attack") == "none"

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the importer had to repair or refused to believe."""
        return _texts(self.meta.get("remarks"))

    @property
    def caveats(self) -> tuple[str, ...]:
        """What makes the numbers doubtful; it belongs into the headline."""
        return _texts(self.meta.get("caveats"))

    def rows(self) -> list[dict[str, float]]:
        """One row per epoch, for `metrics.jsonl`.

        Returns:
            In each row `epoch` and what was measured then.
        """
        rows: list[dict[str, float]] = []
        for t, epoch in enumerate(self.epoch):
            row = {"epoch": float(epoch)}
            for name, value in self.values.items():
                if not np.isnan(value[t]):
                    row[name] = float(value[t])
            rows.append(row)
        return rows

    @classmethod
    def from_rows(cls, rows: Rows, meta: Mapping[str, object] | None = None) -> "Curves":
        """Curves from the rows of a program: sorted by epoch; of a value given twice the last one counts, and that is
        said.

        Errors are numbers, or `ErrorRate`s, whose number of examples is kept as `n/test`. Each curve is in percent or
        in fractions as its whole range says, and all must agree. Minus one, None and NaN mean not measured.

        Args:
            rows: each with `epoch` and any of the curves' names; or a mapping of such names to columns, or a data
                frame of pandas.
            meta: see the class.

        Returns:
            The curves.

        Raises:
            BadRequest: an unknown name, no rows, a value that is no number, curves in percent beside fractions,
                several trainings.

        Example:
            >>> c = Curves.from_rows([{"epoch": 2, "robust_error/test": 50}, {"epoch": 1, "robust_error/test": -1},
            ...                       {"epoch": 2, "robust_error/test": 40}])
            >>> c.epoch.tolist(), c["robust_error/test"].tolist(), c.remarks
            ([1.0, 2.0], [nan, 0.4], ('1 epoch was recorded more than once; the last record counts',))
            >>> rows = [{"epoch": e, "robust_error/test": ErrorRate(60 - e, 200)} for e in (1, 2)]
            >>> Curves.from_rows(rows).meta["n/test"]
            200
        """
        about = dict(meta or {})
        source = str(about.get("source", "curves"))
        plain: list[dict[str, float]] = []
        sizes: dict[str, set[int]] = {}
        for row in _as_rows(rows, source):
            _require_names(row, source)
            plain.append({"epoch": _epoch(row, source)})
            for name, value in row.items():
                if name == "epoch":
                    continue
                if isinstance(value, ErrorRate):
                    sizes.setdefault(name.partition("/")[2], set()).add(value.n)
                plain[-1][name] = _number(name, value, source)
        for part, found in sizes.items():
            about.setdefault(f"n/{part}", min(found))  # a lower number of examples claims less
        merged = merge(plain, source)
        about["remarks"] = [*_texts(about.get("remarks")), *merged.remarks]
        about["caveats"] = [*_texts(about.get("caveats")), *merged.caveats]
        return without_copies(cls(merged.epoch, _as_fractions(merged.values, merged.epoch), about))


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        return ()
    return tuple(map(str, value))


def _require_fractions(name: str, values: np.ndarray) -> None:
    known = values[~np.isnan(values)]
    if len(known) and (known.min() < 0 or known.max() > 1):
        got = f"values in [{known.min():g}, {known.max():g}]"
        remedy = "divide percent by 100" if 1 < known.max() <= 100 and known.min() >= 0 else ""
        raise bad(name, expected="fractions in [0, 1]", got=got, remedy=remedy)


def _as_rows(rows: object, source: str) -> Iterator[Mapping[str, object]]:
    """The rows of a table, which may be given by its columns."""
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):  # pandas, which is not imported here
        rows = rows.to_dict("records")  # type: ignore[attr-defined]
    expected = "rows, each a mapping of names to numbers, or a mapping of names to columns of one length"
    if isinstance(rows, Mapping):
        lengths = {np.shape(column)[:1] for column in rows.values()}
        if len(lengths) != 1 or () in lengths:
            raise bad(source, expected=expected, got=f"a mapping of {', '.join(map(str, rows)) or 'nothing'}")
        rows = [dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)]
    if isinstance(rows, str) or not isinstance(rows, Iterable):
        raise bad(source, expected=expected, got=describe(rows), remedy="of a file use read_curves(path)")
    for row in rows:
        if not isinstance(row, Mapping):
            raise bad(source, expected=expected, got=f"{describe(row)} among the rows")
        yield row


def _numbers(name: str, values: ArrayLike | range) -> np.ndarray:
    """What a caller gave for numbers, as float64."""
    try:
        if isinstance(values, np.ma.MaskedArray):  # `asarray` would give what lies behind the mask
            return np.ma.filled(values.astype(float), np.nan)
        return np.asarray(values, float)
    except (TypeError, ValueError, RuntimeError) as error:  # a text, rows of several lengths, a tensor with a gradient
        got = f"{describe(values)} ({one_line(str(error), 80)})"
        raise bad(name, expected="numbers, one per epoch", got=got, remedy="give a list of floats") from None


def _extent(values: np.ndarray) -> str:
    return str(len(values)) if values.ndim == 1 else f"of shape {values.shape}"


def _require_names(names: Iterable[object], source: str) -> None:
    for name in names:
        if name not in CURVES:
            likely = [one for one in CURVES if ("loss" in one) == ("los" in str(name))]  # an error unless it says loss
            hint = _as_curve(str(name)) or closest(str(name), likely) or f"; the names are {', '.join(CURVES)}"
            raise BadRequest(one_line(f"{source}: no curve is named {str(name)!r}{hint}"))


def _as_curve(name: str) -> str:
    """What a name that files use is called among the curves, which are errors; empty where it is not understood."""
    meaning = meaning_of(name)
    if not isinstance(meaning, Meaning):
        return ""
    if meaning.accuracy:
        said = f"; write it as {meaning.curve}, the error: 1 - accuracy, or 100 - accuracy in percent"
        return f"{said}; an importer says Meaning({meaning.curve!r}, accuracy=True)"
    return f"; write {meaning.curve}"


def _epoch(row: Mapping[str, object], source: str) -> float:
    value = row.get("epoch")
    try:
        epoch = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):  # none, a list, text, an integer of 400 digits
        epoch = math.nan
    if not math.isfinite(epoch):
        raise bad(f"{source}: epoch", expected="a finite number in every row", got=value)
    return epoch


def _number(name: str, value: object, source: str) -> float:
    """A value of a row; NaN where it was not measured."""
    if value is None or value is np.ma.masked:
        return math.nan
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    expected = "a number, None or an ErrorRate"
    if isinstance(value, bool | str | bytes) or not hasattr(value, "__float__"):
        got = f"{value!r}" if isinstance(value, bool | str) else type(value).__name__
        raise bad(f"{source}: {name}", expected=expected, got=got)
    try:
        result = float(value)  # type: ignore[arg-type]
    except OverflowError:  # an integer of 400 digits
        return math.nan
    except (TypeError, ValueError, RuntimeError):  # an array of several values
        got = f"{type(value).__name__} of shape {tuple(np.shape(value))}"  # type: ignore[arg-type]
        remedy = "give one number an epoch, such as the mean over classes or processes"
        raise bad(f"{source}: {name}", expected=expected, got=got, remedy=remedy) from None
    if not math.isfinite(result):
        return math.nan
    if result == NOT_MEASURED and name in (*ERRORS, *LOSSES, "lr"):
        return math.nan
    return result


def _as_fractions(values: Mapping[str, np.ndarray], epochs: np.ndarray) -> dict[str, np.ndarray]:
    units: dict[str, Unit | None] = {}
    for name, value in values.items():
        if name in ERRORS:
            units[name] = unit_of(name, value, epochs)
    unit = agreed_unit(units)
    fractions = dict(values)
    if unit == "percent":
        for name in fractions.keys() & set(ERRORS):
            fractions[name] = values[name] / 100
    return fractions


def without_copies(curves: Curves) -> Curves:
    """Take robust columns away that are copies of the clean ones: standard training, nothing was attacked.

    Args:
        curves: of any source.

    Returns:
        The same, or without its robust curves and with a remark.

    Example:
        >>> c = without_copies(Curves([1, 2], {"clean_error/test": [0.2, 0.1], "robust_error/test": [0.2, 0.1]}))
        >>> c.standard, c.has("robust_error/test")
        (True, False)
    """
    if curves.meta.get("attacked_in_evaluation") or not (curves.standard or _copies(curves)):
        return curves
    said = "the robust columns equal the clean ones"
    if curves.standard:
        said = "the log says attack='none'"
    remarks = list(curves.remarks)
    kept = {name: value for name, value in curves.values.items() if not name.startswith("robust_")}
    if len(kept) < len(curves.values):
        remarks.append(f"standard training ({said}): its robust columns are copies of the clean ones and are not used")
    return replace(curves, values=kept, meta={**curves.meta, "attack": "none", "remarks": remarks})


def _copies(curves: Curves) -> bool:
    """Whether every robust error equals the clean one of its part, and that does not come of a constant answer.

    A network that answers a constant has equal errors too: its errors on held-out data do not move. Those in training
    may, as running means over batches.
    """
    n_shared = 0
    held_out: dict[str, float] = {}
    for part in PARTS:
        clean, robust = curves[f"clean_error/{part}"], curves[f"robust_error/{part}"]
        both = ~np.isnan(clean) & ~np.isnan(robust)
        if not both.any():
            continue
        if not np.array_equal(clean[both], robust[both]):
            return False
        n_shared += int(both.sum())
        held_out[part] = float(np.ptp(clean[both]))
    if len(held_out) > 1:
        held_out.pop("train", None)
    return n_shared > 1 and max(held_out.values()) > CONSTANT


def require_robust(curves: Curves) -> None:
    """Refuse curves without a single error.

    Args:
        curves: from a file.

    Raises:
        BadRequest: lists what there is.
    """
    if not any(map(curves.has, ERRORS)):
        names = ", ".join(sorted(curves.values)) or "none"
        raise BadRequest(one_line(f"{curves.source}: no error or accuracy was found; columns: {names}"))
