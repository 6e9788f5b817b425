"""What a program printed: lines that name an epoch and numbers, as `Test: Accuracy: 8000/10000 (80%)`."""

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from cgro._check import listed, one_line
from cgro.diagnosis.columns import map_option
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.heads import about_of, said_of_itself, settings_in
from cgro.diagnosis.importers.line.epochs import ABOVE, ABOVE_FIRST, ABOVE_LAST
from cgro.diagnosis.importers.line.lines import Line, parse_line
from cgro.diagnosis.importers.line.pairs import changing_total
from cgro.diagnosis.importers.log import without_prefix
from cgro.diagnosis.importers.printed.blocks import OF_TEST, Block
from cgro.diagnosis.importers.printed.counters import with_epochs
from cgro.diagnosis.importers.printed.sections import Sections, heading_of
from cgro.diagnosis.importers.refusals import refusal
from cgro.diagnosis.importers.table import Table, curves_of
from cgro.diagnosis.importers.told import Told
from cgro.diagnosis.keys import group_in_line
from cgro.diagnosis.vocabulary import is_total, kinds_of, word_set, words_of
from cgro.diagnosis.words import Meaning, Unknown, curve_of, is_error, is_held_out, meaning_of

_HEAD = 20_000
"""Lines that are looked at to recognize the format. A choice: some programs print each of 400 batches."""
_HEADING = word_set(
    "best so far model network checkpoint weights the of on with for result results evaluation evaluating evaluate "
    "eval test testing val validation ema swa wa polyak teacher student averaged average moving "
    "using use switching switch to applying apply parameters params"
)
"""Words of a line that says whose values stand below it."""
_HELD_OUT = ("/test", "/validation")
"""Ends of curves of data that are not trained on."""
MOST_RESUMED = 3
"""Epochs of a resumed training that are recorded twice, one right behind the other. A choice, as in `rows.merge`."""
FEWEST_MARKED = 3
"""Numbers that are all marked as the best are those of the best epoch so far. A choice: the first ones are the best."""
_PROGRESS = re.compile(r"Train Epoch: \d+ \[\d+/\d+ \(\d+%\)\]")


@dataclass
class _Printed:
    """What the lines of a text say.

    Args:
        blocks: in order; the first has no epoch.
        settings: of the last Namespace.
        attack: the first line that speaks of an attack without a number that says so.
        is_mart: whether the training prints as TRADES and MART do.
        n_test: of how many test examples counts are; None where no line says so.
        labels: what lines say before their epoch: clean, robust or both.
        doubt: the first reason not to read a line.
        marked: name -> in how many lines its number is marked as the best.
        named: name -> in how many lines it stands.
        totals: name -> of how many its numbers are counts.
        inherited: name -> its own words, where only a name before it in the line says train.
        heading: the first line below which values are taken for those of the part that it names.
        counter: the first number at the beginning of a line that is taken for an epoch without that word.
    """

    blocks: list[Block] = field(default_factory=lambda: [Block(None)])
    settings: dict[str, str] = field(default_factory=dict)
    attack: str = ""
    is_mart: bool = False
    n_test: int | None = None
    labels: frozenset[str] = frozenset()
    doubt: str = ""
    marked: dict[str, int] = field(default_factory=dict)
    named: dict[str, int] = field(default_factory=dict)
    totals: dict[str, set[int]] = field(default_factory=dict)
    inherited: dict[str, str] = field(default_factory=dict)
    heading: str = ""
    counter: str = ""

    def note(self, line: Line) -> None:
        """Take note of what a line says of its numbers.

        Args:
            line: of any kind.
        """
        self.inherited |= line.inherited
        for name in line.marked:
            self.marked[name] = self.marked.get(name, 0) + 1
        for name, _ in line.values:
            self.named[name] = self.named.get(name, 0) + 1
        for name, total in line.totals.items():
            self.totals.setdefault(name, set()).add(total)

    def begin(self, group: tuple[str, str]) -> None:
        """Begin another training, unless the lines before are of the same: a program that is resumed says it again.

        Args:
            group: name and value of the line that says which it is.
        """
        if self.blocks[-1].epoch is None:
            self.blocks[-1].group = group
        elif self.blocks[-1].group != group:
            self.blocks.append(Block(None, group=group))

    def conclude(self) -> None:
        """Take what only all lines together say: numbers that are always the best, and counts whose total changes."""
        for name, n in self.marked.items():
            if n >= FEWEST_MARKED and n == self.named.get(name):
                for block in self.blocks:
                    block.rename(name, f"best {name}")
        self._leave_parts_open()
        for name, totals in self.totals.items():
            if is_held_out(name):
                self.doubt = self.doubt or changing_total(name, totals)

    def _leave_parts_open(self) -> None:
        """Leave open whether a clean or robust value behind one of training is of training too, where no other name of
        its kind says that it is held out: "Train Loss: 1.2 | Clean Acc: 80 | PGD Acc: 45"."""
        held_out = {curve_of(name).partition("_")[0] for name in self.named if is_held_out(name)}
        is_open = False
        for name, own in self.inherited.items():
            kinds = kinds_of(words_of(own))
            is_open = is_open or (is_error(name) and bool(kinds) and kinds.isdisjoint(held_out))
        if not is_open:
            return
        for name, own in self.inherited.items():
            kind = curve_of(name).partition("_")[0]
            if is_error(name) and kind not in held_out:
                for block in self.blocks:
                    block.rename(name, own)


