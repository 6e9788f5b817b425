"""The rows of one training of a table, and to which epochs those rows belong that name none."""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from cgro._check import listed
from cgro.diagnosis.columns import counted
from cgro.diagnosis.importers.refusals import refusal


@dataclass
class _Apart:
    """A row without an epoch.

    Args:
        place: number of rows with an epoch above it.
        values: by column.
        nan: columns for which NaN or infinity was written.
    """

    place: int
    values: dict[str, float]
    nan: tuple[str, ...]

    def has(self, names: Collection[str]) -> bool:
        return not self.values.keys().isdisjoint(names)


@dataclass
class Seed:
    """The rows of one training.

    Args:
        rows: with `epoch` and the names of columns as keys.
        written: column -> epochs for which NaN or infinity was written.
        remarks: what was assumed of its rows.
        apart: rows without an epoch, in their order.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    written: dict[str, set[float]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    apart: list[_Apart] = field(default_factory=list)

    def add(self, epoch: float, values: dict[str, float], nan: Iterable[str]) -> None:
        """Take a row.

        Args:
            epoch: of the row; NaN where it has none.
            values: by column.
            nan: columns for which NaN or infinity was written.
        """
        if math.isnan(epoch):
            self.apart.append(_Apart(len(self.rows), values, tuple(nan)))
            return
        self.rows.append({"epoch": epoch, **values})
        self._write(epoch, nan)

    def _write(self, epoch: float, nan: Iterable[str]) -> None:
        for name in nan:
            self.written.setdefault(name, set()).add(epoch)

    def settle(self, errors: Iterable[str], source: str, remedy: str) -> None:
        """Give rows without an epoch that of the row above, where some errors stand in no other rows.

        So W&B writes a training that logs its epoch in one call and its evaluation in another. Where errors stand above
        the first epoch, it is that of the row below. What has values in rows with epochs as well, such as a mean or a
        best at the end, is left out.

        Args:
            errors: the columns in use that hold errors or accuracies.
            source: of the table, for messages.
            remedy: for several values to one epoch.

        Raises:
            BadRequest: several values of a column between two rows with epochs: nothing says which epochs they are of.
        """
        told: set[str] = set()
        for row in self.rows:
            told |= row.keys()
        unused: list[str] = []
        lost: list[str] = []
        for name in errors:
            if any(row.has([name]) for row in self.apart):
                (unused if name in told else lost).append(name)
        if not self.rows:
            return
        if lost:
            self._join(lost, told, source, remedy)
        if unused:
            n_rows = counted(sum(row.has(unused) for row in self.apart), "row")
            self.remarks.append(f"{n_rows} without an epoch: the values of {listed(unused, 4)} there are not used")

    def _join(self, lost: Collection[str], told: Collection[str], source: str, remedy: str) -> None:
        """Take over the rows without an epoch that hold some errors, of which `told` columns are left out."""
        own = list(filter(lambda row: row.has(lost), self.apart))
        side = "above"
        if own[0].place == 0:
            side = "below"
        n_values = _require_one_each(own, lost, source, remedy)
        rows: list[dict[str, float]] = []
        begin = 0
        for row in own:
            rows += self.rows[begin : row.place]
            begin = row.place
            at = row.place - (side == "above")
            if at == len(self.rows):
                continue  # below the last epoch, where each is told below
            epoch = self.rows[at]["epoch"]
            joined = {"epoch": epoch}
            for name in row.values.keys() - told:
                joined[name] = row.values[name]
            rows.append(joined)
            self._write(epoch, row.nan)
        self.rows = rows + self.rows[begin:]
        what = f"{n_values} values of {listed(lost, 4)} stand in rows without an epoch"
        self.remarks.append(f"{what}: they are taken to be of the epoch {side} them")


def _require_one_each(apart: Iterable[_Apart], lost: Collection[str], source: str, remedy: str) -> int:
    """How many values there are, one of a column between two rows with epochs."""
    seen: set[tuple[str, int]] = set()
    for row in apart:
        for name in filter(row.values.__contains__, lost):
            if (name, row.place) in seen:
                text = f"values of {name!r} stand in rows without an epoch, several to one row that has it"
                raise refusal(source, f"{text}; {remedy}")
            seen.add((name, row.place))
    return len(seen)
