"""The user's own arrays: an .npz, or what a function returns. Nothing is unpickled."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cgro import writing
from cgro._check import FEWER_BITS, WHITE, apart, bad, listed, white_of
from cgro.data.raw import Part, Raw, shown
from cgro.named import factory_of
from cgro.reading import read_bytes, read_npz
from cgro.trust import current_folder, one_line_if_it_fails

KEYS = ("x", "y", "x_test", "y_test", "layout", "classes")
OTHER_NAMES = {"x_train": "x", "y_train": "y"}
"""As Keras names the arrays of its .npz."""
ROUNDING = 1e-5
"""How far above 1 rounding may have led, in advice alone: a few roundings of float32 after a normalization and back."""
CHANNELS = (1, 3)
"""Sizes of an axis that are taken for the color axis when no layout is given."""


def from_arrays(found: Mapping[str, object], what: str, sha256: str | None = None, note: str = "") -> Raw:
    """A data set from arrays by name.

    Args:
        found: arrays or tensors under these names:
            `x` (N, C, H, W), (N, H, W, C) or (N, H, W), uint8 or floating point in [0, 1];
            `y` (N,) integers 0 .. C-1; also as `x_train` and `y_train`;
            optionally both `x_test` and `y_test`;
            optionally `layout`, "NCHW" or "NHWC", needed where the shape leaves it open, which is when not exactly one
            of the axes 1 and 3 has size 1 or 3;
            optionally `classes`, the names in label order.
        what: how messages call it.
        sha256: of the source, in hexadecimal; None: of the arrays.
        note: what results say of the data.

    Returns:
        The data set, images as (N, C, H, W) in uint8 or float32.

    Raises:
        BadRequest: a key that is missing or unknown, a shape, type, range or layout that does not fit.
    """
    found = _as_named_here(found)
    _require_keys(found, what)
    arrays = {name: _array(value, f"{what}: {name}") for name, value in found.items()}
    layout = _layout(_text(arrays.get("layout")), arrays["x"].shape, what)
    x = _pixels(arrays["x"], layout, f"{what}: x")
    y = _labels(arrays["y"], f"{what}: y")
    test = None
    digested = [x, y]
    if "x_test" in arrays:
        x_test = _pixels(arrays["x_test"], layout, f"{what}: x_test")
        y_test = _labels(arrays["y_test"], f"{what}: y_test")
        if x_test.dtype != x.dtype:
            raise bad(f"{what}: x_test", expected=f"{x.dtype} as x", got=x_test.dtype)
        test = Part(x_test, y_test)
        digested += [x_test, y_test]
    classes = None
    if "classes" in arrays:
        classes = _class_names(arrays["classes"], what)
    return Raw(x, y, test, what, sha256 or _digest(digested), note, classes)


def _as_named_here(found: Mapping[str, object]) -> dict[str, object]:
    """With the names of `KEYS`; a key whose name is taken keeps its own, and is refused."""
    named: dict[str, object] = {}
    for key, value in found.items():
        name = OTHER_NAMES.get(key, key)
        if name in found:
            name = key
        named[name] = value
    return named


def _require_keys(found: Mapping[str, object], what: str) -> None:
    unknown = sorted(str(key) for key in found if key not in KEYS)
    if unknown:
        raise bad(f"{what}: keys", expected="only " + ", ".join(KEYS), got=listed(unknown))
    missing = [key for key in ("x", "y") if key not in found]
    if not missing and ("x_test" in found or "y_test" in found):
        missing = [key for key in ("x_test", "y_test") if key not in found]
    if missing:
        raise bad(f"{what}: keys", expected="x, y and optionally both x_test, y_test", got=f"no {listed(missing)}")


def _array(value: object, what: str) -> np.ndarray:
    try:
        detach = getattr(value, "detach", None)  # of torch, without importing it
        if detach is not None:
            return detach().cpu().numpy()
        if not np.ma.is_masked(value):
            return np.asarray(value)
    except Exception as error:  # whatever the user's object raises where it is no array: ragged lists, sparse tensors
        raise bad(what, expected="an array", got=f"{type(value).__name__} ({error})") from None
    n_masked = int(np.ma.count_masked(value))  # `asarray` would give what lies behind the mask
    remedy = "leave these examples out, or say what stands for them, as in x.filled(0)"
    raise bad(what, expected="an array without masked values", got=f"{n_masked:,} masked", remedy=remedy)


def _text(array: np.ndarray | None) -> str | None:
    return None if array is None else str(array)


def _digest(arrays: Sequence[np.ndarray]) -> str:
    """Of types, shapes and values."""
    parts: list[bytes] = []
    for array in arrays:
        parts += [repr((array.dtype.str, array.shape)).encode(), array.tobytes()]
    return writing.sha256(*parts)


def _layout(layout: str | None, shape: tuple[int, ...], what: str) -> str:
    """NCHW, NHWC or NHW, as given or as the shape says without doubt."""
    if len(shape) == 3 and layout is None:
        return "NHW"
    if len(shape) == 3:
        raise bad(f"{what}: layout", expected="none beside gray images (N, H, W)", got=repr(layout))
    if len(shape) != 4:
        raise bad(
            f"{what}: x",
            expected="shape (N, C, H, W), (N, H, W, C) or (N, H, W)",
            got=shape,
            remedy="reshape vectors to (N, 1, 1, D)",
        )
    if layout is None:
        return _layout_by_channels(shape, what)
    if layout not in ("NCHW", "NHWC"):
        raise bad(f"{what}: layout", expected="NCHW or NHWC", got=repr(layout))
    return layout


def _layout_by_channels(shape: tuple[int, ...], what: str) -> str:
    first = shape[1] in CHANNELS
    last = shape[3] in CHANNELS
    if first == last:
        raise bad(
            f"{what}: x",
            expected="1 or 3 channels on axis 1 or on axis 3, not both",
            got=f"shape {shape}",
            remedy='say layout="NCHW" or layout="NHWC"',
        )
    return "NCHW" if first else "NHWC"


def _pixels(x: np.ndarray, layout: str, what: str) -> np.ndarray:
    """Images as (N, C, H, W), contiguous, uint8 or float32."""
    if x.ndim != len(layout):
        raise bad(what, expected=f"{len(layout)} axes as x", got=f"shape {x.shape}")
    if layout == "NHW":
        x = x[:, None]
    elif layout == "NHWC":
        x = x.transpose(0, 3, 1, 2)
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x)
    if x.dtype.kind != "f":
        raise bad(what, expected="uint8, or floating point in [0, 1]", got=_type_and_range(x), remedy=_conversion(x))
    finite = np.isfinite(x)
    if not finite.all():
        first = int(np.flatnonzero(~finite.reshape(len(x), -1).all(axis=1))[0])
        raise bad(
            what,
            expected="finite values in [0, 1]",
            got=f"{int(x.size - finite.sum()):,} of {x.size:,} not finite, the first in image {first}",
            remedy="leave these images out, or mend them",
        )
    if x.size and not (float(x.min()) >= 0 and float(x.max()) <= 1):
        first, last, least, largest = apart(0.0, 1.0, float(x.min()), float(x.max()), digits=9)
        raise bad(
            what,
            expected=f"values in [{first}, {last}]",
            got=f"[{least}, {largest}]",
            remedy=_scaling(float(x.min()), float(x.max())),
        )
    return np.ascontiguousarray(x, dtype=np.float32)


def _type_and_range(x: np.ndarray) -> str:
    if x.size and x.dtype.kind in "iub":
        return f"{x.dtype} in [{int(x.min())}, {int(x.max())}]"
    return str(x.dtype)


def _conversion(x: np.ndarray) -> str:
    """How to bring images of another type to one that is taken, such that no value is lost.

    astype('uint8') alone would take 16-bit values modulo 256, and leave 0 and 1 at 0.4% of the range.
    """
    if x.dtype.kind not in "iub" or not x.size:
        return "convert it to uint8 or to floating point in [0, 1]"
    low, high = int(x.min()), int(x.max())
    if low < 0:
        return f"shift and scale to [0, 1], such as ((x.astype('float64') - {low}) / {high - low}).astype('float32')"
    if high <= 1:
        return "x.astype('float32'), which keeps 0 and 1"
    white = white_of(low, high)
    if white == WHITE:
        return "x.astype('uint8'), if 255 stands for white: all values fit"
    if white is not None:
        return f"(x / {white}).astype('float32'), if {white} stands for white; {FEWER_BITS}"
    return "divide by the value of white and store as float32"


def _scaling(low: float, high: float) -> str:
    """How to bring floating-point images to [0, 1]."""
    if low < 0:
        return "undo the normalization, such as (x + 1) / 2 of [-1, 1]; it belongs inside the network"
    if high <= 1 + ROUNDING:
        return "rounding went beyond 1: x.clip(0, 1)"
    return f"divide by the value of white{', 255' if high <= WHITE else ''}; normalization belongs inside the network"


def _labels(y: np.ndarray, what: str) -> np.ndarray:
    if y.ndim != 1 or y.dtype.kind not in "iu":
        got = f"{y.dtype} of shape {y.shape}"
        raise bad(what, expected="one integer an example, shape (N,)", got=got, remedy=_labels_remedy(y))
    return y.astype(np.int64)


def _labels_remedy(y: np.ndarray) -> str:
    """How labels of another form become class numbers; "" where nothing can be said."""
    if y.ndim == 2 and y.shape[1] == 1:
        return "use y[:, 0]"  # `argmax` would make them all 0
    if y.ndim == 2 and y.dtype.kind in "iufb":
        return "give class numbers, such as y.argmax(1) of one-hot rows"
    if y.ndim != 1:
        return ""
    if y.dtype.kind in "USO":
        return "number the names: classes, y = numpy.unique(y, return_inverse=True), and give classes as well"
    if y.dtype.kind == "b" or (y.dtype.kind == "f" and np.array_equal(y, np.trunc(y))):
        return "use y.astype('int64')"
    return "labels are class numbers, 0 .. C-1"


def _class_names(names: np.ndarray, what: str) -> tuple[str, ...]:
    if names.ndim != 1:
        raise bad(f"{what}: classes", expected="a list of names", got=f"shape {names.shape}")
    return tuple(str(name) for name in names)


def npz(path: Path) -> Raw:
    """Arrays from an .npz; see `from_arrays` for its keys.

    Args:
        path: of the file.

    Returns:
        The data set, with the checksum of the file.

    Raises:
        BadRequest: no file, one that needs unpickling or is damaged, or arrays that do not fit.
    """
    return from_arrays(read_npz(path), shown(path.name), writing.sha256(read_bytes(path)), shown(path.name))


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
    made = factory_of(name, "--data")
    with current_folder(), one_line_if_it_fails(name, "a function without arguments that returns data"):
        found = made()
        # Inside the block: also what a mapping of the caller's does while it is read is theirs.
        if isinstance(found, tuple | list) and len(found) in (2, 4):
            found = dict(zip(KEYS, found))
        elif isinstance(found, Mapping):
            found = dict(found)
    if not isinstance(found, Mapping):
        raise bad(
            name, expected="(x, y), (x, y, x_test, y_test) or a mapping with these keys", got=type(found).__name__
        )
    return from_arrays(found, name, note=name)
