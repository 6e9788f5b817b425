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
from typing import TYPE_CHECKING, Any

from cgro._check import BadRequest
from cgro.commands._common import Output, Trusting, begin, option
from cgro.runs import Run, Unsaved, summary

if TYPE_CHECKING:
    from cgro.data import Dataset

MOST_CLASSES = 20
"""Classes that one line of the terminal names; the summary has all."""


@dataclass(kw_only=True)
class Config(Trusting, Output):
    """Options of `cgro data`."""

    name: str | None = option(
        None, "one data set: a name, id, path or function; default all names", positional=True, names="data"
    )
    classes: str | None = option(None, "a task, such as 3,8 or even,odd, or names of classes")


def run(config: Config) -> Run | Unsaved:
    """Read each data set and say what it holds. Only one that is named is fetched from the network."""
    from cgro.data import SOURCES, load

    found = {}
    for name in [config.name] if config.name is not None else SOURCES:
        try:
            data = load(name, classes=config.classes, download=config.name is not None)
            found[data.name] = about(data)
        except BadRequest as error:
            if config.name is not None:
                raise
            found[name] = {"missing": str(error)}
    result = summary(
        "data", seed=0, threat=None, outcome={"kind": "completed", "reason": f"{len(found)} data sets"},
        verdict=None, metrics={}, data=found,
    )  # fmt: skip
    if config.out is None:
        return Unsaved(result)
    with begin("data", config) as kept:
        kept.finish(result)
    return kept


def about(data: "Dataset") -> dict[str, Any]:
    """What a summary records of it, the shape and type of its images, and the examples of each class."""
    labels = (-1, 1) if data.n_outputs == 1 else range(data.n_outputs)
    n_by_class = {
        part: {name: int((getattr(data, part).y == k).sum()) for name, k in zip(data.classes, labels, strict=True)}
        for part in ("train", "test")
    }
    stored_as = str(data.train.raw.dtype).removeprefix("torch.")
    return {**data.describe(), "shape": list(data.shape), "stored_as": stored_as, "n_by_class": n_by_class}


def describe(result: dict[str, Any]) -> str:
    """A line a data set, and for one alone its classes and checksum."""
    lines = []
    for name, found in result["data"].items():
        if "missing" in found:
            lines.append(f"{name:10} not found: {found['missing']}")
            continue
        shape = "x".join(map(str, found["shape"]))
        lines.append(f"{name:10} {found['n_train']} train, {found['n_test']} test; {len(found['classes'])} classes; "
                     f"{shape} {found['stored_as']}; {found['note']}")  # fmt: skip
    if len(lines) == 1:
        (found,) = result["data"].values()
        counts = found["n_by_class"]
        classes = [f"{k} ({n} train, {counts['test'][k]} test)" for k, n in counts["train"].items()]
        more = f" and {len(classes) - MOST_CLASSES} more" if len(classes) > MOST_CLASSES else ""
        lines += [f"{'classes':10} {', '.join(classes[:MOST_CLASSES])}{more}", f"{'sha256':10} {found['sha256']}"]
    return "\n".join(lines)
