"""Training on 200,000 images of 64x64 that stay on the disk: memory against a prediction, and images a second.

  python benchmarks/streaming.py make FOLDER       # class folders and a parquet set of the same images
  python benchmarks/streaming.py measure FOLDER    # writes benchmarks/results/streaming.json
  python benchmarks/streaming.py epoch FOLDER      # adds a whole epoch, with PGD-1, to it

Each training is a process of its own; its peak is the kernel's VmHWM. The prediction is made before: the same training on
2,000 of the images, from a source of the same kind (so that pyarrow counts where it is used), and on top of it what grows
with the data and the batches that are held, counted: see `predicted`.
"""

import io
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

N_CLASSES = 100
N_PER_CLASS = 2000
SIDE = 64
BATCH = 256
N_FEW = 2000
"""Images of the small set."""
STEPS = 3
"""Of the attack."""
STEPS_TAKEN = "30"
"""Of the 625 of an epoch, as others compute on this machine; `epoch` takes all."""
RESULT = Path(__file__).parent / "results" / "streaming.json"
SPREAD = 24 << 20
"""Bytes allowed on top of the prediction, for the allocator: stated before it was measured."""


def encoded(k: int, rng: np.random.Generator) -> bytes:
    """A smooth random image as JPEG, about 1.5 kB."""
    from PIL import Image

    small = rng.integers(0, 256, (8, 8, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(out, "JPEG")
    return out.getvalue()


def make(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    (folder / "table").mkdir(parents=True)
    # 5,000 different images, each under many names: the reader cannot know.
    some = [encoded(k, rng) for k in range(5000)]
    writer = None
    for label in range(N_CLASSES):
        place = folder / "folder" / f"n{label:04}"
        place.mkdir(parents=True)
        images = [some[(label * N_PER_CLASS + k) % len(some)] for k in range(N_PER_CLASS)]
        for k, image in enumerate(images):
            (place / f"n{label:04}_{k:06}.jpg").write_bytes(image)
        rows = pa.table(
            {"image": pa.array([{"bytes": image, "path": None} for image in images]), "label": [label] * len(images)}
        )
        writer = writer or pq.ParquetWriter(folder / "table" / "train.parquet", rows.schema)
        writer.write_table(rows, row_group_size=1000)
    assert writer is not None
    writer.close()


def peak() -> int:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) << 10


def predicted(n: int, name_bytes: float) -> dict[str, float]:
    """Bytes beside the program that a streamed training holds at its peak, counted.

    Index: names, four int64 columns of the listing; labels and positions of the splits, the order of an epoch and its
    shuffles (six int64). Batches: three of uint8 (two ahead, one in use), float32 of one with its augmentation and the
    attack's copies (eight). Unpacking holds the 20 bytes of an image's columns four times while it ends.
    """
    image = 3 * SIDE * SIDE
    return {
        "index": n * (name_bytes + 4 * 8 + 6 * 8),
        "batches": BATCH * image * (3 + 8 * 4),
        "unpacking": n * 4 * 20,
    }


def one(path: str, part: str, attack_steps: int) -> None:
    """In a process of its own: `part` of an epoch."""
    import torch

    from cgro.data import load
    from cgro.definitions import PGD, ThreatModel
    from cgro.models import build
    from cgro.training import Adversarial, Recipe, make_fabric
    from cgro.training.steps import Steps

    torch.set_num_threads(1)
    started = time.process_time()
    wall = time.perf_counter()
    data = load(path, stream="yes")
    opened = time.process_time() - started
    opened_wall = time.perf_counter() - wall
    after_index = peak()
    model = build("mlp", data.shape, data.n_outputs, width=16)
    objective = Adversarial(PGD(ThreatModel("inf", 0.03), n_steps=attack_steps))
    steps = Steps(
        model, data.train, objective, Recipe(epochs=1, batch_size=BATCH, augment="crop-flip"), (), 0, make_fabric("cpu")
    )
    order = steps.order(0)
    n_steps = steps.per_epoch if part == "epoch" else int(part)
    batches = order.split(BATCH)[:n_steps]
    steps.data.expect(batches)
    started = time.process_time()
    wall = time.perf_counter()
    n_images = 0
    losses: list[float] = []
    for k, rows in enumerate(batches):
        losses.append(float(steps.take(steps.make(0, k, rows), 0, k)))
        n_images += len(rows)
    print(json.dumps({
        "n": len(data.train) + len(data.test), "images": n_images, "peak": peak(), "after_index": after_index,
        "attack_steps": attack_steps, "first_loss": losses[0], "last_loss": losses[-1],
        "open_cpu_seconds": opened, "open_seconds": opened_wall,
        "train_cpu_seconds": time.process_time() - started, "train_seconds": time.perf_counter() - wall,
    }))  # fmt: skip


def run(*arguments: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=True)
    print(arguments, done.stdout.strip(), flush=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def decoding(folder: Path) -> list[dict[str, float]]:
    """Images a second by threads, in alternation; wall time of a machine that others use too."""
    from cgro.data import load
    from cgro.data.streamed import Streamed, decoded

    stored = load(str(folder / "folder"), stream="yes").train.stored
    assert isinstance(stored, Streamed)
    images, rows = stored.images, stored.rows
    rates: dict[int, list[tuple[float, float]]] = {1: [], 2: [], 4: []}
    for repeat in range(5):
        for n_threads, found in rates.items():
            chosen = rows[repeat * 1024 : (repeat + 1) * 1024]
            decoded(images, chosen[:256], n_threads)
            wall = time.perf_counter()
            cpu = time.process_time()
            decoded(images, chosen, n_threads)
            found.append((len(chosen) / (time.perf_counter() - wall), len(chosen) / (time.process_time() - cpu)))
    table = []
    for n_threads, found in rates.items():
        walls, cpus = zip(*found, strict=True)
        table.append({"threads": n_threads, "images_per_second": statistics.median(walls), "lowest": min(walls), "highest": max(walls),
                      "images_per_cpu_second": statistics.median(cpus)})  # fmt: skip
    return table


def few_of(folder: Path) -> dict[str, Path]:
    """The small sets: the first images of two classes, as folders and as a parquet file."""
    import pyarrow.parquet as pq

    few = folder / "few"
    for label in range(2):
        (few / f"n{label:04}").mkdir(parents=True, exist_ok=True)
        for k in range(N_FEW // 2):
            source = folder / "folder" / f"n{label:04}" / f"n{label:04}_{k:06}.jpg"
            (few / f"n{label:04}" / source.name).write_bytes(source.read_bytes())
    table = folder / "few-table"
    table.mkdir(exist_ok=True)
    whole = pq.ParquetFile(folder / "table" / "train.parquet")
    rows = whole.read_row_groups([0, 2])
    pq.write_table(rows, table / "train.parquet", row_group_size=1000)
    assert rows.num_rows == N_FEW
    return {"folder": few, "parquet, unpacked": table, "parquet, from the cache": table}


def sources(folder: Path) -> dict[str, Path]:
    """By the same names, the whole sets."""
    table = folder / "table"
    return {"folder": folder / "folder", "parquet, unpacked": table, "parquet, from the cache": table}


def fresh_cache(folder: Path) -> None:
    """What is unpacked goes to an empty folder."""
    import os
    import shutil

    shutil.rmtree(folder / "cache", ignore_errors=True)
    os.environ["CGRO_CACHE"] = str(folder / "cache")


def bounds(folder: Path) -> dict[str, dict[str, float]]:
    """The prediction for each source, before the whole sets are touched."""
    fresh_cache(folder)
    parts = predicted(N_CLASSES * N_PER_CLASS, len("n0000_000000.jpg"))
    found: dict[str, dict[str, float]] = {}
    for name, path in few_of(folder).items():
        # One step of the small set has its batches already; they count once more.
        program = run("one", str(path), "1", str(STEPS))["peak"]
        terms = {"program": program, "index": parts["index"], "batches": parts["batches"], "spread": SPREAD}
        if name == "parquet, unpacked":
            terms["unpacking"] = parts["unpacking"]
        found[name] = {**terms, "bound": sum(terms.values())}
        print(f"predicted, {name}: at most {found[name]['bound'] / 1e6:.0f} MB", flush=True)
    return found


def measure(folder: Path) -> None:
    from cgro.environment import environment

    told = environment()
    prediction = bounds(folder)
    cases = {name: run("one", str(path), STEPS_TAKEN, str(STEPS)) for name, path in sources(folder).items()}
    RESULT.write_text(json.dumps({
        "about": __doc__.splitlines()[0], "n": N_CLASSES * N_PER_CLASS, "side": SIDE, "batch": BATCH, "n_few": N_FEW,
        "predicted": prediction, "held_in_memory": N_CLASSES * N_PER_CLASS * 3 * SIDE * SIDE,
        "cases": cases, "within": {name: case["peak"] <= prediction[name]["bound"] for name, case in cases.items()},
        "decoding": decoding(folder), "environment": told,
    }, indent=1, default=str) + "\n")  # fmt: skip
    print(RESULT.read_text())


def epoch(folder: Path) -> None:
    """All 625 steps of PGD-1 on the class folder, against the bound that is stored."""
    from cgro.environment import environment

    told = environment()
    stored = json.loads(RESULT.read_text())
    bound = stored["predicted"]["folder"]["bound"]
    found = run("one", str(folder / "folder"), "epoch", "1")
    stored = json.loads(RESULT.read_text())
    stored["epoch"] = {**found, "bound": bound, "within": found["peak"] <= bound, "environment": told}
    RESULT.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "one":
        one(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        {"make": make, "measure": measure, "epoch": epoch}[sys.argv[1]](Path(sys.argv[2]))
