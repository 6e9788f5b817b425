"""Arrays and gzip data: what is damaged or hostile is one line, and nothing is allocated first."""

import gzip
import io
import resource
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.reading.refusal import refused

from cgro.reading import archives, gunzip, read_npz


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


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as out:
        for name, content in members.items():
            out.writestr(name, content)
    return path


def array(content: bytes = b"\0" * 8) -> bytes:
    out = io.BytesIO()
    np.save(out, np.frombuffer(content, np.uint8))
    return out.getvalue()


def test_arrays_come_back(file) -> None:
    found = read_npz(file(npz(a=np.arange(3), names=np.array(["x", "y"]))))
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
    assert refused(read_npz, file(content))


@pytest.mark.parametrize("second", ["x.npy", "x"])
def test_an_array_that_is_there_twice_is_refused(tmp_path: Path, second: str) -> None:
    """numpy calls both x, and would take the last."""
    path = archive(tmp_path / "a.npz", {"x.npy": array()})
    with zipfile.ZipFile(path, "a") as out, warnings.catch_warnings(action="ignore"):
        out.writestr(second, array(b"\1" * 8))
    assert "twice" in refused(read_npz, path)


def zip_end(content: bytes, *, start: int) -> bytes:
    """An archive whose end says another place of the list of its members."""
    return content[:-6] + struct.pack("<L", start) + content[-2:]


def test_an_archive_is_one_where_its_end_says(tmp_path: Path) -> None:
    """Of two archives one after the other Python reads the last, and torch what lies where the last one's end says."""
    plain = archive(tmp_path / "a.zip", {"x": b"1"}).read_bytes()
    large = io.BytesIO()
    torch.save({"x": torch.zeros(2)}, large)  # with the longer end
    (start,) = struct.unpack("<L", plain[-6:-2])
    for whole in (plain, large.getvalue()):
        archives.require_one_archive(io.BytesIO(whole), len(whole))
    moved = bytearray(large.getvalue())
    moved[-34] ^= 1  # of the place of the longer end
    others = [plain + plain, large.getvalue() + large.getvalue(), plain + b"\0", b"\0" + plain, plain[:-1], plain[:30], b"",
              zip_end(plain, start=start - 1), bytes(moved)]  # fmt: skip
    for content in others:
        with pytest.raises(ValueError, match="several in one file"):
            archives.require_one_archive(io.BytesIO(content), len(content))


def test_npz_that_expands_is_refused_before_it_is_read(file) -> None:
    bomb = file(npz(x=np.zeros(400 << 20, np.uint8)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "times" in refused(read_npz, bomb)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archives_are_compressed_as_numpy_does(tmp_path: Path, method: int) -> None:
    """A piece of 256 kB in the other methods expands to gigabytes before its length is known."""
    assert "compressed" in refused(read_npz, archive(tmp_path / "x.npz", {"x.npy": array()}, method))
    assert list(read_npz(archive(tmp_path / "y.npz", {"x.npy": array()}))) == ["x"]


def test_a_header_of_any_length_is_not_read(tmp_path: Path) -> None:
    for version, length in ((2, 3 << 20), (3, 1 << 17), (1, 65_535)):
        size = struct.pack("<H" if version == 1 else "<I", length)
        content = b"\x93NUMPY" + bytes([version, 0]) + size + b" " * length
        assert refused(read_npz, archive(tmp_path / "x.npz", {"x.npy": content}))


def test_an_array_of_python_2_is_read_without_a_word(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    head = b"{'descr': '|u1', 'fortran_order': False, 'shape': (2L,), }".ljust(117) + b"\n"
    path = archive(tmp_path / "x.npz", {"x.npy": b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head + b"\7\10"})
    assert read_npz(path)["x"].tolist() == [7, 8]
    assert not list(recwarn)


def test_gzip(file) -> None:
    several = gzip.compress(b"one") + gzip.compress(b"two") + b"\0\0"
    assert gunzip(several, "file") == b"onetwo"
    for damaged in (
        b"text",
        gzip.compress(b"text" * 99)[:-12],
        gzip.compress(b"text")[:5],
        gzip.compress(b"a") + b"junk",
    ):
        assert "damaged" in refused(gunzip, damaged, "file")
    assert "compressed" in refused(gunzip, gzip.compress(bytes(300 << 20), 1), "file")


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 300_000])
def test_gzip_in_slices_is_gzip(size: int) -> None:
    content = np.random.default_rng(0).bytes(size)
    packed = gzip.compress(content)
    for whole, parts in (
        (content, packed),
        (content * 2, packed * 2),
        (content * 2, packed + bytes(70_000) + packed + bytes(9)),
    ):
        assert gunzip(parts, "x") == whole
    for cut in (1, 4, 8, 9, 17):
        assert refused(gunzip, packed[:-cut], "x")


def test_members_of_an_archive_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    path = archive(tmp_path / "x.npz", {f"{k}.npy": array() for k in range(4)})
    assert "4 arrays" in refused(read_npz, path)
    assert gunzip(gzip.compress(b"a") * 3, "x") == b"aaa"
    assert "members" in refused(gunzip, gzip.compress(b"a") * 4, "x")
