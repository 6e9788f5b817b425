"""What is measured of speed: seconds with their spread, each as a ratio within one repetition."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Literal, Self

from msgspec import UNSET, UnsetType

from cgro.results.records import Record

Work = Literal["attack", "epoch", "evaluation"]
"""What is timed: one attack on a batch, one epoch of training, one evaluation."""


class Spread(Record, frozen=True, kw_only=True):
    """Quartiles over repetitions.

    Attributes:
        low: first quartile.
        median: second quartile.
        high: third quartile.
    """

    low: float
    median: float
    high: float

    @classmethod
    def over(cls, values: Sequence[float]) -> Self:
        """The quartiles of some values, between two of them linearly.

        Args:
            values: at least one.

        Returns:
            Their spread.

        Example:
            >>> Spread.over([1.0, 2.0, 3.0, 4.0, 5.0])
            Spread(low=2.0, median=3.0, high=4.0)
            >>> Spread.over([7.0])
            Spread(low=7.0, median=7.0, high=7.0)
        """
        if len(values) == 1:
            return cls(low=values[0], median=values[0], high=values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(low=low, median=median, high=high)

    @classmethod
    def of_ratio(cls, above: Sequence[float], below: Sequence[float]) -> Self:
        """The quartiles of a ratio, which is taken within each repetition: what slows the machine slows both.

        Args:
            above: a value per repetition.
            below: as many, not 0.

        Returns:
            The spread of above / below.

        Example:
            >>> Spread.of_ratio([2.0, 20.0], [1.0, 10.0]).median
            2.0
        """
        return cls.over([a / b for a, b in zip(above, below, strict=True)])


class PassesRecord(Record, frozen=True, kw_only=True):
    """Seconds of bare passes of one example, from which floors are made.

    Attributes:
        forward: without gradients, in float32.
        gradient: forward, and backward to the input, in the precision of the attack's search.
        update: forward, and backward to the weights, in the precision of training.
    """

    forward: Spread
    gradient: Spread
    update: Spread


class SpeedRow(Record, frozen=True, kw_only=True):
    """One way to do one work.

    Attributes:
        work: what is done.
        way: how: `eager` as it is called plainly, `captured`, `compiled`, or the name of a peer.
        ours: whether it is this project's own code.
        n: examples in a call.
        first_seconds: of the first call, which is not counted; a compiled one compiles in it.
        seconds: of a call.
        examples_per_second: n over the seconds.
        over_floor: seconds over those of the bare passes that the work must do, within a repetition.
        faster_than: peer -> its seconds over ours, within a repetition; of our own ways.
    """

    work: Work
    way: str
    ours: bool
    n: int
    first_seconds: float
    seconds: Spread
    examples_per_second: Spread
    over_floor: Spread
    faster_than: Mapping[str, Spread] | UnsetType = UNSET


class RecipeTime(Record, frozen=True, kw_only=True):
    """How long the training of a recipe takes, evaluations left out.

    Attributes:
        recipe: its name.
        epochs: of it.
        n_train: examples in an epoch.
        floor_seconds: of its bare passes.
        seconds: that, times what the measured epoch took over its floor.
    """

    recipe: str
    epochs: int
    n_train: int
    floor_seconds: float
    seconds: Spread
