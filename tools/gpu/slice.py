"""The next open item of the list, within some minutes of one GPU, without network: see README.md beside this file.

  python -m tools.gpu.slice --out FOLDER                      on CUDA, nine minutes
  python -m tools.gpu.slice --out FOLDER --item b-0           another item than the next
  python -m tools.gpu.slice --out FOLDER --device cpu --tiny --minutes 2    a dry run; its numbers mean nothing

Checks of the machine come first. Exit 0: what is there is in FOLDER, also if the time was over before the end; 1: a check
failed; 2: bad request, one line; 130: stopped on request, what is there is in FOLDER.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace
from tools.gpu.items import TABLE, Item, chosen, items
from tools.gpu.keeper import Keeper
from tools.gpu.parcel import RECORD, Record
from tools.gpu.report import ending
from tools.gpu.training import FINISHED, NO_TIME, Plan, carried_out, closed, planned

from cgro._check import BadRequest, bad, number, one_line
from cgro._interrupt import SIGNALS, interrupt, stop_requests
from cgro.environment import current_environment
from cgro.experiments.cost import check_data
from cgro.jobs.plan import Scale
from cgro.jobs.store import Store
from cgro.runs import write_atomic
from cgro.training import make_fabric

TOP = Path(__file__).resolve().parents[2]
LAST_SECONDS = 30.0
"""Before the end, in which a training that is cut off saves and everything is written. A choice: `fit` stops after its
step, and 45 MB of weights take a few seconds."""
CHECK_SECONDS = 120.0
"""After which the checks are given up. A choice: they take under a minute."""
TABLE_SECONDS = 240.0
"""For the table of item a: it begins no row after three minutes."""


@dataclass(frozen=True)
class Clock:
    """How much of the time is left.

    Args:
        minutes: in all.
        started: on the monotonic clock.
    """

    minutes: float
    started: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds until everything must be written."""
        return self.started + 60 * self.minutes - LAST_SECONDS - time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.started


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    """The options.

    Args:
        words: of the command line; None: those of this process.

    Returns:
        Their values.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder that takes what is made")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--minutes", default="9", help="in all, checks and files included")
    parser.add_argument("--item", help="name of an item; default the next open one")
    parser.add_argument("--results", type=Path, default=TOP / "results", help="folder of committed results")
    parser.add_argument("--weights", type=Path, default=TOP / "weights", help="folder of weights of earlier slices")
    parser.add_argument("--despite-checks", action="store_true", help="go on where a check failed, and say so")
    parser.add_argument("--tiny", action="store_true", help="a dry run with tiny networks")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Do the slice.

    Args:
        words: of the command line; None: those of this process.

    Returns:
        The exit code.
    """
    options = parsed(words)
    try:
        with stop_requests(interrupt, SIGNALS):
            return _slice(options)
    except BadRequest as error:
        print(f"slice: {one_line(str(error), 400)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("slice: stopped", file=sys.stderr)
        return 130


def _slice(options: argparse.Namespace) -> int:
    clock = Clock(number(options.minutes, "--minutes", low=0.0))
    if clock.left <= 0:
        got = f"{options.minutes}, of which {LAST_SECONDS:g} s are for files"
        raise bad("--minutes", expected="time for a slice", got=got, remedy="nine are meant")
    if (options.out / RECORD).exists():
        raise bad("--out", expected="a folder without a slice", got=options.out, remedy="collect it, or take another")
    make_fabric(options.device)
    scale: Scale = "smoke" if options.tiny else "gpu"
    store = Store(options.results / scale)
    item = chosen(items(scale), store, options.weights, options.item)
    check_data(item.jobs)
    print(f"{item.name}: {item.words}")
    record = Record(
        environment=current_environment(0),
        scale=scale,
        item=item.name,
        words=item.words,
        minutes=clock.minutes,
        device=options.device,
    )
    if not item.jobs:
        return _table(options, clock, record)
    with tempfile.TemporaryDirectory(prefix="slice-") as work:
        return _item(options, clock, Keeper(options.out, Path(work), record), item, store)


def _table(options: argparse.Namespace, clock: Clock, record: Record) -> int:
    """Item a: the script of the table, whose checks are among its rows."""
    with tempfile.TemporaryDirectory(prefix="slice-") as work:
        keeper = Keeper(options.out, Path(work), record)
        keeper.write()
        seconds = min(clock.left, TABLE_SECONDS)
        code = _measure(options, Path(work), ["--minutes", f"{0.75 * seconds / 60:.2f}"], seconds)
        made = Path(work) / "table.json"
        done: list[str] = []
        if made.exists():
            write_atomic(keeper.store.root / TABLE, made.read_bytes())
            done.append(TABLE)
        keeper.record = replace(keeper.record, end=f"the table's script ended with {code}", done=done)
        _end(keeper, clock)
    return code


def _item(options: argparse.Namespace, clock: Clock, keeper: Keeper, item: Item, store: Store) -> int:
    keeper.write()
    failed = _measure(options, options.out / "checks", ["--checks"], min(clock.left, CHECK_SECONDS))
    keeper.took("checks", clock.spent)
    if failed and not options.despite_checks:
        keeper.record = replace(keeper.record, end="a check of the machine failed")
        keeper.write()
        print("slice: a check failed; see checks/table.json, or go on with --despite-checks", file=sys.stderr)
        return 1
    if failed:
        keeper.remark("a check of the machine failed; see checks/table.json")
    try:
        plan = planned(item, store, keeper, options.weights, device=options.device, seconds=clock.left)
    except BadRequest as error:
        keeper.record = replace(keeper.record, end=one_line(str(error)))
        keeper.write()
        raise
    return _carry_out(clock, keeper, plan)


def _carry_out(clock: Clock, keeper: Keeper, plan: Plan) -> int:
    code = 0
    end = FINISHED
    try:
        with keeper.watching():
            carried_out(plan, keeper, lambda: clock.left)
    except KeyboardInterrupt:
        end = NO_TIME
        if clock.left > 1:
            end = "stopped on request"
            code = 130
    closed(plan, keeper, end)
    _end(keeper, clock)
    return code


def _end(keeper: Keeper, clock: Clock) -> None:
    keeper.took("whole", clock.spent)
    keeper.write()
    print(ending(keeper.record, keeper.store, keeper.out))


def _measure(options: argparse.Namespace, out: Path, words: Sequence[str], seconds: float) -> int:
    """The script of the table in a process of its own; its lines go on to ours."""
    command = [sys.executable, "-m", "tools.gpu.table", "--out", str(out), "--device", options.device, *words]
    if options.tiny:
        command.append("--tiny")
    try:
        return subprocess.run(command, cwd=TOP, timeout=max(1.0, seconds), stdin=subprocess.DEVNULL).returncode
    except subprocess.TimeoutExpired:
        print(f"the measurements took more than {seconds:.0f} s and were given up")
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