class Printed:
    """The standard output of TRADES, MART, NoiLIn and of any program that prints names, numbers and epochs.

    What stands between two epochs belongs to the earlier one, or to the later one where its line says that it is over
    and values stand before the first; what stands in the line that names an epoch belongs to it. Of a training value
    the last of an epoch counts.
    """

    name = "printed text"

    def recognizes(self, text: Text) -> float:
        """See `Importer.recognizes`.

        Args:
            text: of the file.

        Returns:
            0.7 for a text that names an epoch, and numbers that are errors or accuracies.
        """
        lines = list(map(without_prefix, text.lines[:_HEAD]))
        if not any(map(_has_value, lines)):
            return 0.0
        if any(map(_has_epoch, lines)) or with_epochs(lines)[1]:
            return 0.7
        return 0.0

    def read(self, text: Text, told: Told) -> list[Curves]:
        """See `Importer.read`.

        Args:
            text: of the file.
            told: names of numbers that the caller named.

        Returns:
            One value.

        Raises:
            BadRequest: a held-out number that is printed twice an epoch, counts of an unknown total, lines about an
                attack where no number is robust; see `curves_of`.
        """
        chosen = {choice.text for curve, choice in told.choices.items() if curve.endswith(_HELD_OUT)}
        found = _read(text, frozenset(chosen), labeled=False)
        if len(found.labels) > 1:  # some lines begin with clean and some with robust: they name what the values are
            found = _read(text, frozenset(chosen), labeled=True)
        if found.doubt:
            raise refusal(text.source, found.doubt)
        remarks = said_of_itself(found.settings)
        if found.counter:
            remarks.append(f"{found.counter!r} and the like at the beginning of lines are taken for epochs")
        if found.heading:
            remarks.append(
                f"values below lines such as {one_line(found.heading, 40)!r} are taken to be of the part that it names"
            )
        _require_single(found, text.source)
        _require_lines(found, text.source)
        rows, more = _rows(found, text.source)
        names = list(dict.fromkeys(itertools.chain.from_iterable(rows)))
        meanings: dict[str, Meaning] = {}
        if found.is_mart and not OF_TEST.keys().isdisjoint(names):
            meanings = OF_TEST
            remarks.append("natural_acc and robust_acc are taken for those of the test set, as MART prints them")
        _require_totals(names, rows, found.n_test, text.source)
        _require_robust(names, found, told, text.source)
        about = about_of(found.settings, self.name)
        remarks += more
        return curves_of(Table(text.source, lambda: rows, names, about, remarks, meanings, appended=True), told)


def _has_epoch(body: str) -> bool:
    return "poch" in body.lower() and parse_line(body).epoch is not None


def _has_value(body: str) -> bool:
    if not any(map(str.isdigit, body)):
        return False
    said = parse_line(body)
    return bool(said.doubt) or any(is_error(name) for name, _ in said.values)


