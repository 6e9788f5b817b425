"""Test images that were trained on are said, in data of one's own; chance equals are not."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cgro.data import load
from cgro.data.overlap import overlap_remark


def saved(tmp_path: Path, x: np.ndarray, x_test: np.ndarray) -> str:
    np.savez(tmp_path / "own.npz", x=x, y=np.arange(len(x)) % 3, x_test=x_test, y_test=np.arange(len(x_test)) % 3)
    return str(tmp_path / "own.npz")


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(("n_shared", "said"), [(200, "200 of 200"), (3, "3 of 200"), (2, None), (0, None)])
def test_test_images_that_are_training_images_are_said(
    tmp_path: Path, dtype: str, n_shared: int, said: str | None
) -> None:
    """Planted: an own .npz whose test part was cut from the training part; robust overfitting was not to be seen."""
    x = np.random.default_rng(0).integers(0, 256, (500, 1, 4, 4)).astype("uint8")
    images, new = x[:300], x[300:]
    new[:n_shared] = images[50 : 50 + n_shared]
    if dtype == "float32":
        images, new = images.astype(dtype) / 255, new.astype(dtype) / 255
    remarks = load(saved(tmp_path, images, new)).remarks
    if said is None:
        assert remarks == ()
    else:
        assert remarks == (
            f"{tmp_path / 'own.npz'}: {said} test images are also training images: no error on them says anything of "
            "new images",
        )


def test_validation_images_are_looked_at_too(tmp_path: Path) -> None:
    """Every image stands twice: most of the part that is cut off is in the rest."""
    x = np.random.default_rng(0).integers(0, 256, (150, 1, 4, 4)).astype("uint8")
    data = load(saved(tmp_path, np.concatenate([x, x[np.arange(150) // 3 * 3]]), x[:30] // 2), validation=0.1)
    (remark,) = data.remarks
    assert "validation images are also training images" in remark


def test_only_the_images_of_the_task_count(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (90, 1, 4, 4)).astype("uint8")
    path = saved(tmp_path, x, x[2::3])
    assert "30 of 30 test images" in load(path).remarks[0]
    assert load(path, classes="0,1").remarks == (), "they are training images of class 2"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.uint8])
def test_images_of_every_type_are_compared(dtype: torch.dtype) -> None:
    x = torch.arange(24).reshape(6, 2, 2).to(dtype)
    assert overlap_remark("test", x[:3], x[2:]) is not None
    assert overlap_remark("test", x[:3], x[3:]) is None
    assert overlap_remark("test", x[:0], x) is None
    assert overlap_remark("test", x.transpose(1, 2), x) is None, "values in another order are another image"
