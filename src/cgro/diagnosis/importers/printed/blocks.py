"""The values that a program prints between two lines that name an epoch."""

from dataclasses import dataclass, field

from cgro.diagnosis.importers.line.lines import Line
from cgro.diagnosis.importers.line.numerals import is_rounded
from cgro.diagnosis.keys import is_group
from cgro.diagnosis.words import Meaning, is_held_out

OF_TEST = {
    "natural_acc": Meaning("clean_error/test", accuracy=True),
    "robust_acc": Meaning("robust_error/test", accuracy=True),
}
"""What MART prints of its test set, beside the lines of its training that TRADES and MART share."""


@dataclass
class Block:
    """The values between two epochs.

    Args:
        epoch: its number; None before the first one.
        ends: whether the line that names it says that it is over.
        values: name -> text of the number, the last one.
        own: those of them that stand in a line that names the epoch.
        below: those that stand in other lines.
        fresh: names with their texts since the epoch was last named.
        twice: names on held-out data that have two values without the epoch being named between.
        earlier: names with their texts from before the epoch was named again.
        again: names on held-out data with the values that follow another one of them, the epoch named between.
        in_bars: names on held-out data with a value in a progress bar, which shows an earlier epoch's for a while.
        group: name and value of the line above that says which training it is of, as `Seed: 1`; "" where there is none.
    """

    epoch: int | None
    ends: bool = False
    values: dict[str, str] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)
    below: dict[str, str] = field(default_factory=dict)
    fresh: dict[str, str] = field(default_factory=dict)
    twice: dict[str, tuple[str, str]] = field(default_factory=dict)
    earlier: dict[str, str] = field(default_factory=dict)
    again: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    in_bars: set[str] = field(default_factory=set)
    group: tuple[str, str] = ("", "")

    def name_again(self) -> None:
        """Take note that the epoch is named again: what follows may be a later value of it, or another quantity."""
        self.earlier |= self.fresh
        self.fresh.clear()

    def rename(self, name: str, other: str) -> None:
        """Put the numbers of a name under another one.

        Args:
            name: as the lines have it.
            other: that says more.
        """
        for values in (self.values, self.own, self.below):
            if name in values:
                values[other] = values.pop(name)
        self.twice.pop(name, None)
        self.again.pop(name, None)

    def take(self, line: Line, chosen: frozenset[str]) -> None:
        """Add the numbers of a line; a held-out value that another one follows stays, and is noted.

        Args:
            line: below the epoch.
            chosen: names that the caller says are of held-out data.
        """
        values = self.below if line.epoch is None else self.own
        for name, value in line.values:
            if line.epoch is None and is_group(name):
                continue  # of a line of its own, beside other values
            held_out = is_held_out(name) or name in OF_TEST
            if held_out and line.is_bar:
                self.in_bars.add(name)
                continue
            earlier = self.fresh.get(name)
            if earlier is not None and is_rounded(earlier, value):
                value = earlier
            if earlier is not None and earlier != value and held_out:
                self.twice.setdefault(name, (earlier, value))
                continue
            before = self.earlier.get(name, value)
            held_out = held_out or name in chosen
            if earlier is not None and earlier != value and held_out and not line.is_within:
                self.twice.setdefault(name, (earlier, value))
                continue
            if before != value and held_out and not line.is_within:
                self.again.setdefault(name, []).append((before, value))
            self.fresh[name] = value
            self.values[name] = value
            values[name] = value