def _read(text: Text, chosen: frozenset[str], *, labeled: bool) -> _Printed:
    found = _Printed()
    weights: tuple[str, ...] = ()
    bodies, found.counter = with_epochs(list(map(without_prefix, text.lines)))
    sections = Sections.of(bodies)
    for body in bodies:
        settings = settings_in(body)
        if settings:
            found.settings |= settings
            continue
        group = group_in_line(body)
        if group is not None:
            found.begin(group)
            continue
        found.is_mart = found.is_mart or _PROGRESS.match(body) is not None
        said = parse_line(body, labeled=labeled, section=sections.part)
        block = found.blocks[-1]
        if said.epoch is None and weights and block.fresh.keys().isdisjoint(name for name, _ in said.values):
            said = parse_line(body, labeled=labeled, weights=weights, section=sections.part)
        weights = _weights_below(body, said, weights)
        sections.follow(body, said)
        found.labels |= said.labels
        found.doubt = found.doubt or said.doubt
        if said.epoch is not None and said.epoch != block.epoch:
            block = Block(said.epoch, said.ends, group=block.group)
            found.blocks.append(block)
        elif said.epoch is not None:
            block.name_again()
        block.take(said, chosen)
        found.note(said)
        found.n_test = said.n_test or found.n_test
        if said.attack and block.epoch is not None:
            found.attack = found.attack or said.attack
    found.conclude()
    found.heading = sections.used
    return found


def _weights_below(body: str, said: Line, weights: tuple[str, ...]) -> tuple[str, ...]:
    """What a line says of the network whose values stand below it: "Best model so far" and the like, and no more."""
    if said.epoch is not None or not body:
        return ()
    words = words_of(body)
    if said.values or not words or heading_of(body):
        return weights
    if _HEADING.issuperset(words):
        return said.weights
    return ()


def _rows(found: _Printed, source: str) -> tuple[list[dict[str, object]], list[str]]:
    """One row an epoch, and what was assumed.

    Raises:
        BadRequest: nothing says whether values stand above or below the line that names their epoch.
    """
    first, *blocks = found.blocks
    before = _held_out_of(first.values)
    assumed: list[str] = []
    above = _is_above(before, found.blocks, source)
    if above:
        assumed.append(above)
    elif before:
        assumed.append(f"values before the first epoch are left out, such as {min(before)!r}")
    if blocks and blocks[-1].twice:
        again = listed(blocks[-1].twice, 4)
        assumed.append(f"values that come again behind those of the last epoch are left out: {again}")
    rows: list[dict[str, object]] = []
    has_groups = len({block.group for block in blocks}) > 1
    for earlier, block in itertools.pairwise(found.blocks):
        if block.epoch is None:
            continue
        values = earlier.below | block.own if above else block.values
        values = {name: value for name, value in values.items() if curve_of(name) != "epoch"}  # "best 45.2 (ep 31)"
        if values and has_groups:
            values = {block.group[0]: block.group[1], **values}
        if values:
            rows.append({"epoch": block.epoch, **values})
    return rows, assumed


def _is_above(before: set[str], found: list[Block], source: str) -> str:
    """Why values stand above the line that names their epoch; empty where they stand below it.

    Values before the first epoch may be of the network before its training, and none behind the last epoch those of a
    training that goes on. They are of an epoch where its line says that it is over, where training values stand before
    the first epoch as well, or where those above the last epoch come again behind it, which no others do.

    Raises:
        BadRequest: nothing of that, in a text in which every epoch may have its values above as well as below.
    """
    first, *blocks = found
    if not blocks or not before:
        return ""
    if not before.isdisjoint(blocks[-1].values):
        again = [_come_again(before, *pair) for pair in itertools.pairwise(found)]
        return ABOVE_LAST if again[-1] and not any(again[:-1]) else ""
    if blocks[-1].ends:
        return "" if _held_out_of(blocks[-1].below) else ABOVE
    middle = set(itertools.chain.from_iterable(block.below for block in blocks[:-1]))
    if not middle or not all(before <= block.below.keys() for block in blocks[:-1]):
        return ""
    if middle <= first.values.keys() and any("train" in words_of(name) for name in middle):
        return ABOVE_FIRST
    text = (
        f"{min(before)!r} stands before the first line that names an epoch, and not behind the last one: it may be of "
        "the epoch below it or above it; add the word 'done' to the lines that name an epoch if their values stand "
        "above them, else take the values before the first one out"
    )
    raise refusal(source, text)


def _come_again(names: Iterable[str], block: Block, later: Block) -> bool:
    return all(name in block.below and block.below[name] == later.below.get(name) for name in names)


