"""What a column means: from its words to a curve, and from its whole range to percent or fraction. Pure functions.

A column is believed only when every word of its name is known. "Test PGD-20 Acc" is the robust accuracy on the test set;
"test_foo_acc" could be anything, so it is unknown, and not clean. The wrong guess would be a wrong verdict, the refusal
is one line with the option that mends it.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from cgro._check import LONGEST_VALUE, bad

PARTS = ("train", "validation", "test")
ERRORS = tuple(f"{kind}_error/{part}" for kind in ("clean", "robust") for part in PARTS)
LOSSES = tuple(f"{kind}_loss/{part}" for kind in ("clean", "robust") for part in PARTS)
CURVES = ("epoch", *ERRORS, *LOSSES, "lr", "prediction_share")
"""The names that `Curves` knows; those of errors are the keys of `summary.json`."""

Unit = Literal["percent", "fraction"]
PERCENT = 1.5
"""An accuracy or error above this is in percent. A choice: fractions end at 1, and no whole curve stays below 1.5%."""
ROUNDING = 1e-6
"""How far beyond 0 or 1 a value may lie for the rounding of whoever wrote it. Above single precision's 6e-8 at 1."""

_PARTS = {
    "train": "train", "training": "train", "tr": "train", "val": "validation", "valid": "validation",
    "validation": "validation", "dev": "validation", "test": "test", "testing": "test", "te": "test", "eval": "test",
}  # fmt: skip
_MEASURES = {
    "acc": "accuracy", "accuracy": "accuracy", "accuracies": "accuracy", "acc1": "accuracy", "top1": "accuracy",
    "prec1": "accuracy", "err": "error", "err1": "error", "error": "error", "errors": "error", "loss": "loss",
}  # fmt: skip
_ABBREVIATIONS = {"sa": "clean", "na": "clean", "ra": "robust", "ro": "robust"}
"""Standard, natural and robust accuracy in two letters."""
_CLEAN = frozenset(["clean", "nat", "natural", "standard", "benign", "nominal", "unperturbed", "normal"])
_ROBUST = frozenset(
    [
        "robust",
        "rob",
        "robustness",
        "adv",
        "adversarial",
        "attack",
        "attacked",
        "perturbed",
        "pgd",
        "apgd",
        "aa",
        "autoattack",
        "fgsm",
        "ifgsm",
        "mifgsm",
        "mim",
        "bim",
        "cw",
        "fab",
        "square",
        "deepfool",
        "certified",
        "verified",
        "certificate",
        "cert",
        "provable",
    ]
)
_ATTACK_DETAILS = frozenset(
    [
        "linf",
        "l1",
        "l2",
        "l",
        "inf",
        "eps",
        "epsilon",
        "steps",
        "step",
        "restarts",
        "iter",
        "iters",
        "ce",
        "dlr",
        "targeted",
        "t",
    ]
)
"""Words that say more about an attack; without an attack they are unknown."""
_NEUTRAL = frozenset(
    [
        "epoch",
        "mean",
        "avg",
        "average",
        "top",
        "set",
        "data",
        "dataset",
        "split",
        "metric",
        "metrics",
        "rate",
        "percent",
        "pct",
        "in",
        "on",
        "of",
        "the",
        "under",
        "with",
        "overall",
        "cifar",
        "mnist",
        "svhn",
        "imagenet",
    ]
)
_BEST = frozenset(["best", "max", "min", "maximum", "minimum", "highest", "lowest", "peak", "record"])
_SMOOTHED = frozenset(["running", "smoothed", "smooth", "cumulative", "moving"])
_OPTIMIZERS = frozenset(["sgd", "adam", "adamw", "pg"])
_GROUPS = (["seed"], ["run"], ["run", "id"], ["run", "name"], ["trial"])
_STEPS = (["step"], ["steps"], ["global", "step"], ["iter"], ["iteration"], ["iterations"], ["batch"])


