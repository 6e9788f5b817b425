"""Several processes for tests: `run_ranks(4, "tests.test_ranks:case", folder)` calls `case(ranks, folder)` in each.

One start of Python with torch costs seconds: put many cases into one function.
"""

import atexit
import importlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from cgro.ranks import LEAVE, together

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Ended:
    """One of the processes, ended: exit code (negative: by a signal) and what it wrote on stderr."""

    code: int
    stderr: str


def start_ranks(n: int, function: str, folder: Path, *, seconds: float = 60.0) -> list["subprocess.Popen[str]"]:
    """Start n processes that meet by a file in `folder` and then call `package.module:function`."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        "GLOO_SOCKET_IFNAME": "lo",
    }
    started: list[subprocess.Popen[str]] = []
    for k in range(n):
        words = [sys.executable, "-m", "tests.ranks", str(k), str(n), function, str(folder), str(seconds)]
        started.append(subprocess.Popen(words, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True))
    return started


def wait_for_ranks(started: list["subprocess.Popen[str]"], timeout: float = 300.0) -> list[Ended]:
    """Collect them; those that do not end are killed and fail the test."""
    try:
        told = [process.communicate(timeout=timeout)[1] for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    return [Ended(process.returncode, text) for process, text in zip(started, told, strict=True)]


def run_ranks(n: int, function: str, folder: Path, *, seconds: float = 60.0, timeout: float = 300.0) -> list[Ended]:
    """Run them to their end, which must be a good one."""
    ended = wait_for_ranks(start_ranks(n, function, folder, seconds=seconds), timeout)
    assert [one.code for one in ended] == [0] * n, [one.stderr for one in ended]
    return ended


def main(number: int, size: int, function: str, folder: Path, seconds: float) -> None:
    torch.set_num_threads(1)
    meeting = folder / f"meeting-{function.rpartition(':')[2]}-{size}"
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=number, world_size=size, timeout=timedelta(seconds=300)
    )
    module, _, name = function.partition(":")
    getattr(importlib.import_module(module), name)(together(seconds), folder)
    time.sleep(LEAVE)
    dist.destroy_process_group()
    # DistributedDataParallel keeps the group's threads also after that, and one that still runs while the interpreter
    # ends aborts it now and then ("terminate called without an active exception"), after all that is tested. So the
    # interpreter does not end. Without DistributedDataParallel, as in cgro's own commands, no thread is left.
    atexit._run_exitfuncs()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), float(sys.argv[5]))
