"""Faults injected into trainings and sweeps at random moments; the same command, called again, must end in the same files.

  python benchmarks/injections.py --trials 100 --minutes 30 --seed 3 --store

A trial starts a command, waits until a random number of its files exist, and then kills, stops, suspends or starves one of
its processes, or starts the same command a second time beside it. When all have ended the command is called again, and
its directory is compared, byte by byte but for times, with that of an undisturbed call. What was finished before must not
be made again: neither runs, nor epochs, nor cells. Commands run in forks of a warm process; the workers of sweeps and
trainings by two ranks, which torchrun starts, are processes as users start them.
Results: benchmarks/results/injections.json, to which each seed adds a part with its commit.
"""

import argparse
import contextlib
import json
import os
import random
import re
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
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.kill_points import TRAIN, call, contents

from cgro import cli
from cgro.jobs.execute import is_held
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
RANKS = {"training by two ranks": TRAIN.replace("--epochs 3", "--epochs 12")}
COMMANDS = {**SINGLE, **SWEEPS, **RANKS}
GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""
LONGEST = 240.0
"""Seconds after which a command that ought to end counts as hung."""
SMALLEST, LARGEST = 64, 40_000
"""Bytes that a file may have where the disk is full: of some files none fits, of others all."""
RANK_SECONDS = 15.0
"""Seconds that a rank waits for another. torchrun kills one that does not end 30 seconds after it was asked to."""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--", "cgro"]
RESULT = Path(__file__).parent / "results" / "injections.json"


def start(words: list[str], folder: Path, limit: int | None = None) -> int:
    """A command in a fork of this process, or by torchrun; a limit on files makes it meet a full disk: its number."""
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
            if words[0] == TORCHRUN[0]:
                told = {"CGRO_RANK_SECONDS": str(RANK_SECONDS), "GLOO_SOCKET_IFNAME": "lo"}
                os.execve(words[0], words, {**os.environ, **told})
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


def rank_suspended(process: int, draw: random.Random) -> int | None:
    """A rank hangs: the other gives it up, and the launcher kills what has not ended."""
    found = workers_of(process)
    if found:
        send(draw.choice(found), signal.SIGSTOP)
    return ended(process)


