"""Damaged inputs of every reader, drawn anew at each run: a value or one printable line, never a traceback.

CGRO_FUZZ_SEED=N repeats a run; benchmarks/fuzz.py does the same for as long as one likes.
"""

import os
import random
import secrets
import warnings
from pathlib import Path

import pytest
from benchmarks.fuzz import READERS, Reader, fault, inputs, run

from cgro._check import BadRequest

SEED = int(os.environ.get("CGRO_FUZZ_SEED") or secrets.randbelow(2**32))
N = 60


@pytest.mark.parametrize("name", READERS)
def test_damaged_inputs_end_in_a_value_or_one_line(name: str) -> None:
    found = run(name, N, SEED)
    assert not found["faults"], f"CGRO_FUZZ_SEED={SEED}: {name}: {found['faults']}, first inputs {found['first']}"


@pytest.mark.parametrize("name", READERS)
def test_the_samples_themselves_are_read(name: str, tmp_path: Path) -> None:
    """Otherwise every input would be refused at once and nothing be tested behind the first check."""
    path = tmp_path / f"input{READERS[name].suffix}"
    path.write_bytes(READERS[name].samples()[0])
    READERS[name].read(path)


def test_inputs_are_repeated_by_their_seed() -> None:
    for name in ("npz", "csv"):
        first, again = (inputs(READERS[name], random.Random(7)) for _ in range(2))
        assert [next(first) for _ in range(30)] == [next(again) for _ in range(30)]


def _leaks(path: Path) -> None:
    path.read_text()


def _two_lines(path: Path) -> None:
    raise BadRequest(f"{path}: expected text,\ngot {path.read_bytes()!r}")


def _escapes(path: Path) -> None:
    raise BadRequest(f"{path}: expected text, got \x1b[31m")


def _warns(path: Path) -> None:
    warnings.warn("a second line on the terminal", stacklevel=1)


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (_warns, "a warning: a second line"),
        (_leaks, "UnicodeDecodeError at"),
        (_two_lines, "not one printable line"),
        (_escapes, "not one printable line"),
    ],
)
def test_a_planted_fault_is_found(read, words: str) -> None:
    found = run("planted", 40, SEED, readers={"planted": Reader(read, lambda: [b"some text, and \xc3\xa9"])})
    assert any(words in what for what in found["faults"]), f"CGRO_FUZZ_SEED={SEED}: {found}"


def test_an_input_that_takes_too_long_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(path: Path) -> None:
        while True:
            pass

    monkeypatch.setattr("benchmarks.fuzz.SECONDS", 1)
    assert fault(Reader(endless, list), b"", tmp_path) == "more than 1 s"
