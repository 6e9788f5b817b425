"""From files to `Curves`: runs of cgro, tables (CSV, JSONL, JSON) and the plain-text training log of this field."""

import csv
import io
import itertools
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cgro._check import LONGEST_VALUE, BadRequest, bad, count, one_line
from cgro.data.raw import listed
from cgro.diagnosis.curves import ERRORS, KNOWN, LOSSES, Curves, require_robust
from cgro.reading import TEXT_LIMIT, attempt, parse_json, read_bytes
from cgro.runs import Run

MOST_ROWS = 400_000
"""Lines of a text, or rows of a table, that are read. A choice: far above any training; read in ten seconds and under a gigabyte."""
MOST_COLUMNS = 100_000
"""Names of columns. A choice."""

# ---------------------------------------------------------------- the plain-text log

_PREFIX = re.compile(r"^\s*(\[[^\]]*\]\s*-?\s*)?")
_PHRASE = re.compile(r"epoch|lr|(?:train|test)\s+(?:robust\s+)?(?:time|loss|acc(?:uracy)?|grad)", re.IGNORECASE)
# A word is entered at its beginning only, and digits in one way: a line of 100 kB would take a minute otherwise.
_SETTING = re.compile(r"(?<!\w)(\w+)=('[^']*'|\"[^\"]*\"|[^,()]+)")
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|nan|inf)")
_VALIDATION = ("clean_loss/validation", "clean_error/validation", "robust_loss/validation", "robust_error/validation")
_DEFAULT = (
    "epoch", "train time", "test time", "lr", "train loss", "train acc", "train robust loss", "train robust acc",
    "test loss", "test acc", "test robust loss", "test robust acc",
)  # fmt: skip
MOST_FIELDS = 1_000
"""Numbers of a row of a log; twelve are usual. A choice."""
DROP = 1.5
"""A learning rate that falls by more than this factor from one epoch to the next has dropped. A choice."""


def read_log(text: str, source: str = "log") -> Curves:
    """The training log of Rice et al. (ICML 2020) and of the many programs descended from theirs.

    A header names the columns (twelve, or fewer without times; tabs and spaces mixed); rows follow; a restart
    repeats Namespace and header, and the last record of an epoch counts. -1 is "not measured". A `validation` line
    belongs to the row before it. Accuracies become errors. The rate logged with an epoch is that of its last step, so
    a drop shows one row early; here it stands where it was in force. attack='none' means standard training.

    Args:
        text: of the file. source: its name, for errors.

    Raises:
        BadRequest: no header or no rows that fit it.

    Example:
        >>> c = read_log("Epoch \\t Train Robust Acc \\t Test Robust Acc\\n0 \\t 0.3 \\t 0.25\\n1 \\t 0.4  0.30")
        >>> c["robust_error/test"].tolist()
        [0.75, 0.7]
    """
    names: list[str] = []
    rows: list[dict[str, float]] = []
    settings: dict[str, str] = {}
    n_headers = n_misfits = 0
    for line in _lines(text, source):
        body = _PREFIX.sub("", line, count=1).replace("||", " ").strip()
        if body.startswith("Namespace("):
            settings |= {m[1]: m[2].strip("'\"") for m in itertools.islice(_SETTING.finditer(body[10:]), MOST_FIELDS)}
        elif body.lower().startswith("epoch") and len(found := _phrases(body)) > 1:
            names, n_headers = [" ".join(f.lower().split()) for f in found], n_headers + 1
        elif body.lower().startswith("validation") and rows:
            rows[-1] |= _validation(body)
        elif (values := _numbers(body)) is not None:
            columns = names if len(names) == len(values) else _DEFAULT if len(values) == len(_DEFAULT) else None
            if columns is None or not values[0].is_integer():  # NaN and infinity are not either
                n_misfits += 1
            else:
                rows.append(_row(columns, values))
    if not rows or not n_headers:
        what = f"{n_misfits} rows of numbers that do not fit the header" if n_headers else "no line that starts so"
        raise bad(source, expected="a training log with a header 'Epoch ... Train Robust Acc ...'", got=what)
    remarks = [f"{n_headers - 1} restart{'s' if n_headers > 2 else ''}"] if n_headers > 1 else []
    remarks += [f"{n_misfits} rows do not fit the header and were left out"] if n_misfits else []
    meta = {"source": source, "format": "text log", "settings": settings, "remarks": remarks}
    meta |= {"attack": settings["attack"]} if "attack" in settings else {}
    meta |= {"n_classes": 10} if settings.get("dataset", "").lower() in ("cifar10", "svhn", "mnist") else {}
    return _rate_in_force(Curves.from_rows(rows, meta))


