"""Flatness during training: a probe that costs less than an epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Protocol

import torch
from torch import nn

from cgro._check import count_field
from cgro.data import Dataset
from cgro.flatness.ascent import Search
from cgro.flatness.search import Flatness, Measure, flatness, parse_radii

MEASURES: tuple[Measure, ...] = ("gradient", "loss")


class Observed(Protocol):
    """What the monitor reads of a training: the `Snapshot` of `cgro.training` has it, and so may any other loop."""

    @property
    def model(self) -> nn.Module:
        """The network, in eval mode."""
        ...

    @property
    def data(self) -> Dataset:
        """The data set, with its parts `train` and `test`."""
        ...

    @property
    def epoch(self) -> int:
        """Epochs that are over."""
        ...


@dataclass(frozen=True)
class FlatnessMonitor:
    """A `Probe` for `fit(probes=...)`: local and global flatness every k epochs, on the first examples of each part.

    One reading costs 2 n R search.passes gradients: with the defaults 2 * 128 * 4 * 23 = 23,552, an epoch of
    PGD-7 on 5,000 examples about 42,500. A weaker search than `flatness` has by default, so its numbers lie lower;
    by how much is in docs/flatness.md. It observes when the loop evaluates: `every` counts epochs, and should be a
    multiple of the evaluation's own.

    Args:
        radii: increasing; the text given names the keys, such as `flatness/gradient/test@8/255`.
        p: norm of the ball, 1, 2 or "inf".
        n: examples of each part.
        every: epochs between readings.
        search: how long to look, per radius.

    Raises:
        BadRequest: radii that `flatness` would refuse, `n` or `every` below 1.

    Example:
        >>> monitor = FlatnessMonitor(("4/255", "8/255"), n=16, every=5)
        >>> monitor.keys("test")[:2]
        ('flatness/gradient/test@4/255', 'flatness/gradient/test@8/255')
    """

    radii: Sequence[float | str]
    _: KW_ONLY
    p: float | str = "inf"
    n: int = 128
    every: int = 1
    search: Search = field(default_factory=lambda: Search(n_steps=8, n_loss_steps=4))

    def __post_init__(self) -> None:
        parse_radii(self.radii)
        count_field(self, "n")
        count_field(self, "every")

    def keys(self, part: str) -> tuple[str, ...]:
        """The names of what is recorded.

        Args:
            part: train or test.

        Returns:
            One key per measure and radius, the gradient's first.
        """
        return tuple(
            f"flatness/{measure}/{part}@{radius_name(radius)}" for measure in MEASURES for radius in self.radii
        )

    def __call__(self, state: Observed, /) -> Mapping[str, float]:
        """Means over the first n training and test examples; nothing in the epochs between.

        Args:
            state: of the loop, after an epoch.

        Returns:
            key -> mean, see `keys`.
        """
        if state.epoch % self.every:
            return {}
        row: dict[str, float] = {}
        for part, examples in (("train", state.data.train), ("test", state.data.test)):
            some = examples.head(self.n).to(_device_of(state.model))
            found = flatness(state.model, some.x, some.y, self.radii, p=self.p, search=self.search)
            row |= dict(zip(self.keys(part), means(found), strict=True))
        return row


def _device_of(model: nn.Module) -> torch.device:
    for parameter in model.parameters():
        return parameter.device
    return torch.device("cpu")


def means(found: Flatness) -> list[float]:
    """The averages in the order of `FlatnessMonitor.keys`.

    Args:
        found: what a search returned.

    Returns:
        One mean per measure and radius.
    """
    values = []
    for measure in MEASURES:
        values += [found.average(measure, k).value for k in range(len(found.radii))]
    return values


def radius_name(radius: float | str) -> str:
    """How a radius is written in a key: as it was given, numbers in their shortest form.

    Args:
        radius: a number, or text such as "8/255".

    Returns:
        The text.

    Example:
        >>> radius_name("8/255"), radius_name(0.1)
        ('8/255', '0.1')
    """
    if isinstance(radius, str):
        return radius.strip()
    return f"{radius:g}"
