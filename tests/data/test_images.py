"""Images that are decoded when they are asked for."""

import io
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