def _phrases(body: str) -> list[str]:
    return [m[0] for m in itertools.islice(_PHRASE.finditer(body), MOST_FIELDS)]


def _lines(text: str, source: str) -> list[str]:
    lines = text.splitlines()
    if len(lines) > MOST_ROWS:
        raise bad(source, expected=f"at most {MOST_ROWS:,} lines", got=f"{len(lines):,}")
    return lines


def _numbers(body: str) -> list[float] | None:
    fields = body.split(maxsplit=MOST_FIELDS)
    if len(fields) < 2 or not all(_NUMBER.fullmatch(f) for f in fields):
        return None
    return [float(f) for f in fields]


def _row(columns: Any, values: list[float]) -> dict[str, float]:
    row: dict[str, float] = {}
    for name, value in zip(columns, values, strict=True):
        words = name.split()
        if name in ("epoch", "lr"):
            row[name] = value
        elif words[-1].startswith(("acc", "loss")):
            kind = "robust" if "robust" in words else "clean"
            what = "error" if words[-1].startswith("acc") else "loss"
            row[f"{kind}_{what}/{words[0]}"] = _error_of(value) if what == "error" else value
    return row


def _validation(body: str) -> dict[str, float]:
    values = [float(v[0]) for v in itertools.islice(_NUMBER.finditer(body), len(_VALIDATION) + 1)]
    if len(values) != len(_VALIDATION):
        return {}
    return {k: _error_of(v) if "error" in k else v for k, v in zip(_VALIDATION, values, strict=True)}


def _error_of(accuracy: float) -> float:
    """1 - accuracy, also of percent; rounded so that 0.7 is 0.7. Negative is "not measured"."""
    return np.nan if accuracy < 0 else round((1 if accuracy <= 1 else 100) - accuracy, 10)


def _rate_in_force(curves: Curves) -> Curves:
    """Move each sudden drop of the learning rate one epoch later, to the first epoch that it was in force for whole."""
    epochs, rate = curves.measured("lr")
    if len(rate) < 2:
        return curves
    moved = curves["lr"].copy()
    for before, after in zip(range(len(rate) - 1), range(1, len(rate)), strict=True):
        if rate[before] > DROP * rate[after] > 0:
            moved[np.searchsorted(curves.epoch, epochs[after])] = rate[before]
    return Curves(curves.epoch, {**curves.values, "lr": moved}, curves.meta)


# ---------------------------------------------------------------- tables

_PART_WORDS = {"train": "train", "training": "train", "tr": "train", "val": "validation", "valid": "validation",
               "validation": "validation", "dev": "validation", "test": "test", "te": "test", "eval": "test"}  # fmt: skip
_ROBUST_WORDS = {"robust", "rob", "adv", "adversarial", "pgd", "aa", "apgd", "attacked", "fgsm"}
_WHAT_WORDS = {"acc": "accuracy", "accuracy": "accuracy", "err": "error", "error": "error", "loss": "loss"}


def canonical(column: str) -> str | None:
    """The curve that a column's name stands for, or None: a part, a measure, and robust or clean.

    >>> canonical("test_robust_acc"), canonical("val/adv_loss"), canonical("Train Error"), canonical("GPU")
    ('robust_accuracy/test', 'robust_loss/validation', 'clean_error/train', None)
    """
    if column in KNOWN:
        return column
    if len(column) > LONGEST_VALUE:
        return None
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column).lower())
    if words in (["epoch"], ["epochs"]) or words == ["ep"]:
        return "epoch"
    if words in (["lr"], ["learning", "rate"]):
        return "lr"
    what = {_WHAT_WORDS[w] for w in words if w in _WHAT_WORDS}
    part = {_PART_WORDS[w] for w in words if w in _PART_WORDS}
    if len(what) != 1 or len(part) != 1:
        return None
    kind = "robust" if _ROBUST_WORDS & set(words) else "clean"
    return f"{kind}_{what.pop()}/{part.pop()}"


