"""The one progress bar: on stderr, and silent when that is not a terminal."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

Update = Callable[..., None]
"""update(done, note="", curves=None): how many are done, a short remark, and named values so far to draw below."""
BARS, WIDTH = "▁▂▃▄▅▆▇█", 48


def spark(values: Sequence[float]) -> str:
    """A curve of numbers in [0, 1] as a line of bars; long ones are thinned, the last value stays.

    >>> spark([0.0, 0.5, 1.0])
    '▁▅█'
    """
    stride = -(-len(values) // WIDTH)
    shown = list(values)[::-1][:: max(1, stride)][::-1]
    return "".join(BARS[min(len(BARS) - 1, int(len(BARS) * v))] for v in shown)


@contextlib.contextmanager
def progress(total: int, label: str) -> Iterator[Update]:
    """Yield `update(done, note, curves)`; `done` counts from the beginning, `note` is short text beside the bar.

    >>> with progress(10, "epochs") as update:
    ...     update(5, "robust error 30%")
    """
    if not _on_a_terminal():
        yield lambda done, note="", curves=None: None
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.text import Text

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
               TimeRemainingColumn(), TextColumn("{task.fields[note]}"))  # fmt: skip
    bar, lines = Progress(*columns), Text()

    def update(done: int, note: str = "", curves: Mapping[str, Sequence[float]] | None = None) -> None:
        bar.update(task, completed=done, note=note)
        lines.plain = "\n".join(f"{k:20} {spark(v)} {v[-1]:6.1%}" for k, v in (curves or {}).items() if v)

    live = Live(Group(bar, lines), console=Console(stderr=True), transient=True)
    task = bar.add_task(label, total=total, note="")
    with contextlib.suppress(OSError):
        live.start()
    try:
        yield update
    finally:
        with contextlib.suppress(OSError):  # the terminal is gone; what was computed is not
            live.stop()


def _on_a_terminal() -> bool:
    """Whether there is a terminal to draw on; stderr may be closed, or None."""
    with contextlib.suppress(ValueError):
        return sys.stderr is not None and sys.stderr.isatty()
    return False
