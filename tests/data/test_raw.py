"""A data set as it is stored: what is checked of it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.data.samples import png, refused_in_little_memory, saved

from cgro.data import load
from cgro.data.raw import Part, Raw, shown


@pytest.mark.parametrize("top", [2**31, 2**62, 10**6])
def test_labels_that_say_billions_of_classes(tmp_path: Path, top: int) -> None:
    x, y = np.zeros((4, 2, 2), np.uint8), np.array([0, 1, 0, top])
    text = refused_in_little_memory(lambda: load(saved(tmp_path / "x.npz", x=x, y=y)), "no example of 2, 3, 4")
    assert f"and {top - 2 - 8} more" in text
    root = tmp_path / "parquet"
    root.mkdir()
    images = [{"bytes": png(), "path": None}] * 4
    pq.write_table(pa.table({"image": images, "label": y.tolist()}), root / "train.parquet")
    refused_in_little_memory(lambda: load(str(root)), "without gaps")


X, Y = np.zeros((4, 1, 2, 2), np.uint8), np.array([0, 1, 2, 0])


def raw(**changed: object) -> Raw:
    """A set of three classes, with some of its fields changed."""
    fields: dict = {"x": X, "y": Y, "test": None, "where": "here", "sha256": "", "note": "", "classes": None}
    return Raw(**(fields | changed))


def test_a_set_that_fits_is_given_back() -> None:
    for good in (raw(), raw(classes=("a", "b", "c")), raw(test=Part(X[:1], Y[2:3]))):
        assert good.checked("own") is good


@pytest.mark.parametrize(
    ("changed", "words"),
    [({"y": Y[:3]}, "train part: .* got 4 images, 3 labels"), ({"x": X[:0], "y": Y[:0]}, "at least one, got 0 images"),
     ({"test": Part(X, Y[:1])}, "test part: .* got 4 images, 1 labels"), ({"x": X[:, :, :0]}, "at least one pixel"),
     ({"y": Y * 2}, r"0 .. 4 without gaps, got no example of 1, 3"), ({"y": Y - 1}, r"expected 0 .. 1, got -1 .. 1"),
     ({"classes": ("a", "b")}, "expected 0 .. 1, got 0 .. 2"), ({"classes": ("a", "b", "b")}, "different names"),
     ({"classes": ("a", "b", "c", "d")}, "got no example of d"), ({"classes": ("a", "b", "\x1b[31m")}, "control"),
     ({"test": Part(X, Y + 1)}, "test labels: expected 0 .. 2, got 3"),
     ({"test": Part(X[:, :, :1], Y)}, r"test images: expected shape \(1, 2, 2\)")],
)  # fmt: skip
def test_a_set_that_does_not_fit_is_one_line(changed: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        raw(**changed).checked("own")
    assert "\n" not in str(caught.value)


def test_names_are_shown_as_they_are_or_in_escapes() -> None:
    for name, expected in (("café", "café"), ("a\x1b[31m", "a\\x1b[31m"), ("caf\udce9", "caf\\udce9")):
        assert shown(name) == expected
        shown(name).encode()