def parse_map(text: str) -> dict[str, str]:
    """`--map CURVE=COLUMN,...`; a curve is `epoch`, `lr`, or `robust_error/test` and the like, also `_accuracy`.

    >>> parse_map("epoch=step, robust_accuracy/test=PGD")
    {'epoch': 'step', 'robust_accuracy/test': 'PGD'}
    """
    pairs = [item.partition("=") for item in text.split(",") if item.strip()]
    allowed = {"epoch", "lr", "prediction_share", *ERRORS, *LOSSES, *(k.replace("error", "accuracy") for k in ERRORS)}
    for curve, equals, column in pairs:
        if curve.strip() not in allowed or not equals or not column.strip():
            got = f"{curve}{equals}{column}"
            raise bad("--map", expected="CURVE=COLUMN,... with curves such as epoch, robust_error/test", got=repr(got))
    return {curve.strip(): column.strip() for curve, _, column in pairs}


def from_table(
    rows: Sequence[Mapping[str, Any]], source: str, columns: Mapping[str, str] | None = None, **meta: Any
) -> Curves:
    """Curves from rows of named values; accuracies become errors, empty cells are not measured.

    Args:
        rows: one a record. source: for errors. columns: curve -> column, beside those whose names speak for
            themselves.

    Raises:
        BadRequest: a column that is not there, two columns for one curve, no epoch, no error, text where a number
            belongs. Lists the columns there are.

    Example:
        >>> c = from_table([{"epoch": 1, "test_robust_acc": 45.0}, {"epoch": 2, "test_robust_acc": 50.0}], "x.csv")
        >>> c["robust_error/test"].tolist()
        [0.55, 0.5]
    """
    return _curves(lambda: rows, source, columns, meta)


def _curves(
    rows: Callable[[], Iterable[Mapping[str, Any]]], source: str, columns: Mapping[str, str] | None,
    meta: Mapping[str, Any], there: list[str] | None = None,
) -> Curves:  # fmt: skip
    """See `from_table`. The rows are walked through twice, so that only the chosen columns are ever held.

    Args:
        rows: gives the rows anew at each call. there: names of the columns, where they are known already.
    """
    there = _names(rows(), source) if there is None else there
    chosen = _choose(there, columns or {}, source)
    if "epoch" not in chosen:
        raise _refusal(source, f"no column for epoch; there are: {listed(there, 20)}; use --map epoch=COLUMN")
    table = [{curve: _cell(row.get(column), source, n, column) for curve, column in chosen.items()}
             for n, row in enumerate(rows(), 1)]  # fmt: skip
    table = [row for row in table if not math.isnan(row["epoch"])]
    measured = (v for row in table for k, v in row.items() if "accuracy" in k or k in ERRORS)
    top = max((v for v in measured if math.isfinite(v)), default=1.0)
    one = 100.0 if top > 1.5 else 1.0
    for row in table:
        for curve in [k for k in row if "accuracy" in k]:
            value = row.pop(curve)
            if value != -1 and not (math.isnan(value) or 0 <= value <= one):
                raise bad(f"{source}: column {chosen[curve]}", expected="fractions in [0, 1] or percent", got=value)
            row[curve.replace("accuracy", "error")] = np.nan if value == -1 else round((one - value) / one, 10)
        if one > 1:
            row |= {k: row[k] / 100 for k in ERRORS if chosen.get(k) and k in row and row[k] != -1}
    if not table:
        raise _refusal(source, f"no rows with an epoch; columns: {listed(there, 20)}")
    curves = Curves.from_rows(table, {"source": source, **meta})
    if not any(curves.has(k) for k in ERRORS) and not curves.standard:
        what = f"no column could be mapped to an error or accuracy; there are: {listed(there, 20)}"
        raise _refusal(source, f"{what}; use --map robust_accuracy/test=COLUMN,...")
    return curves


def _refusal(source: str, text: str) -> BadRequest:
    return BadRequest(one_line(f"{source}: {text}"))


def _names(rows: Iterable[Mapping[str, Any]], source: str) -> list[str]:
    """The columns, in the order in which they appear.

    Raises:
        BadRequest: more rows or columns than any training has.
    """
    names: dict[str, None] = {}
    for n_rows, row in enumerate(rows, 1):
        for key in row:
            names[str(key)] = None
        if n_rows > MOST_ROWS or len(names) > MOST_COLUMNS:
            most = f"at most {MOST_ROWS:,} rows and {MOST_COLUMNS:,} columns"
            raise bad(source, expected=most, got=f"{n_rows:,} rows and {len(names):,} columns or more")
    return list(names)


