"""The rows of one training of a table, and to which epochs those rows belong that name none."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from cgro._check import listed
from cgro.diagnosis.columns import counted
from cgro.diagnosis.importers.layout import refusal


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

    def add(self, values: dict[str, float], nan: Iterable[str]) -> None:
        """Take a row.

        Args:
            values: by column, and `epoch`, NaN where it has none.
            nan: columns for which NaN or infinity was written.
        """
        epoch = values["epoch"]
        if math.isnan(epoch):
            del values["epoch"]
            self.apart.append(_Apart(len(self.rows), values, tuple(nan)))
            return
        self.rows.append(values)
        for name in nan:
            self.written.setdefault(name, set()).add(epoch)

    def settle(self, errors: Collection[str], source: str, remedy: str) -> None:
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
        apart, self.apart = self.apart, []
        told = {name for row in self.rows for name in row}
        lost = [name for name in errors if name not in told and any(name in row.values for row in apart)]
        if not self.rows or not lost:
            of_others = [row for row in apart if not row.values.keys().isdisjoint(errors)]
            if self.rows and of_others:
                names = [name for name in errors if any(name in row.values for row in of_others)]
                n_rows = counted(len(of_others), "row")
                self.remarks.append(f"{n_rows} without an epoch: the values of {listed(names, 4)} there are not used")
            return
        own = [row for row in apart if not row.values.keys().isdisjoint(lost)]
        is_above = own[0].place == 0
        n_values = self._require_one_each(own, lost, source, remedy)
        rows: list[dict[str, float]] = []
        begin = 0
        for row in own:
            rows += self.rows[begin : row.place]
            begin = row.place
            at = row.place if is_above else row.place - 1
            if at < len(self.rows):
                epoch = self.rows[at]["epoch"]
                rows.append({"epoch": epoch} | _only(row.values, told))
                for name in row.nan:
                    self.written.setdefault(name, set()).add(epoch)
        self.rows = rows + self.rows[begin:]
        side = "below" if is_above else "above"
        what = f"{n_values} values of {listed(lost, 4)} stand in rows without an epoch"
        self.remarks.append(f"{what}: they are taken to be of the epoch {side} them")

    def _require_one_each(self, apart: Iterable[_Apart], lost: Collection[str], source: str, remedy: str) -> int:
        """How many values there are."""
        places: dict[str, set[int]] = {name: set() for name in lost}
        n_values = 0
        for row in apart:
            for name in filter(row.values.__contains__, lost):
                n_values += 1
                if row.place in places[name]:
                    text = (
                        f"values of {name!r} stand in rows without an epoch, several to one row that has it; {remedy}"
                    )
                    raise refusal(source, text)
                places[name].add(row.place)
        return n_values


def _only(values: Mapping[str, float], told: Collection[str]) -> dict[str, float]:
    """The values of columns that have none in rows with an epoch."""
    return {name: value for name, value in values.items() if name not in told}
