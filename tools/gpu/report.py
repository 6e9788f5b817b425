"""The end of a slice, as text: what was found, what is open, what lies in $OUT and what to do with it."""

from pathlib import Path

import msgspec
from tools.gpu.parcel import RECORD, Record
from tools.gpu.training import speed

from cgro._check import bad, one_line
from cgro.commands.train import Config
from cgro.jobs.store import Store
from cgro.reading import read_bytes
from cgro.results import TrainSummary
from cgro.runs import Run

LONGEST = 8000
"""Characters of the end: with all that a slice prints before it stays below 12,000. A choice."""
WIDTH = 160
"""Characters of a line. A choice."""


def read_record(folder: Path) -> Record:
    """Read slice.json.

    Args:
        folder: that a slice left.

    Returns:
        Its content.

    Raises:
        BadRequest: there is none, or it is damaged.
    """
    path = folder / RECORD
    try:
        return msgspec.json.decode(read_bytes(path, follow=False), type=Record)
    except msgspec.DecodeError as error:
        raise bad(str(path), expected="the record of a slice", got=str(error)) from None


def ending(record: Record, store: Store, out: Path) -> str:
    """The end of a slice.

    Args:
        record: of the slice.
        store: with what is finished.
        out: the folder $OUT.

    Returns:
        Text of at most `LONGEST` characters; lines that do not fit are left out, and their number said.
    """
    lines = [f"{record.item} ({record.words}): {record.end}"]
    for name in record.done:
        lines += _found(store, name)
    for name, reason in record.open.items():
        lines.append(f"open: {name}: {reason}")
    for name, reason in record.left_out.items():
        lines.append(f"weights left out: {name}: {reason}")
    seconds = ", ".join(f"{part} {took:.0f} s" for part, took in record.seconds.items())
    files = [f"{path.name} {path.stat().st_size / 2**20:.1f} MiB" for path in sorted(out.glob("*")) if path.is_file()]
    lines += [f"remark: {remark}" for remark in record.remarks]
    lines += [f"times: {seconds}", f"files: {', '.join(files)}"]
    if record.scale == "smoke":
        lines.append("a dry run: nothing of it is a result")
    else:
        lines.append("now: python -m tools.gpu.collect OUT, make reproduction, commit results/gpu the same day")
    return _bounded([one_line(line, WIDTH) for line in lines])


def _found(store: Store, name: str) -> list[str]:
    """The numbers of a finished job, in a line or two."""
    run = Run(store.root / "runs" / name)
    if not run.finished:
        return [f"done: {name}"]
    summary = run.read()
    numbers = []
    for key, metric in summary.metrics.items():
        if metric.typical is not None and "error" in key:
            numbers.append(f"{key} {metric.typical:.4g}")
    lines = [f"done: {name}: {', '.join(numbers[:8])}"]
    if isinstance(summary, TrainSummary):
        settings = {key: value for key, value in run.config.items() if key != "command"}
        found = speed(Config(**settings), run)
        if found is not None:
            seconds, rate, share = found
            lines.append(f"      {seconds:.3g} s an epoch, {rate:.3g} operations a second, {share:.2g} of the floor")
    return lines


def _bounded(lines: list[str]) -> str:
    kept: list[str] = []
    n = 0
    for line in lines:
        n += len(line) + 1
        if n > LONGEST:
            return "\n".join([*kept, f"and {len(lines) - len(kept)} more lines; see slice.json"])
        kept.append(line)
    return "\n".join(kept)
