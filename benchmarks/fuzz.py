"""Damaged inputs for every reader of files: does each end in a value or in one printable line, in time and in memory?

    python benchmarks/fuzz.py --n 2000 --seed 1            # N inputs for each reader, in processes of 500
    python benchmarks/fuzz.py --n 200 --readers pt,npz

Small valid files are changed as disks, editors and attackers change them: bits flipped, bytes cut, copied and inserted,
numbers replaced by the largest there are, lines shuffled, archives packed anew around changed members so that their
checksums fit. Anything but a value or `BadRequest` with one printable line is a fault; so is a warning beside a value, and
an input that takes 30 s. The
tests run the same mutators for seconds (tests/test_fuzz.py). Printed: faults by place, peak memory, the slowest input;
the inputs of faults are kept in --keep. Results: benchmarks/results/fuzz.json.
"""

import argparse
import gzip
import io
import json
import multiprocessing
import os
import pickle
import random
import resource
import signal
import struct
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from cgro._check import BadRequest, one_line

BATCH = 500
SECONDS = 30
MEMORY = int(2.5 * (1 << 30))
LONGEST = 1_500
"""Characters of a message: two values of 200 and what was expected."""
INTERESTING = (
    b"", b"\0", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"nan", b"inf", b"-1", b"1e999", b"null",
    b"[]", b"{}", b'"', b"'", b"\n", b"\r", b"\r\n", b",", b"\t", b"{", b"}", b"[", b"]", b"\xed\xa0\x80", b"\xef\xbb\xbf",
    b"9" * 5000, b"(" * 200, b"[" * 2000, b"True", b"0x10", b"1_0", "\u0663".encode(), "\u00b2".encode(), "\u2028".encode(),
    b"\x1b[31m", b"\x1c", b"\x85", b"&a", b"*a", b"!!python/object/apply:os.system ['true']",
)  # fmt: skip
NUMBERS = (b"9", b"-", b"1e400", b"nan", b"inf", b"", b"0" * 400, b"9" * 5000)
INTEGERS = (0, 1, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The content with one to eight changes."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(data) + 1)
        data = rng.choice(CHANGES)(data, at, rng)
    return bytes(data)


def _set(data: bytearray, at: int, rng: random.Random) -> bytearray:
    data[at : at + 1] = bytes([rng.randrange(256)])
    return data


def _flip(data: bytearray, at: int, rng: random.Random) -> bytearray:
    if data:
        data[at % len(data)] ^= 1 << rng.randrange(8)
    return data


def _insert(data: bytearray, at: int, rng: random.Random) -> bytearray:
    data[at:at] = rng.choice(INTERESTING)
    return data


def _delete(data: bytearray, at: int, rng: random.Random) -> bytearray:
    del data[at : at + rng.choice((1, 2, 4, 16, 256))]
    return data


def _cut(data: bytearray, at: int, rng: random.Random) -> bytearray:
    return data[:at]


def _copy(data: bytearray, at: int, rng: random.Random) -> bytearray:
    start = rng.randrange(len(data) + 1)
    data[at:at] = data[start : start + rng.choice((1, 4, 16, 64))]
    return data


def _integer(data: bytearray, at: int, rng: random.Random) -> bytearray:
    size = rng.choice((1, 2, 4, 8))
    data[at : at + size] = rng.choice(INTEGERS).to_bytes(8, rng.choice(("big", "little")))[-size:]
    return data


def _shuffle(data: bytearray, at: int, rng: random.Random) -> bytearray:
    lines = bytes(data).split(b"\n")
    rng.shuffle(lines)
    return bytearray(b"\n".join(lines))


def _number(data: bytearray, at: int, rng: random.Random) -> bytearray:
    digits = [place for place, byte in enumerate(data) if 48 <= byte <= 57]
    if digits:
        place = rng.choice(digits)
        data[place : place + 1] = rng.choice(NUMBERS)
    return data


CHANGES = (_set, _flip, _insert, _delete, _cut, _copy, _integer, _shuffle, _number)


def repacked(content: bytes, rng: random.Random) -> bytes:
    """An archive whose members are changed and packed anew, so that the checksums fit."""
    out = io.BytesIO()
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.infolist():
            name = rng.choice([member.filename] * 9 + ["y.npy", "../x.npy", "x"])
            if name not in new.namelist():
                data = mutated(old.read(member), rng) if rng.random() < 0.6 else old.read(member)
                new.writestr(zipfile.ZipInfo(name), data, method)  # of 1980: the same bytes at any time
    return out.getvalue()


# ---------------------------------------------------------------- samples


def _npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def _idx(*shape: int) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + bytes(int(np.prod(shape)))


def _image(mode: str, kind: str) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new(mode, (8, 8)).save(out, kind)
    return out.getvalue()


def _parquet(compression: str) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    images = [{"bytes": _image("L", "PNG"), "path": None}] * 6
    out = io.BytesIO()
    pq.write_table(pa.table({"image": images, "label": [0, 1, 2] * 2}), out, compression=compression)
    return out.getvalue()


class _Runs:
    """What a pickle may do when it is read. Here: nothing."""

    def __reduce__(self) -> tuple:
        return print, ("executed",)


def _saved(value: Any) -> bytes:
    import torch

    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


def _pt() -> list[bytes]:
    import torch

    weights = {"0.weight": torch.ones(3, 4), "0.bias": torch.zeros(3)}
    nested = {"state_dict": {"module.a": torch.ones(2)}, "epoch": 3}
    return [
        _saved(weights),
        _saved(nested),
        pickle.dumps({"state_dict": _Runs()}),
        _saved({"w": torch.zeros(1).expand(9, 9)}),
    ]


def _safetensors() -> list[bytes]:
    import torch
    from safetensors.torch import save

    tensors = {
        "model/0.weight": torch.ones(3, 4),
        "model/0.bias": torch.zeros(3),
        "optimizer/0/step": torch.tensor(1.0),
    }
    state = {"epoch": 1, "step": 0, "optimizer_groups": [{"lr": 0.1}]}
    return [save(tensors, metadata={"state": json.dumps(state)}), save({"0.weight": torch.ones(3, 4)})]


def _lines(*names: str) -> list[dict[str, float]]:
    return [{"epoch": e, **{name: 0.5 + e / 100 * (-1) ** k for k, name in enumerate(names)}} for e in range(12)]


def _log() -> list[bytes]:
    head = "Epoch \t Train Time \t Test Time \t LR \t Train Loss \t Train Acc \t Train Robust Loss \t Train Robust Acc"
    head += " \t Test Loss \t Test Acc \t Test Robust Loss \t Test Robust Acc"
    rows = [f"[2020/01/01 00:00:00] - {e} \t 10.0 \t 3.0 \t 0.1 \t 1.5 \t 0.5 \t 1.8 \t 0.{30 + e} \t 1.4 \t 0.5 \t 1.7 \t 0.{33 - e}"
            for e in range(12)]  # fmt: skip
    whole = ["Namespace(attack='pgd', dataset='cifar10', epochs=5)", head, *rows, "validation 1.0 0.4 1.4 0.3", ""]
    return ["\n".join(whole).encode()]


def _csv() -> list[bytes]:
    rows = _lines("train_acc", "test_acc", "train_robust_acc", "test_robust_acc")
    text = "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows), ""])
    return [text.encode(), text.replace(",", ";").encode(), text.replace(",", "\t").encode()]


def _json() -> list[bytes]:
    rows = _lines("robust_error/test", "robust_error/train", "clean_error/test")
    lists = {name: [row[name] for row in rows] for name in rows[0]}
    return [
        "".join(json.dumps(row) + "\n" for row in rows).encode(),
        json.dumps(lists).encode(),
        json.dumps(rows).encode(),
    ]


X, Y = np.zeros((6, 4, 4), np.uint8), np.arange(6) % 3
INTS = dict.fromkeys(("index", "tried", "by", "step"), np.zeros(5, int))
RECORD = {"attacks": np.array(["a", "b"]), "identity": np.array("id"), "y": np.zeros(5, int), **INTS,
          "margin": np.zeros(5, np.float32), "x_adv": np.zeros((5, 1, 2, 2), np.float32)}  # fmt: skip
FLATNESS = {"gradient": np.zeros((5, 2)), "rise": np.zeros((5, 2)), "loss": np.zeros(5), "slope": np.zeros(5)}
CONFIG = b"command: train\ndata: digits\nepochs: 3\nlr: 0.01\nradius: '0.1'\nwidth: 8\nvalidation: 0.1\nseeds: [1, 2]\n"


# ---------------------------------------------------------------- readers


def _curves(path: Path) -> None:
    from cgro.diagnosis import diagnose, read_curves
    from cgro.diagnosis.rule import CurveRule

    for one in read_curves(path):
        diagnose(one, rule=CurveRule(n_boot=19))


def _data(path: Path) -> None:
    from cgro.data import load

    load(str(path))


def _read_idx(path: Path) -> None:
    from cgro.data.idx import read_idx

    read_idx(path.read_bytes(), path)


def _read_gz(path: Path) -> None:
    from cgro.data.idx import read_idx
    from cgro.reading import gunzip

    read_idx(gunzip(path.read_bytes(), str(path)), path)


def _folder(path: Path) -> None:
    """A folder of images of which one is the input."""
    root = path.with_suffix("")
    for name in ("a/0.png", "a/1.png", "b/0.png", "b/1.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(_image("L", "PNG"))
    (root / "b/1.png").write_bytes(path.read_bytes())
    _data(root)


def _parquet_folder(path: Path) -> None:
    root = path.with_suffix("")
    root.mkdir(exist_ok=True)
    (root / "train.parquet").write_bytes(path.read_bytes())
    _data(root)


def _weights(path: Path) -> None:
    from cgro.training.weights import read_weights

    read_weights(path)


def _whole_checkpoint(path: Path) -> None:
    import torch

    from cgro.training.checkpoint import load_checkpoint

    model = torch.nn.Sequential(torch.nn.Linear(4, 3))
    load_checkpoint(path, model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))


def _record(path: Path) -> None:
    import torch

    from cgro.commands._records import _load
    from cgro.data import Split

    split = Split(torch.zeros(5, 1, 2, 2), torch.zeros(5, dtype=torch.long), torch.arange(5))
    record = _load(path, "id", "", split, True)
    if record is not None:
        record.broken_by()


def _flatness(path: Path) -> None:
    from cgro.commands.flatness import _load

    _load(path, (0.1, 0.2))


def _yaml(path: Path) -> None:
    from cgro.reading import read_yaml_mapping

    read_yaml_mapping(path)


@dataclass(frozen=True)
class Reader:
    """A reader of files under test.

    Args:
        read: reads the file at a path.
        samples: valid content, made when it is first needed.
        suffix: of the file's name.
        packed: whether the content is a zip archive, which is also packed anew.
    """

    read: Callable[[Path], object]
    samples: Callable[[], list[bytes]]
    suffix: str = ""
    packed: bool = False


def _archives() -> list[bytes]:
    named = _npz(x=X / 255.0, y=Y, x_test=X / 255.0, y_test=Y, classes=np.array(["a", "b", "c"]))
    return [_npz(x=X, y=Y), named, _npz(x=X[:, None], y=Y, layout=np.array("NCHW"))]


def _images() -> list[bytes]:
    kinds = (("L", "PNG"), ("RGB", "PNG"), ("P", "PNG"), ("I;16", "PNG"), ("L", "JPEG"), ("L", "BMP"), ("L", "PPM"),
             ("RGB", "WEBP"), ("P", "GIF"))  # fmt: skip
    return [_image(*kind) for kind in kinds]


READERS: dict[str, Reader] = {
    "csv": Reader(_curves, _csv, ".csv"),
    "json": Reader(_curves, _json, ".jsonl"),
    "log": Reader(_curves, _log, ".log"),
    "idx": Reader(_read_idx, lambda: [_idx(3, 4, 4), _idx(6), _idx(2, 2, 2, 2)]),
    "gz": Reader(_read_gz, lambda: [gzip.compress(_idx(3, 4, 4), mtime=0), gzip.compress(_idx(6), mtime=0)]),
    "npz": Reader(_data, _archives, ".npz", packed=True),
    "folder": Reader(_folder, _images, ".png"),
    "parquet": Reader(_parquet_folder, lambda: [_parquet("snappy"), _parquet("none"), _parquet("gzip")], ".parquet"),
    "pt": Reader(_weights, _pt, ".pt", packed=True),
    "safetensors": Reader(_weights, _safetensors, ".safetensors"),
    "checkpoint": Reader(_whole_checkpoint, _safetensors, ".safetensors"),
    "record": Reader(_record, lambda: [_npz(**RECORD)], ".npz", packed=True),
    "flatness": Reader(_flatness, lambda: [_npz(**FLATNESS)], ".npz", packed=True),
    "yaml": Reader(_yaml, lambda: [CONFIG], ".yaml"),
}


def inputs(reader: Reader, rng: random.Random) -> Iterator[bytes]:
    """Changed samples without end; the first ones are the samples themselves."""
    samples = _samples(reader)
    yield from samples
    while True:
        sample = rng.choice(samples)
        if reader.packed and sample[:2] == b"PK" and rng.random() < 0.4:
            yield repacked(sample, rng)
        else:
            yield mutated(sample, rng)


@cache
def _samples(reader: Reader) -> list[bytes]:
    return reader.samples()


# ---------------------------------------------------------------- one input


class _Late(BaseException):
    """Raised by the alarm; nothing in between catches it."""


def fault(reader: Reader, content: bytes, folder: Path) -> str | None:
    """What is wrong with how a reader takes an input, with the place; None where it gives a value or refuses in one line."""

    def late(*_: object) -> None:
        raise _Late

    path = folder / f"input{reader.suffix}"
    path.write_bytes(content)
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings(record=True, action="always") as told:
            reader.read(path)
        if told:
            return f"a warning: {one_line(str(told[0].message), 120)}"
    except BadRequest as error:
        text = str(error)
        if text != one_line(text, LONGEST):
            return f"a message that is not one printable line: {text[:200]!r}"
    except _Late:
        return f"more than {SECONDS} s"
    except Exception as error:
        return f"{type(error).__name__} at {_place(error)}: {one_line(str(error), 120)}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return None


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if f"{os.sep}cgro{os.sep}" in frame.filename] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}"


