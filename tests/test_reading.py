"""One reader per kind of file: what is damaged, hostile or no file at all is one line, and nothing is allocated first."""

import gzip
import io
import os
import resource
import socket
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cgro import reading
from cgro._check import BadRequest, bad, one_line
from tests import cases


def refused(call: Callable[..., object], *arguments: object, **options: object) -> str:
    """The line that a reader refuses with."""
    return cases.refused(lambda: call(*arguments, **options))


@pytest.fixture
def file(tmp_path: Path):
    def write(content: bytes, name: str = "file") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def test_only_regular_files_are_opened(tmp_path: Path, monkeypatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # the name of a socket may have 108 bytes
        server.bind("socket")
    for name, kind in (("pipe", "a named pipe"), ("folder", "a folder"), ("none", "none")):
        assert kind in refused(reading.read_bytes, tmp_path / name)
    assert "socket" in refused(reading.read_bytes, tmp_path / "socket")
    assert "a device" in refused(reading.read_bytes, Path("/dev/zero"))
    assert "none" in refused(reading.read_bytes, tmp_path / "none")
    assert refused(reading.read_bytes, tmp_path / "null\0character")


def test_links_are_followed_only_where_they_may(tmp_path: Path, file) -> None:
    target = file(b"text")
    link = tmp_path / "link"
    link.symlink_to(target)
    assert reading.read_bytes(link) == b"text"
    assert "a link" in refused(reading.read_bytes, link, follow=False)


@pytest.mark.parametrize("content", [b"\xff\xfe", "\ud800".encode("utf-8", "surrogatepass"), b"a\xc3"])
def test_text_is_utf8_or_one_line(file, content: bytes) -> None:
    assert "UTF-8" in refused(reading.read_text, file(content))


def test_a_text_may_begin_with_a_byte_order_mark(file) -> None:
    assert reading.read_text(file(b"\xef\xbb\xbfepoch")) == "epoch"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[" * 100_000, b"1" * 5_000, b"NaN", b"-Infinity", b"nul", b'{"a": 1}}', b'"\x00"', b"\xff"]
)
def test_json_that_is_none(file, content: bytes) -> None:
    assert refused(reading.read_json, file(content))


def test_json_of_the_wrong_kind(file) -> None:
    assert "list" in refused(reading.read_json_object, file(b"[]"))
    assert reading.parse_json("[NaN]", "log", non_finite=True)[0] != 0


LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 12))


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS, "a: &a [*a]", "a: &x 1\nb: *x", "a: !!python/object/apply:os.abort []", "a: !!python/name:os.system",
        "[" * 5_000, "a: 2020-99-99", "a: " + "1" * 5_000, "- 1", "1: a", "text", "a: [", "\x00", "? {a: b}\n: c", "a: !!int x",
    ],
)  # fmt: skip
def test_yaml_of_anything_but_a_plain_mapping(file, text: str) -> None:
    assert refused(reading.read_yaml_mapping, file(text.encode()))


def test_yaml_of_a_configuration(file) -> None:
    text = "command: train\nradius: 8/255\nlr: 0.1\nruns: [a, b]\nnone: null\n"
    found = reading.read_yaml_mapping(file(text.encode()))
    assert found == {"command": "train", "radius": "8/255", "lr": 0.1, "runs": ["a", "b"], "none": None}


def npz(**arrays) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def with_member(name: str, content: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr(name, content)
    return archive.getvalue()


def header(shape: str, dtype: str = "'<f8'") -> bytes:
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def test_arrays_come_back(file) -> None:
    found = reading.read_npz(file(npz(a=np.arange(3), names=np.array(["x", "y"]))))
    assert found["a"].tolist() == [0, 1, 2]
    assert found["names"].tolist() == ["x", "y"]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"PK", npz(a=np.arange(9))[:-9], npz(a=np.array([{}], dtype=object)), with_member("a.npy", b"no array"),
        with_member("a.npy", header("(1000000000000,)")), with_member("a.npy", header("(-1,)")), with_member("a.npy", b""),
        with_member("a.npy", header("(2,)", "'O'")), with_member("a.npy", header("((),)")), with_member("a.npy", header("(")),
        with_member("a.npy", header("(4611686018427387904, 4)")), with_member("a.npy", header("(2,)", "'<f99'")),
    ],
)  # fmt: skip
def test_npz_that_is_none(file, content: bytes) -> None:
    assert refused(reading.read_npz, file(content))


