"""One printed line -> its epoch, and its numbers under the names that stand before them. Pure functions.

"Test: Average loss: 0.8, Accuracy: 8000/10000 (80%), Robust Accuracy: 45.2%" holds three numbers. What a name leaves
out, as Accuracy does here, is taken from what the line says before it; a name that stays incomplete is left so, and the
layout of the file asks for it."""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from cgro.diagnosis.importers.line.epochs import MOST_CHARACTERS, epochs_of, without_epochs
from cgro.diagnosis.importers.line.notes import noted
from cgro.diagnosis.importers.line.numerals import (
    COMPLEMENT,
    begins_name,
    belongs_to_name,
    in_one_form,
    is_other_number,
    is_small,
    unwrapped,
)
from cgro.diagnosis.importers.line.pairs import comma_in, each_of, no_count, paired, with_parts_before
from cgro.diagnosis.importers.line.printed_names import completed, measure_in, relevant, with_measure
from cgro.diagnosis.keys import is_step
from cgro.diagnosis.vocabulary import (
    BEST,
    MODELS,
    OTHER_WEIGHTS,
    OWN_WEIGHTS,
    has_measure,
    kinds_of,
    may_be_robust,
    measures_of,
    parts_of,
    weights_of,
    words_of,
)
from cgro.diagnosis.words import PARTIAL, SEVERAL, is_error, is_held_out

_BETWEEN = re.compile(r"(?<!\d),|,(?!\d)|[;|]|\s-\s")
"""What separates the parts of a line; not the comma of 0,45 and 4,512."""
# A number with what belongs to it: 8000/10000 (80%), 45.2%. Not the 20 of PGD-20 or of 20it/s, the 10000 of "10000 test
# images", or the 95 of "95% CI".
_VALUE = re.compile(
    r"(?<![\w.%/\-@#])(?<!\d,)"  # not within a word, a name, a number or a path
    r"([-+]?(?:\d+(?:,\d+)+|\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?|nan|-?inf(?!\s?[:=]))"  # the number, no norm
    r"(?:/(\d+))?(\s?%)?(?:\s*\(\s*[\d.]+\s*%\s*\))?"  # its total, its sign, and what percentage it is
    r"(?![\w%/]|\.\w)(?!,\d)"  # not the beginning of a word or of a longer number
    r"(?!\s+(?:\w+\s+)?(?:images|examples|samples)\b|\s?%?\s*(?:CI|confidence)\b)",
    re.IGNORECASE,
)
_FULL_BAR = re.compile(r"(?<!\d)100%\|")
_COUNTER = re.compile(r"\[\s*(\d{1,7})\s*/\s*\d{1,7}\s*\]")
"""Batches done and all: behind it `45.0 (43.2)` is the value of the last batch and the average."""
_QUALIFIES = re.compile(r"\s*[(\[]((?:[^()\[\]\d]|(?<=[\w-])\d)*)[)\]]\s*")
"""Words in brackets behind a number, before another one: `47.1 (best) 45.2 (last)`."""
_BEHIND = re.compile(rf"{_QUALIFIES.pattern}(?![A-Za-z:=])|\s+([A-Za-z][\w-]{{0,20}})\s*$")
"""Words behind a number that end its part of the line, or stand in brackets before the next number."""
_ROUND = re.compile(r"\s*\(([^()\[\]\d]{1,40})\)")
"""Round brackets behind a number; square ones stand before what they speak of."""
_MARK = re.compile(r"\W*(?:so far\W+)?(?:best|max|peak)(?:\W+so far)?\W*", re.IGNORECASE)
"""What marks a value as the best one so far, behind it: `(best)`, `<- best`."""


