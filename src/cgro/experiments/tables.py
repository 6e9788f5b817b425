"""Small tables of an artifact: a caption, a head and rows of text and numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec import UNSET

from cgro.results import TableRecord
from cgro.writing import dump_csv

Cell = str | int | float


@dataclass
class Table:
    """A table that is filled row by row.

    Args:
        name: of its file.
        caption: what it shows and what the numbers are.
        columns: its head.
        long: whether the page leaves it out.

    Example:
        >>> table = Table("gaps", "Gaps.", ["data", "gap"])
        >>> table.add("mnist", 1.5)
        >>> table.csv()
        b'data,gap\\nmnist,1.5\\n'
    """

    name: str
    caption: str
    columns: Sequence[str]
    long: bool = False
    rows: list[list[Cell]] = field(default_factory=list, init=False)

    def add(self, *cells: Cell) -> None:
        """Add a row.

        Args:
            cells: one per column.
        """
        assert len(cells) == len(self.columns), (self.name, cells)
        self.rows.append(list(cells))

    def csv(self) -> bytes:
        """The table as a file.

        Returns:
            Comma-separated values, the head first.
        """
        return dump_csv(self.columns, self.rows)

    def record(self) -> TableRecord:
        """The table as a summary holds it; `long` only where it is true.

        Returns:
            The same values.
        """
        long = True if self.long else UNSET
        return TableRecord(name=self.name, caption=self.caption, columns=self.columns, rows=self.rows, long=long)
