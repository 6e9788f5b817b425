"""List the data sets that have a name, or read one and say what it holds: a name, or a data set of your own.

A data set of your own is an id of the Hugging Face hub, a folder of class folders (or train/ and test/ with these
inside), an .npz with x, y and optionally x_test, y_test, or a function that returns them.

examples:
  cgro data
  cgro data mnist5k --classes 3,8
  cgro data path/to/folder
  cgro data arrays.npz
  cgro data my_package.data:load
  cgro data uoft-cs/cifar100:cifar100
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cgro._check import BadRequest
from cgro.commands._common import Output, Trusting, begin, option, say_remarks
from cgro.commands._effect import Effects, beside
from cgro.data.storage import StreamChoice
from cgro.results import DataSummary, ListedDataset, OutcomeRecord
from cgro.runs import Run, Unsaved

if TYPE_CHECKING:
    from cgro.data import Dataset

MOST_CLASSES = 20
"""Classes that one line of the terminal names; the summary has all."""

NEXT = "cgro train --data {name} --radius 8/255"
"""Mostly follows; see `cgro.cli` and `next_of`."""


@dataclass(kw_only=True)
class Config(Trusting, Output):
    """Options of `cgro data`."""

    name: str | None = option(
        None, "one data set: a name, id, path or function; default all names", positional=True, names="data"
    )
    classes: str | None = option(None, "a task, such as 3,8 or even,odd, or names of classes")
    stream: StreamChoice = option(
        "auto", "images in files: no: hold them; yes: decode them when needed; auto: if memory is short"
    )
    image_size: int | None = option(None, "side in pixels to which images of any size are cut and scaled", low=1)

    HAS_EFFECT: ClassVar[Effects] = {
        "stream": beside("the NAME of a data set", lambda c: c.name is not None),
        "image_size": beside("the NAME of a data set", lambda c: c.name is not None),
    }


def run(config: Config) -> Run | Unsaved:
    """Read each data set and say what it holds. Only one that is named is fetched from the network.

    Args:
        config: the options.

    Returns:
        A run with --out, else `Unsaved`.

    Raises:
        BadRequest: the data set that was named is missing or damaged.
    """
    from cgro.data import SOURCES

    found: dict[str, ListedDataset] = {}
    for name in SOURCES if config.name is None else [config.name]:
        try:
            data = _loaded(config, name)
            found[data.name] = about(data)
            say_remarks(data)
        except BadRequest as error:
            if config.name is not None:
                raise
            found[name] = ListedDataset(missing=str(error))
    result = DataSummary(
        command="data",
        seed=0,
        threat=None,
        outcome=OutcomeRecord(kind="completed", reason=f"{len(found)} data sets"),
        verdict=None,
        metrics={},
        data=found,
    )
    if config.out is None:
        return Unsaved(result)
    with begin("data", config) as kept:
        kept.finish(result)
    return kept


def next_of(config: Config) -> str:
    """What mostly follows: training on the same data, cut and scaled and held in the same way.

    Args:
        config: of the listing.

    Returns:
        A template as `NEXT`.

    Example:
        >>> next_of(Config(name="digits", classes="3,8", image_size=16))
        'cgro train --data {name} --radius 8/255 --classes {classes} --image-size {image_size}'
    """
    template = NEXT
    for option_name in ("classes", "image_size", "stream"):
        if getattr(config, option_name) != getattr(Config, option_name):
            template += f" --{option_name.replace('_', '-')} {{{option_name}}}"
    return template


def _loaded(config: Config, name: str) -> "Dataset":
    from cgro.data import load

    if config.name is None:
        return load(name, classes=config.classes, download=False)
    return load(name, classes=config.classes, stream=config.stream, image_size=config.image_size)


def about(data: "Dataset") -> ListedDataset:
    """What a summary records of a data set, the shape and type of its images, and the examples of each class.

    Args:
        data: as loaded.

    Returns:
        The record.
    """
    labels = (-1, 1) if data.n_outputs == 1 else range(data.n_outputs)
    counts = {}
    for part in ("train", "test"):
        y = getattr(data, part).y
        counts[part] = {name: int((y == k).sum()) for name, k in zip(data.classes, labels, strict=True)}
    stored_as = str(data.train.dtype).removeprefix("torch.")
    if data.train.streamed:
        stored_as += ", streamed"
    return ListedDataset.of(
        {**data.describe(), "shape": list(data.shape), "stored_as": stored_as, "n_by_class": counts}
    )


def describe(result: DataSummary) -> str:
    """One line per data set, and for one alone its classes and checksum.

    Args:
        result: of `run`.

    Returns:
        Text for the terminal.
    """
    lines = [_line(name, found) for name, found in result.data.items()]
    only = next(iter(result.data.values()))
    if len(lines) > 1 or not only.n_by_class:
        return "\n".join(lines)
    train, test = only.n_by_class["train"], only.n_by_class["test"]
    classes = [f"{name} ({n} train, {test[name]} test)" for name, n in train.items()]
    text = ", ".join(classes[:MOST_CLASSES])
    if len(classes) > MOST_CLASSES:
        text += f" and {len(classes) - MOST_CLASSES} more"
    return "\n".join([*lines, f"{'classes':10} {text}", f"{'sha256':10} {only.sha256}"])


def _line(name: str, found: ListedDataset) -> str:
    if found.missing:
        return f"{name:10} not found: {found.missing}"
    shape = "x".join(map(str, found.shape))
    sizes = f"{found.n_train} train, {found.n_test} test; {len(found.classes)} classes"
    return f"{name:10} {sizes}; {shape} {found.stored_as}; {found.note}"