@dataclass
class Line:
    """What a line says.

    Args:
        epoch: the epoch that it names; None where it names none.
        values: (name, text of the number), in order.
        n_test: of how many test examples a number of it is a count; None where none is.
        is_bar: whether it is the progress bar of tqdm.
        is_within: whether it says which batch or step of the epoch it is of.
        ends: whether it says that the epoch is over, so that its values stand above.
        attack: the line, if it speaks of an attack and no name of a number does.
        doubt: why a number or the epoch of it cannot be read; empty where all can.
        labels: what it says before its epoch, clean or robust, without a part: of a run, or of its values.
        weights: words that say that what follows is of the best epoch, or of averaged weights, where no number does.
        marked: names of numbers behind which stands that they are the best.
        totals: name -> of how many its number is a count.
        inherited: name -> its own words, where only a name before it says train.
        evaluates: what stands before a count of the batches of an evaluation, as test or adv test; empty where none is.
        is_unfinished: whether batches of that evaluation are still to come.
    """

    epoch: int | None = None
    values: list[tuple[str, str]] = field(default_factory=list)
    n_test: int | None = None
    is_bar: bool = False
    is_within: bool = False
    ends: bool = False
    attack: str = ""
    doubt: str = ""
    labels: frozenset[str] = frozenset()
    weights: tuple[str, ...] = ()
    marked: set[str] = field(default_factory=set)
    totals: dict[str, int] = field(default_factory=dict)
    inherited: dict[str, str] = field(default_factory=dict)
    evaluates: str = ""
    is_unfinished: bool = False


@dataclass
class _Said:
    """What a line has said so far that later names may leave out.

    Args:
        header: words of a part, or of clean or robust, that stand before a colon, in brackets or alone.
        part: the part of the last name that has one of its own; eval stays eval.
        kinds: whether the last name that says a part, or clean or robust, says clean or robust.
        unclear: name -> its own words, where another name before it says clean or robust.
        is_open: whether the last number ended its part of the line, so that another of its list may follow.
        weights: words before a name that say that it is of the best epoch, or of averaged weights.
        averaged: whether a number in brackets behind another is the average.
        measure: the word for an error or accuracy in what stands before a colon, in brackets or alone.
        last: the last whole name with a measure.
        base: the name of the last number without the words behind it, as `(train)`; empty where none stand there.
        inherited: see `Line.inherited`.
        section: the part that a heading above the line names, or a count of batches.
    """

    header: str = ""
    part: str = ""
    kinds: frozenset[str] = frozenset()
    unclear: dict[str, str] = field(default_factory=dict)
    is_open: bool = False
    weights: tuple[str, ...] = ()
    averaged: bool = False
    measure: str = ""
    last: str = ""
    base: str = ""
    inherited: dict[str, str] = field(default_factory=dict)
    section: str = ""

    def __post_init__(self) -> None:
        if kinds_of(words_of(self.section)):
            self.header = self.section

    def hear(self, text: str) -> None:
        """Take what a text without a number says of the names that follow.

        Args:
            text: before a colon, in brackets or alone.
        """
        if not text:
            return
        if relevant(text):
            self.header = relevant(text)
            self.kinds = frozenset()
            self.measure = ""
        if measures_of(words_of(text)):
            self.measure = measure_in(text)
            self.last = ""
        weights = weights_of(text)
        if weights or not OWN_WEIGHTS.isdisjoint(words_of(text)):
            self.weights = weights


