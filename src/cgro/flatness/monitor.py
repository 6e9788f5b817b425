"""Flatness during training: a probe that costs less than an epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import torch

from cgro._check import count
from cgro.flatness.search import Flatness, Search, flatness, parse_radii


@dataclass(frozen=True)
class FlatnessMonitor:
    """A `Probe` for `fit(probes=...)`: local and global flatness every k epochs, on the first examples of each part.

    One reading costs 2 n R search.passes gradients: with the defaults 2 * 128 * 4 * 23 = 23,552, an epoch of
    PGD-7 on 5,000 examples about 42,500. A weaker search than `flatness` has by default, so its numbers lie lower;
    by how much is in docs/flatness.md. It observes when the loop evaluates: `every` counts epochs, and should be a
    multiple of the evaluation's own.

    Args:
        radii: increasing; the text given names the keys, such as `flatness/gradient/test@8/255`.
        p: norm. n: examples of each part. every: epochs between readings. search: how long, per radius.

    Example:
        >>> monitor = FlatnessMonitor(("4/255", "8/255"), n=16, every=5)
        >>> monitor.keys("test")
        ('flatness/gradient/test@4/255', 'flatness/gradient/test@8/255', 'flatness/loss/test@4/255', 'flatness/loss/test@8/255')
    """

    radii: Sequence[float | str]
    _: KW_ONLY
    p: float | str = "inf"
    n: int = 128
    every: int = 1
    search: Search = field(default_factory=lambda: Search(n_steps=8, n_loss_steps=4))

    def __post_init__(self) -> None:
        parse_radii(self.radii)
        count(self.n, "n")
        count(self.every, "every")

    def keys(self, part: str) -> tuple[str, ...]:
        """The names of what is recorded, gradient first."""
        return tuple(f"flatness/{measure}/{part}@{name(r)}" for measure in ("gradient", "loss") for r in self.radii)

    def __call__(self, state: Any, /) -> Mapping[str, float]:
        """Means over the first n training and test examples; nothing in the epochs between.

        Args:
            state: with `model` (in eval mode), `data` (with `train` and `test`) and `epoch`.
        """
        if state.epoch % self.every:
            return {}
        device = next((p.device for p in state.model.parameters()), torch.device("cpu"))
        row: dict[str, float] = {}
        for part in ("train", "test"):
            split = getattr(state.data, part).head(self.n).to(device)
            found = flatness(state.model, split.x, split.y, self.radii, p=self.p, search=self.search)
            row |= dict(zip(self.keys(part), means(found), strict=True))
        return row


def means(found: Flatness) -> list[float]:
    """The averages in the order of `FlatnessMonitor.keys`."""
    return [found.average(measure, k).value for measure in ("gradient", "loss") for k in range(len(found.radii))]


def name(radius: float | str) -> str:
    """How a radius stands in a key: as it was written, numbers in their shortest form.

    >>> name("8/255"), name(0.1)
    ('8/255', '0.1')
    """
    return radius.strip() if isinstance(radius, str) else f"{radius:g}"
