"""The one progress bar: on stderr, and silent when that is not a terminal."""

import contextlib
import math
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Protocol

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
        What moves the bar; without a terminal, what does nothing.

    Example:
        >>> with progress(10, "epochs") as update:
        ...     update(5, "robust error 30%")
    """
    if not _on_a_terminal():
        yield _nothing
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
