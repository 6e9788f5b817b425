"""Reading the images that a training kept; every damage is one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.report.runs import write_examples

from cgro._check import BadRequest
from cgro.report.examples import image_of, read_examples

ONES = np.array([1, 1, -1])
LABELS = ("y", "prediction", "prediction_adv")


def images(*shape: int) -> dict[str, np.ndarray]:
    """Both images, of another shape."""
    return {"x": np.ones(shape, "float32"), "x_adv": np.ones(shape, "float32")}


DAMAGED: dict[str, dict[str, Any]] = {
    "no x": {"x": None},
    "no classes": {"classes": None},
    "vector": images(3),
    "other shape": {"x_adv": np.ones((3, 1, 5, 5), "float32")},
    "text pixels": {"x": np.array(["a"])},
    "bytes": {"x": np.zeros((3, 1, 6, 6), "uint8"), "x_adv": np.zeros((3, 1, 6, 6), "uint8")},
    "no pixels": images(3, 1, 0, 6),
    "nan": {"x": np.full((3, 1, 6, 6), np.nan, "float32")},
    "infinite": {"x_adv": np.full((3, 1, 6, 6), np.inf, "float32")},
    "label too high": {"y": np.array([0, 1, 9])},
    "label too low": {"prediction": np.array([0, -1, 1])},
    "label between": {"prediction_adv": np.array([0, 0.5, 1])},
    "label nan": {"y": np.array([0, np.nan, 1])},
    "too few labels": {"y": np.array([0])},
    "labels of text": {"y": np.array(["a", "b", "c"])},
    "names are numbers": {"classes": np.array([1, 2])},
    "names in a table": {"classes": np.array([["a", "b"]])},
    "binary of text": {"binary": np.array("yes")},
    "binary of three": {"binary": np.array([True, False, True])},
    "binary labels": {"binary": np.array(True)},
    "one name for two": {"binary": np.array(True), "classes": np.array(["a"]), **dict.fromkeys(LABELS, ONES)},
}


@pytest.mark.parametrize("arrays", DAMAGED.values(), ids=DAMAGED.keys())
def test_arrays_of_another_kind_are_one_line(arrays: dict[str, Any], tmp_path: Path) -> None:
    path = write_examples(tmp_path / "examples.npz", ["cat", "dog"], **arrays)
    with pytest.raises(BadRequest) as caught:
        read_examples(path)
    assert str(caught.value).startswith(f"{path}: ") or str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_labels_become_names(tmp_path: Path) -> None:
    found = read_examples(write_examples(tmp_path / "a.npz", ["cat", "dog", "fox"], y=np.array([2, 0, 1])))
    assert len(found) == 3
    assert found.truth == ["fox", "cat", "dog"]
    assert found.before == ["cat", "dog", "fox"]
    assert found.after == ["fox", "dog", "cat"]
    assert found.right_before.tolist() == [False, False, False]
    assert found.right_after.tolist() == [True, False, False]


def test_two_classes_are_minus_one_and_one(tmp_path: Path) -> None:
    two = {
        "binary": np.array(True),
        "y": np.array([-1, 1, 1]),
        "prediction": np.array([-1, 1, -1]),
        "prediction_adv": np.array([1, 1, 1]),
    }
    found = read_examples(write_examples(tmp_path / "a.npz", ["cat", "dog"], **two))
    assert found.before == ["cat", "dog", "cat"]
    assert found.right_before.tolist() == [True, True, False]
    assert found.right_after.tolist() == [False, True, True]


def test_images_are_shown_in_gray_or_color() -> None:
    pixels = np.arange(24.0).reshape(4, 2, 3)
    assert np.array_equal(image_of(pixels[:1]), pixels[0])
    assert image_of(pixels[:3]).shape == (2, 3, 3)
    assert image_of(pixels[:3])[1, 2].tolist() == pixels[:3, 1, 2].tolist()
    assert np.array_equal(image_of(pixels), pixels.mean(0))