Injection = Callable[[int, random.Random], int | None]
EVERYWHERE: dict[str, Injection] = {"SIGKILL": killed, "SIGTERM, SIGKILL 5 s later": stopped}
OF_SWEEPS: dict[str, Injection] = {"SIGKILL of a worker": worker_killed, "a worker hangs": worker_suspended}
OF_RANKS: dict[str, Injection] = {"SIGKILL of a rank": worker_killed, "a rank hangs": rank_suspended}
INJECTIONS = {**EVERYWHERE, **OF_SWEEPS, **OF_RANKS}
FULL, TWICE = "disk full", "two processes"
UNANSWERED = "has not answered for"


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
        self.read_from = 0
        self.expected: dict[str, dict[str, object]] = {}
        self.n_files: dict[str, int] = {}
        for name in names:
            shutil.rmtree(self.out, ignore_errors=True)
            if name in RANKS:
                code = ended(start(self.words(name), self.out))
            else:
                code, _ = call(self.words(name), self.out)
            assert code == 0, self.errors()
            self.expected[name] = self.contents()
            self.n_files[name] = self.count()

    def words(self, name: str) -> list[str]:
        words = [*COMMANDS[name].split(), "--quiet", "--out", str(self.out)]
        if name in RANKS:
            return [*TORCHRUN, *words]
        return words

    def errors(self) -> str:
        """What was said on stderr since `forget` was called."""
        return (self.home / "errors").read_bytes()[self.read_from :].decode(errors="replace")

    def forget(self) -> None:
        path = self.home / "errors"
        self.read_from = path.stat().st_size if path.exists() else 0

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

    def rows(self) -> dict[Path, list[str]]:
        """The lines that runs have per epoch, which say how many seconds it took, but for the last: its checkpoint may be missing."""
        found = {}
        for path in self.out.rglob("metrics.jsonl"):
            found[path] = path.read_text().splitlines()[:-1]
        return found

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
        return n_files, was_running, INJECTIONS[kind](process, draw)

    def trial(self, name: str, kind: str, draw: random.Random, tamper: Callable[[Path], None] | None = None) -> Trial:
        """One injection; `tamper` changes the directory before the second call, to see that the comparison notices."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.forget()
        n_files, struck, code = self.disturbed(name, kind, draw)
        until = time.monotonic() + LONGEST
        while any(is_held(path.parent) for path in self.out.rglob(".lock")) and time.monotonic() < until:
            time.sleep(0.05)
        said = self.said(kind, struck, code)
        before = self.marks()
        rows = self.rows()
        if tamper is not None:
            tamper(self.out)
        self.forget()
        again = ended(start(self.words(name), self.out))
        fault = said or self.fault(name, again, before) or self.made_again(rows)
        return Trial(name, kind, n_files, struck, [code, again], len(before), fault)

    def said(self, kind: str, struck: bool, code: int | None) -> str:
        """What is wrong with how the disturbed command ended; "" for nothing."""
        errors = self.errors()
        if code is None:
            return f"hung: {errors[-300:]}"
        if re.search(r'File ".*/cgro/', errors):
            return f"traceback: {errors[-2000:]}"
        if kind == "a rank hangs" and struck and code != 0 and errors.count(UNANSWERED) != 1:
            return f"the other rank did not say so: {errors[-2000:]}"
        return ""

    def made_again(self, rows: dict[Path, list[str]]) -> str:
        """Which epochs that were over were trained a second time, told by the seconds that they took; "" for none."""
        for path, lines in rows.items():
            if path.read_text().splitlines()[: len(lines)] != lines:
                return f"made again: an epoch of {path.parent.name}"
        return ""

    def fault(self, name: str, again: int | None, before: dict[Path, int]) -> str:
        """What is wrong after the second call; "" for nothing."""
        if again is None:
            return f"hung: {self.errors()[-300:]}"
        if again != 0 and "holds a finished run" not in self.errors():
            return f"called again it exits {again}: {self.errors()[-2000:]}"
        for path, mark in before.items():
            if self.marks().get(path) != mark:
                return f"made again: {path.parent.name}"
        now, expected = self.contents(), self.expected[name]
        wrong = [f"missing {k}" for k in expected if k not in now]
        wrong += [f"left over {k}" for k in now if k not in expected]
        wrong += [f"differs {k}" for k in expected if k in now and now[k] != expected[k]]
        return ", ".join(wrong)


def drawn(draw: random.Random, share_of_sweeps: float, share_of_ranks: float) -> tuple[str, str]:
    """A command and what is done to it."""
    place = draw.random()
    if place < share_of_sweeps:
        return draw.choice(list(SWEEPS)), draw.choice([*EVERYWHERE, *OF_SWEEPS, FULL, TWICE])
    if place < share_of_sweeps + share_of_ranks:
        return draw.choice(list(RANKS)), draw.choice([*EVERYWHERE, *OF_RANKS, FULL, TWICE])
    return draw.choice(list(SINGLE)), draw.choice([*EVERYWHERE, FULL, TWICE])


def sort_of(command: str) -> str:
    if command in RANKS:
        return "ranks"
    return "sweep" if command in SWEEPS else "one process"


def store(part: dict[str, Any], seed: int) -> None:
    """Add the trials of a seed to those that are stored, and count all of them."""
    parts = [part]
    if RESULT.exists():
        parts = [*json.loads(RESULT.read_text())["parts"], part]
    seeds = [one["environment"]["seed"] for one in parts]
    if len(set(seeds)) < len(seeds):
        raise SystemExit(f"--seed: expected one that is not stored, got {seed}; stored: {seeds[:-1]}")
    rows = [row for one in parts for row in one["rows"]]
    struck = [row for row in rows if row["struck"]]
    by_kind = Counter(f"{row['kind']}, {sort_of(row['command'])}" for row in struck)
    result = {
        "trials": len(rows),
        "struck": len(struck),
        "by_kind": dict(sorted(by_kind.items())),
        "by_commit": dict(Counter(one["environment"]["commit"] for one in parts for _ in one["rows"])),
        "faults": [row for row in rows if row["fault"]],
        "parts": parts,
    }
    write_atomic(RESULT, dump_json(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=0.0, help="begin no trial after so long; 0: make all")
    parser.add_argument("--sweeps", type=float, default=0.3, help="share of trials on sweeps")
    parser.add_argument("--ranks", type=float, default=0.2, help="share of trials on a training by two ranks")
    parser.add_argument("--seed", type=int, default=0, help="which is not stored yet")
    parser.add_argument("--store", action="store_true", help="add to benchmarks/results/injections.json")
    a = parser.parse_args()
    torch.set_num_threads(1)
    draw = random.Random(a.seed)
    told = environment(a.seed)  # before anything moves on in the sources
    until = time.monotonic() + (60 * a.minutes or 1e9)
    trials: list[Trial] = []
    with tempfile.TemporaryDirectory() as home:
        names = [*(SWEEPS if a.sweeps > 0 else ()), *(RANKS if a.ranks > 0 else ()), *SINGLE]
        bench = Bench(Path(home), names)
        while len(trials) < a.trials and time.monotonic() < until:
            trials.append(bench.trial(*drawn(draw, a.sweeps, a.ranks), draw))
            print(len(trials), trials[-1], flush=True)
    n_struck = sum(trial.struck for trial in trials)
    n_faults = sum(bool(trial.fault) for trial in trials)
    print(f"{len(trials)} trials, {n_struck} struck, {n_faults} faults, seed {a.seed}")
    if a.store:
        store({"environment": told, "commands": COMMANDS, "rows": [asdict(trial) for trial in trials]}, a.seed)
    sys.exit(bool(n_faults))


if __name__ == "__main__":
    main()