def run(
    name: str, n: int, seed: int, *, readers: dict[str, Reader] | None = None, keep: Path | None = None
) -> dict[str, Any]:
    """Give a reader n inputs.

    Args:
        name: of the reader.
        n: inputs.
        seed: of the changes; together with the name it says every input.
        readers: where the name is looked up; default all.
        keep: the folder for inputs of faults.

    Returns:
        `faults`, what -> how often; `first`, what -> the number of its first input; `slowest`, seconds.
    """
    reader = (readers or READERS)[name]
    source = inputs(reader, random.Random(f"{name} {seed}"))
    faults: Counter[str] = Counter()
    first: dict[str, int] = {}
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        fault(reader, _samples(reader)[0], Path(folder))  # imports and compiles, which is not the input's time
        for k in range(n):
            content = next(source)
            start = time.monotonic()
            found = fault(reader, content, Path(folder))
            slowest = max(slowest, time.monotonic() - start)
            if found is None:
                continue
            faults[found] += 1
            first.setdefault(found, k)
            if keep is not None and first[found] == k:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{name}-{seed}-{k}{reader.suffix}").write_bytes(content)
    return {"faults": dict(faults), "first": first, "slowest": slowest}


def _batch(name: str, n: int, seed: int, keep: Path, out: Any) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    found = run(name, n, seed, keep=keep)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    out.send({**found, "peak_mb": peak})


