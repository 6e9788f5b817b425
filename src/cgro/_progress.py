"""The one progress bar: on stderr, and silent when that is not a terminal."""

import contextlib
import sys
from collections.abc import Callable, Iterator

Update = Callable[..., None]
"""update(done, note=""): how many are done, and a short remark."""


@contextlib.contextmanager
def progress(total: int, label: str) -> Iterator[Update]:
    """Yield `update(done, note)`; `done` counts from the beginning, `note` is short text beside the bar.

    >>> with progress(10, "epochs") as update:
    ...     update(5, "robust error 30%")
    """
    if not sys.stderr.isatty():
        yield lambda done, note="": None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
               TimeRemainingColumn(), TextColumn("{task.fields[note]}"))  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total, note="")
        yield lambda done, note="": bar.update(task, completed=done, note=note)