def parse_line(body: str, *, labeled: bool = False, weights: tuple[str, ...] = (), section: str = "") -> Line:
    """Read a line.

    Args:
        body: without what logging puts before it.
        labeled: whether clean or robust before the epoch is said of the values, and not of the run.
        weights: what an earlier line said of the network, see `Line.weights`.
        section: the part that a heading above says, see `sections`; a line that names an epoch is not below it.

    Returns:
        Its epoch and its named numbers.

    Example:
        >>> parse_line("Epoch: [3 | 120] | Natural Test Acc 0.81 | PGD20 Test Acc 0.45 |").values
        [('Natural Test Acc', '0.81'), ('PGD20 Test Acc', '0.45')]
        >>> parse_line("Test: Average loss: 0.8, Accuracy: 8000/10000 (80%), Robust Accuracy: 45.2%").values
        [('test Average loss', '0.8'), ('test Accuracy', '80%'), ('test Robust Accuracy', '45.2%')]
        >>> parse_line("Train Epoch: 2 [0/50000 (0%)]").epoch
        2
    """
    text = in_one_form(paired(noted(unwrapped(body[:MOST_CHARACTERS]))))
    found = Line(is_bar="%|" in text)
    said = _Said(weights=weights, section=section)
    epochs = epochs_of(text)
    text = epochs.after
    if epochs.numbers:
        said.section = said.header = ""
        found.epoch = epochs.numbers[0]
        found.ends = epochs.ends
        found.doubt = epochs.doubt
        said.averaged = _counts_batches(epochs.before, epochs.numbers)
        if _FULL_BAR.search(text) and parts_of(words_of(epochs.before)) & {"test", "validation"}:
            found.is_bar = False  # of the evaluation itself, as of the package robustness
        _take(epochs.before, said, found)
        if len(epochs.numbers) > 1:
            two = f"{epochs.numbers[0]} and {epochs.numbers[1]}"
            found.doubt = found.doubt or f"a line names two epochs, {two}; leave one"
        if not found.values:
            _leave_epoch(said, found, labeled=labeled)
    said.averaged = said.averaged or _counts_batches(text, [found.epoch])
    _take(with_parts_before(text), said, found)
    _leave_unclear(said, found)
    _leave_unfinished(found)
    found.inherited = said.inherited
    found.is_within = said.averaged or any(is_step(name) for name, _ in found.values)
    if not any(map(is_error, (name for name, _ in found.values))) and "two epochs" in found.doubt:
        found.doubt = ""
    if not found.values and weights_of(text) == said.weights:
        found.weights = said.weights
    speaks_of_attack = may_be_robust(body) and "robust" in kinds_of(words_of(without_epochs(body[:MOST_CHARACTERS])))
    for name, _ in found.values:
        speaks_of_attack = speaks_of_attack and "robust" not in kinds_of(words_of(name))
    if speaks_of_attack:
        found.attack = body.strip()
    return found


def _counts_batches(text: str, epochs: Sequence[int | None]) -> bool:
    """Whether a text says which batch of how many it is of, and not which epoch of how many."""
    match = _COUNTER.search(without_epochs(text))
    return match is not None and int(match[1]) not in epochs


def _take(text: str, said: _Said, line: Line) -> None:
    """Add the numbers of a text."""
    said.is_open = False
    for chunk in _BETWEEN.split(without_epochs(text)):
        _take_part(chunk, said, line)


def _leave_unclear(said: _Said, line: Line) -> None:
    """Leave a name incomplete that could be clean or robust: "Test Robust Loss 1.5, Acc 0.45". Beside a robust
    accuracy on the same part of the data a plain one is clean."""
    robust: set[tuple[bool, frozenset[str]]] = set()
    for name, _ in line.values:
        if "robust" in kinds_of(words_of(name)):
            robust.add((is_error(name), parts_of(words_of(name))))
    for place, (name, value) in enumerate(line.values):
        if name in said.unclear and (is_error(name), parts_of(words_of(name))) not in robust:
            line.values[place] = (said.unclear[name], value)


def _leave_unfinished(line: Line) -> None:
    """Say in their names that values are of some batches of an evaluation."""
    if not line.is_unfinished:
        return
    for place, (name, value) in enumerate(line.values):
        if has_measure(words_of(name)):
            line.values[place] = (f"{PARTIAL} {name}", value)


def _leave_epoch(said: _Said, line: Line, *, labeled: bool) -> None:
    """Forget that words before the epoch say robust, as PGD-AT does: they may name the run. Beside a part they stay."""
    words = words_of(said.header)
    if parts_of(words):
        return
    line.labels = kinds_of(words)
    if "robust" in line.labels and not labeled:
        said.header = ""


def _take_part(chunk: str, said: _Said, line: Line) -> None:
    """Add the named numbers of one part of a line; without any, its words are a header for the parts that follow."""
    found = line.values
    n_before = len(found)
    start = 0
    kept = ""
    follows = said.is_open  # whether the number before this one has a name
    for match in _VALUE.finditer(chunk):
        raw = kept + chunk[start : match.start()]
        if start and not kept:
            raw = _qualified(raw, line, named=follows)
        start = match.end()
        kept = ""
        if _is_of_name(raw, match, chunk, said):
            kept = re.sub(r"[:=]\s*$", " ", raw) + match[0]
            continue
        if _take_count(raw, match, chunk, said, line) or _take_unnamed(raw, match, chunk, said, line, named=follows):
            follows = False
            continue
        name = _name(raw, said)
        follows = bool(name) and "," not in match[1]
        if name:
            said.base = ""
        if follows:
            _add(name, match, line)
        elif name and is_error(name):
            line.doubt = line.doubt or comma_in(name, match[0])
    rest = kept + chunk[start:]
    said.is_open = follows and not rest.strip()
    if start == 0:
        said.hear(rest)
    elif len(found) > n_before:
        _take_rest(rest, line, said)


