"""Files written whole or not at all, strict JSON, and leftovers of killed processes."""

import csv
import errno
import hashlib
import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cgro._check import BadRequest
from cgro.writing import (
    cannot_write,
    dump_csv,
    dump_json,
    is_alive,
    plain,
    remove_leftovers,
    sha256,
    write_arrays,
    write_atomic,
)


def a_dead_process() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_file_is_replaced_whole_and_its_folder_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    for content in (b"one", b"", b"three" * 1000):
        write_atomic(path, content)
        assert path.read_bytes() == content
        assert list(path.parent.iterdir()) == [path]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_bytes(b"theirs")
    link = tmp_path / "file"
    link.symlink_to(tmp_path / "theirs")
    write_atomic(link, b"ours")
    assert not link.is_symlink()
    assert (link.read_bytes(), (tmp_path / "theirs").read_bytes()) == (b"ours", b"theirs")


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_what_fails_on_the_way_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def fail(_: int) -> None:
        raise fault

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((BadRequest, KeyboardInterrupt)) as caught:
        write_atomic(path, b"new")
    assert isinstance(caught.value, KeyboardInterrupt) or "the disk is full; free space" in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"old"


def test_the_line_about_a_disk() -> None:
    assert "the disk is full" in str(cannot_write(OSError(errno.EDQUOT, "Quota"), Path("p")))
    assert "Read-only" in str(cannot_write(OSError(errno.EROFS, "Read-only file system"), Path("p")))
    assert "odd" in str(cannot_write(OSError("odd"), Path("p")))


def test_arrays_come_back(tmp_path: Path) -> None:
    arrays = {"x": np.arange(6.0).reshape(2, 3), "names": np.array(["a", "b"])}
    write_arrays(tmp_path / "x.npz", arrays)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as found:
        assert {name: found[name].tolist() for name in found.files} == {k: v.tolist() for k, v in arrays.items()}


def test_leftovers_of_the_dead_are_removed_and_nothing_else(tmp_path: Path) -> None:
    dead, alive = a_dead_process(), os.getppid()
    names = [f".a.{dead}.tmp", f".a.{alive}.tmp", f".a.{os.getpid()}.tmp", ".a.tmp", "a.1.tmp", f"a.{dead}.tmp"]
    for name in names:
        (tmp_path / name).write_text("")
    remove_leftovers([tmp_path / name for name in [*names, f".gone.{dead}.tmp"]])
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f".a.{alive}.tmp", ".a.tmp", "a.1.tmp", f"a.{dead}.tmp"}


def test_which_processes_are_alive() -> None:
    assert is_alive(1)  # of another user, where the tests are not root's
    assert is_alive(os.getppid())
    assert not is_alive(os.getpid())
    assert not is_alive(a_dead_process())
    assert not is_alive(10**30)


def test_values_become_strict_json() -> None:
    value = {
        1: (np.float32(0.5), np.int64(3), np.bool_(True)),
        "grid": np.array([[1.0, math.nan], [math.inf, -math.inf]]),
        "path": Path("a/b"),
        "none": None,
        "text": "é\u2028",
    }
    expected = {
        "1": [0.5, 3, True],
        "grid": [[1.0, None], ["inf", "-inf"]],
        "path": "a/b",
        "none": None,
        "text": "é\u2028",
    }
    assert plain(value) == expected
    assert json.loads(dump_json(value)) == expected
    assert dump_json({"a": [1]}) == b'{\n  "a": [\n    1\n  ]\n}\n'
    with pytest.raises(TypeError):
        dump_json({"a": object()})


def test_digests_do_not_depend_on_the_pieces() -> None:
    assert sha256(b"ab", b"", b"c") == sha256(b"abc") == hashlib.sha256(b"abc").hexdigest()


FORMULAS = ["=cmd|'/C calc'!A0", "@SUM(1)", "+1+cmd|' /C calc'!A0", "-HYPERLINK(1)"]
VALUES = ["-6.8 [-8.7, -4.9]", "+0.0 [-1.2, +1.2]", "-6.8 (sd 0.5)", "pgd10", "", "a=b", "runs/-x", "a\nb"]


@pytest.mark.parametrize("column", [0, 1])
def test_no_text_of_a_table_is_a_formula_and_other_cells_are_as_they_were(column: int) -> None:
    rows = [[text, text] for text in [*FORMULAS, *VALUES]] + [[-0.5, None]]
    found = list(csv.reader(io.StringIO(dump_csv(["=a()", "b"], rows).decode(), newline="")))
    assert found[0] == ["'=a()", "b"]
    assert [row[column] for row in found[1:-1]] == [f"'{text}" for text in FORMULAS] + VALUES
    assert found[-1] == ["-0.5", ""]


def test_control_characters_in_a_table_are_escapes() -> None:
    assert dump_csv(["a"], [["\t=1"], ["x\r=1"], ["\x1b[31m"]]) == b"a\n\\t=1\nx\\r=1\n\\x1b[31m\n"
