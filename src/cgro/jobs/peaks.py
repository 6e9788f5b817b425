"""How much memory a job needs at its peak: of the GPU where it computes on one, else of its process."""

import contextlib
import ctypes
import gc
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from cgro.jobs.execute import Call, Carry
from cgro.reading import attempt, read_json_object
from cgro.runs import dump_json, write_atomic

FILE = "peak_memory.json"
CLEAR = Path("/proc/self/clear_refs")
RESET = b"5"
"""Sets the peak of the process to what it holds now; see proc(5)."""


def reset_peak() -> None:
    """Forget the peak so far. Where the system cannot do so, `peak` counts what came before as well."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # glibc alone: it keeps what was freed, and that counts as held
        ctypes.CDLL(None).malloc_trim(0)
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        # A switch of the system, no file: there is nothing to write beside it and rename.
        switch = os.open(CLEAR, os.O_WRONLY)
        try:
            os.write(switch, RESET)
        finally:
            os.close(switch)


def peak() -> int | None:
    """The largest memory since `reset_peak`: of the GPU if this process uses one, else of the process.

    Returns:
        Bytes; None where the system does not say.
    """
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    return peak_of(os.getpid())


def peak_of(process: int) -> int | None:
    """The largest memory of a process of this machine since it began, or since it called `reset_peak`.

    Args:
        process: its number.

    Returns:
        Bytes; None where the system does not say, or where it has ended.
    """
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return 1024 * int(value.split()[0])
    return None


@dataclass
class Peaks:
    """Carries calls out and writes down the memory that each needed.

    Args:
        carry: carries them out.
        folder: of the comparison; takes `peak_memory.json`.
        of_workers: job -> bytes, where worker processes carry them out; None where this process does.
    """

    carry: Carry
    folder: Path
    of_workers: Mapping[str, int] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __call__(self, call: Call) -> float:
        """Carry a call out.

        Args:
            call: a job.

        Returns:
            Seconds.

        Raises:
            BadRequest: as `carry`.
            KeyboardInterrupt: as `carry`.
        """
        if self.of_workers is None:
            reset_peak()
        seconds = self.carry(call)
        largest = peak() if self.of_workers is None else self.of_workers.get(call.name)
        if largest is not None:
            with self._lock:
                write_atomic(self.folder / FILE, dump_json({**read_peaks(self.folder), call.name: largest}))
        return seconds


def read_peaks(folder: Path) -> dict[str, int]:
    """What was written down.

    Args:
        folder: of the comparison.

    Returns:
        Job -> bytes; empty where there is no file, or a damaged one.
    """
    found = attempt(lambda: read_json_object(folder / FILE, follow=False)) or {}
    return {name: value for name, value in found.items() if type(value) is int}
