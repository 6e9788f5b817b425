"""Images in folders by class, as many data sets are shipped."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cgro._check import bad, listed
from cgro.data.images import FORMATS, Images
from cgro.data.raw import AS_TEST, Part, Raw, shown
from cgro.reading import read_bytes, require_room
from cgro.writing import sha256

OF_SYSTEMS = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "$recycle.bin")
"""What Windows, macOS and network storage leave in folders, in small letters; hidden files are skipped as well."""
MOST_ENDINGS = 99
"""Endings of image files that a message lists: all of them."""


def class_folders(root: Path) -> Raw:
    """Images in folders by class, either ROOT/class/image or ROOT/train/class/image beside ROOT/test/class/image.

    Labels follow the names: by value if all are numbers, else in alphabetical order. The checksum covers names and
    bytes. `val` or `validation` serves as test part where there is no `test`, and the note says so. Hidden files and
    those of operating systems, such as Thumbs.db, are left out; the remarks name the latter.

    Args:
        root: the folder.

    Returns:
        The training part and, where there is one, the test part; images are decoded when they are asked for.

    Raises:
        BadRequest: no class folders, an empty one, other classes in the test part, a file that is no image.
    """
    parts = _folders(root)
    note = shown(root.name)
    if "train" not in parts:
        return _without_test(_read_part(root, root, None), root, note)
    strange = sorted(set(parts) - {"train", *AS_TEST})
    if strange:
        raise bad(str(root), expected="train/ and test/, or only class folders", got=listed(["train", *strange]))
    train = _read_part(root, root / "train", None)
    test_name = next((name for name in AS_TEST if name in parts), None)
    if test_name is None:
        return _without_test(train, root, note)
    test = _read_part(root, root / test_name, train.images)
    if test.classes != train.classes:
        others = sorted(set(test.classes) ^ set(train.classes))
        raise bad(
            str(root / test_name),
            expected="the class folders of train/",
            got="other ones: " + listed(others),
        )
    if test_name != "test":
        note += f" ({test_name} part as test)"
    digest = sha256((train.sha256 + test.sha256).encode())
    return Raw(
        train.images,
        train.labels,
        Part(test.images, test.labels),
        str(root),
        digest,
        note,
        train.classes,
        _remarks(root, train.classes),
    )


@dataclass(frozen=True)
class _Read:
    """PART/class/image as it was read."""

    images: Images
    labels: np.ndarray
    classes: tuple[str, ...]
    sha256: str


def _without_test(part: _Read, root: Path, note: str) -> Raw:
    remarks = _remarks(root, part.classes)
    return Raw(part.images, part.labels, None, str(root), part.sha256, note, part.classes, remarks)


def _remarks(root: Path, classes: tuple[str, ...]) -> tuple[str, ...]:
    """What the caller should know of how the folder was read."""
    remarks: list[str] = []
    left_out = sorted({path.name for path in root.rglob("*") if path.name.lower() in OF_SYSTEMS})
    if left_out:
        remarks.append(f"{shown(root.name)}: left out {listed(shown(name) for name in left_out)}, of the system")
    as_text = sorted(classes)
    for label, (name, other) in enumerate(zip(classes, as_text, strict=True)):
        if name != other:
            remarks.append(
                f"{shown(root.name)}: class folders are ordered as numbers: label {label} is folder {name}. In order "
                f"of text, as torchvision's ImageFolder has it, label {label} is folder {other}: the outputs of a "
                "network that was trained in that order must be permuted"
            )
            break
    return tuple(remarks)


def _is_visible(path: Path) -> bool:
    """Whether a file or folder belongs to the data: not hidden, and none of an operating system."""
    return not path.name.startswith(".") and path.name.lower() not in OF_SYSTEMS


def _folders(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.is_dir() and _is_visible(path)]


def _read_part(root: Path, part: Path, like: Images | None) -> _Read:
    classes = _in_order(_folders(part))
    if len(classes) < 2:
        raise bad(str(part), expected="at least two class folders with images", got=listed(classes) or "none")
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        images = _images_in(part / name)
        files += images
        labels += [label] * len(images)
    n_bytes = 0
    for path in files:
        with contextlib.suppress(OSError):  # one that vanished is refused below
            n_bytes += path.stat().st_size
    require_room(n_bytes, n_bytes, str(part))
    encoded: list[bytes] = []
    digested: list[bytes] = []
    for path in files:
        content = read_bytes(path)
        head = f"{path.relative_to(root).as_posix()}\0{len(content)}\0"
        # surrogateescape: names in another encoding than UTF-8 count with their own bytes
        digested += [head.encode(errors="surrogateescape"), content]
        encoded.append(content)
    images = Images(encoded, lambda k: str(files[k]), like)
    return _Read(images, np.array(labels), tuple(classes), sha256(*digested))


def _in_order(names: list[str]) -> list[str]:
    if all(name.isdecimal() for name in names):
        return sorted(names, key=int)
    return sorted(names)


def _images_in(folder: Path) -> list[Path]:
    endings: list[str] = []
    for group in FORMATS.values():
        endings += group
    files = sorted(path for path in folder.iterdir() if _is_visible(path))
    if not files:
        raise bad(str(folder), expected="at least one image", got="an empty class folder")
    for path in files:
        if path.suffix.lower() not in endings or not path.is_file():
            raise bad(str(path), expected="a file " + listed(endings, MOST_ENDINGS), got=path.name)
    return files