def _held_out_of(names: Iterable[str]) -> set[str]:
    return {name for name in names if is_error(name) and "train" not in words_of(name)}


def _require_single(found: _Printed, source: str) -> None:
    """Refuse two held-out values of one name in an epoch: clean and under attack, for example.

    Behind the last epoch programs evaluate once more, as of the best weights: there the first value counts. Where the
    epoch is named before each of two values, a resumed training may have recorded both, but not in most epochs.
    """
    for block in found.blocks[1:-1]:
        for name, values in block.twice.items():
            raise refusal(source, _two_values(name, block, values))
    names = dict.fromkeys(itertools.chain.from_iterable(block.again for block in found.blocks))
    for name in names:
        twice = [block for block in found.blocks if len(block.again.get(name, ())) == 1]
        n_blocks = sum(name in block.values for block in found.blocks)
        if len(twice) > max(MOST_RESUMED, n_blocks // 4) or len(twice) == n_blocks > 1:
            raise refusal(source, _two_values(name, twice[0], twice[0].again[name][0]))


def _two_values(name: str, block: Block, values: tuple[str, str]) -> str:
    first, second = values
    return (
        f"{name!r} is printed twice in epoch {block.epoch}, {first} and {second}; if one is clean and one is "
        "under attack, rename one in the text, as 'Test Robust Accuracy'"
    )


def _require_lines(found: _Printed, source: str) -> None:
    """Refuse held-out values that stand in progress bars alone: whose epoch they are, a bar does not say."""
    in_bars: set[str] = set()
    in_lines: set[str] = set()
    for block in found.blocks:
        in_bars |= block.in_bars
        in_lines |= block.values.keys()
    if in_bars and not any(map(is_held_out, in_lines)):
        text = (
            f"{min(in_bars)!r} stands in progress bars alone, which show the value of an earlier epoch until it is "
            "measured again; write the values of each epoch into a file, as CSVLogger does"
        )
        raise refusal(source, text)


def _require_totals(names: list[str], rows: list[dict[str, object]], n_test: int | None, source: str) -> None:
    """Refuse counts that do not say of how many, with the patterns that divide them by what other lines count."""
    counts = [name for name in names if is_total(name) and _are_counts(row.get(name) for row in rows)]
    if not counts:
        return
    pairs: list[str] = []
    for name in counts:
        guess = meaning_of(re.sub(r"_?total_?", "", name))
        curve = "robust_error/test"
        if isinstance(guess, Unknown | Meaning):
            curve = guess.curves[0] if isinstance(guess, Unknown) else guess.told
        pairs.append(rf"{curve}=/{re.escape(name)}\W+(?:tensor\()?([\d.]+)//{n_test or 10000}")
    of = "10000 examples"
    if n_test is not None:
        of = f"the {n_test} test examples that other lines count"
    text = f"{counts[0]!r} is a count; if it is one of {of}, add "
    raise refusal(source, text + rf"--map 'epoch=/[Ee]poch:? \[?(\d+)/,{','.join(pairs)}'")


def _are_counts(values: Iterable[object]) -> bool:
    """Whether some numbers are above 1, and all are whole: those of percentages, as 45.25, are not."""
    largest = 0.0
    for value in values:
        try:
            number = float(str(value).rstrip("%"))
        except ValueError:
            continue
        if number % 1 != 0:
            return False
        largest = max(largest, number)
    return largest > 1


def _require_robust(names: list[str], found: _Printed, told: Told, source: str) -> None:
    """Refuse a text that speaks of an attack where no number is robust on held-out data: a plain accuracy may be it."""
    if not found.attack or told.choices or found.settings.get("attack") == "none":
        return
    for name in names:
        if isinstance(meaning_of(name), Unknown):
            return
        if is_held_out(name) and curve_of(name).startswith("robust_"):
            return
    held_out = [name for name in names if is_held_out(name) and not kinds_of(words_of(name))]
    if not held_out:
        return
    text = (
        f"the line {one_line(found.attack, 80)!r} speaks of an attack, and {held_out[0]!r} does not say whether it is "
        f"clean; if it is, add {map_option('clean_accuracy/test', held_out[0])}, and under attack robust_accuracy/test"
    )
    raise refusal(source, text)
