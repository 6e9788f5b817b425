"""What a remedy does, read from paired differences to plain training: does it help, or does it only fit less?

The gap of robust errors, test minus training, closes in two ways. The robust test error falls: that helps. Or the
robust training error rises to meet it: the network has learned less of its training set and is no more robust on any
other image. Only a difference whose 95% interval over seeds leaves out 0 counts. An interval without width, where all
seeds gave the same difference (as with few images), says nothing about other seeds.

The closing of the gap is the fall of the test error plus the rise of the training error. Fitting less is named as its
cause only where the rise is the larger of the two: a fall that the intervals cannot show may still be most of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cgro.report.compare import DIFFERENCES, GAP
from cgro.results import Measured, Metric, VerdictRecord
from cgro.results.keys import ROBUST_TEST, ROBUST_TRAIN

ROUNDING = 1e-9
"""Width of an interval of fractions below which its seeds are taken as equal."""


class Label(StrEnum):
    """What is found of a remedy."""

    REFERENCE = "reference"
    HELPS = "helps"
    FITS_LESS = "only_fits_less"
    HARMS = "harms"
    NONE = "no_effect_shown"
    TOO_FEW = "too_few_seeds"


@dataclass(frozen=True)
class Change:
    """A difference to the reference with its 95% interval.

    Args:
        value: mean over the seeds that both have, as a fraction.
        low: of the interval; NaN for fewer than two seeds.
        high: of the interval.
    """

    value: float
    low: float
    high: float

    @property
    def has_width(self) -> bool:
        """Whether the seeds differ by more than rounding does."""
        return self.high - self.low > ROUNDING

    @property
    def falls(self) -> bool:
        """Whether it is shown to fall."""
        return self.high < 0 and self.has_width

    @property
    def rises(self) -> bool:
        """Whether it is shown to rise."""
        return self.low > 0 and self.has_width

    def __str__(self) -> str:
        """In points.

        >>> str(Change(-0.02, -0.03, -0.01))
        '-2.0 points [-3.0, -1.0]'
        """
        return f"{100 * self.value:+.1f} points [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"


def paired(reference: Mapping[str, Metric], other: Mapping[str, Metric]) -> dict[str, Metric]:
    """Differences of errors, the remedy's minus the reference's, paired by seed.

    Args:
        reference: metrics over seeds.
        other: the same of a remedy, of the same seeds in the same order.

    Returns:
        Key -> difference as a fraction: mean, standard deviation, values per seed (None where either has none) and,
        with two seeds or more, Student's 95% interval.

    Example:
        >>> before, after = Metric.over_seeds([0.5, 0.6]), Metric.over_seeds([0.45, 0.54])
        >>> found = paired({"clean_error/test": before}, {"clean_error/test": after})["clean_error/test"]
        >>> [round(value, 2) for value in found.by_seed], [round(end, 3) for end in found.interval]
        ([-0.05, -0.06], [-0.119, 0.009])
    """
    found = {}
    for key in DIFFERENCES:
        if key not in reference or key not in other:
            continue
        values: list[float | None] = []
        for before, after in zip(reference[key].by_seed, other[key].by_seed, strict=True):
            values.append(None if before is None or after is None else after - before)
        known = Measured.of(values)
        if known.n:
            interval = known.interval if known.n > 1 else None
            found[key] = Metric(
                mean=known.mean, sd=known.sd if known.n > 1 else None, per_seed=values, interval=interval
            )
    return found


def effect_of(differences: Mapping[str, Metric]) -> VerdictRecord:
    """What the differences say.

    Args:
        differences: of `paired`.

    Returns:
        One of `Label` and a sentence.

    Example:
        >>> less = Metric(mean=0.1, interval=(0.05, 0.15))
        >>> gap, same = Metric(mean=-0.1, interval=(-0.15, -0.05)), Metric(mean=0.0, interval=(-0.02, 0.02))
        >>> effect_of({"robust_error/test": same, "robust_error/train": less, "robust_gap": gap}).label
        'only_fits_less'
    """
    test, train, gap = (_change(differences.get(key)) for key in (ROBUST_TEST, ROBUST_TRAIN, GAP))
    if test is None or train is None or gap is None:
        return _found(Label.TOO_FEW, _seeds_so_far(differences))
    learned = f"robust training error {train}, gap {gap}{_left_out(differences[ROBUST_TEST])}"
    if test.falls:
        return _found(Label.HELPS, f"the robust test error falls: {test} ({learned})")
    if gap.falls and train.rises:
        if -test.value >= train.value:
            text = f"the gap closes more by a fall of the robust test error than by fitting less, but {test} shows none"
            return _found(Label.NONE, f"{text} ({learned})")
        ending = "no fall of the robust test error is shown"
        if test.rises:
            ending = "the robust test error rises as well"
        text = f"it closes the gap only by fitting less: the robust training error rises, {train}; {ending}: {test}"
        return _found(Label.FITS_LESS, text + _left_out(differences[ROBUST_TEST]))
    if test.rises:
        return _found(Label.HARMS, f"the robust test error rises: {test} ({learned})")
    if not test.has_width:
        text = f"all seeds have the same difference of the robust test error, {test}: too few images, or too few seeds"
        text += _left_out(differences[ROBUST_TEST])
        return _found(Label.NONE, text)
    return _found(Label.NONE, f"the interval of the robust test error contains 0: {test} ({learned})")


def _change(metric: Metric | None) -> Change | None:
    if metric is None or metric.typical is None or not metric.interval:
        return None
    return Change(metric.typical, *metric.interval)


def _seeds_so_far(differences: Mapping[str, Metric]) -> str:
    """Why there is no interval yet."""
    fewest = min((_n_known(differences[key]) if key in differences else 0) for key in (ROBUST_TEST, ROBUST_TRAIN, GAP))
    if fewest == 0:
        return "no seed is trained and measured both with and without it so far; an interval needs two"
    return "one seed is trained and measured both with and without it so far; an interval needs two"


def _n_known(metric: Metric) -> int:
    return sum(value is not None for value in metric.by_seed)


def _left_out(metric: Metric) -> str:
    """How many seeds a difference is of, where some have none: they may be those in which a training diverged."""
    known = _n_known(metric)
    if known == len(metric.by_seed):
        return ""
    return f"; of {known} of {len(metric.by_seed)} seeds, the others are not measured in both"


def _found(label: Label, reason: str) -> VerdictRecord:
    return VerdictRecord(label=str(label), reason=reason)
