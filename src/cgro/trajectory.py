"""What to observe in a loop, what came out, and why it stopped. Shared by simulated and real training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

import numpy as np

OutcomeKind = Literal["completed", "stopped", "interrupted", "non_finite", "diverged", "collapsed"]
State = TypeVar("State", contravariant=True)


@dataclass(frozen=True)
class Outcome:
    """Why a computation ended. A computation that fails is a value; only a bad request is an exception.

    Args:
        kind: `completed` (ran to the end), `stopped` (an event that was asked for), `interrupted` (resumable),
            `non_finite`, `diverged`, `collapsed` (the answer is one class).
        reason: one sentence for a person.
        step: the step or epoch at which it ended.
    """

    kind: OutcomeKind
    reason: str
    step: int

    @property
    def ok(self) -> bool:
        """Whether the numbers that came out describe what was asked for."""
        return self.kind in ("completed", "stopped")


class Probe(Protocol[State]):
    """A pure observer of a loop: state in, named numbers out. Observing changes nothing."""

    def __call__(self, state: State, /) -> Mapping[str, object]:
        """Return the measurements to record for this state."""
        ...


@dataclass(frozen=True)
class Trajectory:
    """Recorded measurements against steps.

    Args:
        steps: (R,) steps or epochs at which something was recorded, increasing.
        values: name -> (R, ...) array; a further axis, where there is one, runs over seeds.
        outcomes: why the loop ended, one per seed.
        meta: plain values that a reader needs besides, such as the epoch of the selected network.

    Raises:
        ValueError: steps that do not increase, columns of another length, no outcome.

    Example:
        >>> t = Trajectory.from_rows([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}], "epoch",
        ...                          Outcome("completed", "2 epochs", 2))
        >>> t["loss"].tolist(), t.final("loss"), t.outcome.kind
        ([2.0, 1.0], 1.0, 'completed')
    """

    steps: np.ndarray
    values: Mapping[str, np.ndarray]
    outcomes: tuple[Outcome, ...]
    meta: Mapping[str, object] = field(default_factory=dict[str, object])

    def __post_init__(self) -> None:
        if np.any(np.diff(self.steps) <= 0):
            raise ValueError("steps: expected strictly increasing values")
        for name, value in self.values.items():
            if len(value) != len(self.steps):
                raise ValueError(f"values[{name!r}]: expected {len(self.steps)} records, got {len(value)}")
        if not self.outcomes:
            raise ValueError("outcomes: expected one per seed, got none")

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.values:
            raise KeyError(f"expected one of {', '.join(sorted(self.values))}; got {name!r}")
        return self.values[name]

    @property
    def outcome(self) -> Outcome:
        """Why the loop of one seed ended.

        Raises:
            ValueError: several seeds, which end apart.
        """
        if len(self.outcomes) != 1:
            raise ValueError(f"outcome: expected one seed, got {len(self.outcomes)}; read outcomes")
        return self.outcomes[0]

    @property
    def end(self) -> Outcome:
        """The same as `outcome`."""
        return self.outcome

    def final(self, name: str) -> Any:
        """The last recorded value.

        Args:
            name: one of `values`.

        Returns:
            A number, or an array over seeds and further axes.

        Raises:
            KeyError: a name that was not recorded.
        """
        value = self[name][-1]
        if value.ndim == 0:
            return value.item()
        return value

    @classmethod
    def from_rows(
        cls, rows: Sequence[Mapping[str, Any]], step: str, outcome: Outcome, meta: Mapping[str, object] | None = None
    ) -> "Trajectory":
        """Columns from rows such as those of `metrics.jsonl`.

        Args:
            rows: one mapping per record. Entries that are not numbers are left out; a number missing in a row is NaN.
            step: the name under which a row has its step.
            outcome: why the loop of this one seed ended.
            meta: see the class.

        Returns:
            The trajectory, with columns in alphabetical order.
        """
        names: set[str] = set()
        for row in rows:
            names |= {name for name, value in row.items() if isinstance(value, int | float)}
        columns = {name: _column(rows, name) for name in sorted(names - {step})}
        steps = np.array([row[step] for row in rows])
        return cls(steps, columns, (outcome,), meta or {})


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """(R,) float64, NaN where a row has no such number."""
    column = np.full(len(rows), np.nan)
    for k, row in enumerate(rows):
        if row.get(name) is not None:
            column[k] = row[name]
    return column
