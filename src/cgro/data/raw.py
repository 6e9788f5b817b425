"""A data set as it is stored: pixels or encoded images, labels, a checksum and a note. Every reader returns one."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cgro._check import bad, listed, one_line
from cgro.data.images import Images

Pixels = np.ndarray | Images
AS_TEST = ("test", "validation", "val", "valid")
"""Names of parts that serve as the test part; the first that is there."""
MOST_LISTED = 8
"""Missing classes that a message names."""


class Part(NamedTuple):
    """A part of a data set: (N, C, H, W) images and (N,) integer labels 0 .. C-1."""

    x: Pixels
    y: np.ndarray


@dataclass(frozen=True)
class Raw:
    """A data set as it is stored.

    Args:
        x: (N, C, H, W), uint8 pixels (or encoded images that give them), or float32 in [0, 1].
        y: (N,) int64 labels 0 .. C-1.
        test: the official test part, or None if there is none.
        where: the file or package that was read.
        sha256: of its bytes, in hexadecimal.
        note: what a reader of a result must know.
        classes: names in label order; None: the labels themselves.
        remarks: sentences that whoever reads the data should see once, such as files that were left out.
    """

    x: Pixels
    y: np.ndarray
    test: Part | None
    where: str
    sha256: str
    note: str
    classes: tuple[str, ...] | None = None
    remarks: tuple[str, ...] = ()

    def checked(self, name: str) -> "Raw":
        """Check that images fit labels and that every class 0 .. C-1 has a training example.

        Args:
            name: what messages call the data set.

        Returns:
            Itself.

        Raises:
            BadRequest: other counts of labels than of images, labels with gaps or below 0, a class without examples,
                test labels that training does not have, test images of another size.
        """
        _require_counts(f"{name}: train part", Part(self.x, self.y))
        if self.test is not None:
            _require_counts(f"{name}: test part", self.test)
        if not math.prod(self.x.shape[1:]):
            raise bad(f"{name}: images", expected="at least one pixel", got=f"shape {tuple(self.x.shape)}")
        if self.classes is not None:
            _require_names(name, self.classes)
        labels = np.unique(self.y)
        n_classes = len(self.classes) if self.classes is not None else max(2, int(labels.max()) + 1)
        _require_labels(name, labels, n_classes, self.classes)
        if self.test is not None:
            self._require_same_task(name, self.test, labels, n_classes)
        return self

    def _require_same_task(self, name: str, test: Part, labels: np.ndarray, n_classes: int) -> None:
        strange = np.setdiff1d(test.y, labels)
        if len(strange):
            raise bad(f"{name}: test labels", expected=f"0 .. {n_classes - 1}", got=listed(strange.tolist()))
        form = tuple(self.x.shape[1:])
        if test.x.shape[1:] != form:
            raise bad(f"{name}: test images", expected=f"shape {form} as in training", got=tuple(test.x.shape[1:]))


def _require_counts(what: str, part: Part) -> None:
    if len(part.x) != len(part.y) or not len(part.x):
        raise bad(
            what,
            expected="as many labels as images, at least one",
            got=f"{len(part.x)} images, {len(part.y)} labels",
        )


def _require_labels(name: str, labels: np.ndarray, n_classes: int, classes: tuple[str, ...] | None) -> None:
    """Refuse labels (distinct ones, sorted) that are not all of 0 .. n_classes - 1."""
    if labels.min() < 0 or labels.max() >= n_classes:
        raise bad(
            f"{name}: labels",
            expected=f"0 .. {n_classes - 1}",
            got=f"{labels.min()} .. {labels.max()}",
            remedy="number the classes from 0; unlabeled examples cannot be used",
        )
    n_missing = n_classes - len(labels)
    if n_missing > 0:
        # A single label of 2^62 stands for as many missing classes: no more are walked through than are told.
        present = set(labels.tolist())
        missing = (label for label in range(n_classes) if label not in present)
        first = list(itertools.islice(missing, min(MOST_LISTED, n_missing)))
        told = _names_of(first, classes)
        raise bad(
            f"{name}: labels",
            expected=f"0 .. {n_classes - 1} without gaps",
            got="no example of " + listed(told, MOST_LISTED, n=n_missing),
            remedy="number the classes without gaps, or add examples",
        )


def _names_of(labels: Iterable[int], classes: tuple[str, ...] | None) -> list[object]:
    if classes is None:
        return list(labels)
    return [classes[label] for label in labels]


def _require_names(name: str, classes: tuple[str, ...]) -> None:
    if len(set(classes)) < len(classes):
        raise bad(f"{name}: classes", expected="different names", got=listed(classes))
    for one in classes:
        if not _is_plain(one):
            raise bad(
                f"{name}: classes",
                expected="names in UTF-8 without control characters",
                got=one,
                remedy="rename it",
            )


def _is_plain(name: str) -> bool:
    """Whether a name can be written to a terminal and to UTF-8: no control characters, no bytes of other encodings."""
    return not any(c < " " or "\x7f" <= c <= "\x9f" or "\ud800" <= c <= "\udfff" for c in name)


def shown(name: str) -> str:
    r"""A name as results record it: itself, or with escapes what cannot be printed.

    Args:
        name: such as the last part of a path, in any encoding.

    Returns:
        Text that can be written in UTF-8, on one line.

    Example:
        >>> shown("caf\udce9")
        'caf\\udce9'
    """
    if _is_plain(name):
        return name
    return one_line(name)