def _add(name: str, match: re.Match[str], line: Line) -> None:
    """Add a number, and note of how many it is a count."""
    number, total, _ = match.groups()
    line.values.append((name, _text_of(match)))
    if total is not None and "test" in parts_of(words_of(name)):
        line.n_test = int(total)
    if total is not None and number.isdecimal() and is_error(name):
        line.totals[name] = int(total)
        line.doubt = line.doubt or no_count(name, number, total)


def _take_count(raw: str, match: re.Match[str], chunk: str, said: _Said, line: Line) -> bool:
    """Take a count of batches, as [40/79] is behind what is no measure; what stands before it is said of the values
    behind it. False for any other number."""
    if match[2] is None or raw.rstrip()[-1:] != "[" or chunk[match.end() :].lstrip()[:1] != "]":
        return False
    before = raw.rstrip()[:-1]
    if has_measure(words_of(before)):
        return False
    said.hear(before)
    header = relevant(before) or said.header or said.section
    if parts_of(words_of(header)) & {"test", "validation"}:
        line.evaluates = header
        line.is_unfinished = int(match[1]) + 1 < int(match[2])
    return True


def _is_of_name(raw: str, match: re.Match[str], chunk: str, said: _Said) -> bool:
    """Whether a number is part of the name of another one."""
    if begins_name(raw, match, chunk) and "robust" in kinds_of(words_of(f"{said.header} {said.last}")):
        return True
    return _tells_attack(raw, match, chunk) or belongs_to_name(raw, match, chunk)


def _take_unnamed(raw: str, match: re.Match[str], chunk: str, said: _Said, line: Line, *, named: bool) -> bool:
    """Take a number without a name before it, where the number before it has one; False for any other.

    `named` says whether that stands right before it, without words of its own."""
    if not _is_unnamed(raw):
        return False
    if _take_listed(raw, match, chunk, said, line, named=named):
        return True
    if named:
        _take_again(line.values, raw, match, chunk, said)
    return named or bool(said.base)


def _take_listed(raw: str, match: re.Match[str], chunk: str, said: _Said, line: Line, *, named: bool) -> bool:
    """Take a number that the words behind it tell from the one before: `acc 80.1 (train) 79.2 (test)`."""
    inside = _QUALIFIES.fullmatch(raw)
    behind = _BEHIND.match(chunk, match.end())
    if behind is None:
        return False
    first, second = relevant(inside[1]) if inside else "", relevant(behind[1] or behind[2] or "")
    if named and first:
        said.base = line.values[-1][0]
    if not second or not said.base:
        return False
    if named and first:
        line.values[-1] = (completed(said.base, first, ""), line.values[-1][1])
    line.values.append((completed(said.base, second, ""), _text_of(match)))
    return True


def _take_rest(rest: str, line: Line, said: _Said) -> None:
    """Take what the words behind the last number of a part say of it."""
    left = rest
    if rest.strip():
        left = _qualified(f"{rest} .", line, named=True).removesuffix(" .")
    name, value = line.values[-1]
    if _MARK.fullmatch(left):
        line.marked.add(name)
    elif relevant(left):
        whole = completed(name, relevant(left), "")
        if whole != name:
            said.base = name
        line.values[-1] = (whole, value)


def _qualified(rest: str, line: Line, *, named: bool) -> str:
    """What is left of a text behind a number without brackets that say of it that it is of other weights, or the best.

    `45.2 (ema) test acc 80.1`: the brackets belong to the number, and not to the name behind them. `named` says whether
    the number has a name."""
    match = _ROUND.match(rest)
    if match is None or not rest[match.end() :].strip():
        return rest
    words = words_of(match[1])
    is_other = not OTHER_WEIGHTS.isdisjoint(words) and (OTHER_WEIGHTS | MODELS).issuperset(words)
    is_best = _MARK.fullmatch(match[1]) is not None
    if not (is_other or is_best or (words and OWN_WEIGHTS.issuperset(words))):
        return rest
    if named and line.values:
        name, value = line.values[-1]
        if is_other:
            line.values[-1] = (" ".join([*words, name]), value)
        elif is_best:
            line.marked.add(name)
    return rest[match.end() :]


