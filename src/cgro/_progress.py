"""The one progress bar: on stderr; plain lines, few of them, when that is no terminal; nothing when it is quiet."""

import contextlib
import math
import os
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Literal, Protocol

Loudness = Literal["quiet", "normal", "verbose"]
SECONDS_BETWEEN_LINES: Mapping[Loudness, float] = {"normal": 10.0, "verbose": 1.0}
"""Without a terminal. A choice: a log of an hour has 360 lines."""
_LOUDNESS: ContextVar[Loudness] = ContextVar("loudness", default="normal")

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 48
"""Bars of a curve, at most."""


class Update(Protocol):
    """Moves the bar."""

    def __call__(self, done: int, note: str = "", curves: Mapping[str, Sequence[float]] | None = None, /) -> None:
        """Show how far it is.

        Args:
            done: how many are done.
            note: a short remark beside the bar.
            curves: named values so far, in [0, 1], drawn below; None: none.
        """
        ...


@contextlib.contextmanager
def told(loudness: Loudness) -> Generator[None, None, None]:
    """How much is said on stderr for as long as the block runs, beside errors, which always are.

    Args:
        loudness: `quiet`: neither remarks nor progress; `verbose`: progress lines ten times as often.

    Yields:
        Nothing.

    Example:
        >>> with told("quiet"):
        ...     loudness()
        'quiet'
    """
    before = _LOUDNESS.set(loudness)
    try:
        yield
    finally:
        _LOUDNESS.reset(before)


def loudness() -> Loudness:
    """How much is said on stderr.

    Returns:
        As `told` has it; `normal` outside of any.
    """
    return _LOUDNESS.get()


def is_beside() -> bool:
    """Whether a launcher started this process beside a first one, which speaks.

    Returns:
        What the variables of torchrun say.
    """
    return os.environ.get("WORLD_SIZE", "1") != "1" and os.environ.get("RANK", "0") != "0"


def spark(values: Sequence[float]) -> str:
    """A curve of numbers in [0, 1] as a line of bars; long ones are thinned, the last value stays.

    Args:
        values: the numbers in their order.

    Returns:
        A bar per number, or per few where there are more than `WIDTH`.

    Example:
        >>> spark([0.0, 0.5, 1.0])
        '▁▅█'
    """
    stride = max(1, math.ceil(len(values) / WIDTH))
    from_the_last = list(values)[::-1][::stride]
    bars: list[str] = []
    for value in from_the_last[::-1]:
        bars.append(BARS[min(len(BARS) - 1, int(len(BARS) * value))])
    return "".join(bars)


@contextlib.contextmanager
def progress(total: int, label: str) -> Generator[Update, None, None]:
    """A bar on the terminal for as long as the block runs.

    Args:
        total: how many there will be.
        label: what is counted.

    Yields:
        What moves the bar; without a terminal, what prints a line now and then, the first after as long.

    Example:
        >>> with progress(10, "epochs") as update:
        ...     update(5, "robust error 30%")
    """
    if loudness() == "quiet":
        yield _nothing
        return
    if not _on_a_terminal():
        yield _Lines(total, label, SECONDS_BETWEEN_LINES[loudness()])
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.text import Text

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    lines = Text()

    def update(done: int, note: str = "", curves: Mapping[str, Sequence[float]] | None = None, /) -> None:
        bar.update(task, completed=done, note=note)
        lines.plain = "\n".join(_lines(curves or {}))

    live = Live(Group(bar, lines), console=Console(stderr=True), transient=True)
    task = bar.add_task(label, total=total, note="")
    with contextlib.suppress(OSError):
        live.start()
    try:
        yield update
    finally:
        with contextlib.suppress(OSError):  # the terminal is gone; what was computed is not
            live.stop()


LEAST_SHARE = 1000
"""One part of so many must be done before the time left is told: the first steps also compile."""


class _Lines:
    """Prints plain lines, as a log file or the output of a scheduler can hold them.

    Args:
        total: how many there will be.
        label: what is counted.
        every: seconds from one line to the next.
    """

    def __init__(self, total: int, label: str, every: float) -> None:
        self.total = total
        self.label = label
        self.every = every
        self.began = self.last = time.monotonic()
        self.before: int | None = None
        """What a resumed run had done before: its speed is that of the rest."""

    def __call__(self, done: int, note: str = "", curves: Mapping[str, Sequence[float]] | None = None, /) -> None:
        now = time.monotonic()
        if self.before is None:
            self.before = done
        if now - self.last < self.every:
            return
        self.last = now
        text = f"{self.label}: {done}/{self.total}"
        if (done - self.before) * LEAST_SHARE >= self.total:
            left = (now - self.began) / (done - self.before) * (self.total - done)
            text += f", about {_duration(left)} left"
        if note:
            text += f"; {note}"
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, a broken pipe, or None
            print(text, file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _nothing(done: int, note: str = "", curves: Mapping[str, Sequence[float]] | None = None, /) -> None:
    pass


def _lines(curves: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """A line per curve that has a value."""
    for name, values in curves.items():
        if values:
            yield f"{name:20} {spark(values)} {values[-1]:6.1%}"


def _on_a_terminal() -> bool:
    """Whether there is a terminal to draw on; stderr may be closed, or None."""
    with contextlib.suppress(ValueError):
        return sys.stderr is not None and sys.stderr.isatty()
    return False
