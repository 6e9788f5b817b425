"""How CPU time and memory grow with the size of the work: fitted exponents, with what was predicted.

  python benchmarks/growth.py                 measure and store: about two minutes of one thread at rest
  python benchmarks/growth.py --draw          write docs/scaling.md and its figure from the stored numbers
  python benchmarks/growth.py --only "simulator, N" --repeats 1

Each point is a process of its own (a fork), one thread: CPU seconds of the call without its set-up, and how far the
highest resident memory of the process rises above what it had before the set-up, after a call of the smallest size. The exponent is the slope of a least
squares line through the logarithms of the medians; beside it the slope between the two largest sizes, which is what
matters for larger ones. Predictions were written down before the first run. benchmarks/results/growth.json.
"""

import argparse
import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from cgro.data.patches import PatchData
from cgro.definitions import PGD, ThreatModel, robust_error
from cgro.dynamics import Setting
from cgro.dynamics.spaces import SPACES
from cgro.flatness import flatness
from cgro.models import build
from cgro.reading import read_json
from cgro.report import style
from cgro.representation import RobustMemorizer, certify, separation
from cgro.runs import dump_json, environment, write_atomic

RESULT = Path(__file__).parent / "results" / "growth.json"
FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "growth"
PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
Work = Callable[[], object]
AFTER = """
Two predictions were wrong. The certificate was expected to grow with the square of N, and grows with N itself: it compares bits of rounded
coordinates before it looks at any pair. The attack was expected to grow with the square of the width of LeNet, and at these widths does not: its
first convolution has one input channel at any width, and small products do not fill the processor, so that the exponent is 0.5, and 0.8
between the last two sizes. All others are within 0.12 of what was predicted: nothing grows faster than the work that it does. What is 0 in the memory column, and
not a dash, is a buffer of fixed size. The load of the machine during the measurement is in the stored file.
"""
TEXT = """# How cost grows

What happens to CPU time and memory when a work becomes twice as large. `python benchmarks/growth.py` measures (two minutes of one thread at
rest), `--draw` draws; numbers are those of `benchmarks/results/growth.json`, with the machine and its load. Each point is a process of its
own, which first makes a call of the smallest size; set-up does not count for time and does for memory, which is the highest resident memory
above what the process held after that call. The exponent is that of a power law through all sizes (least squares in logarithms) and, in parentheses, between the two largest: the sizes here
are small enough to repeat, so that constant costs pull the first one down. Predictions were written into the script before the first run.

![Time and memory against size](figures/growth.png)

| work, and what grows | sizes | exponent of time (at the end) | predicted | CPU seconds | exponent of memory | MB |
| --- | --- | --- | --- | --- | --- | --- |
"""


@dataclass(frozen=True)
class Law:
    """What grows, and how it should.

    Args:
        name: work and quantity.
        sizes: increasing.
        seconds: predicted exponent of the time.
        memory: predicted exponent of the memory; None where it is below what can be seen.
        prepare: size -> the call that is timed.
    """

    name: str
    sizes: Sequence[int]
    seconds: float
    memory: float | None
    prepare: Callable[[int], Work]


def simulator(**given: int) -> Work:
    """Steps of the simulator on vectors, compiled before."""
    sizes = {"n_train": 500, "n_filters": 8, "steps": 500, "n_seeds": 1, "batch_size": 0, **given}
    setting = Setting(PatchData(100), n_train=sizes["n_train"], n_filters=sizes["n_filters"], radius_ratio=0.978)
    if sizes["batch_size"]:
        setting = replace(setting, batch_size=sizes["batch_size"])
    batch = SPACES["direct"](setting, range(sizes["n_seeds"]))
    return lambda: batch.advance(sizes["steps"], compiled=True)


def by_law(d: int) -> Work:
    """Steps in coefficient space from the law of the Gram matrix."""
    batch = SPACES["law"](Setting(PatchData(d), n_train=20, n_filters=16, radius_ratio=0.978), [0])
    return lambda: batch.advance(5000, compiled=True)


