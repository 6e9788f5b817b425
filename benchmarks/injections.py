"""Faults injected into trainings and sweeps at random moments; the same command, called again, must end in the same files.

  python benchmarks/injections.py --trials 100 --minutes 30 --store

A trial starts a command, waits until a random number of its files exist, and then kills, stops, suspends or starves one of
its processes, or starts the same command a second time beside it. When all have ended the command is called again, and
its directory is compared, byte by byte but for times, with that of an undisturbed call. What was finished before must not
be made again. Commands run in forks of a warm process; the workers of sweeps are processes as users start them.
Results: benchmarks/results/injections.json.
"""

import argparse
import contextlib
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.kill_points import TRAIN, call, contents

from cgro import cli
from cgro.experiments.execute import is_held
from cgro.runs import dump_json, environment, write_atomic

SWEEPS = {
    "seeds at once": TRAIN + " --seeds 2 --workers 2",
    "phase diagram": "dynamics --n-steps 300 --n-test 100 --threads 1 --sweep radius_ratio=0.5:2:2,robust_weight=0.2:0.8:2 --workers 2",
}
SINGLE = {
    "training": TRAIN,
    "dynamics": "dynamics --n-steps 300 --n-test 100 --threads 1",
    "cells": SWEEPS["phase diagram"].removesuffix(" --workers 2"),
}
COMMANDS = {**SINGLE, **SWEEPS}
GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""
LONGEST = 240.0
"""Seconds after which a command that ought to end counts as hung."""
SMALLEST, LARGEST = 64, 40_000
"""Bytes that a file may have where the disk is full: of some files none fits, of others all."""