def test_npz_that_expands_is_refused_before_it_is_read(file) -> None:
    bomb = file(npz(x=np.zeros(400 << 20, np.uint8)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "times" in refused(reading.read_npz, bomb)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_gzip(file) -> None:
    several = gzip.compress(b"one") + gzip.compress(b"two") + b"\0\0"
    assert reading.gunzip(several, "file") == b"onetwo"
    for damaged in (
        b"text",
        gzip.compress(b"text" * 99)[:-12],
        gzip.compress(b"text")[:5],
        gzip.compress(b"a") + b"junk",
    ):
        assert "damaged" in refused(reading.gunzip, damaged, "file")
    assert "compressed" in refused(reading.gunzip, gzip.compress(bytes(300 << 20), 1), "file")


def test_room_is_what_the_process_may_still_take(monkeypatch) -> None:
    reading.require_room(1, 1, "file")
    left = reading.memory_left()
    assert left > 0
    with pytest.raises(BadRequest, match="memory that are left"):
        reading.require_room(left + (1 << 40), left + (1 << 40), "file")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1 << 20, 1 << 20))
    assert reading.memory_left() == 0  # the limit lies below what is in use


def test_values_in_messages_are_short_and_printable() -> None:
    line = str(bad("--radius", expected="a number", got="\x1b[2J" + "9" * 10_000))
    assert line.isprintable()
    assert len(line) < 300
    assert one_line("\ud800 \x7f\u202e") == r"\ud800 \x7f\u202e"


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as out:
        for name, content in members.items():
            out.writestr(name, content)
    return path


def array(content: bytes = b"\0" * 8) -> bytes:
    out = io.BytesIO()
    np.save(out, np.frombuffer(content, np.uint8))
    return out.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archives_are_compressed_as_numpy_does(tmp_path: Path, method: int) -> None:
    """A piece of 256 kB in the other methods expands to gigabytes before its length is known."""
    assert "compressed" in refused(reading.read_npz, archive(tmp_path / "x.npz", {"x.npy": array()}, method))
    assert list(reading.read_npz(archive(tmp_path / "y.npz", {"x.npy": array()}))) == ["x"]


def test_a_header_of_any_length_is_not_read(tmp_path: Path) -> None:
    for version, length in ((2, 3 << 20), (3, 1 << 17), (1, 65_535)):
        size = struct.pack("<H" if version == 1 else "<I", length)
        content = b"\x93NUMPY" + bytes([version, 0]) + size + b" " * length
        assert refused(reading.read_npz, archive(tmp_path / "x.npz", {"x.npy": content}))


def test_members_of_an_archive_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_MEMBERS", 3)
    path = archive(tmp_path / "x.npz", {f"{k}.npy": array() for k in range(4)})
    assert "4 arrays" in refused(reading.read_npz, path)
    assert reading.gunzip(gzip.compress(b"a") * 3, "x") == b"aaa"
    assert "members" in refused(reading.gunzip, gzip.compress(b"a") * 4, "x")


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 300_000])
def test_gzip_in_slices_is_gzip(size: int) -> None:
    content = np.random.default_rng(0).bytes(size)
    packed = gzip.compress(content)
    for whole, parts in (
        (content, packed),
        (content * 2, packed * 2),
        (content * 2, packed + bytes(70_000) + packed + bytes(9)),
    ):
        assert reading.gunzip(parts, "x") == whole
    for cut in (1, 4, 8, 9, 17):
        assert refused(reading.gunzip, packed[:-cut], "x")


def test_lists_and_objects_are_counted_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_CONTAINERS", 10)
    for text in ("[" + "[]," * 20 + "1]", "[" + "{}," * 20 + "1]", b"[" + b"{}," * 20 + b"1]"):
        assert "at most 10 lists" in refused(reading.parse_json, text, "x")
    assert reading.parse_json("[" + "1," * 20 + "1]", "x") == [1] * 21


def test_an_array_of_python_2_is_read_without_a_word(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    head = b"{'descr': '|u1', 'fortran_order': False, 'shape': (2L,), }".ljust(117) + b"\n"
    path = archive(tmp_path / "x.npz", {"x.npy": b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head + b"\7\10"})
    assert reading.read_npz(path)["x"].tolist() == [7, 8]
    assert not list(recwarn)
