"""Keeps $OUT up to date while jobs run, from a thread of its own."""

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace
from tools.gpu.parcel import Record, write_record, write_results, write_weights

from cgro._check import BadRequest, one_line
from cgro.jobs.store import Store
from cgro.runs import Run
from cgro.training.checkpoint import LAST

LOOK_EVERY = 2.0
"""Seconds between two looks at what has changed. A choice."""
WEIGHTS_EVERY = 45.0
"""Seconds between two copies of the weights of a training under way: so much is lost to a kill. A choice."""


@dataclass
class Keeper:
    """What a slice has so far, and its copy in $OUT.

    Args:
        out: the folder $OUT.
        work: folder of runs and of what is finished; it goes away at the end.
        record: what slice.json says.
        trainings: names of trainings whose weights are kept.
    """

    out: Path
    work: Path
    record: Record
    trainings: list[str] = field(default_factory=list)
    _small: dict[str, int] = field(default_factory=dict, init=False)
    _large: dict[str, int] = field(default_factory=dict, init=False)
    _packed_at: float = field(default=float("-inf"), init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    @property
    def runs(self) -> Path:
        """The folder of runs."""
        return self.work / "runs"

    @property
    def store(self) -> Store:
        """What is finished, as it is committed."""
        return Store(self.work / "finished")

    def remark(self, text: str) -> None:
        """Say something, and keep it.

        Args:
            text: one line.
        """
        print(text)
        self.record = replace(self.record, remarks=[*self.record.remarks, text])

    def took(self, part: str, seconds: float) -> None:
        """Note a time.

        Args:
            part: of the slice.
            seconds: that it took.
        """
        self.record = replace(self.record, seconds={**self.record.seconds, part: round(seconds, 1)})

    def write(self, *, weights: bool = True) -> None:
        """Bring $OUT up to date.

        Args:
            weights: the weights too, which takes seconds.

        Raises:
            BadRequest: the disk is full, or a checkpoint is damaged.
        """
        with self._lock:
            begun: list[Run] = []
            # Weights first: rows that are ahead of a checkpoint are cut, a checkpoint ahead of its rows is refused.
            if weights:
                left_out = write_weights(self.out, self.runs, self.trainings)
                self.record = replace(self.record, left_out=left_out, trainings=self.trainings)
                self._packed_at = time.monotonic()
            for name in self.trainings:
                run = Run(self.runs / name)
                if run.is_run():
                    begun.append(run)
            write_results(self.out, self.store.root, begun, self.runs)
            write_record(self.out, self.record)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Bring $OUT up to date whenever something has changed, until the block ends.

        Yields:
            Nothing.
        """
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(LOOK_EVERY):
                try:
                    self.look()
                except (BadRequest, OSError) as error:
                    self.remark(f"not kept in between: {one_line(str(error), 200)}")
                    return

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def look(self) -> None:
        """Bring $OUT up to date if rows, checkpoints or results have changed.

        Raises:
            BadRequest: see `write`.
        """
        rows = [self.runs / name / "metrics.jsonl" for name in self.trainings]
        small = _times([*rows, *self.store.root.rglob("summary.json")])
        large = _times([self.runs / name / "checkpoints" / LAST for name in self.trainings])
        is_due = large != self._large and time.monotonic() - self._packed_at > WEIGHTS_EVERY
        if small != self._small or is_due:
            self.write(weights=is_due)
            self._small = small
        if is_due:
            self._large = large


def _times(paths: Sequence[Path]) -> dict[str, int]:
    """When files were written; without those that are not there."""
    found: dict[str, int] = {}
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            found[str(path)] = path.stat().st_mtime_ns
    return found