def _choose(there: list[str], columns: Mapping[str, str], source: str) -> dict[str, str]:
    """Curve -> column: what the caller says, then what the names say; of an error and its accuracy the first."""
    missing = [c for c in columns.values() if c not in there]
    if missing:
        raise _refusal(source, f"--map names {listed(missing)}; the columns are: {listed(there, 20)}")
    chosen, found = dict(columns), {}
    said = {_as_error(curve) for curve in columns}
    for column in (c for c in there if c not in columns.values()):
        curve = canonical(column)
        if curve is None or _as_error(curve) in said:
            continue
        if found.get(curve):
            raise _refusal(source, f"columns {found[curve]} and {column} both look like {curve}; choose with --map")
        found[curve] = column
        if _as_error(curve) not in {_as_error(k) for k in chosen}:
            chosen[curve] = column
    return chosen


def _as_error(curve: str) -> str:
    return curve.replace("accuracy", "error")


def _cell(value: Any, source: str, n: int, column: str) -> float:
    if value is None or (isinstance(value, str) and value.strip().lower() in ("", "nan", "none", "null", "-")):
        return np.nan
    if isinstance(value, float):
        return value
    try:
        if isinstance(value, list | dict):
            raise ValueError
        return float(str(value).strip().rstrip("%"))
    except ValueError:  # also of an integer that is too long for text
        got = repr(value) if isinstance(value, str | bool) else type(value).__name__
        raise bad(f"{source}: row {n}, column {column}", expected="a number", got=got) from None


def read_csv(text: str, source: str, columns: Mapping[str, str] | None = None) -> Curves:
    """A table with a header line; commas, semicolons or tabs; line ends of any system."""
    lines = _lines(text, source)
    first = lines[0] if text.strip() else ""
    comma = max(",;\t", key=first.count)

    def records() -> Iterable[list[str]]:
        try:
            yield from filter(None, csv.reader(io.StringIO(text, newline=None), delimiter=comma))
        except csv.Error as error:  # a field of over 128 kB, a quotation that does not end
            raise bad(source, expected="a table", got=f"a damaged one ({error})") from None

    def rows() -> Iterable[Mapping[str, Any]]:
        for n, record in enumerate(itertools.islice(records(), 1, None), 2):
            if len(record) != len(names):
                more = "more" if len(record) > len(names) else "fewer"
                raise _refusal(source, f"line {n} has {more} fields than the header: curves of different lengths")
            yield dict(zip(names, record, strict=True))

    head = list(itertools.islice(records(), 2))
    if len(head) < 2:
        raise bad(source, expected="a table with a header and rows", got="none")
    names = [name.strip() for name in head[0]]
    if len(names) > MOST_COLUMNS:
        raise bad(source, expected=f"at most {MOST_COLUMNS:,} columns", got=f"{len(names):,}")
    return _curves(rows, source, columns, {"format": "CSV"}, list(dict.fromkeys(names)))


def read_jsonl(text: str, source: str, columns: Mapping[str, str] | None = None) -> Curves:
    """One JSON object a line, or one object of equally long lists, name -> values."""
    whole = attempt(lambda: parse_json(text, source, non_finite=True))
    if isinstance(whole, dict) and any(isinstance(v, list) for v in whole.values()):
        lists = {k: v for k, v in whole.items() if isinstance(v, list)}
        if len({len(v) for v in lists.values()}) > 1:
            lengths = listed(f"{k} {len(v)}" for k, v in lists.items())
            raise _refusal(source, f"curves of different lengths: {lengths}")
        return _curves(lambda: _rows_of(lists), source, columns, {"format": "JSON"})
    if isinstance(whole, list):
        return _curves(lambda: _objects(whole, source), source, columns, {"format": "JSON"})
    return _curves(lambda: _objects(_json_lines(text, source), source), source, columns, {"format": "JSON"})


def _rows_of(lists: Mapping[str, list[Any]]) -> Iterable[Mapping[str, Any]]:
    """Rows of lists of one length, counted from 1 where there is no epoch."""
    for n, values in enumerate(zip(*lists.values(), strict=True), 1):
        yield {"epoch": n, **dict(zip(lists, values, strict=True))}


def _objects(rows: Iterable[Any], source: str) -> Iterable[Mapping[str, Any]]:
    """The rows, which must be JSON objects, at least one."""
    none = True
    for row in rows:
        none = False
        if not isinstance(row, dict):
            raise bad(source, expected="one JSON object a line", got="something else")
        yield row
    if none:
        raise bad(source, expected="one JSON object a line", got="something else")


