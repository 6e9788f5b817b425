"""Reading `examples.npz` of a training run: test images, their attacked versions and both predictions."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cgro._check import bad
from cgro.reading import read_npz

KEYS = ("x", "x_adv", "y", "prediction", "prediction_adv", "classes", "binary")


@dataclass(frozen=True)
class Examples:
    """Some test images before and after the attack; every array has one entry per image.

    Attributes:
        x: (N, C, H, W) images, finite.
        x_adv: (N, C, H, W) attacked images, finite.
        truth: (N,) names of the true classes.
        before: (N,) names of the classes predicted for `x`.
        after: (N,) names of the classes predicted for `x_adv`.
        right_before: (N,) whether the prediction for `x` is right.
        right_after: (N,) whether the prediction for `x_adv` is right.
    """

    x: np.ndarray
    x_adv: np.ndarray
    truth: list[str]
    before: list[str]
    after: list[str]
    right_before: np.ndarray
    right_after: np.ndarray

    def __len__(self) -> int:
        return len(self.x)


def read_examples(path: Path) -> Examples:
    """Read and check an `examples.npz`.

    Args:
        path: the file, as `cgro train` writes it.

    Returns:
        Its content, with labels as names of classes.

    Raises:
        BadRequest: see `read_npz`; an array that is missing, of another type or shape, or a label without a class.
    """
    arrays = read_npz(path, follow=False)
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        raise bad(str(path), expected="the arrays of cgro train", got=f"none called {', '.join(missing)}")
    x = _images(path, arrays, "x")
    x_adv = _images(path, arrays, "x_adv")
    if x.shape != x_adv.shape:
        raise bad(f"{path}: x_adv", expected=f"the shape {x.shape} of x", got=x_adv.shape)
    if arrays["classes"].ndim != 1 or arrays["classes"].dtype.kind != "U":
        raise bad(f"{path}: classes", expected="a list of names", got=_about(arrays["classes"]))
    if arrays["binary"].shape != () or arrays["binary"].dtype.kind != "b":
        raise bad(f"{path}: binary", expected="true or false", got=_about(arrays["binary"]))
    labels = {key: _labels(path, arrays, key, len(x)) for key in ("y", "prediction", "prediction_adv")}
    classes = [str(name) for name in arrays["classes"]]
    names = {key: [classes[k] for k in indices] for key, indices in labels.items()}
    return Examples(
        x=x, x_adv=x_adv, truth=names["y"], before=names["prediction"], after=names["prediction_adv"],
        right_before=labels["prediction"] == labels["y"], right_after=labels["prediction_adv"] == labels["y"],
    )  # fmt: skip


def image_of(x: np.ndarray) -> np.ndarray:
    """A (C, H, W) image as it is shown: (H, W) in gray or (H, W, 3) in color; of other channels the mean."""
    if len(x) == 1:
        return x[0]
    return np.moveaxis(x, 0, -1) if len(x) == 3 else x.mean(0)


def _images(path: Path, arrays: dict[str, np.ndarray], key: str) -> np.ndarray:
    values = arrays[key]
    if values.ndim != 4 or values.dtype.kind != "f" or not values.size:
        raise bad(f"{path}: {key}", expected="images, an array (N, C, H, W) of floats", got=_about(values))
    if not np.isfinite(values).all():
        raise bad(f"{path}: {key}", expected="finite pixels", got="others")
    return values


def _labels(path: Path, arrays: dict[str, np.ndarray], key: str, n: int) -> np.ndarray:
    """(N,) indices of classes; of two classes labels are -1 and 1."""
    values = arrays[key]
    if values.shape != (n,) or values.dtype.kind not in "iuf":
        raise bad(f"{path}: {key}", expected=f"one label for each of {n} images", got=_about(values))
    known = np.array([-1, 1]) if arrays["binary"] else np.arange(len(arrays["classes"]))
    other = values[~np.isin(values, known)]
    if other.size or known.size > arrays["classes"].size:
        raise bad(f"{path}: {key}", expected=f"labels of {arrays['classes'].size} classes", got=other[:3].tolist())
    return np.searchsorted(known, values)


def _about(values: np.ndarray) -> str:
    return f"shape {values.shape} of {values.dtype}"