@dataclass(frozen=True)
class Meaning:
    """What the values of a column are.

    Args:
        curve: key of `Curves`: `epoch`, `lr`, `robust_error/test`, `clean_loss/train`, ...
        accuracy: whether the values are accuracies, so that the error is 1 minus them.
        attack: the words that name an attack, such as `pgd 20`; empty where there are none.
    """

    curve: str
    accuracy: bool = False
    attack: str = ""

    @property
    def told(self) -> str:
        """The name that `--map` has for it, such as `robust_accuracy/test`."""
        return self.curve.replace("error", "accuracy") if self.accuracy else self.curve


@dataclass(frozen=True)
class Unknown:
    """A column that holds an error or accuracy, one cannot say which.

    Args:
        reason: why it is not understood, for the message.
        guess: what it would most likely be, as `--map` writes it.
        words: its words without those that say that it is a best or smoothed value.
    """

    reason: str
    guess: str
    words: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Column:
    """A column that was used: what it was read as.

    Args:
        name: as the file has it.
        curve: key of `Curves`.
        measure: what the file holds: an error, accuracy, loss or another number.
        attack: the words of its name that tell an attack.
        unit: percent or fraction; None where there is none, as of a loss.
        n_missing: epochs without a value.
        n_nan: those of them for which NaN or infinity was written.
        nan_from: the epoch from which on every value is NaN or infinite; None if the last one is a number.
    """

    name: str
    curve: str
    measure: str
    attack: str = ""
    unit: Unit | None = None
    n_missing: int = 0
    n_nan: int = 0
    nan_from: float | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain values for `summary.json`.

        Returns:
            The fields by name.
        """
        return asdict(self)

    def sentence(self, n_epochs: int) -> str:
        """How it was read, for the terminal.

        Args:
            n_epochs: rows of the curves, with or without a value.

        Returns:
            One line without a full stop.

        Example:
            >>> Column("Adv Test Acc.", "robust_error/test", "accuracy", "adv", "percent", 2).sentence(60)
            "robust error, test: 1 - column 'Adv Test Acc.', an accuracy in percent; 2 of 60 epochs without a value"
        """
        quantity, _, part = self.curve.partition("/")
        what = quantity.replace("_", " ")
        if part:
            what += f", {part}"
        source = f"column {self.name!r}"
        if self.measure == "accuracy":
            source = f"1 - {source}, an accuracy"
        if self.unit is not None:
            source += f" in {self.unit}" if self.unit == "percent" else " as a fraction"
        if self.n_missing:
            source += f"; {self.n_missing} of {n_epochs} epochs without a value"
            if self.n_nan:
                source += f" ({self.n_nan} NaN)"
        return f"{what}: {source}"


def words_of(name: str) -> list[str]:
    """The words of a name in lower case; digits stay with the letters before them.

    Args:
        name: of a column.

    Returns:
        Words, and numbers that stand alone.

    Example:
        >>> words_of("testRobustAcc@PGD-20"), words_of("acc1")
        (['test', 'robust', 'acc', 'pgd', '20'], ['acc1'])
    """
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"[a-z]+[0-9]*|[0-9]+", spaced.lower())


def meaning_of(name: str) -> Meaning | Unknown | None:
    """What a column's name says that it holds.

    Args:
        name: of the column, without the name of a run (see `without_run_names`).

    Returns:
        Its meaning; `Unknown` for an error or accuracy that is not understood; None for a column of other things.

    Example:
        >>> [meaning_of(name).told for name in ("test_robust_acc", "Train Error", "val/PGD-20 acc", "ep")]
        ['robust_accuracy/test', 'clean_error/train', 'robust_accuracy/validation', 'epoch']
        >>> meaning_of("test_foo_acc").reason, meaning_of("best_test_acc").reason, meaning_of("GPU")
        ("the word 'foo' is not known", 'a best so far, not the value of its epoch', None)
    """
    if name in CURVES:
        return Meaning(name)
    if name.replace("accuracy", "error") in ERRORS:
        return Meaning(name.replace("accuracy", "error"), accuracy=True)
    if len(name) > LONGEST_VALUE:
        return None
    words = words_of(name)
    if words in (["epoch"], ["epochs"], ["ep"]):
        return Meaning("epoch")
    if words == ["learning", "rate"] or (words[:1] == ["lr"] and not set(map(_letters, words[1:])) - _OPTIMIZERS):
        return Meaning("lr")
    return _meaning_of_error(words)


def _letters(word: str) -> str:
    return word.rstrip("0123456789")


def _meaning_of_error(words: Sequence[str]) -> Meaning | Unknown | None:
    """Of words that may name an error, an accuracy or a loss."""
    short = {_ABBREVIATIONS[word] for word in words if word in _ABBREVIATIONS}
    measures = {_MEASURES[word] for word in words if word in _MEASURES}
    if short and not measures:
        measures = {"accuracy"}
    attack = [word for word in words if _letters(word) in _ROBUST]
    robust = bool(attack) or "robust" in short
    if not measures and not robust:
        return None
    if {"acc5", "top5", "prec5", "err5"} & set(words):
        return None  # the five likeliest classes: another quantity
    if words[-1] == "step" and measures:
        return None  # Lightning's value of a single step, beside the epoch's
    clean = bool(_CLEAN & set(words)) or "clean" in short
    parts = {_PARTS[word] for word in words if word in _PARTS}
    kind = "robust" if robust else "clean"
    reason = _why_not(words, measures, parts, clean=clean, robust=robust)
    if measures == {"loss"}:
        if reason:
            return None  # the verdict needs no loss
        return Meaning(f"{kind}_loss/{parts.pop()}")
    if reason:
        measure = "error" if measures == {"error"} else "accuracy"
        part = min(parts) if len(parts) == 1 else "test"
        left = frozenset(word for word in words if word not in _BEST | _SMOOTHED)
        guess = "robust" if robust or not clean else "clean"
        return Unknown(reason, f"{guess}_{measure}/{part}", left)
    details = [word for word in words if _letters(word) in _ROBUST | _ATTACK_DETAILS or word.isdigit()]
    return Meaning(f"{kind}_error/{parts.pop()}", measures == {"accuracy"}, " ".join(details) if attack else "")


def _why_not(words: Sequence[str], measures: set[str], parts: set[str], *, clean: bool, robust: bool) -> str:
    """Why words do not make a meaning; empty if they do."""
    if set(words) & _BEST:
        return "a best so far, not the value of its epoch"
    if set(words) & _SMOOTHED:
        return "smoothed over epochs or steps, not the value of its epoch"
    for word in words:
        if not _is_known(word, robust=robust):
            return f"the word {word!r} is not known"
    if clean and robust:
        return "its name says clean and robust"
    if len(measures) != 1:
        return "its name says neither error nor accuracy" if not measures else "its name says error and accuracy"
    if len(parts) != 1:
        return "its name does not say train, validation or test" if not parts else "its name says several parts"
    return ""


def _is_known(word: str, *, robust: bool) -> bool:
    letters = _letters(word)
    if word in _PARTS or word in _MEASURES or word in _ABBREVIATIONS or word.isdigit():
        return True
    if letters in _CLEAN | _ROBUST | _NEUTRAL:
        return True
    return robust and bool({word, letters} & _ATTACK_DETAILS)


def is_group(name: str) -> bool:
    """Whether a column tells which run or seed a row belongs to.

    Args:
        name: of the column.

    Returns:
        True for `seed`, `run`, `run_id`, `trial` and the like.
    """
    return words_of(name) in _GROUPS


def is_step(name: str) -> bool:
    """Whether a column counts steps of the optimizer.

    Args:
        name: of the column.

    Returns:
        True for `step`, `global_step`, `iteration` and the like.
    """
    return words_of(name) in _STEPS


def without_run_names(names: Iterable[str]) -> dict[str, str]:
    """Names without what Weights & Biases and others put before them: the name of a run, which means nothing.

    "run - metric" always begins with a run's name. The beginning of "group/metric" is one if its words are not all
    known and every such column has the same.

    Args:
        names: of all columns.

    Returns:
        Name -> what is left of it.

    Example:
        >>> without_run_names(["pgd_at/train_acc", "pgd_at/test_acc", "epoch"])
        {'pgd_at/train_acc': 'train_acc', 'pgd_at/test_acc': 'test_acc', 'epoch': 'epoch'}
        >>> without_run_names(["val/adv_acc", "pgd - test_acc"])
        {'val/adv_acc': 'val/adv_acc', 'pgd - test_acc': 'test_acc'}
    """
    left = {name: name.rpartition(" - ")[2] for name in names}
    groups = set()
    for name in left.values():
        if "/" in name and name not in CURVES and meaning_of(name.partition("/")[2]) is not None:
            groups.add(name.partition("/")[0])
    if len(groups) != 1:
        return left
    group = groups.pop()
    if all(_is_known(word, robust=False) for word in words_of(group)):
        return left
    return {name: short.removeprefix(f"{group}/") for name, short in left.items()}


def keras_training(names: Iterable[str]) -> dict[str, str]:
    """Columns without a part that have a twin with `val_` before it: those of the training, as Keras names them.

    Args:
        names: of all columns.

    Returns:
        Name -> the name with its part.

    Example:
        >>> keras_training(["accuracy", "val_accuracy", "adv_accuracy"])
        {'accuracy': 'train_accuracy'}
    """
    there = set(names)
    return {name: f"train_{name}" for name in sorted(there) if f"val_{name}" in there}


def unit_of(name: str, values: np.ndarray) -> Unit | None:
    """Percent or fraction, from all values of a column and from its name.

    Args:
        name: of the column; `%` or `percent` in it decides.
        values: (N,) errors or accuracies, NaN where not measured.

    Returns:
        The unit; None where every value is 0, which is the same in both.

    Raises:
        BadRequest: values below 0 or above 100, or up to 1.5, where one cannot tell.

    Example:
        >>> unit_of("acc", np.array([0.62, 45.0, 0.0])), unit_of("acc", np.array([0.62, 0.45])), unit_of("acc %", np.array([0.5]))
        ('percent', 'fraction', 'percent')
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, high = float(known.min()), float(known.max())
    if low < -ROUNDING or high > 100 + ROUNDING:
        raise bad(f"column {name}", expected="fractions in [0, 1] or percent", got=f"[{low:g}, {high:g}]")
    if "%" in name or {"percent", "pct"} & set(words_of(name)) or high > PERCENT:
        return "percent"
    if high > 1 + ROUNDING:
        raise bad(
            f"column {name}",
            expected="fractions in [0, 1] or percent",
            got=f"values up to {high:g}",
            remedy=f"say which: --map CURVE='{name}:percent' or ':fraction'",
        )
    return "fraction" if high > ROUNDING else None


