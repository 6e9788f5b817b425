"""The learning curves of a run: its errors after each epoch, as every figure and page draws them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from cgro.folder import seed_folders
from cgro.report.style import CLEAN, ROBUST
from cgro.report.values import Number, damaged
from cgro.results import keys, read_value
from cgro.results.records import Share, Whole
from cgro.runs import Run


@dataclass(frozen=True)
class Curve:
    """One of the errors and how it is drawn.

    Attributes:
        key: its name in the rows of a run.
        label: in legends.
        color: says whether it is the clean or the robust error.
        part: of the data; says how the line is drawn, see `cgro.report.style.line_of`.
    """

    key: str
    label: str
    color: str
    part: str


ROBUST_TEST = Curve(keys.ROBUST_TEST, "robust error, test", ROBUST, "test")
ROBUST_TRAIN = Curve(keys.ROBUST_TRAIN, "robust error, train", ROBUST, "train")
ROBUST_VALIDATION = Curve(keys.ROBUST_VALIDATION, "robust error, validation", ROBUST, "validation")
CLEAN_TEST = Curve(keys.CLEAN_TEST, "clean error, test", CLEAN, "test")
CLEAN_TRAIN = Curve(keys.CLEAN_TRAIN, "clean error, train", CLEAN, "train")
CURVES = (ROBUST_TEST, ROBUST_TRAIN, ROBUST_VALIDATION, CLEAN_TEST, CLEAN_TRAIN)


@dataclass(frozen=True)
class Epoch:
    """What a run recorded after an epoch.

    Attributes:
        epoch: its number.
        lr: the learning rate; None if not recorded.
        errors: by key, as fractions; without those that were not measured.
    """

    epoch: float
    lr: float | None
    errors: Mapping[str, float]


class _Row(msgspec.Struct):
    epoch: Whole | Number
    lr: Number | None = None
    part: int = 0
    robust_test: Share | None = msgspec.field(name=ROBUST_TEST.key, default=None)
    robust_train: Share | None = msgspec.field(name=ROBUST_TRAIN.key, default=None)
    robust_validation: Share | None = msgspec.field(name=ROBUST_VALIDATION.key, default=None)
    clean_test: Share | None = msgspec.field(name=CLEAN_TEST.key, default=None)
    clean_train: Share | None = msgspec.field(name=CLEAN_TRAIN.key, default=None)

    def read(self) -> Epoch:
        """The row without what was not measured."""
        values = (self.robust_test, self.robust_train, self.robust_validation, self.clean_test, self.clean_train)
        errors = {}
        for curve, value in zip(CURVES, values, strict=True):
            if value is not None:
                errors[curve.key] = value
        return Epoch(self.epoch, self.lr, errors)


class _Fitted(msgspec.Struct):
    epoch: Whole | Number
    valley: Number


def read_epochs(run: Run) -> list[Epoch]:
    """Read what a run recorded after its epochs.

    Args:
        run: of any command; one that has no epochs has none here.

    Returns:
        One entry per row; of a diagnosis of several trainings those of the first one.

    Raises:
        BadRequest: a row holds something else; names the file and the place.
    """
    what = str(run.path / "metrics.jsonl")
    rows = read_value([row for row in run.rows() if "epoch" in row], what, list[_Row])
    return [row.read() for row in rows if row.part == 0]


def read_valley(run: Run) -> tuple[list[float], list[float]]:
    """Read the valley that `cgro diagnose` fitted to the robust error.

    Args:
        run: of any command; only a diagnosis has one.

    Returns:
        Epochs, and the fractions there; of a diagnosis of several trainings those of the first one.

    Raises:
        BadRequest: a row holds something else; names the file and the place.
    """
    fitted = [row for row in run.rows() if row.get("valley") is not None and row.get("part", 0) == 0]
    rows = read_value(fitted, str(run.path / "metrics.jsonl"), list[_Fitted])
    return [float(row.epoch) for row in rows], [row.valley for row in rows]


def seeds_of(run: Run) -> list[Run]:
    """Find the parts of a run.

    Args:
        run: of one seed or of several.

    Returns:
        The run of each seed; of a run of one seed that run itself.
    """
    return [Run(path) for path in seed_folders(run.path)] or [run]


def mean_over_seeds(seeds: Sequence[Sequence[Epoch]]) -> list[Epoch]:
    """Average what several seeds recorded.

    Args:
        seeds: what each recorded.

    Returns:
        The epochs that every seed has, in order; each number is the mean over the seeds that measured it. Epochs
        without any number are left out.
    """
    by_epoch: dict[float, list[Epoch]] = {}
    for recorded in seeds:
        for one in recorded:
            by_epoch.setdefault(one.epoch, []).append(one)
    means = []
    for epoch in sorted(by_epoch):
        found = by_epoch[epoch]
        if len(found) != len(seeds):
            continue
        errors = {}
        for curve in CURVES:
            values = [one.errors[curve.key] for one in found if curve.key in one.errors]
            if values:
                errors[curve.key] = float(np.mean(values))
        rates = [one.lr for one in found if one.lr is not None]
        if errors or rates:
            means.append(Epoch(epoch, float(np.mean(rates)) if rates else None, errors))
    return means


@dataclass(frozen=True)
class LearningCurves:
    """The four errors after the epochs at which all seeds were evaluated.

    Attributes:
        epochs: (E,) numbers.
        errors: key -> (seeds, E) fractions, NaN where not measured.
    """

    epochs: np.ndarray
    errors: Mapping[str, np.ndarray]

    def percent(self, curve: Curve) -> np.ndarray:
        """Look up one error.

        Args:
            curve: which.

        Returns:
            (seeds, E) values in percent.
        """
        return 100 * self.errors[curve.key]


def read_learning_curves(run: Run) -> LearningCurves:
    """Read the errors of a training, over all of its seeds.

    Args:
        run: of one seed or of several.

    Returns:
        The epochs after which every seed has a robust test error.

    Raises:
        BadRequest: see `read_epochs`; an epoch stands twice in a run.
    """
    seeds = []
    for part in seeds_of(run):
        evaluated = [one for one in read_epochs(part) if ROBUST_TEST.key in one.errors]
        by_epoch = {one.epoch: one for one in evaluated}
        if len(by_epoch) != len(evaluated):
            raise damaged(str(part.path / "metrics.jsonl"), expected="each epoch once", got="one twice")
        seeds.append(by_epoch)
    epochs = sorted(set.intersection(*(set(seed) for seed in seeds)))
    errors = {curve.key: np.full((len(seeds), len(epochs)), np.nan) for curve in CURVES}
    for s, seed in enumerate(seeds):
        for e, epoch in enumerate(epochs):
            for key, value in seed[epoch].errors.items():
                errors[key][s, e] = value
    return LearningCurves(np.array(epochs), errors)
