"""What an artifact of the paper consists of: claims with verdicts, tables, figures, and where its runs were made."""

from collections.abc import Mapping, Sequence

from msgspec import UNSET, UnsetType

from cgro.results.records import Json, Record


class ClaimRecord(Record, frozen=True, kw_only=True):
    """A claim of the paper and its verdict; see `cgro.experiments.claims.Claim`."""

    name: str
    statement: str
    rule: str
    verdict: str
    paper: str
    ours: str
    reason: str
    numbers: Mapping[str, Json]


class TableRecord(Record, frozen=True, kw_only=True):
    """A small table of an artifact."""

    name: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Json]]
    long: bool | UnsetType = UNSET


class FigureRecord(Record, frozen=True, kw_only=True):
    """A figure of an artifact: its file and what it shows."""

    file: str
    caption: str


class MachineRecord(Record, frozen=True, kw_only=True):
    """Runs that were made on one machine with one set of versions."""

    machine: str
    threads: int | None
    torch: str | None
    cgro: str
    commit: str | None
    source: str | None
    runs: Sequence[str]