def _json_lines(text: str, source: str) -> Iterable[Any]:
    """The values of the lines; a last line that was cut, as by a full disk, is left out."""
    lines = [(n, line) for n, line in enumerate(_lines(text, source), 1) if line.strip()]
    for place, (n, line) in enumerate(lines):
        try:
            row = parse_json(line, source, non_finite=True)
        except BadRequest:
            if place == 0 or place < len(lines) - 1:
                raise _refusal(source, f"line {n} is not JSON") from None
            return
        yield row


# ---------------------------------------------------------------- runs and the front door


def read_run(path: str | Path) -> list[Curves]:
    """The curves of a run of `cgro train`, one for each seed.

    Raises:
        BadRequest: no run, or a run without errors over epochs.
    """
    run = Run.open(path)
    if "eval_attack" not in run.config:
        raise bad(str(path), expected="a run of cgro train", got=f"a run of cgro {run.config.get('command')}")
    return [_one_run(Run.open(part)) for part in sorted(run.path.glob("seed-*")) or [run.path]]


def _one_run(run: Run) -> Curves:
    config, rows = run.config, run.rows()
    if not all(isinstance(row, dict) for row in rows):
        raise bad(f"{run.path}/metrics.jsonl", expected="one JSON object a line", got="something else")
    if not any("robust_error/test" in row for row in rows):
        raise bad(str(run.path), expected="evaluated epochs in metrics.jsonl", got=f"{len(rows)} epochs without any")
    result = run.summary if run.finished else {}
    sizes = result.get("data") if isinstance(result, dict) else None
    sizes = sizes if isinstance(sizes, dict) else {}
    known = {f"n/{k}": min(count(config.get("eval_n", 0), f"{run.path}: eval_n"), count(sizes[f"n_{k}"], f"{run.path}: n_{k}"))
             for k in ("train", "test") if f"n_{k}" in sizes}  # fmt: skip
    classes = {"n_classes": len(sizes["classes"])} if isinstance(sizes.get("classes"), list) else {}
    keep = [{k: v for k, v in row.items() if k in KNOWN and v is not None} for row in rows]
    attack = "none" if config.get("robust_weight") == 0 else config.get("attack")
    meta = {"source": str(run.path), "format": "cgro run", "attack": attack, "attacked_in_evaluation": True,
            "eval_attack": config["eval_attack"], "seed": config.get("seed"), **known, **classes}  # fmt: skip
    return Curves.from_rows(keep, meta)


def read_curves(path: str | Path, columns: Mapping[str, str] | None = None) -> list[Curves]:
    """Curves from a run directory or a file; the content decides which format it is, not the name.

    Args:
        path: a run of `cgro train`, a CSV, JSONL or JSON table, or a text log.
        columns: curve -> column, for tables.

    Returns:
        One value per seed; a file holds one.

    Raises:
        BadRequest: nothing there, an empty or binary file, or none of these formats.
    """
    path = Path(path)
    if os.path.isdir(path):  # unlike `Path.is_dir`, also with names that no system takes
        return read_run(path)
    if not os.path.exists(path):
        raise bad("TARGET", expected="a file or a directory", got=f"{path}, which does not exist")
    content = read_bytes(path, limit=TEXT_LIMIT)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise bad(str(path), expected="a text file: a log, CSV, JSONL", got="something binary") from None
    if not text.strip():
        raise bad(str(path), expected="a log, CSV or JSONL", got="an empty file")
    curves = _by_content(text, str(path), columns)
    if not curves.standard:
        require_robust(curves)
    return [curves]


def _by_content(text: str, source: str, columns: Mapping[str, str] | None) -> Curves:
    start = text.lstrip()
    if start[0] == "{" or start.startswith(("[{", "[\n", "[ {")):
        return read_jsonl(text, source, columns)
    lines = _lines(start, source)
    heads = (_PREFIX.sub("", line, count=1).strip() for line in lines)
    log = any(h.startswith("Namespace(") or (h.lower().startswith("epoch") and len(_phrases(h)) > 1
              and "," not in h and ";" not in h and "_" not in h) for h in heads)  # fmt: skip
    if log:
        return read_log(text, source)
    first = lines[0]
    if any(c in first for c in ",;\t") and len(lines) > 1:
        return read_csv(text, source, columns)
    raise bad(source, expected="a cgro run, a CSV or JSONL with columns, or a training log with a header line",
              got=f"a text that starts with {first[:40]!r}")  # fmt: skip