def _in_a_process(name: str, n: int, seed: int, keep: Path) -> dict[str, Any]:
    """`run` in a process of its own, with a limit on its memory; one that dies is a fault too."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_batch, args=(name, n, seed, keep, theirs))
    process.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError:
        found = {"faults": {"the process died": 1}, "first": {}, "slowest": 0.0, "peak_mb": 0}
    process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=2000, help="inputs for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", default=",".join(READERS))
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzz"), help="folder for inputs of faults")
    asked = parser.parse_args()
    table: dict[str, dict[str, Any]] = {}
    for name in asked.readers.split(","):
        row: dict[str, Any] = {"inputs": 0, "faults": Counter(), "peak_mb": 0, "slowest": 0.0}
        for batch, start in enumerate(range(0, asked.n, BATCH)):
            n = min(BATCH, asked.n - start)
            found = _in_a_process(name, n, asked.seed * 1_000_000 + batch, asked.keep)
            row["inputs"] += n
            row["faults"].update(found["faults"])
            row["peak_mb"] = max(row["peak_mb"], found["peak_mb"])
            row["slowest"] = max(row["slowest"], found["slowest"])
        table[name] = row
        print(f"{name:12} {row['inputs']:6} inputs, {row['faults'].total():4} faults, {row['peak_mb']:5} MB, "
              f"slowest {row['slowest']:.2f} s", flush=True)  # fmt: skip
        for what, times in row["faults"].most_common():
            print(f"    {times:5}  {what}", flush=True)
    from cgro.runs import dump_json, environment, write_atomic

    path = Path(__file__).parent / "results" / "fuzz.json"
    write_atomic(path, dump_json({"n": asked.n, "seed": asked.seed, "readers": table, "environment": environment(0)}))


if __name__ == "__main__":
    main()
