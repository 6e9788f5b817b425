"""The CGRO verdict on one point of training: Definition 3.4, read on finite samples."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from cgro._check import bad
from cgro.results import ErrorRate, difference_interval
from cgro.results.keys import CLEAN_TEST, CLEAN_TRAIN, ROBUST_TEST, ROBUST_TRAIN

Label = Literal[
    "robust",
    "cgro",
    "robust_overfitting",
    "catastrophic_overfitting",
    "clean_overfitting",
    "underfitting",
    "collapsed",
    "gradient_masking",
    "standard_training",
    "too_little_evidence",
]
UNPROTECTED = 0.9
"""Robust errors of at least this much on both sets, where the clean ones are learned, are those of a network that was
never attacked in training, unless it is known that it was. A choice; no field, as summaries store the fields.
"""

FOUR = (CLEAN_TRAIN, CLEAN_TEST, ROBUST_TRAIN, ROBUST_TEST)
"""The keys of the four errors in `summary.json`."""


@dataclass(frozen=True)
class VerdictRule:
    """Thresholds of `cgro_verdict`: a finite-sample reading of o(1) and Omega(1). Ours, not the paper's.

    Args:
        collapse_share: a class with at least this share of the predictions means a collapsed model.
        min_gap: the lower 95% end of robust test minus robust training error must exceed this for `cgro`.
        gap_ratio: and the robust gap must exceed this many clean gaps.
        chance_fraction: and the clean test error must be below this fraction of the error of guessing.
        n_classes: sets the error of guessing, 1 - 1/n_classes; 2 is the strictest.
        min_n: fewer examples than this in any set is too little evidence.
    """

    collapse_share: float = 0.99
    min_gap: float = 0.10
    gap_ratio: float = 3.0
    chance_fraction: float = 0.5
    n_classes: int = 2
    min_n: int = 50

    @property
    def good_enough(self) -> float:
        """Errors below this count as learned."""
        return self.chance_fraction * (1 - 1 / self.n_classes)


DEFAULT_RULE = VerdictRule()


@dataclass(frozen=True)
class Verdict:
    """What is said about one point of training.

    Args:
        label: one of `Label`.
        reason: one sentence for a person.
        evidence: the numbers and thresholds behind it.
    """

    label: Label
    reason: str
    evidence: Mapping[str, Any]

    def to_dict(self) -> dict[str, object]:
        """Write it for `summary.json`.

        Returns:
            Plain values.
        """
        return {"label": self.label, "reason": self.reason, "evidence": dict(self.evidence)}


def cgro_verdict(
    errors: Mapping[str, ErrorRate],
    *,
    prediction_share: float | Sequence[float] | None = None,
    rule: VerdictRule = DEFAULT_RULE,
    attacked: bool | None = None,
) -> Verdict:
    """Read Definition 3.4 on finite samples: which label does ONE point of training deserve?

    `cgro`: the robust gap's lower 95% end exceeds `min_gap`, the gap exceeds `gap_ratio` clean gaps, and the clean
    test error is below `chance_fraction` of guessing. It judges one point; `robust_overfitting` judges a curve and
    is never returned here. Robust errors found by an attack are lower bounds, so the gap is that of the attack.

    Args:
        errors: the four errors under the keys of `summary.json`, see `FOUR`.
        prediction_share: the largest share of predictions that one class takes, or the share of each class.
        rule: the thresholds.
        attacked: whether anything was attacked in training; None where that is not known.

    Returns:
        The label, with its reason and evidence.

    Raises:
        BadRequest: an error that is no `ErrorRate`; a bare number does not say on how many examples it was measured.

    Example:
        >>> e = {"clean_error/train": ErrorRate(0, 1000), "clean_error/test": ErrorRate(20, 1000),
        ...      "robust_error/train": ErrorRate(5, 1000), "robust_error/test": ErrorRate(300, 1000)}
        >>> cgro_verdict(e).label
        'cgro'
    """
    for key, error in errors.items():
        if not isinstance(error, ErrorRate):
            remedy = f"write ErrorRate(wrong, n), such as ErrorRate(round({error!r} * n), n)"
            raise bad(key, expected="an ErrorRate, a count of wrong examples", got=repr(error), remedy=remedy)
    share = None
    if isinstance(prediction_share, int | float):
        share = float(prediction_share)
    elif prediction_share is not None:
        share = max(prediction_share)
        # Shares of more classes than the rule assumes say how many there are.
        if rule.n_classes == 2 and len(prediction_share) > 2:
            rule = replace(rule, n_classes=len(prediction_share))
    evidence: dict[str, object] = {key: error.value for key, error in errors.items()}
    evidence |= {"prediction_share": share, "rule": asdict(rule)}
    constant = share is not None and share >= rule.collapse_share
    lack = _lack(errors, rule)
    if constant and _may_be_wrong(errors.get(CLEAN_TEST), rule):
        reason = f"One class takes {share:.0%} of the predictions: the model answers a constant."
        return Verdict("collapsed", reason, evidence)
    if share == 1 and not lack:
        lack = "the test examples are of one class"
    if lack:
        return Verdict("too_little_evidence", f"Too little evidence: {lack}.", evidence)
    point = _Point(*(errors[key] for key in FOUR))
    evidence |= {
        "robust_gap": point.robust_gap,
        "robust_gap_interval": list(point.robust_gap_interval),
        "clean_gap": point.clean_gap,
    }
    label = point.label(rule, attacked)
    return Verdict(label, point.sentence(label, rule), evidence)


def _may_be_wrong(clean_test: ErrorRate | None, rule: VerdictRule) -> bool:
    """Whether one answer to nearly all inputs says something of the network: not where it is right, or asked little."""
    return clean_test is None or (clean_test.wrong > 0 and clean_test.n >= rule.min_n)


def _lack(errors: Mapping[str, ErrorRate], rule: VerdictRule) -> str:
    """What is missing for a verdict; empty if nothing is."""
    missing = [key for key in FOUR if key not in errors]
    if missing:
        return f"missing {', '.join(missing)}"
    if min(errors[key].n for key in FOUR) < rule.min_n:
        return f"fewer than {rule.min_n} examples in a set"
    return ""


@dataclass(frozen=True)
class _Point:
    """The four errors of one point of training."""

    clean_train: ErrorRate
    clean_test: ErrorRate
    robust_train: ErrorRate
    robust_test: ErrorRate

    @property
    def robust_gap(self) -> float:
        return self.robust_test.value - self.robust_train.value

    @property
    def clean_gap(self) -> float:
        return self.clean_test.value - self.clean_train.value

    @property
    def robust_gap_interval(self) -> tuple[float, float]:
        return difference_interval(self.robust_test, self.robust_train)

    def label(self, rule: VerdictRule, attacked: bool | None) -> Label:
        robust_low, _ = self.robust_gap_interval
        clean_low, _ = difference_interval(self.clean_test, self.clean_train)
        learned = self.clean_test.value < rule.good_enough
        if learned and clean_low <= rule.min_gap and self.was_never_attacked(rule, attacked):
            return "standard_training"
        if robust_low > rule.min_gap and self.robust_gap > rule.gap_ratio * self.clean_gap and learned:
            return "cgro"
        if clean_low > rule.min_gap:
            return "clean_overfitting"
        if self.clean_train.value >= rule.good_enough or self.robust_train.value >= rule.good_enough:
            return "underfitting"
        if learned and self.robust_test.value < rule.good_enough and self.robust_gap <= rule.min_gap:
            return "robust"
        return "too_little_evidence"

    def was_never_attacked(self, rule: VerdictRule, attacked: bool | None) -> bool:
        """Whether robust errors are those of standard training: it is known, or nearly every example can be broken."""
        if attacked is None:
            return min(self.robust_train.value, self.robust_test.value) >= UNPROTECTED
        return not attacked and max(self.robust_train.value, self.robust_test.value) >= rule.good_enough

    def sentence(self, label: Label, rule: VerdictRule) -> str:
        low, high = self.robust_gap_interval
        gap = f"{self.robust_gap:.1%} [{low:.1%}, {high:.1%}]"
        clean_train, clean_test = f"{self.clean_train.value:.1%}", f"{self.clean_test.value:.1%}"
        robust_train, robust_test = f"{self.robust_train.value:.1%}", f"{self.robust_test.value:.1%}"
        if label == "cgro":
            return (
                f"Clean generalization and robust overfitting: the robust error is {robust_train} on the training set "
                f"and {robust_test} on the test set, a gap of {gap}, while the clean test error is {clean_test}."
            )
        if label == "clean_overfitting":
            return (
                f"Ordinary overfitting: the clean error is {clean_train} on the training set and {clean_test} on the "
                "test set."
            )
        if label == "underfitting":
            return (
                f"Underfitting: on its own training set the model errs on {clean_train} of clean and {robust_train} of "
                "attacked examples, so there is nothing memorized to overfit."
            )
        if label == "robust":
            side = "above"
            if self.robust_gap < 0:
                side, low, high = "below", -high, -low
            points = f"{100 * abs(self.robust_gap):.1f} points [{100 * low:.1f}, {100 * high:.1f}]"
            return (
                f"No large robust gap: the robust test error, {robust_test}, is {points} {side} the training set's "
                f"{robust_train}, within the {100 * rule.min_gap:g} points that the rule allows."
            )
        if label == "standard_training":
            return (
                f"Standard training: it fits clean data (clean test error {clean_test}) and has no defense at this "
                f"radius (robust error {robust_train} on the training set, {robust_test} on the test set)."
            )
        return (
            f"Undecided: the robust gap is {gap} and the clean test error {clean_test}; the rule asks for a gap whose "
            f"interval lies above {rule.min_gap:.0%}, or below it with all errors under {rule.good_enough:.0%}."
        )
