"""The IDX format of LeCun's MNIST files."""

import math
import struct
from pathlib import Path

import numpy as np

from cgro._check import bad

MOST_AXES = 8
"""Of an IDX file; MNIST's have three and one. A choice."""
START = b"\0\0\x08"
"""Two zeros and the type of the values, 08 for uint8; MNIST has no other."""
AGAIN = "fetch it again"
TRUNCATED = "truncated: fetch it again"


def read_idx(content: bytes, path: Path) -> np.ndarray:
    """An array in the IDX format: 00 00, type 08 (uint8), rank, sizes, values.

    Args:
        content: of the file, unzipped.
        path: the file, for messages.

    Returns:
        The array, uint8, read-only; it shares the memory of `content`.

    Raises:
        BadRequest: another format, no axes or more than eight, no values, or a header or values of another length.

    Example:
        >>> read_idx(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 7, 8, 9]), Path("x")).tolist()
        [[7, 8, 9]]
    """
    if len(content) < 4 or not content.startswith(START):
        got = content[:4].hex() or "nothing"
        raise bad(str(path), expected="an IDX file of bytes", got=got, remedy=AGAIN)
    rank = content[3]
    if not 1 <= rank <= MOST_AXES:
        raise bad(str(path), expected=f"an array of 1 to {MOST_AXES} axes", got=rank, remedy=AGAIN)
    header = 4 + 4 * rank
    if len(content) < header:
        raise bad(str(path), expected=f"a header of {header} bytes", got=len(content), remedy=TRUNCATED)
    shape = struct.unpack(f">{rank}I", content[4:header])
    n_values = math.prod(shape)  # of Python's integers, which do not overflow
    if not n_values:  # no images; and NumPy makes no array of a size 0 beside sizes that are too large
        raise bad(str(path), expected="values", got=f"none, of shape {shape}", remedy=AGAIN)
    if len(content) - header != n_values:
        raise bad(str(path), expected=f"{n_values} values", got=len(content) - header, remedy=TRUNCATED)
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
