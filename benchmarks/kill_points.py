"""SIGKILL before single file operations of commands, each called again: does every moment end in the same files?

  python benchmarks/kill_points.py                 every point of every command (hours on two cores)
  python benchmarks/kill_points.py --trials 40     so many points, drawn at random; --seed repeats a draw

A command runs in a fork of a warm process, with a hook that counts what it does to files below its folder (open to write,
rename, mkdir, remove) and kills it before the chosen one. The same command is then called again, and the folder compared
with that of an undisturbed call, times and environment apart. tests/test_kill.py makes a few trials of it in CI.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from cgro import cli
from cgro.runs import dump_json, environment, write_atomic
from cgro.seal import TIMED

TRAIN = "train --data digits --n-train 60 --n-test 40 --model mlp --width 8 --radius 0.05 --attack pgd2 --epochs 3 --keep-every 1 --eval-attack pgd2 --eval-n 40 --final-n 40 --threads 1"  # fmt: skip
COMMANDS = {
    "train": TRAIN,
    "seeds": TRAIN.replace("--epochs 3", "--epochs 1") + " --seeds 2",
    "evaluate": "evaluate {run} --attack pgd3 --parts test --n 40 --save-examples --threads 1",
    "flatness": "flatness {run} --n 8 --n-steps 2 --n-loss-steps 2 --threads 1",
    "memory": "memory {run} --n 20 --attack pgd2 --threads 1",
    "diagnose": "diagnose {run} --lint-n 0 --threads 1",
    "dynamics": "dynamics --n-steps 300 --n-test 100 --threads 1",
    "memorize": "memorize --data digits --classes 3,8 --radius 0.05 --n-train 20 --n-test 10 --eval-n 5 --clean-epochs 1 --threads 1",
    "separation": "separation --data digits --classes 3,8 --n-train 40 --threads 1",
    "lower-bound": "lower-bound --radius 0.1 --dims 2:8",
}  # fmt: skip
ADDING = ("evaluate", "flatness")
"""Commands that write into the run that they are given."""
EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir")
Tamper = Callable[[Path], None]


def counting(folder: Path, kill_at: int, seen: list[int]) -> None:
    """Count writing file operations below a folder, and die before the one of that number; 0 for never."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in EVENTS or not str(arguments[0]).startswith(str(folder)):
            return
        if event == "open" and not _writes(arguments[1], arguments[2]):
            return
        seen[0] += 1
        if seen[0] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _writes(mode: Any, flags: Any) -> bool:
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return bool(flags & (os.O_WRONLY | os.O_RDWR))


def call(words: Sequence[str], folder: Path, kill_at: int = 0) -> tuple[int, int]:
    """A command in a fork of this process.

    Returns:
        Its exit code (-9 when it was killed), and how many operations it made, where it ended by itself.
    """
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        code = 97
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(os.open(folder.parent / "errors", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            seen = [0]
            counting(folder, kill_at, seen)
            code = cli.main(list(words))
            os.write(writing, str(seen[0]).encode())
        finally:
            os._exit(code)
    os.close(writing)
    _, status = os.waitpid(process, 0)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    return os.waitstatus_to_exitcode(status), int(told or 0)


def contents(folder: Path) -> dict[str, Any]:
    """All files of a run that a second call repeats, without times; the folder's own name is written @."""
    found: dict[str, Any] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if path.name in (".lock", "environment.json"):
            continue
        name = str(path.relative_to(folder))
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                found[name] = {k: (str(arrays[k].dtype), arrays[k].tobytes()) for k in arrays.files}
        elif path.suffix in (".json", ".jsonl", ".yaml"):
            found[name] = _timeless(_values(path), str(folder))
        else:
            found[name] = path.read_bytes().replace(str(folder).encode(), b"@")
    return found


def _values(path: Path) -> Any:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    return yaml.safe_load(path.read_text())  # JSON is YAML


def _timeless(value: Any, folder: str) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v, folder) for k, v in value.items() if k not in (*TIMED, "provenance")}
    if isinstance(value, list):
        return [_timeless(v, folder) for v in value]
    return value.replace(folder, "@") if isinstance(value, str) else value


class Bench:
    """A trained run, and for every command the files of an undisturbed call and the number of its operations."""

    def __init__(self, home: Path, names: Sequence[str]) -> None:
        self.home, self.run = home, home / "run"
        assert call([*TRAIN.split(), "--out", str(self.run)], self.run)[0] == 0, self.errors()
        self.expected: dict[str, dict[str, Any]] = {}
        self.points: dict[str, int] = {}
        for name in names:
            words, out = self.command(name)
            code, self.points[name] = call(words, out)
            assert code == 0, self.errors()
            self.expected[name] = contents(out)

    def errors(self) -> str:
        return (self.home / "errors").read_text(errors="replace")[-300:]

    def command(self, name: str) -> tuple[list[str], Path]:
        """Its words, and a fresh folder that it works in."""
        out = self.home / "out"
        shutil.rmtree(out, ignore_errors=True)
        if name in ADDING:
            shutil.copytree(self.run, out)
            return COMMANDS[name].format(run=out).split(), out
        return [*COMMANDS[name].format(run=self.run).split(), "--out", str(out)], out

    def trial(self, name: str, point: int, tamper: Tamper | None = None) -> str:
        """What went wrong when the command was killed at a point and called again; nothing is "".

        Args:
            name: of the command.
            point: the operation before which it is killed, counted from 1.
            tamper: changes the cut folder, to see that the comparison notices.
        """
        words, out = self.command(name)
        code, _ = call(words, out, kill_at=point)
        if code != -signal.SIGKILL:
            return f"not killed: exit {code}"
        if tamper is not None:
            tamper(out)
        code, _ = call(words, out)
        if code != 0 and "holds a finished run" not in self.errors():
            return f"called again it exits {code}: {self.errors()}"
        now, before = contents(out), self.expected[name]
        wrong = [f"missing {k}" for k in before if k not in now] + [f"left over {k}" for k in now if k not in before]
        return ", ".join(wrong + [f"differs {k}" for k in before if k in now and before[k] != now[k]])


def trials(bench: Bench, n: int | None, seed: int) -> list[dict[str, Any]]:
    """All points, or n of them drawn over the commands."""
    every = [(name, point) for name, count in bench.points.items() for point in range(1, count + 1)]
    chosen = every if n is None else random.Random(seed).sample(every, min(n, len(every)))
    rows = []
    for name, point in chosen:
        rows.append({"command": name, "point": point, "of": bench.points[name], "fault": bench.trial(name, point)})
        if rows[-1]["fault"]:
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--store", action="store_true", help="write benchmarks/results/kill_points.json")
    a = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as home:
        bench = Bench(Path(home), a.commands.split(","))
        rows = trials(bench, a.trials, a.seed)
    faults = [row for row in rows if row["fault"]]
    print(f"{len(rows)} points, {len(faults)} faults, seed {a.seed}")
    if a.store:
        result = {"environment": environment(a.seed), "operations": bench.points, "points": len(rows), "faults": faults}
        write_atomic(Path(__file__).parent / "results" / "kill_points.json", dump_json(result))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
