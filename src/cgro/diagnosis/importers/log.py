"""The plain-text training log of this field: a header, then rows of numbers between other lines."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from cgro._check import bad
from cgro.diagnosis.columns import counted
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.delimited import Delimited
from cgro.diagnosis.importers.heads import about_of, said_of_itself, settings_in
from cgro.diagnosis.importers.table import Table, curves_of
from cgro.diagnosis.importers.told import Told
from cgro.diagnosis.rate import sudden_drops
from cgro.diagnosis.vocabulary import all_known, has_measure, kinds_of, parts_of, weights_of, words_of
from cgro.diagnosis.words import Meaning, is_error, meaning_of

MOST_FIELDS = 1_000
"""Numbers of a row of a log; twelve are usual. A choice."""
MOST_HEADER = 400
"""Characters of a header below which one evaluation stands. A choice; that of FGSM-PGI has 50."""

# What logging puts before a message: a time in brackets or not, a level, the name of the logger. Each part begins with
# a character that no other one allows, so that a line takes time in proportion to its length.
_PREFIX = re.compile(
    r"\s*(?:(?P<bracket>\[[^\]]*\])\s*-?\s*)?(?:\d{4}[-/]\d\d[-/]\d\d[ T_]\d\d:\d\d(?::\d\d)?(?:[.,]\d{1,6})?[\s:|-]*)?"
    r"(?:(?:DEBUG|INFO|WARNING|ERROR)\b[\s:|-]*(?:(?P<logger>[\w.]{1,60}):\s+)?)?"
)
_LONGEST_HEADING = 60
"""Characters of brackets that may name what stands behind them. A choice."""
_COUNTER = re.compile(r"\[\s*(?:\d{1,7}\s*/\s*\d{1,7}|[Ee][Pp]?[\s:=#._-]{0,3}\d{1,6}(?:\s*/\s*\d{1,6})?)\s*\]")
"""Brackets that count batches or epochs: [3/30], [E003]."""
_COLOR = re.compile(r"\x1b\[[0-9;]{0,20}m")
"""What colors a terminal."""
_NAMED_VALUE = re.compile(r"[A-Za-z][\s:=]{1,3}\d+\.\d+\s?%?\s*(?=\||\t|\s\s|$)")
"""A number with decimals behind a word, at the end of its part of a line."""
_PHRASE = re.compile(r"epoch|lr|(?:train|test)\s+(?:robust\s+)?(?:time|loss|acc(?:uracy)?|grad)", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|nan|inf)")
_CLOCK = re.compile(r"\d{1,3}(?::\d\d){1,2}")
_PLAIN = (
    "Epoch", "Train Time", "Test Time", "LR", "Train Loss", "Train Acc", "Train Robust Loss", "Train Robust Acc",
    "Test Loss", "Test Acc", "Test Robust Loss", "Test Robust Acc",
)  # fmt: skip
"""The twelve columns of Rice et al., for rows under a header that names some of them and nothing else."""
_USUAL = list(map(str.lower, _PLAIN))
_VALIDATION = ("Validation Loss", "Validation Acc", "Validation Robust Loss", "Validation Robust Acc")


@dataclass
class _Log:
    """What the lines of a log say.

    Args:
        rows: column -> value, one per row of numbers.
        settings: of the last Namespace.
        headers: ways to split the header in force into names.
        n_headers: headers so far.
        n_misfits: rows of numbers that do not fit the header.
        first_misfit: the first of them.
        is_usual: whether rows have more numbers than the header has names, and the first twelve are the usual ones.
        n_unused: numbers behind those.
        evaluated: names of a header without an epoch, for the row of numbers below it.
        meanings: what those of them are that leave out the part which the others say.
        n_evaluations: rows below such headers.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    headers: list[list[str]] = field(default_factory=list)
    n_headers: int = 0
    n_misfits: int = 0
    first_misfit: str = ""
    is_usual: bool = False
    n_unused: int = 0
    evaluated: list[str] = field(default_factory=list)
    n_evaluations: int = 0
    meanings: dict[str, Meaning] = field(default_factory=dict)


