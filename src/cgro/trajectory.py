"""What to observe in a loop, what came out, and why it stopped. Shared by simulated and real training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

OutcomeKind = Literal["completed", "stopped", "interrupted", "non_finite", "diverged", "collapsed"]


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


class Probe(Protocol):
    """A pure observer of a loop: state in, named numbers out. Observing changes nothing."""

    def __call__(self, state: Any, /) -> Mapping[str, Any]:
        """Return the measurements to record for this state."""
        ...


@dataclass(frozen=True)
class Trajectory:
    """Recorded measurements against steps.

    Args:
        steps: (R,) steps or epochs at which something was recorded, increasing.
        values: name -> (R, ...) array; a further axis, where there is one, runs over seeds.
        outcome: why the loop ended (one per seed where seeds end apart).
        meta: what a reader needs besides, such as the configuration.

    Example:
        >>> t = Trajectory.from_rows([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}], "epoch",
        ...                          Outcome("completed", "2 epochs", 2))
        >>> t["loss"].tolist(), t.final("loss")
        ([2.0, 1.0], 1.0)
    """

    steps: np.ndarray
    values: Mapping[str, np.ndarray]
    outcome: Outcome | Sequence[Outcome]
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if np.any(np.diff(self.steps) <= 0):
            raise ValueError("steps: expected strictly increasing values")
        for name, value in self.values.items():
            if len(value) != len(self.steps):
                raise ValueError(f"values[{name!r}]: expected {len(self.steps)} records, got {len(value)}")

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.values:
            raise KeyError(f"expected one of {', '.join(sorted(self.values))}; got {name!r}")
        return self.values[name]

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """Why it ended, one per seed where seeds end apart."""
        return [self.outcome] if isinstance(self.outcome, Outcome) else self.outcome

    @property
    def end(self) -> Outcome:
        """Why the loop of one seed ended."""
        if not isinstance(self.outcome, Outcome):
            raise ValueError("outcome: expected one seed, got several")
        return self.outcome

    def final(self, name: str) -> Any:
        """The last recorded value."""
        value = self[name][-1]
        return value.item() if value.ndim == 0 else value

    @classmethod
    def from_rows(
        cls, rows: Sequence[Mapping[str, Any]], step: str, outcome: Outcome, meta: Mapping[str, Any] | None = None
    ) -> "Trajectory":
        """Columns from rows such as those of `metrics.jsonl`; a number missing in a row becomes NaN."""
        names = {k for row in rows for k, v in row.items() if isinstance(v, int | float) and k != step}
        values = {
            k: np.array([float(row[k]) if row.get(k) is not None else np.nan for row in rows]) for k in sorted(names)
        }
        return cls(np.array([row[step] for row in rows]), values, outcome, meta or {})
