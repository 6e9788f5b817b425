"""Images that are decoded when they are asked for."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.samples import PIXELS, gray_png, huge_png

from cgro.data.images import Images


def test_gray_and_color(tmp_path: Path) -> None:
    def encoded(mode: str) -> bytes:
        gray_png(tmp_path / "image.png", mode)
        return (tmp_path / "image.png").read_bytes()

    gray, color = encoded("L"), encoded("RGB")
    assert Images([color, gray, encoded("RGBA"), encoded("P")], str).shape == (4, 3, 6, 5)
    assert Images([color, gray, encoded("RGBA"), encoded("P")], str)[[1, 2, 3]].shape == (3, 3, 6, 5)
    assert Images([gray, encoded("1"), encoded("LA")], str)[[0, 1, 2]].shape == (3, 1, 6, 5)
    with pytest.raises(ValueError, match="1: expected a gray image"):
        Images([gray, color], str)[[0, 1]]


def test_only_what_is_asked_for_is_decoded() -> None:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS[0].transpose(1, 2, 0)).save(buffer, "PNG")
    images = Images([buffer.getvalue(), b"damaged"], "image {}".format)
    assert np.array_equal(images[[0, 0]][1], PIXELS[0])
    with pytest.raises(ValueError, match="image 1: expected a PNG"):
        images[[1]]


def test_no_warning_of_pillow_reaches_the_user(recwarn: pytest.WarningsRecorder) -> None:
    images = Images([huge_png(9_700)], lambda k: "image")  # 94 million pixels, above Pillow's warning
    assert images.form == (3, 9_700, 9_700)
    assert not list(recwarn)


def color_png_of_16_bits() -> bytes:
    """Black, 6x5; Pillow writes none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head, rows = struct.pack(">IIBBBBB", 5, 6, 16, 2, 0, 0, 0), bytes(6 * (1 + 5 * 6))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "bits"),
    [
        (color_png_of_16_bits(), 16),
        (b"P6 5 6 65535\n" + bytes(5 * 6 * 6), 16),
        (b"P6\n# by a camera\n5 6\n# of 12 bits\n4095\n" + bytes(5 * 6 * 6), 12),
    ],
    ids=["png", "ppm", "ppm with comments"],
)
def test_more_than_8_bits_in_color_are_refused_though_pillow_reads_them(content: bytes, bits: int) -> None:
    assert Image.open(io.BytesIO(content)).mode == "RGB", "Pillow says nothing of the bits"
    with pytest.raises(ValueError, match=f"image: expected 8 bits a channel, got {bits} bits; convert"):
        Images([content], lambda k: "image")[[0]]


def test_8_bits_and_fewer_are_read() -> None:
    for content in (b"P6 2 1 255\n" + bytes(range(6)), b"P6 2 1 15\n" + bytes(6)):
        assert Images([content], str)[[0]].shape == (1, 3, 1, 2)
    buffer = io.BytesIO()
    Image.new("1", (8, 8)).save(buffer, "PNG")
    assert Images([buffer.getvalue()], str)[[0]].shape == (1, 1, 8, 8)