class Log:
    """The training log of Rice, Wong and Kolter (ICML 2020) and of the many programs descended from theirs."""

    name = "text log"

    def recognizes(self, text: Text) -> float:
        """See `Importer.recognizes`.

        Args:
            text: of the file.

        Returns:
            0.9 for a text with a header line that begins with Epoch; as sure as `Delimited` of a CSV in lines of a log.
        """
        table = _logged_table(text)
        if table is not None:
            return Delimited().recognizes(table)
        for line in text.lines:
            if headers_of(without_prefix(line)):
                return 0.9
        return 0.0

    def read(self, text: Text, told: Told) -> list[Curves]:
        """See `Importer.read`.

        Rows follow a header; a restart repeats Namespace and header, and the last record of an epoch counts. -1 is "not
        measured". A `validation` line belongs to the row before it, and so does the row below a header of errors that
        names no epoch, as FGSM-PGI and LAS-AT print one after every epoch. The rate logged with an epoch is that of its
        last step, so a drop shows one row early; here it stands where it was in force. attack='none' is standard
        training.
        A table between tabs with cells that are no numbers is left to `Delimited`, which knows empty ones.

        Args:
            text: of the file.
            told: columns of the header that the caller named.

        Returns:
            One value per seed.

        Raises:
            BadRequest: no header, no rows that fit it, and see `curves_of`.
        """
        table = _logged_table(text)
        if table is not None or _is_table(text.lines):
            return Delimited().read(table or text, told)
        found = _Log()
        for line in text.lines:
            _take(without_prefix(line), found)
        if not found.rows:
            raise bad(
                text.source, expected="a training log with a header 'Epoch ... Train Robust Acc ...'", got=_lack(found)
            )
        remarks = said_of_itself(found.settings)
        if 1 < found.n_headers < len(found.rows):  # a header above every row says nothing
            remarks.append(counted(found.n_headers - 1, "restart"))
        if found.n_evaluations:
            rows = counted(found.n_evaluations, "row")
            remarks.append(f"{rows} below headers that name no epoch: taken for evaluations of the epochs above")
        if found.n_misfits:
            rows = counted(found.n_misfits, "row")
            remarks.append(f"left out, since the header does not fit: {rows}, first {found.first_misfit!r}")
        if found.is_usual:
            unused = f", and the last {found.n_unused} are not used" if found.n_unused else ""
            remarks.append(
                f"the header names fewer columns than there are: the first {len(_PLAIN)} are read as those of Rice "
                f"et al., in their order{unused}"
            )
        about = about_of(found.settings, self.name)
        table = Table(text.source, lambda: found.rows, None, about, remarks, found.meanings, appended=True)
        return list(map(rate_in_force, curves_of(table, told)))


def read_log(text: str, source: str = "log") -> Curves:
    """The curves of a text log.

    Args:
        text: of the file.
        source: its name, for errors.

    Returns:
        The curves of its training.

    Raises:
        BadRequest: no header, or no rows that fit it; see `Log.read`.

    Example:
        >>> c = read_log("Epoch \\t Train Robust Acc \\t Test Robust Acc\\n0 \\t 0.3 \\t 0.25\\n1 \\t 0.4  0.30")
        >>> c["robust_error/test"].tolist()
        [0.75, 0.7]
    """
    return Log().read(Text(text, source), Told({}))[0]


def without_prefix(line: str) -> str:
    """A line without what the logging put before it: a time, a level, the name of a logger.

    Args:
        line: of any text.

    Returns:
        The message.

    Example:
        >>> without_prefix("2024-01-01 10:00:00,123 INFO train: Epoch 1")
        'Epoch 1'
        >>> without_prefix("[10:00:00] [Test] acc 0.5"), without_prefix("INFO EMA: acc 0.5")
        ('[Test] acc 0.5', 'EMA: acc 0.5')
    """
    if "\x1b" in line or "\b" in line:
        line = _COLOR.sub("", line.rpartition("\b")[2])  # Keras goes back over its bar
    match = _PREFIX.match(line)
    if match is None:
        return line.strip()
    bracket, logger = match.group("bracket", "logger")
    end = match.end()
    if logger and _says_of_values(logger):
        end = match.start("logger")
    if bracket and (_is_heading(bracket) or _COUNTER.fullmatch(bracket)):
        end = match.start("bracket")
    return line[end:].strip()


def _says_of_values(text: str) -> bool:
    """Whether words say something of the values behind them: clean or robust, or that they are the best ones."""
    return bool(weights_of(text) or kinds_of(words_of(text)))


def _is_heading(bracket: str) -> bool:
    """Whether brackets are [Epoch 3], [Test], [PGD-20] or [EMA], and nothing else; not [train.py:31], nor a time."""
    words = [word for word in words_of(bracket[:_LONGEST_HEADING]) if not word.isdigit()]
    if len(bracket) > _LONGEST_HEADING or not words:
        return False
    others = [word for word in words if word not in ("epoch", *weights_of(bracket))]
    return all_known(others) and bool(len(others) < len(words) or parts_of(words) or kinds_of(words))


