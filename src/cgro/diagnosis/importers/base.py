"""What an importer is, and the text that it is given."""

import functools
from dataclasses import dataclass
from typing import Protocol

from cgro._check import bad
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.importers.told import Told

MOST_ROWS = 400_000
"""Lines of a text, or rows of a table, that are read. A choice: far above any training. All of them take some six
seconds in a table (15 microseconds a line on one busy core) and 50 in printed text (120)."""
MOST_COLUMNS = 100_000
"""Names of columns. A choice."""


@dataclass(frozen=True)
class Text:
    """The text of a file.

    Args:
        content: all of it; empty for a binary format.
        source: the name of the file, for messages.
        raw: the bytes of the file, for a binary format.
    """

    content: str
    source: str
    raw: bytes = b""

    @functools.cached_property
    def start(self) -> str:
        """Its first thousand characters behind white space."""
        return self.content[:100_000].lstrip()[:1000]

    @functools.cached_property
    def lines(self) -> list[str]:
        """Its lines, whatever system ended them.

        Raises:
            BadRequest: more than `MOST_ROWS`.
        """
        lines = self.content.splitlines()
        if len(lines) > MOST_ROWS:
            raise bad(self.source, expected=f"at most {MOST_ROWS:,} lines", got=f"{len(lines):,}")
        return lines


class Importer(Protocol):
    """A file format: one file beside this one and one entry in `IMPORTERS` of the package.

    An importer turns a text into named columns and leaves their meaning, unit and order to
    `cgro.diagnosis.importers.table`, so that every format is understood, checked and refused alike. Where names do not
    say it, `Table` takes a `Meaning` per column, of a curve's name, such as Meaning("robust_error/test",
    accuracy=True) of robust accuracies; another name is refused. `Table.rows` gives its rows anew at every call."""

    @property
    def name(self) -> str:
        """The format, for messages."""
        ...

    def recognizes(self, text: Text) -> float:
        """How sure it is that the text is of this format.

        Args:
            text: of the file.

        Returns:
            0 for surely not, up to 1.
        """
        ...

    def read(self, text: Text, told: Told) -> list[Curves]:
        """The curves.

        Args:
            text: of the file.
            told: what the caller says about it.

        Returns:
            One value per seed.

        Raises:
            BadRequest: the text is damaged or not understood; says what is missing and the `--map` that helps.
        """
        ...