def agreed_unit(units: dict[str, Unit | None], told: Iterable[str] = ()) -> Unit:
    """The one unit of the columns of a file.

    Args:
        units: column -> unit, None where it may be either.
        told: columns whose unit the caller said; they need not agree with others.

    Returns:
        The unit of those that did not say.

    Raises:
        BadRequest: some are in percent and some are fractions; names them and the option that decides.

    Example:
        >>> agreed_unit({"a": "percent", "b": None})
        'percent'
    """
    kept = {name: unit for name, unit in units.items() if name not in set(told)}
    percent = [name for name, unit in kept.items() if unit == "percent"]
    fraction = [name for name, unit in kept.items() if unit == "fraction"]
    if percent and fraction:
        few = min((fraction, percent), key=len)
        other = "fraction" if few is fraction else "percent"
        raise bad(
            "units",
            expected="all columns in percent or all as fractions",
            got=f"{', '.join(percent[:4])} in percent and {', '.join(fraction[:4])} as fractions",
            remedy=f"say so: --map CURVE='{few[0]}:{other}'",
        )
    return "percent" if percent else "fraction"


def closest(name: str, names: Iterable[str]) -> str:
    """The words "; did you mean X?" for a name that is not there, or nothing.

    Args:
        name: that was asked for.
        names: that are there.

    Returns:
        The end of a message.

    Example:
        >>> closest("test_acc", ["epoch", "test_accu"])
        "; did you mean 'test_accu'?"
    """
    by_lower = {one.lower(): one for one in names}
    found = difflib.get_close_matches(name.lower(), list(by_lower)[:2_000], n=1, cutoff=0.6)
    return f"; did you mean {by_lower[found[0]]!r}?" if found else ""
