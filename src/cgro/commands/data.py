"""List the data sets, and where each was found.

examples:
  cgro data
  cgro data mnist5k --classes 3,8
"""

from dataclasses import dataclass
from typing import Any

from cgro._check import BadRequest
from cgro.commands._common import Output, option, stored
from cgro.runs import Run, Unsaved, summary


@dataclass(kw_only=True)
class Config(Output):
    """Options of `cgro data`."""

    name: str | None = option(None, "one data set; default all", positional=True)
    classes: str | None = option(None, "a task, such as 3,8 or even,odd")


def run(config: Config) -> Run | Unsaved:
    """Read each data set and say what it holds."""
    from cgro.data import SOURCES, load

    found = {}
    for name in [config.name] if config.name else SOURCES:
        try:
            found[name] = load(name, classes=config.classes).describe()
        except BadRequest as error:
            if config.name:
                raise
            found[name] = {"missing": str(error)}
    result = summary(
        "data", seed=0, threat=None, outcome={"kind": "completed", "reason": f"{len(found)} data sets"},
        verdict=None, metrics={}, data=found,
    )  # fmt: skip
    if config.out is None:
        return Unsaved(result)
    kept = Run.start(config.out, "data", stored(config), overwrite=config.overwrite)
    kept.finish(result)
    return kept


def describe(result: dict[str, Any]) -> str:
    """A line a data set."""
    lines = []
    for name, about in result["data"].items():
        if "missing" in about:
            lines.append(f"{name:10} not found: {about['missing']}")
        else:
            classes = ", ".join(about["classes"])
            lines.append(
                f"{name:10} {about['n_train']} train, {about['n_test']} test; classes {classes}; {about['note']}"
            )
    return "\n".join(lines)
