"""The front door: files that are no log and no table, encodings, binary files, and line ends."""

import gzip
import os
from pathlib import Path

import pytest
from tests.cases import refused
from tests.diagnosis.writers import csv_of

from cgro._check import BadRequest, one_line
from cgro.diagnosis import Curves, importers, read_curves
from cgro.diagnosis.importers import IMPORTERS, Told
from cgro.diagnosis.importers.base import Text

HEAD = "Epoch \t Train Robust Acc \t Test Robust Acc\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [('{"epoch": ' + "9" * 5_000 + "}", "not JSON"), ('{"a": ' + "[" * 100_000, "not JSON"), ("[\n" + "[" * 100_000, "not JSON"),
     ('{"test_robust_acc": [["a"], ["b"]]}', "number"), ("[\n1, 2]", "object"), ("[{}, 3]", "object"), ("{}\n{}\n", "no column"),
     ('{"a": [1], "b": [1, 2]}', "different lengths"), (csv_of(1, 2).replace("0.4", "1" * 200_000), "damaged"),
     (csv_of(1, 2).replace("1,", '1,"'), "a number"), (csv_of(1) + "2\n", "fewer fields"), (csv_of(1) + "2,3,4\n", "more"),
     ("epoch,\x1b[31m\n1,2\n", "no column"), ("epoch;" + "x" * 100_000 + "\n1;2\n", "no column"),
     (csv_of(1).replace("0.4", "\x1b[31m"), "a number"), (csv_of(1).replace("0.4", "y" * 9_000), "a number"),
     ("\x1b[31m" * 100, "starts with"), (HEAD, "no"), (HEAD + "[" * 200_000, "no"),
     ("epoch,epoch\n1,2\n", "2 columns are called epoch"), ("epoch,ep,test_acc\n1,2,3\n", "both look like")],
    ids=lambda value: one_line(value, 30),
)  # fmt: skip
def test_texts(file, text: str, words: str) -> None:
    refused(lambda: read_curves(file(text)), words)


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n", "\n\r"])
def test_line_ends_of_any_system(file, end: str) -> None:
    table = read_curves(file(csv_of(1, 2, 3).replace("\n", end)))[0]
    assert table["robust_error/test"].tolist() == [0.6, 0.6, 0.6]
    log = read_curves(file((HEAD + "0 0.5 0.4\n1 0.5 0.4\n").replace("\n", end)))[0]
    assert log.epoch.tolist() == [0.0, 1.0]


def test_what_is_no_text_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(lambda: read_curves(tmp_path / "pipe"), "named pipe")
    refused(lambda: read_curves("/dev/zero"), "device")
    refused(lambda: read_curves("a" * 5_000), "does not exist")
    refused(lambda: read_curves("\0"), "does not exist")


@pytest.mark.parametrize(
    ("text", "columns", "said"),
    [
        ("hello world\nthis is prose\n", None, "expected a cgro run, a CSV"),
        ("a,b\n1,2\n", None, "no column for epoch; there are: a, b"),
        ("epoch,loss\n1,2\n", None, "there are: epoch, loss"),
        ("epoch,x\n1,2\n", {"robust_error/test": "y"}, "the columns are: epoch, x"),
        ("epoch,test_pgd_acc,test_aa_acc\n1,2,3\n", None, "both look like robust_accuracy/test"),
        ("epoch,test_acc\n1,2\n2\n", None, "line 3 has fewer fields"),
        ("epoch,test_acc\n1,two\n", None, "row 1, column test_acc: expected a number, got 'two'"),
        ('{"epoch": [1, 2], "test_acc": [1]}', None, "different lengths: epoch 2, test_acc 1"),
        ('{"epoch": 1}\nnot json\n{"epoch": 2}\n', None, "line 2 is not JSON"),
        ("Epoch \t Train Robust Acc \t Test Robust Acc\n", None, "expected a training log with a header"),
        ("epoch,test_acc\n1,-3\n2,0.5\n", None, "fractions in [0, 1]"),
        ("", None, "an empty file"),
    ],
)  # fmt: skip
def test_files_that_are_no_log_are_one_clear_line(tmp_path: Path, text: str, columns: dict | None, said: str) -> None:
    path = tmp_path / "x"
    path.write_text(text)
    with pytest.raises(BadRequest) as error:
        read_curves(path, columns)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_binary_files_missing_files_and_folders_without_a_run(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"\x80\x02\xff\xfe")
    with pytest.raises(BadRequest, match="something binary"):
        read_curves(tmp_path / "b")
    with pytest.raises(BadRequest, match="does not exist"):
        read_curves(tmp_path / "none")
    with pytest.raises(BadRequest, match="expected a run directory"):
        read_curves(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_encodings_with_a_byte_order_mark_are_read(tmp_path: Path, encoding: str) -> None:
    for n, text in enumerate((csv_of(1, 2, 3), HEAD + "1 0.4 0.4\n2 0.4 0.4\n3 0.4 0.4\n")):
        path = tmp_path / f"{n}"
        path.write_bytes(text.encode(encoding))
        assert read_curves(path)[0]["robust_error/test"].tolist() == [0.6, 0.6, 0.6]


def test_a_compressed_log_is_read_and_a_bomb_is_not(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(csv_of(1, 2, 3).encode()))
    assert read_curves(path)[0].epoch.tolist() == [1, 2, 3]
    path.write_bytes(gzip.compress(b"1," * (80 << 20)))
    refused(lambda: read_curves(path), "bytes")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x", "epoch,r\xe9sultat\n1,2\n".encode("latin-1"), "save it as UTF-8"),
        ("x.npy", b"\x93NUMPY\x01\x00", "array of numpy"),
        ("x.npz", b"PK\x03\x04\x00", "zip archive"),
        ("events.out.tfevents.1", b"\x18\x00\x00", "export the scalars as CSV"),
        ("x.h5", b"\x89HDF\r\n", "HDF5"),
        ("x", b"\x00\x01\xff\xfe", "something binary"),
    ],
)
def test_other_encodings_and_binary_files_say_what_to_do(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    refused(lambda: read_curves(path), said)


def test_a_text_of_sentences_shows_its_first_number_and_a_pattern(file) -> None:
    refused(lambda: read_curves(file("starting\nround 1 of 3: score 0.5\n")), "round 1 of 3: score 0.5", "--map", "(")


class Fixed:
    """An importer that is as sure as it is told to be, and reads one value."""

    def __init__(self, name: str, sure: float) -> None:
        self.name = name
        self.sure = sure

    def recognizes(self, text: Text) -> float:
        return self.sure

    def read(self, text: Text, told: Told) -> list[Curves]:
        return [Curves([1.0], {"robust_error/test": [0.5]}, {"format": self.name})]


@pytest.mark.parametrize(("sure", "reads"), [((0.6, 0.6, 0.3), "a"), ((0.3, 0.6, 0.6), "b"), ((0.3, 0.3, 0.6), "c")])
def test_the_surest_reads_and_of_equals_the_first(
    monkeypatch: pytest.MonkeyPatch, file, sure: tuple[float, ...], reads: str
) -> None:
    monkeypatch.setattr(importers, "IMPORTERS", tuple(map(Fixed, "abc", sure)))
    assert read_curves(file("x"))[0].meta["format"] == reads


def test_every_importer_is_the_surest_of_its_own_format() -> None:
    texts = {"JSON": '{"epoch": 1, "test_acc": 0.5}\n', "CSV": csv_of(1, 2), "text log": HEAD + "1 0.5 0.4\n"}
    for name, content in texts.items():
        surest = max(IMPORTERS, key=lambda importer: importer.recognizes(Text(content, "x")))
        assert surest.name == name
    for importer in IMPORTERS:
        assert importer.recognizes(Text("no numbers here\nand none there\n", "x")) == 0
