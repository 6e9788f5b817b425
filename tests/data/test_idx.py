"""The IDX format of MNIST's files, whole and damaged."""

import struct
from pathlib import Path

import pytest
from tests.data.samples import refused_in_little_memory

from cgro.data.idx import read_idx


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\0\0\x08\x03\0\0", "header"), (b"\0\0\x08\x01", "header"), (b"\0\0\x08\x02\0\0\0\x01", "header"),
     (b"\0\0\x08\0x", "axes"), (b"\0\0\x08\x09" + bytes(36), "axes"), (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"x", "axes"),
     (struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**31, 4), "values"), (struct.pack(">HBB4I", 0, 8, 4, *[2**16] * 4), "values"),
     (struct.pack(">HBB4I", 0, 8, 4, 0, *[2**31] * 3), "none"), (struct.pack(">HBBI", 0, 8, 1, 0), "none"),
     (struct.pack(">HBBI", 0, 8, 1, 60) + bytes(59), "59"), (b"", "nothing"), (b"\0\0\x0d\x01", "IDX")],
)  # fmt: skip
def test_idx(content: bytes, words: str) -> None:
    refused_in_little_memory(lambda: read_idx(content, Path("file")), words)
