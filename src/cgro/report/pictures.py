"""The adversarial examples of a training, as a page shows them."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cgro._check import BadRequest, bad
from cgro.folder import seed_folders
from cgro.report.examples import Examples, image_of, read_examples
from cgro.runs import Run

MOST_EXAMPLES = 64
"""Adversarial examples that a page takes. A choice; a training keeps 8."""
LONGEST_SIDE = 1024
"""Pixels of a side of an image that a page takes. A choice."""
MOST_VALUES = 1 << 25
"""Pixels times channels of all images of a page together: about 90 MB of it. A choice."""
KEPT_BY = ("train", "quickstart", "monitor")
"""Commands that keep examples."""
DRAWN_BY_THE_PAGE = ("diagnose", "evaluate")
"""Commands whose figure is a chart of the page."""
MOST_FIGURES = 8
"""Figures that a page takes of a run. A choice; commands draw at most three."""
LARGEST_FIGURE = 4_000_000
"""Bytes of one of them. A choice; ours have some hundred thousand."""
PNG_START = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class DrawnFigure:
    """A figure that a command drew.

    Attributes:
        name: of its file, in words.
        image: data URI.
    """

    name: str
    image: str


@dataclass(frozen=True)
class Picture:
    """One adversarial example.

    Attributes:
        clean: data URI of the image.
        attacked: data URI of the attacked image.
        truth: name of its class.
        before: name of the class predicted for the image.
        after: name of the class predicted for the attacked image.
        wrong: whether the second prediction is wrong.
    """

    clean: str
    attacked: str
    truth: str
    before: str
    after: str
    wrong: bool


@dataclass(frozen=True)
class Pictures:
    """The adversarial examples of a run.

    Attributes:
        shown: in the order of the file.
        left_out: why none is shown; empty if some are, or if the run has none.
        figures: that its command drew; of a training none, as the page has charts of its own.
    """

    shown: Sequence[Picture] = ()
    left_out: str = ""
    figures: Sequence[DrawnFigure] = ()


def read_pictures(run: Run) -> Pictures:
    """Read the adversarial examples that a training kept, of several seeds the first one's; of others the figures.

    A file that is damaged, of another kind or too large for a page costs the examples, not the page: the verdict and
    the numbers do not depend on it.

    Args:
        run: of any command; only trainings keep examples.

    Returns:
        The examples, or the reason why they are left out.
    """
    command = run.read().command
    if command not in KEPT_BY:
        return Pictures(figures=() if command in DRAWN_BY_THE_PAGE else _figures(run))
    for source in (run.path / "examples.npz", *(part / "examples.npz" for part in seed_folders(run.path))):
        if not source.exists():
            continue
        try:
            found = read_examples(source)
            _require_small(found)
        except BadRequest as error:
            return Pictures(left_out=str(error).replace(str(source), str(source.relative_to(run.path))))
        return Pictures([_picture(found, i) for i in range(len(found))])
    return Pictures()


def _figures(run: Run) -> Sequence[DrawnFigure]:
    """The PNG files of a run; one that is a link, too large or of another kind is left out."""
    found = []
    for path in sorted((run.path / "figures").glob("*.png"))[:MOST_FIGURES]:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_FIGURE:
            continue
        data = path.read_bytes()
        if data.startswith(PNG_START):
            uri = "data:image/png;base64," + base64.b64encode(data).decode()
            found.append(DrawnFigure(path.stem.replace("_", " "), uri))
    return tuple(found)


def _picture(found: Examples, i: int) -> Picture:
    return Picture(
        clean=data_uri(image_of(found.x[i])),
        attacked=data_uri(image_of(found.x_adv[i])),
        truth=found.truth[i],
        before=found.before[i],
        after=found.after[i],
        wrong=not found.right_after[i],
    )


def data_uri(image: np.ndarray) -> str:
    """Encode an image as a PNG within the page.

    Args:
        image: (H, W) in gray or (H, W, 3) in color, in [0, 1]; what lies outside is cut off.

    Returns:
        The data URI, of 8 bits per channel.

    Example:
        >>> data_uri(np.zeros((2, 2)))[:22]
        'data:image/png;base64,'
    """
    pixels = np.clip(np.round(255 * image), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _require_small(found: Examples) -> None:
    n, _, height, width = found.x.shape
    if n > MOST_EXAMPLES or max(height, width) > LONGEST_SIDE or found.x.size > MOST_VALUES:
        limits = f"{MOST_EXAMPLES} images of at most {LONGEST_SIDE} pixels a side, {MOST_VALUES:,} values in all"
        raise bad("examples.npz", expected=f"at most {limits}", got=f"shape {found.x.shape}")