def headers_of(body: str) -> list[list[str]]:
    """The ways to read a line as a header that begins with Epoch.

    Args:
        body: of a line, without what logging puts before it.

    Returns:
        Names of columns, once or in several ways; none if it is something else.

    Example:
        >>> headers_of("Epoch \t Seconds \t LR")
        [['Epoch', 'Seconds', 'LR']]
    """
    start = body[:7].lower()
    if not start.startswith("epoch") or "," in body or ";" in body or _has_values(body):
        return []
    body = body[: 100 * MOST_FIELDS]
    by_blanks = map(str.strip, re.split(r"\t|\s{2,}|\|", body, maxsplit=10 * MOST_FIELDS))
    ways = [list(filter(None, by_blanks))]
    if not _PHRASE.sub("", body).replace("|", "").strip():  # nothing but words that are known
        phrases = itertools.islice(_PHRASE.finditer(body), MOST_FIELDS)
        ways.append([" ".join(match[0].split()) for match in phrases])
    if "_" in body:
        ways.append(body.split(maxsplit=MOST_FIELDS))
    return [names for names in ways if 1 < len(names) <= MOST_FIELDS]


def _has_values(body: str) -> bool:
    """Whether a line that begins with Epoch has its number, or the numbers of several names: no header, but printed."""
    return re.match(r"epochs?\W*\d", body, re.IGNORECASE) is not None or len(_NAMED_VALUE.findall(body)) > 1


def _take(body: str, found: _Log) -> None:
    """Add what one line says."""
    lower = body[:12].lower()
    settings = settings_in(body)
    if settings:
        found.settings |= settings
        return
    if lower.startswith("epoch"):
        ways = headers_of(body)
        if ways and (not found.headers or _names_columns(ways)):
            found.headers = ways
            found.n_headers += 1
        return
    if lower.startswith("validation") and found.rows:
        found.rows[-1] |= _validation(body)
        return
    if not found.headers:
        return
    found.evaluated = _header_of_evaluation(body) or found.evaluated
    values = numbers_of(body)
    if values is not None and found.rows and len(values) == len(found.evaluated):
        found.rows[-1] |= _row(found.evaluated, values)
        found.meanings |= _with_part(found.evaluated)
        found.evaluated = []
        found.n_evaluations += 1
        return
    if values is None and not _is_damaged_row(body, found.headers):
        return
    names = None if values is None else _names_for(len(values), found.headers)
    if values is None or names is None or not values[0].is_integer():  # NaN and infinity are not either
        found.n_misfits += 1
        found.first_misfit = found.first_misfit or body[:60]
        return
    if names is _PLAIN:
        found.is_usual = True
        found.n_unused = max(found.n_unused, len(values) - len(_PLAIN))
    found.evaluated = []
    found.rows.append(_row(names, values))


def _logged_table(text: Text) -> Text | None:
    """The CSV in a text each line of which begins with what logging writes; None where there is none."""
    lines = list(filter(str.strip, text.lines))
    if not lines or "," not in lines[0] or without_prefix(lines[0]) == lines[0].strip():
        return None
    bodies: list[str] = []
    for line in lines:
        body = without_prefix(line)
        if body == line.strip():
            return None
        bodies.append(body)
    if len({body.count(",") for body in bodies}) > 1:
        return None
    return replace(text, content="\n".join(bodies))


def _names_columns(ways: Sequence[list[str]]) -> bool:
    """Whether a line below the first header is another one, and not `Epoch complete | saving`."""
    return any(meaning_of(name) is not None for names in ways for name in names[1:])


def _header_of_evaluation(body: str) -> list[str]:
    """The names of a header that has errors and no epoch, `Test Loss \t Test Acc \t PGD Loss \t PGD Acc`; else none."""
    if not body[:1].isalpha() or len(body) > MOST_HEADER:
        return []
    names = list(filter(None, map(str.strip, re.split(r"\t|\s{2,}|\|", body))))
    if len(names) < 2 or not all(has_measure(words_of(name)) for name in names) or not any(map(is_error, names)):
        return []
    return [] if any(map(_NUMBER.fullmatch, body.split())) else names


def _with_part(names: Sequence[str]) -> dict[str, Meaning]:
    """What names without a part are in a header whose other names say one: the PGD Acc beside the Test Acc."""
    parts = parts_of(itertools.chain.from_iterable(map(words_of, names)))
    found: dict[str, Meaning] = {}
    for name in names:
        meaning = meaning_of(f"{min(parts, default='')} {name}")
        if len(parts) == 1 and not parts_of(words_of(name)) and isinstance(meaning, Meaning):
            found[name] = meaning
    return found


