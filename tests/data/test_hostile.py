"""Data sets that are damaged, or made to harm: one line, before anything large is allocated."""

import gzip
import io
import os
import pickle
import resource
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests import cases

from cgro import reading
from cgro.data import hub, load
from cgro.data.own import from_arrays
from cgro.data.raw import Images, listed
from cgro.data.sources import read_idx
from cgro.trust import path_of

ROOM = 500 << 20


@contextmanager
def little_memory() -> Iterator[None]:
    """No more than half a gigabyte beside what the process holds."""
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (used + ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def refused(call: Callable[[], object], *words: str) -> str:
    """As `cases.refused`, and without memory."""
    with little_memory():
        return cases.refused(call, *words)


def png(width: int = 8, height: int = 8, mode: str = "L") -> bytes:
    out = io.BytesIO()
    Image.new(mode, (width, height)).save(out, "PNG")
    return out.getvalue()


def huge_png(side: int) -> bytes:
    """A PNG of zeros in RGB, written without holding it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, row = zlib.compressobj(9), bytes(1 + 3 * side)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def folder(root: Path, image: bytes, n: int = 3) -> Path:
    for name in "ab":
        (root / name).mkdir(parents=True)
        for k in range(n):
            (root / name / f"{k}.png").write_bytes(image)
    return root


# ---------------------------------------------------------------- IDX and gzip


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\0\0\x08\x03\0\0", "header"), (b"\0\0\x08\x01", "header"), (b"\0\0\x08\x02\0\0\0\x01", "header"),
     (b"\0\0\x08\0x", "axes"), (b"\0\0\x08\x09" + bytes(36), "axes"), (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"x", "axes"),
     (struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**31, 4), "values"), (struct.pack(">HBB4I", 0, 8, 4, *[2**16] * 4), "values"),
     (struct.pack(">HBBI", 0, 8, 1, 60) + bytes(59), "59"), (b"", "nothing"), (b"\0\0\x0d\x01", "IDX")],
)  # fmt: skip
def test_idx(content: bytes, words: str) -> None:
    refused(lambda: read_idx(content, Path("file")), words)


def mnist(root: Path, **changed: bytes) -> Path:
    (root / "mnist").mkdir(parents=True)
    for part in ("train", "t10k"):
        files = {"images-idx3": struct.pack(">HBB3I", 0, 8, 3, 20, 2, 2) + bytes(80),
                 "labels-idx1": struct.pack(">HBBI", 0, 8, 1, 20) + bytes([0, 1] * 10)}  # fmt: skip
        for kind, content in files.items():
            content = changed.get(f"{part}_{kind[:6]}", gzip.compress(content))
            (root / "mnist" / f"{part}-{kind}-ubyte.gz").write_bytes(content)
    return root


def bomb(n_bytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = packer.compress(struct.pack(">HBB3I", 0, 8, 3, n_bytes // 1024, 32, 32))
    return head + b"".join(packer.compress(bytes(1 << 20)) for _ in range(n_bytes >> 20)) + packer.flush()


@pytest.mark.parametrize("content", [bomb(600 << 20), bomb(10 << 20)[:-9], gzip.compress(b"") * 20_000])
def test_gzip_bombs_and_cuts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setenv("CGRO_DATA", str(mnist(tmp_path, train_images=content)))
    refused(lambda: load("mnist"), "train-images")


def test_idx_files_of_other_axes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = gzip.compress(struct.pack(">HBBI", 0, 8, 1, 20) + bytes(20))
    monkeypatch.setenv("CGRO_DATA", str(mnist(tmp_path, train_images=flat)))
    refused(lambda: load("mnist"), "3 axes")
    monkeypatch.setenv("CGRO_DATA", str(mnist(tmp_path / "good")))
    assert len(load("mnist").train) == 20


# ---------------------------------------------------------------- images


def test_huge_images_are_refused_by_their_header(tmp_path: Path) -> None:
    one = huge_png(9_000)
    refused(lambda: load(str(folder(tmp_path / "six", one))), "bytes of the file")
    refused(lambda: load(str(folder(tmp_path / "headers", one[:200], 300))), "bytes of the file")
    refused(lambda: load(str(folder(tmp_path / "pixels", huge_png(14_000), 1))), "limit")  # Pillow's own


def test_no_warning_of_pillow_reaches_the_user(recwarn: pytest.WarningsRecorder) -> None:
    images = Images([huge_png(9_700)], lambda k: "image")  # 94 million pixels, above Pillow's warning
    assert images.form == (3, 9_700, 9_700)
    assert not list(recwarn)


def test_a_text_that_expands_inside_an_image(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    info, out = PngInfo(), io.BytesIO()
    info.add_text("k", "A" * 20_000_000, zip=True)
    Image.new("L", (8, 8)).save(out, "PNG", pnginfo=info)
    refused(lambda: load(str(folder(tmp_path / "text", out.getvalue()))), "damaged or other file")


@pytest.mark.parametrize("name", [b"caf\xe9", b"\xff", b"a\x1b[31m", b"two\nlines"])
def test_class_names_that_cannot_be_written(tmp_path: Path, name: bytes) -> None:
    root = folder(tmp_path / "set", png())
    (root / "a").rename(os.fsdecode(os.path.join(os.fsencode(root), name)))
    refused(lambda: load(str(root)), "classes")


def test_files_and_folders_in_other_encodings(tmp_path: Path) -> None:
    root = folder(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")), png(), 5)
    (root / "a" / "0.png").rename(os.fsdecode(os.fsencode(root) + b"/a/\xff.png"))
    data = load(str(root))
    assert data.name == data.note == "caf\\udce9"
    (root / "a" / "1.png").write_bytes(b"no image")
    refused(lambda: load(str(root)), "damaged")


@pytest.mark.parametrize("target", ["pipe", "/dev/zero", "loop", "folder", "none"])
def test_what_is_no_file_is_not_opened(tmp_path: Path, target: str) -> None:
    root = folder(tmp_path / "set", png())
    image = root / "a" / "x.png"
    if target == "pipe":
        os.mkfifo(image)
    elif target == "folder":
        image.mkdir()
    else:
        image.symlink_to(image if target == "loop" else target)
    refused(lambda: load(str(root)), "x.png")


@pytest.mark.parametrize("name", ["a" * 300 + ".npz", "/" + "a" * 5_000, "~nobody-is-called-so/data", ".\0"])
def test_names_that_no_system_takes(name: str) -> None:
    refused(lambda: load(name))
    path_of(name)


def test_a_folder_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path / "set", png())

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    refused(lambda: load(str(root)), "Permission denied")


# ---------------------------------------------------------------- arrays and labels


def npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def npy(shape: object, kind: str, data: bytes = b"") -> bytes:
    head = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head + data


@pytest.mark.parametrize("top", [2**31, 2**62, 10**6])
def test_labels_that_say_billions_of_classes(tmp_path: Path, top: int) -> None:
    x, y = np.zeros((4, 2, 2), np.uint8), np.array([0, 1, 0, top])
    text = refused(lambda: load(str(npz(tmp_path / "x.npz", x=x, y=y))), "no example of 2, 3, 4")
    assert f"and {top - 2 - 8} more" in text
    root = tmp_path / "parquet"
    root.mkdir()
    images = [{"bytes": png(), "path": None}] * 4
    pq.write_table(pa.table({"image": images, "label": y.tolist()}), root / "train.parquet")
    refused(lambda: load(str(root)), "without gaps")


def test_listed_counts_those_that_were_not_made() -> None:
    assert listed(iter("abc"), 2) == "a, b and 1 more"
    assert listed("ab", 2, n=10) == "a, b and 8 more"


@pytest.mark.parametrize(
    ("members", "words"),
    [({"x": npy((10**9, 1000, 1000), "|u1", bytes(100))}, "holds"), ({"x": npy((1,), "|O", pickle.dumps([print]))}, "unpickled"),
     ({"x": npy((10**12,), "<U0")}, "no bytes"), ({"x": b""}, "damaged"), ({"x": npy("(" * 9000, "|u1")}, "damaged"),
     ({"x": npy((2, 4, 4), "|u1", bytes(31))}, "damaged")],
)  # fmt: skip
def test_npz(tmp_path: Path, members: dict[str, bytes], words: str) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    refused(lambda: load(str(path)), words)


def test_npz_that_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "zero.npz").symlink_to("/dev/zero")
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps({"x": 1}))
    (tmp_path / "empty.npz").write_bytes(b"")
    for name, words in (("pipe", "named pipe"), ("zero", "device"), ("pickle", "damaged"), ("empty", "damaged")):
        refused(lambda name=name: load(str(tmp_path / f"{name}.npz")), words)


X, Y = np.zeros((4, 2, 2), np.uint8), np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("found", "words"),
    [({"x": [[1], [2, 3]], "y": Y}, "an array"), ({"x": X, "y": object()}, "one integer"), ({"x": None, "y": Y}, "shape"),
     ({"x": X, "y": Y, "classes": 5}, "a list of names"), ({"x": X, "y": Y, "classes": "ab"}, "a list of names"),
     ({"x": X, "y": Y, 3: 1, "z": 2}, "only x, y"), ({"x": X.astype(complex), "y": Y}, "floating point"),
     ({"x": X, "y": Y.astype("M8[s]")}, "one integer"), ({"x": np.zeros((4, 0, 2, 2)), "y": Y, "layout": "NCHW"}, "pixel"),
     ({"x": X, "y": np.array([0, 1, 2**64 - 1, 1], np.uint64)}, "labels"),
     ({"x": X, "y": Y, "classes": ["a", "\x1b[31m"]}, "control"), ({"x": X, "y": Y, "classes": ["a", "\ud800"]}, "control"),
     ({"x": X, "y": Y, "layout": "x" * 10_000_000}, "axes|NCHW")],
)  # fmt: skip
def test_what_a_function_returns(found: dict, words: str) -> None:
    text = refused(lambda: from_arrays(found, "own").checked("own"))
    assert any(word in text for word in words.split("|")) or "shape" in text, text


def test_class_names_that_are_long_numbers() -> None:
    from cgro.data.sets import parse_classes

    names = ("9" * 5_000, "8")
    assert parse_classes("8," + "9" * 5_000, np.arange(2), names)[0] == [[1], [0]]


# ---------------------------------------------------------------- parquet


def parquet(root: Path, image: pa.Array, labels: list, **options: object) -> Path:
    root.mkdir(exist_ok=True)
    pq.write_table(pa.table({"image": image, "label": labels}), root / "train.parquet", **options)
    return root


def structs(values: list, kind: pa.DataType) -> pa.Array:
    return pa.array([{"bytes": v, "path": None} for v in values], pa.struct([("bytes", kind), ("path", pa.string())]))


def test_parquet_that_expands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (reading, hub):
        monkeypatch.setattr(module, "ALWAYS_ROOM", 16 << 20)
    zeros = structs([bytes(10 << 20)], pa.binary())
    plain = parquet(tmp_path / "plain", pa.concat_arrays([zeros] * 2), [0, 1], compression="zstd", use_dictionary=False)
    refused(lambda: load(str(plain)), "bytes of the file")
    same = structs([bytes(1 << 20)] * 40, pa.binary())  # one value of a dictionary, 40 times
    small = parquet(tmp_path / "dictionary", same, [0, 1] * 20, compression="zstd", dictionary_pagesize_limit=1 << 30)
    del zeros, same
    assert (small / "train.parquet").stat().st_size < 10_000
    refused(lambda: load(str(small)), "bytes of the file")


@pytest.mark.parametrize(
    ("values", "kind", "labels", "words"),
    [(["text"] * 4, pa.string(), [0, 1, 0, 1], "image column"), ([5] * 4, pa.int64(), [0, 1, 0, 1], "image column"),
     ([], pa.binary(), pa.array([], pa.int64()), "at least one"), ([b"x", None], pa.binary(), [0, 1], "empty fields"),
     ([b"x"] * 2, pa.binary(), [0, None], "empty fields"), ([b""] * 2, pa.binary(), [0, 1], "damaged")],
)  # fmt: skip
def test_parquet_of_other_columns(tmp_path: Path, values: list, kind: pa.DataType, labels: list, words: str) -> None:
    refused(lambda: load(str(parquet(tmp_path / "set", structs(values, kind), labels))), words)


def test_parquet_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").mkdir()
    refused(lambda: load(str(tmp_path)), "a folder")
    os.mkfifo(tmp_path / "test.parquet")
    (tmp_path / "train.parquet").rmdir()
    (tmp_path / "train.parquet").write_bytes(b"PAR1" * 5)
    refused(lambda: load(str(tmp_path)), "a parquet file")


def test_class_names_of_a_schema_that_are_none(tmp_path: Path) -> None:
    for k, text in enumerate((b"[" * 100_000, b"[]", b'{"info": {"features": {"label": {"names": 5}}}}')):
        schema = pa.schema(
            [("image", pa.struct([("bytes", pa.binary())])), ("label", pa.int64())], {b"huggingface": text}
        )
        rows = {"image": [{"bytes": png()}] * 4, "label": [0, 1, 0, 1]}
        (tmp_path / str(k)).mkdir()
        pq.write_table(pa.table(rows, schema=schema), tmp_path / str(k) / "train.parquet")
        assert load(str(tmp_path / str(k))).classes == ("0", "1")
