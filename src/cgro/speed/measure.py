"""From ways and bare passes to numbers: all take turns, and every ratio is one within a repetition."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cgro.results import PassesRecord, RecipeTime, SpeedRow, Spread
from cgro.speed.passes import FORWARD, GRADIENT, IN_A_TURN, PASSES, UPDATE, Passes, floor_seconds
from cgro.speed.timing import Clock, Times, alternated, waiter
from cgro.speed.ways import EAGER, Subject, Way
from cgro.training import Cost


@dataclass(frozen=True)
class Measurement:
    """What was measured in one alternation.

    Args:
        per_pass: kind of pass -> seconds of one example, one per repetition.
        rows: one per way.
    """

    per_pass: Mapping[str, Sequence[float]]
    rows: Sequence[SpeedRow]

    @property
    def passes(self) -> PassesRecord:
        """The bare passes as they are stored."""
        spreads = [Spread.over(self.per_pass[name]) for name in PASSES]
        return PassesRecord(forward=spreads[0], gradient=spreads[1], update=spreads[2])


def measured(
    subject: Subject,
    ways: Sequence[Way],
    repeats: int,
    *,
    clock: Clock = time.perf_counter,
    update: Callable[[int, str], object] = lambda n, name: None,
) -> Measurement:
    """Time all ways and the bare passes in turns.

    Args:
        subject: what is measured.
        ways: as `ways_of` gives them.
        repeats: repetitions that count.
        clock: gives the time.
        update: called after each turn with the number of turns so far and a name.

    Returns:
        Seconds of the passes, and a row per way.

    Raises:
        BadRequest: no repetition, or what the ways raise.
    """
    x, y = subject.batch
    calls = Passes(subject.model, x, y, subject.attack).calls()
    calls |= {way.key: way.call for way in ways}
    times = alternated(calls, repeats, wait=waiter(x.device), clock=clock, update=update)
    n_passed = IN_A_TURN * len(x)
    per_pass = {name: [seconds / n_passed for seconds in times[name].seconds] for name in PASSES}
    rows = [_row(way, ways, times, per_pass) for way in ways]
    return Measurement(per_pass, rows)


def _row(
    way: Way, ways: Sequence[Way], times: Mapping[str, Times], per_pass: Mapping[str, Sequence[float]]
) -> SpeedRow:
    seconds = times[way.key].seconds
    peers: dict[str, Spread] = {}
    for other in ways:
        if way.ours and not other.ours and other.work == way.work:
            peers[other.name] = Spread.of_ratio(times[other.key].seconds, seconds)
    return SpeedRow(
        work=way.work,
        way=way.name,
        ours=way.ours,
        n=way.n,
        first_seconds=times[way.key].first,
        seconds=Spread.over(seconds),
        examples_per_second=Spread.over([way.n / value for value in seconds]),
        over_floor=Spread.of_ratio(seconds, _floors(way.cost, per_pass)),
        faster_than=peers,
    )


def _floors(cost: Cost, per_pass: Mapping[str, Sequence[float]]) -> list[float]:
    """Seconds of bare passes, one per repetition."""
    found: list[float] = []
    for forward, gradient, update in zip(per_pass[FORWARD], per_pass[GRADIENT], per_pass[UPDATE], strict=True):
        found.append(floor_seconds(cost, forward, gradient, update))
    return found


def recipe_time(measurement: Measurement, cost: Cost, *, recipe: str, epochs: int, n_train: int) -> RecipeTime:
    """How long the training of a recipe takes: its bare passes, times what the measured epoch takes over its own.

    Evaluations, and what a batch of another size changes, are left out.

    Args:
        measurement: of an epoch by `fit` among others.
        cost: of one example in one step of the recipe.
        recipe: its name.
        epochs: of it.
        n_train: examples in an epoch.

    Returns:
        The estimate.
    """
    floor = epochs * n_train * Spread.over(_floors(cost, measurement.per_pass)).median
    (epoch,) = [row for row in measurement.rows if (row.work, row.way) == ("epoch", EAGER)]
    over = epoch.over_floor
    seconds = Spread(low=floor * over.low, median=floor * over.median, high=floor * over.high)
    return RecipeTime(recipe=recipe, epochs=epochs, n_train=n_train, floor_seconds=floor, seconds=seconds)
