"""Reading `examples.npz` of a training run: test images, their attacked versions and both predictions."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cgro._check import bad
from cgro.report.values import read_arrays


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


@dataclass(frozen=True)
class _Stored:
    """The arrays of the file, by their names there, not yet checked."""

    x: np.ndarray
    x_adv: np.ndarray
    y: np.ndarray
    prediction: np.ndarray
    prediction_adv: np.ndarray
    classes: np.ndarray
    binary: np.ndarray


def read_examples(path: Path) -> Examples:
    """Read and check an `examples.npz`.

    Args:
        path: the file, as `cgro train` writes it.

    Returns:
        Its content, with labels as names of classes.

    Raises:
        BadRequest: see `read_npz`; an array that is missing, of another type or shape, or a label without a class.
    """
    stored = read_arrays(path, _Stored, writer="cgro train")
    _require_images(f"{path}: x", stored.x)
    _require_images(f"{path}: x_adv", stored.x_adv)
    if stored.x.shape != stored.x_adv.shape:
        raise bad(f"{path}: x_adv", expected=f"the shape {stored.x.shape} of x", got=stored.x_adv.shape)
    if stored.classes.ndim != 1 or stored.classes.dtype.kind != "U":
        raise bad(f"{path}: classes", expected="a list of names", got=_about(stored.classes))
    if stored.binary.shape != () or stored.binary.dtype.kind != "b":
        raise bad(f"{path}: binary", expected="true or false", got=_about(stored.binary))
    truth = _class_indices(f"{path}: y", stored.y, stored)
    before = _class_indices(f"{path}: prediction", stored.prediction, stored)
    after = _class_indices(f"{path}: prediction_adv", stored.prediction_adv, stored)
    return Examples(
        x=stored.x,
        x_adv=stored.x_adv,
        truth=stored.classes[truth].tolist(),
        before=stored.classes[before].tolist(),
        after=stored.classes[after].tolist(),
        right_before=before == truth,
        right_after=after == truth,
    )


def image_of(x: np.ndarray) -> np.ndarray:
    """Bring an image into the layout in which it is shown.

    Args:
        x: (C, H, W) pixels.

    Returns:
        (H, W, 3) in color; (H, W) in gray, which of other than 1 or 3 channels is their mean.
    """
    if len(x) == 1:
        return x[0]
    if len(x) == 3:
        return np.moveaxis(x, 0, -1)
    return x.mean(0)


def _require_images(what: str, values: np.ndarray) -> None:
    if values.ndim != 4 or values.dtype.kind != "f" or not values.size:
        raise bad(what, expected="images, an array (N, C, H, W) of floats", got=_about(values))
    if not np.isfinite(values).all():
        raise bad(what, expected="finite pixels", got="others")


def _class_indices(what: str, labels: np.ndarray, stored: _Stored) -> np.ndarray:
    """(N,) indices of the classes that labels stand for; of two classes labels are -1 and 1."""
    n = len(stored.x)
    if labels.shape != (n,) or labels.dtype.kind not in "iuf":
        raise bad(what, expected=f"one label for each of {n} images", got=_about(labels))
    n_classes = len(stored.classes)
    known = np.array([-1, 1]) if stored.binary else np.arange(n_classes)
    unknown = labels[~np.isin(labels, known)]
    if unknown.size or len(known) > n_classes:
        raise bad(what, expected=f"labels of {n_classes} classes", got=unknown[:3].tolist())
    return np.searchsorted(known, labels)


def _about(values: np.ndarray) -> str:
    return f"shape {values.shape} of {values.dtype}"
