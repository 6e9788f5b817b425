"""`log.txt` of MAIR: a table of fixed width with the columns `Clean(Tr)`, `PGD(Val)` and others, in percent."""

import itertools
import re

from cgro._check import bad, listed
from cgro.diagnosis.columns import Unit
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.log import numbers_of
from cgro.diagnosis.importers.table import Table, curves_of
from cgro.diagnosis.importers.told import Told
from cgro.diagnosis.words import Meaning

_COLUMN = re.compile(r"(Clean|PGD|FGSM|GN)\((Tr|Val|Te|Test)\)")
_PARTS = {"Tr": "train", "Val": "validation", "Te": "test", "Test": "test"}
_HEAD = 1_000


class Mair:
    """The record of MAIR's trainers: each accuracy is of a whole pass in evaluation mode.

    Under several attacks PGD is taken, the strongest; GN is Gaussian noise, and no attack."""

    name = "MAIR's log"

    def recognizes(self, text: Text) -> float:
        """See `Importer.recognizes`.

        Args:
            text: of the file.

        Returns:
            0.95 for a header with Epoch and one of its columns, above a line of equal signs.
        """
        lines = text.lines[:_HEAD]
        for line, below in itertools.pairwise(lines):
            if _names(line) and set(below.strip()) == {"="}:
                return 0.95
        return 0.0

    def read(self, text: Text, told: Told) -> list[Curves]:
        """See `Importer.read`.

        Args:
            text: of the file.
            told: columns that the caller named.

        Returns:
            One value.

        Raises:
            BadRequest: no row below the header; see `curves_of`.
        """
        names: list[str] = []
        columns: dict[str, None] = {}
        rows: list[dict[str, float]] = []
        trainer = ""
        n_misfits = 0
        for line in text.lines:
            names = _names(line) or names
            columns |= dict.fromkeys(names)
            if not trainer and (match := re.fullmatch(r"\[(\w{1,40})\]\s*", line)):
                trainer = match[1]
            values = numbers_of(line)
            if values is None or not names:
                continue
            if len(values) == len(names) and values[0].is_integer():
                rows.append(dict(zip(names, values, strict=True)))
            else:
                n_misfits += 1
        if not rows:
            raise bad(text.source, expected=f"rows of numbers under the header {listed(names, 20)}", got="none")
        meanings, unused = _meanings(list(columns))
        remarks: list[str] = []
        if trainer:
            remarks.append(f"the log says of itself: trainer {trainer}")
        if unused:
            remarks.append(f"not used: {listed(unused, 8)}; PGD is the stronger attack, and GN is noise")
        if n_misfits:
            remarks.append(f"{n_misfits} rows of numbers that do not fit the header are left out")
        units: dict[str, Unit] = dict.fromkeys(meanings, "percent")
        about = {"format": self.name}
        if trainer == "Standard":
            about |= {"attack": "none"}
        names = list(filter(lambda name: name not in unused, columns))
        table = Table(text.source, lambda: rows, names, about, remarks, meanings, units, appended=True)
        return curves_of(table, told)


def _names(line: str) -> list[str]:
    """The columns that a line names, if it is a header."""
    names = re.split(r"\s{2,}", line.strip()[:10_000])
    if names[0] != "Epoch" or not any(map(_COLUMN.fullmatch, names)):
        return []
    return names


def _meanings(columns: list[str]) -> tuple[dict[str, Meaning], list[str]]:
    """What its columns are, and those that are not used."""
    meanings: dict[str, Meaning] = {}
    unused: list[str] = []
    for name in columns:
        match = _COLUMN.fullmatch(name)
        if match is None:
            continue
        kind, part = match[1], match[2]
        if kind == "GN" or (kind == "FGSM" and f"PGD({part})" in columns):
            unused.append(name)
        elif kind == "Clean":
            meanings[name] = Meaning(f"clean_error/{_PARTS[part]}", accuracy=True)
        else:
            meanings[name] = Meaning(f"robust_error/{_PARTS[part]}", accuracy=True, attack=kind.lower())
    return meanings, unused