def _is_table(lines: Sequence[str]) -> bool:
    """Whether every line has as many fields between tabs as the header above it, and some row a cell that is no number.

    A table of numbers alone is read as a log, which it may be.
    """
    rows = list(filter(str.strip, lines))
    if len(rows) < 2 or not headers_of(rows[0].strip()):
        return False
    names = rows[0].rstrip().split("\t")
    if len(names) < 2 or not all(map(str.strip, names)):
        return False  # two tabs between names: columns that are lined up, whose fields say nothing
    others = False
    for row in rows[1:]:
        if len(row.rstrip().split("\t")) > len(names) or row.count("\t") < len(names) - 1:
            return False
        if without_prefix(row) != row.strip():
            return False  # behind what logging writes
        cells = row.rstrip("\r\n").split("\t")[: len(names)]
        are_numbers = numbers_of(row) is not None and all(map(str.strip, cells))
        others = others or not (are_numbers or row.strip() == rows[0].strip())
    return others


def _is_damaged_row(body: str, headers: Sequence[list[str]]) -> bool:
    """Whether a line that is not of numbers alone is a row: a number first, and a header's number of fields.

    Between blanks most fields must be numbers, or a sentence such as "3 epochs left" would be one.
    """
    if not body[:1].isdigit():
        return False
    lengths = set(map(len, headers))
    cells = body.split("\t", maxsplit=MOST_FIELDS)
    if len(cells) > 1 and len(cells) in lengths and _NUMBER.fullmatch(cells[0].strip()):
        return True
    fields = body.replace("|", " ").split(maxsplit=MOST_FIELDS)
    n_numbers = sum(_NUMBER.fullmatch(cell) is not None for cell in fields)
    return len(fields) in lengths and _NUMBER.fullmatch(fields[0]) is not None and 2 * n_numbers > len(fields)


def _row(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """A row; of accuracies every negative value means that it was not measured."""
    row = dict(zip(names, values, strict=False))
    for name, value in row.items():
        if value < 0:
            meaning = meaning_of(name)
            if isinstance(meaning, Meaning) and meaning.accuracy:
                row[name] = np.nan
    return row


def _names_for(n: int, headers: Sequence[list[str]]) -> Sequence[str] | None:
    """The names of a row of n numbers."""
    for names in headers:
        if len(names) == n:
            return names
    for names in headers:
        given = list(map(str.lower, names))
        left = iter(_USUAL)
        in_order = all(name in left for name in given)
        begins = len(given) >= 4 and given == _USUAL[: len(given)]
        if (n == len(_PLAIN) and in_order) or (n > len(_PLAIN) and begins):
            return _PLAIN
    return None


def numbers_of(body: str) -> list[float] | None:
    """The numbers of a line of nothing else; a time such as 00:31, as fastai prints last, is NaN.

    Args:
        body: of a line, without what logging puts before it.

    Returns:
        At least two; None for any other line.

    Example:
        >>> numbers_of("3 \t 0.5 || nan"), numbers_of("3 epochs")
        ([3.0, 0.5, nan], None)
    """
    fields = body.replace("|", " ").split(maxsplit=MOST_FIELDS)
    if len(fields) < 2:
        return None
    found: list[float] = []
    for text in fields:
        if _NUMBER.fullmatch(text):
            found.append(float(text))
        elif found and _CLOCK.fullmatch(text):
            found.append(np.nan)
        else:
            return None
    return found


def _validation(body: str) -> Mapping[str, float]:
    values = [float(match[0]) for match in itertools.islice(_NUMBER.finditer(body), len(_VALIDATION) + 1)]
    if len(values) != len(_VALIDATION):
        return {}
    return _row(_VALIDATION, values)


def _lack(found: _Log) -> str:
    """What a log without a usable row has instead."""
    if not found.n_headers:
        return "no line that starts so"
    names = " | ".join(found.headers[0])
    if not found.n_misfits:
        return f"the header {names!r} and no row of numbers"
    return f"{found.n_misfits} rows of numbers that do not fit the header {names!r}, such as {found.first_misfit!r}"


def rate_in_force(curves: Curves) -> Curves:
    """Move each sudden drop of the learning rate one epoch later, to the first epoch that it was in force for whole.

    Args:
        curves: with the rate of the last step of each epoch, as this field's programs log it.

    Returns:
        With the rate of its first step.
    """
    epochs, rate = curves.measured("lr")
    if len(rate) < 2:
        return curves
    moved = curves["lr"].copy()
    for after in np.nonzero(sudden_drops(rate))[0]:
        moved[np.searchsorted(curves.epoch, epochs[after])] = rate[after - 1]
    return replace(curves, values={**curves.values, "lr": moved})