def start(words: list[str], folder: Path, limit: int | None = None) -> int:
    """A command in a fork of this process, which a limit on files makes meet a full disk: its number."""
    process = os.fork()
    if process == 0:
        code = 97
        try:
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(os.open(folder.parent / "errors", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
            if limit is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then writing fails, as on a full disk
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            code = cli.main(words)
        finally:
            os._exit(code)
    return process


def ended(process: int, seconds: float = LONGEST) -> int | None:
    """The exit code of a process; None where it does not end, and is killed."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


def is_over(process: int) -> bool:
    """Whether a child has ended; it stays to be waited for."""
    found = os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return found is not None


def workers_of(process: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return []


def send(process: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def killed(process: int, _draw: random.Random) -> int | None:
    send(process, signal.SIGKILL)
    return ended(process)


def stopped(process: int, _draw: random.Random) -> int | None:
    """As a scheduler does."""
    send(process, signal.SIGTERM)
    until = time.monotonic() + GRACE
    while time.monotonic() < until and not is_over(process):
        time.sleep(0.02)
    send(process, signal.SIGKILL)
    return ended(process)


def worker_killed(process: int, draw: random.Random) -> int | None:
    found = workers_of(process)
    if found:
        send(draw.choice(found), signal.SIGKILL)
    return ended(process)


def worker_suspended(process: int, draw: random.Random) -> int | None:
    """A worker hangs; after a while a person stops the command."""
    found = workers_of(process)
    hanging = draw.choice(found) if found else None
    if hanging is not None:
        send(hanging, signal.SIGSTOP)
    time.sleep(1.0)
    send(process, signal.SIGTERM)
    return ended(process)


Injection = Callable[[int, random.Random], int | None]
EVERYWHERE: dict[str, Injection] = {"SIGKILL": killed, "SIGTERM, SIGKILL 5 s later": stopped}
OF_SWEEPS: dict[str, Injection] = {"SIGKILL of a worker": worker_killed, "a worker hangs": worker_suspended}
FULL, TWICE = "disk full", "two processes"


@dataclass(frozen=True)
class Trial:
    """What was done and what came of it.

    Attributes:
        command: its name.
        kind: of injection.
        files: that existed when it struck.
        struck: whether the command was still running.
        codes: exit codes of the disturbed command, and of the one called again.
        n_kept: finished runs that were there before the second call.
        fault: what went wrong; "" for nothing.
    """

    command: str
    kind: str
    files: int
    struck: bool
    codes: list[int | None]
    n_kept: int
    fault: str


class Bench:
    """The files of undisturbed calls."""

    def __init__(self, home: Path, names: list[str]) -> None:
        self.home, self.out = home, home / "out"
        self.expected: dict[str, dict[str, object]] = {}
        self.n_files: dict[str, int] = {}
        for name in names:
            shutil.rmtree(self.out, ignore_errors=True)
            code, _ = call(self.words(name), self.out)
            assert code == 0, self.errors()
            self.expected[name] = self.contents()
            self.n_files[name] = self.count()

    def words(self, name: str) -> list[str]:
        return [*COMMANDS[name].split(), "--quiet", "--out", str(self.out)]

    def errors(self) -> str:
        return (self.home / "errors").read_text(errors="replace")[-300:]

    def contents(self) -> dict[str, object]:
        """All files but how long jobs took."""
        found = contents(self.out)
        found.pop("seconds.json", None)
        return found

    def count(self) -> int:
        return sum(1 for path in self.out.rglob("*") if path.is_file())

    def marks(self) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in self.out.glob("*/summary.json")} | {
            path: path.stat().st_mtime_ns for path in self.out.glob("runs/*/summary.json")
        }

    def disturbed(self, name: str, kind: str, draw: random.Random) -> tuple[int, bool, int | None]:
        """Start a command and strike; the files that were there, whether it was running, and its exit code."""
        if kind == FULL:
            limit = int(SMALLEST * (LARGEST / SMALLEST) ** draw.random())
            return limit, True, ended(start(self.words(name), self.out, limit))
        process = start(self.words(name), self.out)
        n_files = draw.randint(1, self.n_files[name] - 1)
        while self.count() < n_files and not is_over(process):
            time.sleep(0.002)
        time.sleep(draw.choice((0.0, 0.2)) * draw.random())
        was_running = not is_over(process)
        if kind == TWICE:
            second = start(self.words(name), self.out)
            codes = [ended(process), ended(second)]
            return n_files, was_running, max((code for code in codes if code is not None), default=None)
        return n_files, was_running, {**EVERYWHERE, **OF_SWEEPS}[kind](process, draw)

    def trial(self, name: str, kind: str, draw: random.Random, tamper: Callable[[Path], None] | None = None) -> Trial:
        """One injection; `tamper` changes the directory before the second call, to see that the comparison notices."""
        shutil.rmtree(self.out, ignore_errors=True)
        n_files, struck, code = self.disturbed(name, kind, draw)
        until = time.monotonic() + LONGEST
        while any(is_held(path.parent) for path in self.out.rglob(".lock")) and time.monotonic() < until:
            time.sleep(0.05)
        before = self.marks()
        if tamper is not None:
            tamper(self.out)
        again = ended(start(self.words(name), self.out))
        fault = self.fault(name, code, again, before)
        return Trial(name, kind, n_files, struck, [code, again], len(before), fault)

    def fault(self, name: str, code: int | None, again: int | None, before: dict[Path, int]) -> str:
        """What is wrong after the second call; "" for nothing."""
        if code is None or again is None:
            return f"hung: {self.errors()}"
        if again != 0 and "holds a finished run" not in self.errors():
            return f"called again it exits {again}: {self.errors()}"
        for path, mark in before.items():
            if self.marks().get(path) != mark:
                return f"made again: {path.parent.name}"
        now, expected = self.contents(), self.expected[name]
        wrong = [f"missing {k}" for k in expected if k not in now]
        wrong += [f"left over {k}" for k in now if k not in expected]
        wrong += [f"differs {k}" for k in expected if k in now and now[k] != expected[k]]
        return ", ".join(wrong)


def drawn(draw: random.Random, share_of_sweeps: float) -> tuple[str, str]:
    """A command and what is done to it."""
    if draw.random() < share_of_sweeps:
        return draw.choice(list(SWEEPS)), draw.choice([*EVERYWHERE, *OF_SWEEPS, FULL, TWICE])
    return draw.choice(list(SINGLE)), draw.choice([*EVERYWHERE, FULL, TWICE])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=0.0, help="begin no trial after so long; 0: make all")
    parser.add_argument("--sweeps", type=float, default=0.3, help="share of trials on sweeps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", action="store_true", help="write benchmarks/results/injections.json")
    a = parser.parse_args()
    torch.set_num_threads(1)
    draw = random.Random(a.seed)
    until = time.monotonic() + (60 * a.minutes or 1e9)
    trials: list[Trial] = []
    with tempfile.TemporaryDirectory() as home:
        bench = Bench(Path(home), list(COMMANDS))
        while len(trials) < a.trials and time.monotonic() < until:
            trials.append(bench.trial(*drawn(draw, a.sweeps), draw))
            print(len(trials), trials[-1], flush=True)
    faults = [trial for trial in trials if trial.fault]
    struck = [trial for trial in trials if trial.struck]
    by_kind = Counter(f"{trial.kind}, {'sweep' if trial.command in SWEEPS else 'one process'}" for trial in struck)
    print(f"{len(trials)} trials, {len(struck)} struck, {len(faults)} faults, seed {a.seed}")
    if a.store:
        result = {"environment": environment(a.seed), "commands": COMMANDS, "trials": len(trials), "struck": len(struck),
                  "by_kind": dict(sorted(by_kind.items())), "faults": [asdict(trial) for trial in faults],
                  "rows": [asdict(trial) for trial in trials]}  # fmt: skip
        write_atomic(Path(__file__).parent / "results" / "injections.json", dump_json(result))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
