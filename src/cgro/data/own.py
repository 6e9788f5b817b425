"""The user's own data: an .npz, a function, or a folder of class folders. Nothing is unpickled."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cgro._check import bad
from cgro.data.raw import FORMATS, Images, Raw, digest, listed, shown
from cgro.reading import read_bytes, read_npz, require_room
from cgro.trust import current_folder, one_line_if_it_fails, resolve

KEYS = ("x", "y", "x_test", "y_test", "layout", "classes")
CHANNELS = (1, 3)
"""Sizes of an axis that are taken for the color axis when no layout is given."""
AS_TEST = ("test", "validation", "val", "valid")
"""Parts that serve as the test part; the first that is there."""


def from_arrays(found: Mapping[str, Any], what: str, sha256: str | None = None, note: str = "") -> Raw:
    """A data set from arrays by name.

    Args:
        found: `x` (N, C, H, W), (N, H, W, C) or (N, H, W), uint8 or floating point in [0, 1]; `y` (N,) integers
            0 .. C-1; optionally both `x_test` and `y_test`, `layout` ("NCHW" or "NHWC"; needed where the shape leaves
            it open, which is when not exactly one of the axes 1 and 3 has size 1 or 3), and `classes`, the names in
            label order. Arrays or tensors.
        what: how messages call it. sha256: of the source; None: of the arrays.

    Raises:
        BadRequest: a key that is missing or unknown, a shape, type, range or layout that does not fit.
    """
    if unknown := sorted(str(key) for key in found if key not in KEYS):
        raise bad(f"{what}: keys", expected="only " + ", ".join(KEYS), got=listed(unknown))
    if missing := [k for k in ("x", "y") if k not in found] or [
        k for k in ("x_test", "y_test") if k not in found and {"x_test", "y_test"} & set(found)
    ]:
        raise bad(f"{what}: keys", expected="x, y and optionally both x_test, y_test", got=f"no {listed(missing)}")
    arrays = {k: _array(v, f"{what}: {k}") for k, v in found.items()}
    layout = _layout(str(arrays["layout"]) if "layout" in arrays else None, arrays["x"].shape, what)
    x, y = _pixels(arrays["x"], layout, f"{what}: x"), _labels(arrays["y"], f"{what}: y")
    test = None
    if "x_test" in arrays:
        test = _pixels(arrays["x_test"], layout, f"{what}: x_test"), _labels(arrays["y_test"], f"{what}: y_test")
        if test[0].dtype != x.dtype:
            raise bad(f"{what}: x_test", expected=f"{x.dtype} as x", got=test[0].dtype)
    if "classes" in arrays and arrays["classes"].ndim != 1:
        raise bad(f"{what}: classes", expected="a list of names", got=f"shape {arrays['classes'].shape}")
    classes = tuple(str(c) for c in arrays["classes"]) if "classes" in arrays else None
    return Raw(x, y, test, what, sha256 or _digest_of(x, y, *(test or ())), note, classes)


def _array(value: Any, what: str) -> np.ndarray:
    try:
        return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
    except Exception as error:  # whatever the user's object raises where it is no array: ragged lists, sparse tensors
        raise bad(what, expected="an array", got=f"{type(value).__name__} ({error})") from None


def _digest_of(*arrays: np.ndarray) -> str:
    return digest(*(part for a in arrays for part in (repr((a.dtype.str, a.shape)).encode(), a.tobytes())))


def _layout(layout: str | None, shape: tuple[int, ...], what: str) -> str:
    """NCHW, NHWC or NHW, as given or as the shape says without doubt."""
    if len(shape) == 3 and layout is None:
        return "NHW"
    if len(shape) != 4:
        raise bad(f"{what}: x", expected="shape (N, C, H, W), (N, H, W, C) or (N, H, W)", got=shape,
                  remedy="reshape vectors to (N, 1, 1, D)")  # fmt: skip
    if layout is None:
        first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
        if first == last:
            raise bad(f"{what}: x", expected="1 or 3 channels on axis 1 or on axis 3, not both", got=f"shape {shape}",
                      remedy='say layout="NCHW" or layout="NHWC"')  # fmt: skip
        return "NCHW" if first else "NHWC"
    if layout not in ("NCHW", "NHWC"):
        raise bad(f"{what}: layout", expected="NCHW or NHWC", got=repr(layout))
    return layout


def _pixels(x: np.ndarray, layout: str, what: str) -> np.ndarray:
    if x.ndim != len(layout):
        raise bad(what, expected=f"{len(layout)} axes as x", got=f"shape {x.shape}")
    x = x[:, None] if layout == "NHW" else x.transpose(0, 3, 1, 2) if layout == "NHWC" else x
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x)
    if x.dtype.kind != "f":
        raise bad(what, expected="uint8, or floating point in [0, 1]", got=x.dtype, remedy="x.astype('uint8')")
    if x.size and not (float(x.min()) >= 0 and float(x.max()) <= 1):  # also refuses NaN
        raise bad(what, expected="values in [0, 1]", got=f"[{x.min():g}, {x.max():g}]",
                  remedy="divide by the largest possible value; normalization belongs inside the network")  # fmt: skip
    return np.ascontiguousarray(x, dtype=np.float32)


def _labels(y: np.ndarray, what: str) -> np.ndarray:
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise bad(what, expected="one integer an example, shape (N,)", got=f"{y.dtype} of shape {y.shape}")
    return y.astype(np.int64)


def npz(path: Path) -> Raw:
    """Arrays from an .npz; see `from_arrays` for its keys. A file that needs unpickling is refused."""
    return from_arrays(read_npz(path), shown(path.name), digest(read_bytes(path)), shown(path.name))


def function(name: str) -> Raw:
    """What `package.module:function` returns, called without arguments. This runs code: the caller has said the name.

    The function returns (x, y), (x, y, x_test, y_test), or a mapping with the keys of `from_arrays`. It must return
    the same arrays at every call: a resumed run calls it again.

    Args:
        name: of the function, importable from here or from the current folder.

    Returns:
        The data, with a checksum of its arrays.

    Raises:
        BadRequest: it cannot be imported, fails, ends the program, or returns something else.
    """
    made = resolve(name, "--data")
    with current_folder(), one_line_if_it_fails(name, "a function without arguments that returns data"):
        found = made()
        if isinstance(found, tuple | list) and len(found) in (2, 4):
            found = zip(KEYS, found)
        if isinstance(found, Mapping | zip):
            found = dict(found)
    if not isinstance(found, Mapping):
        raise bad(
            name, expected="(x, y), (x, y, x_test, y_test) or a mapping with these keys", got=type(found).__name__
        )
    return from_arrays(found, name, note=name)


def class_folders(root: Path) -> Raw:
    """Images in folders by class, either ROOT/class/image or ROOT/train/class/image beside ROOT/test/class/image.

    Labels follow the names: by value if all are numbers, else in alphabetical order. The checksum covers names and
    bytes. `val` or `validation` serves as test part where there is no `test`, and the note says so.

    Raises:
        BadRequest: no class folders, an empty one, other classes in the test part, a file that is no image.
    """
    parts = _folders(root)
    name = shown(root.name)
    if "train" not in parts:
        x, y, classes, sha256 = _read_part(root, root, None)
        return Raw(x, y, None, str(root), sha256, name, classes)
    tests = [p for p in AS_TEST if p in parts]
    if strange := sorted(set(parts) - {"train", *AS_TEST}):
        raise bad(str(root), expected="train/ and test/, or only class folders", got=listed(["train", *strange]))
    x, y, classes, sha256 = _read_part(root, root / "train", None)
    if not tests:
        return Raw(x, y, None, str(root), sha256, name, classes)
    x_test, y_test, test_classes, test_sha256 = _read_part(root, root / tests[0], x)
    if test_classes != classes:
        raise bad(str(root / tests[0]), expected="the class folders of train/",
                  got="other ones: " + listed(sorted(set(test_classes) ^ set(classes))))  # fmt: skip
    note = name + ("" if tests[0] == "test" else f" ({tests[0]} part as test)")
    return Raw(x, y, (x_test, y_test), str(root), digest((sha256 + test_sha256).encode()), note, classes)


def _folders(root: Path) -> list[str]:
    return [p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")]


def _read_part(root: Path, part: Path, like: Images | None) -> tuple[Images, np.ndarray, tuple[str, ...], str]:
    """Images, labels, class names and checksum of PART/class/image."""
    names = _folders(part)
    classes = sorted(names, key=int) if all(n.isdecimal() for n in names) else sorted(names)
    if len(classes) < 2:
        raise bad(str(part), expected="at least two class folders with images", got=listed(classes) or "none")
    files = [(path, label) for label, name in enumerate(classes) for path in _images_in(part / name)]
    paths = [path.relative_to(root).as_posix() for path, _ in files]
    stored = 0
    for path, _ in files:
        with contextlib.suppress(OSError):  # one that vanished is refused below
            stored += path.stat().st_size
    require_room(stored, stored, str(part))
    encoded = [read_bytes(path) for path, _ in files]
    # surrogateescape: names in another encoding than UTF-8 count with their own bytes
    sha256 = digest(
        *(b for p, e in zip(paths, encoded) for b in (f"{p}\0{len(e)}\0".encode(errors="surrogateescape"), e))
    )
    return Images(encoded, lambda k: str(files[k][0]), like), np.array([k for _, k in files]), tuple(classes), sha256


def _images_in(folder: Path) -> list[Path]:
    endings = [e for group in FORMATS.values() for e in group]
    files = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    if not files:
        raise bad(str(folder), expected="at least one image", got="an empty class folder")
    for path in files:
        if path.suffix.lower() not in endings or not path.is_file():
            raise bad(str(path), expected="a file " + listed(endings, 99), got=path.name)
    return files