@functools.lru_cache(maxsize=10_000)
def _is_unnamed(raw: str) -> bool:
    """Whether a text between two numbers gives the second one no name: no words, or words in brackets of the first."""
    if not words_of(raw):
        return True
    inside = _QUALIFIES.fullmatch(raw)
    return inside is not None and not has_measure(words_of(inside[1]))


def _take_again(found: list[tuple[str, str]], raw: str, match: re.Match[str], chunk: str, said: _Said) -> None:
    """Add a second number behind one name: the average of a meter, or of two held-out values one to be asked for."""
    name, value = found[-1]
    after = chunk[match.end() :]
    inside = _QUALIFIES.fullmatch(raw)
    both = each_of(name)
    if both is not None and len(both) == 2 and inside is None:
        found[-1:] = [(both[0], value), (both[1], _text_of(match))]
        return
    if inside is not None:
        weights = " ".join(weights_of(inside[1]))
        found[-1] = (f"{weights} {completed(name, relevant(inside[1]), '')}".strip(), value)
    elif said.averaged and raw.strip() == "(" and after.lstrip().startswith(")"):
        found[-1] = (name, _text_of(match))
        return
    elif is_other_number(raw, match, after, value):
        return
    may_be_held_out = is_held_out(name) or (_may_be_held_out(name) and "(" not in raw)  # "Acc@1 45.2 (44.1)": a meter
    if inside is None and may_be_held_out:
        found[-1] = (f"{name} (first of {SEVERAL})", value)
    if may_be_held_out:
        found.append((f"{name} (second of {SEVERAL})", _text_of(match)))


@functools.lru_cache(maxsize=10_000)
def _may_be_held_out(name: str) -> bool:
    """Whether a name is that of an error of its epoch, and not said to be of the training data."""
    words = words_of(name)
    return is_error(name) and "train" not in parts_of(words) and BEST.isdisjoint(words)


def _tells_attack(raw: str, match: re.Match[str], chunk: str) -> bool:
    """Whether a number belongs to the name of an attack, as in `PGD 20 Test Acc 45.2`."""
    if not raw[-1:].isspace() or not is_small(match[1]) or not _is_attack(raw):
        return False
    return re.match(r"\s+[A-Za-z]", chunk[match.end() :]) is not None


@functools.lru_cache(maxsize=10_000)
def _is_attack(raw: str) -> bool:
    words = words_of(raw)
    return "robust" in kinds_of(words) and not has_measure(words)


def _text_of(match: re.Match[str]) -> str:
    """A number as a cell of a table; a count of a total becomes a percentage."""
    number, total, sign = match.groups()
    if total is not None and number.isdecimal() and int(total) > 0 and int(number) <= int(total):
        return f"{100 * int(number) / int(total):.10g}%"
    if sign:
        return f"{number}%"
    return number


def _name(raw: str, said: _Said) -> str:
    """The whole name of a number, with what the line said before; empty where no word stands before the number."""
    text = raw.rstrip(" \t:=([{->~)]}")
    if COMPLEMENT in text:
        return "1 - " + text.replace(COMPLEMENT, "").strip(" \t\"'*[{-=>.#!_:)")
    place = max(map(text.rfind, ":]})>")) + 1
    own = text[place:].strip(" \t\"'*([{-=>.#!_")
    said.hear(text[:place])
    words = words_of(own)
    if not words:
        return ""
    if not has_measure(words):
        own = with_measure(own, said.measure, said.last)
        words = words_of(own)
    name = own
    if has_measure(words):
        said.last = own
    if has_measure(words) or kinds_of(words):
        name = " ".join([*said.weights, completed(own, said.header, said.part or said.section)])
        if said.part == "train" and not parts_of([*words, *words_of(said.header)]):
            said.inherited[name] = own
        if said.kinds and not kinds_of(words_of(name)) and not parts_of(words):
            said.unclear[name] = own
    parts = parts_of(words)
    if parts:
        said.part = "eval" if "eval" in words else min(parts)  # eval may be validation, which other names tell
    if parts or kinds_of(words):
        said.kinds = kinds_of(words)
    return name
