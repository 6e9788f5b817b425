"""Images that stand in two parts of the data: an error on them is no error on new images."""

import torch
from torch import Tensor

LEAK = 0.01
"""Share of a part's images above which it is said that they are also training images. A choice: a few equal images,
such as blank ones, are found in many collections and change no verdict."""


def overlap_remark(part: str, images: Tensor, training: Tensor) -> str | None:
    """What to say of images that are also training images, value for value.

    Copies that were scaled, cut or compressed anew are not found: no equality of values would tell them from images of
    one kind.

    Args:
        part: whose images they are, such as test.
        images: (N, *S) of that part.
        training: (M, *S) images in the same form.

    Returns:
        A sentence; None where they are a share of at most `LEAK`.

    Example:
        >>> import torch
        >>> x = torch.arange(8.0).reshape(4, 2)
        >>> overlap_remark("test", x[:2], x[1:])
        '1 of 2 test images is also a training image: no error on it says anything of new images'
        >>> overlap_remark("test", x[:2], x[2:])
    """
    known = set(_values(training))
    n_shared = sum(values in known for values in _values(images))
    if n_shared <= LEAK * len(images):
        return None
    if n_shared == 1:
        return f"1 of {len(images)} {part} images is also a training image: no error on it says anything of new images"
    return (
        f"{n_shared} of {len(images)} {part} images are also training images: no error on them says anything of new "
        "images"
    )


def _values(images: Tensor) -> list[int]:
    """A number for the values of each image. Of 64 bits, so two of a million differ by chance in all but one case in
    ten million; the bytes themselves would double the memory that the data take."""
    if not len(images):
        return []
    rows = images.detach().cpu().contiguous().reshape(len(images), -1)
    return [hash(row.tobytes()) for row in rows.view(torch.uint8).numpy()]