def attacked(*, width: int = 2, n_seeds: int = 1, n_checkpoints: int = 1) -> Work:
    """PGD-10 on 64 images of 28 x 28 by LeNets, one after the other."""
    networks = [build("lenet", (1, 28, 28), 10, width=width, seed=k).eval() for k in range(n_seeds * n_checkpoints)]
    x = torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    y = torch.arange(64) % 10
    attack = PGD(ThreatModel("inf", 0.1), n_steps=10, precision="float32")
    return lambda: [robust_error(network, x, y, attack) for network in networks]


def flat(n_radii: int) -> Work:
    """Flatness of 32 images at several radii."""
    network = build("lenet", (1, 28, 28), 10, width=2, seed=0).eval()
    x = torch.rand(32, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    radii = [0.02 * (k + 1) for k in range(n_radii)]
    return lambda: flatness(network, x, torch.arange(32) % 10, radii)


def certified(n: int) -> Work:
    """The certificate of the memorizer on N points in 784 dimensions, two clouds of pixels."""
    rng = np.random.default_rng(0)
    y = torch.arange(n) % 2
    x = torch.from_numpy(rng.integers(0, 256, (n, 784)).astype(np.uint8))
    network = build("mlp", (784,), 2, seed=0).eval()
    memorizer = RobustMemorizer(network, x, y, ThreatModel("inf", 0.1), separation=separation(x, y, "inf", threads=1))
    return lambda: certify(memorizer, exact=True)


LAWS = [
    Law("simulator, N", (250, 500, 1000, 2000, 4000), 1, 1, lambda n: simulator(n_train=n, steps=300)),
    Law("simulator, width m", (8, 16, 32, 64, 128), 1, None, lambda m: simulator(n_filters=m, steps=300)),
    Law("simulator, steps", (500, 1000, 2000, 4000), 1, None, lambda t: simulator(steps=t)),
    Law("simulator, seeds", (1, 2, 4, 8, 16), 1, 1, lambda s: simulator(n_seeds=s, n_train=1000)),
    Law(
        "simulator, steps in mini-batches",
        (1000, 2000, 4000, 8000),
        1,
        None,
        lambda t: simulator(steps=t, batch_size=50),
    ),
    Law("simulator by the law, d", (1000, 10_000, 100_000, 1_000_000), 0, None, by_law),
    Law("certificate p = inf, N", (500, 1000, 2000, 4000), 2, 1, certified),
    Law("flatness, radii", (1, 2, 4, 8), 1, None, flat),
    Law("PGD-10, width of LeNet", (1, 2, 4, 8), 2, 1, lambda w: attacked(width=w)),
    Law("PGD-10, seeds", (1, 2, 4, 8), 1, None, lambda s: attacked(n_seeds=s)),
    Law("PGD-10, checkpoints", (1, 2, 4, 8), 1, None, lambda k: attacked(n_checkpoints=k)),
]


def resident(field: str) -> float:
    """MB of this process: VmRSS now, VmHWM at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return math.nan


def in_a_fork(law: Law, size: int) -> tuple[float, float]:
    """CPU seconds of the call, and MB above what the process holds after a first call of the smallest size.

    The first call loads what is compiled and cached. It is the child's: a process that has used autograd cannot fork.
    """

    def work(end: Connection) -> None:
        law.prepare(law.sizes[0])()
        Path("/proc/self/clear_refs").write_text("5")  # the highest memory starts anew
        before = resident("VmRSS")
        call = law.prepare(size)
        started = time.process_time()
        call()
        end.send((time.process_time() - started, max(resident("VmHWM") - before, 0.0)))

    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs,))
    process.start()
    theirs.close()
    found = ours.recv()
    process.join()
    return found


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Of the least squares line through the logarithms; NaN where a value is not positive."""
    if min(values) <= 0:
        return math.nan
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def measured(law: Law, repeats: int) -> dict[str, object]:
    """One row: medians, exponents and predictions."""
    times: list[list[float]] = [[] for _ in law.sizes]
    memory: list[list[float]] = [[] for _ in law.sizes]
    for _ in range(repeats):
        for k, size in enumerate(law.sizes):
            seconds, megabytes = in_a_fork(law, size)
            times[k].append(seconds)
            memory[k].append(megabytes)
    seconds = [statistics.median(values) for values in times]
    megabytes = [statistics.median(values) for values in memory]
    row = {
        "name": law.name,
        "sizes": list(law.sizes),
        "seconds": seconds,
        "all_seconds": times,
        "megabytes": megabytes,
        "time_exponent": slope(law.sizes, seconds),
        "time_exponent_at_the_end": slope(law.sizes[-2:], seconds[-2:]),
        "predicted_time": law.seconds,
        "memory_exponent": slope(law.sizes, megabytes),
        "predicted_memory": law.memory,
    }
    print({key: value for key, value in row.items() if key != "all_seconds"}, flush=True)
    return row


def write_page(rows: Sequence[Mapping]) -> None:
    """The page with its table."""
    lines = []
    for row in rows:
        sizes, seconds, memory = row["sizes"], row["seconds"], row["megabytes"]
        cells = (
            row["name"],
            f"{sizes[0]:,} to {sizes[-1]:,}",
            f"{row['time_exponent']:.2f} ({row['time_exponent_at_the_end']:.2f})",
            f"{row['predicted_time']:g}",
            f"{seconds[0]:.3g} to {seconds[-1]:.3g}",
            exponent(row["memory_exponent"]),
            f"{memory[0]:.1f} to {memory[-1]:.1f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    PAGE.write_text(TEXT + "\n".join(lines) + "\n" + AFTER)


def draw(rows: Sequence[Mapping], path: Path = FIGURE) -> None:
    """Time and memory against size, one color and mark per law in both panels, each divided by its first value."""
    with style.figure(path, width=9.6, height=6.2) as drawing:
        axes = drawing.subplots(1, 2)
        for k, row in enumerate(rows):
            sizes = np.array(row["sizes"]) / row["sizes"][0]
            color, marker = style.COMPARED[k % len(style.COMPARED)], style.MARKERS[k % len(style.MARKERS)]
            look = {"color": color, "marker": marker, "markersize": 5, "linewidth": 1}
            label = f"{row['name']}: {row['time_exponent']:.2f}, {exponent(row['memory_exponent'])}"
            axes[0].loglog(sizes, np.array(row["seconds"]) / row["seconds"][0], label=label, **look)
            if min(row["megabytes"]) > 0:
                axes[1].loglog(sizes, np.array(row["megabytes"]) / row["megabytes"][0], **look)
        for panel, what in zip(axes, ("CPU time", "memory"), strict=True):
            # Named in the legend, as a word beside it would lie over the lines of the laws that follow it.
            label = "exponent 1" if panel is axes[0] else None
            panel.plot([1, 16], [1, 16], color=style.MARK, linewidth=1.4, zorder=0, label=label, **style.DOTTED)
            panel.set_xlabel("size, relative to the smallest")
            panel.set_ylabel(f"{what}, relative to the smallest")
        drawing.legend(
            loc="outside lower center",
            ncols=3,
            fontsize=8,
            title="fitted exponents of time and of memory",
            title_fontsize=8,
        )


def exponent(value: float | None) -> str:
    """In two digits; a dash where a call took no memory that could be seen (stored as null)."""
    if value is None or math.isnan(value):
        return "-"
    return f"{round(value, 2) + 0.0:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only")
    parser.add_argument("--draw", action="store_true")
    arguments = parser.parse_args()
    if arguments.draw:
        stored = read_json(RESULT)
        assert isinstance(stored, dict)
        draw(stored["rows"])
        write_page(stored["rows"])
        return
    torch.set_num_threads(1)
    rows = [measured(law, arguments.repeats) for law in LAWS if arguments.only in (None, law.name)]
    if arguments.only is None:
        content = {"environment": environment(), "load": os.getloadavg(), "repeats": arguments.repeats, "rows": rows}
        write_atomic(RESULT, dump_json(content))


if __name__ == "__main__":
    main()
