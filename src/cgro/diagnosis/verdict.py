"""`diagnose`: the verdict on a curve, with the numbers behind it in plain sentences."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from cgro.definitions import DEFAULT_RULE, FOUR, ErrorRate, Label, Verdict, VerdictRule, cgro_verdict
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.lint import Check, masked
from cgro.diagnosis.remedies import remedies_for
from cgro.diagnosis.rise import LAST, Rise, rise_of
from cgro.diagnosis.selection import Selection, select

TEST, TRAIN, CLEAN = "robust_error/test", "robust_error/train", "clean_error/test"
LIKELY_N = 1000
"""Examples behind a curve's errors where a file does not say. On the low side of what is published."""


MOST_EPOCHS = 2_000
"""Measured epochs that the simulations follow one by one; of more, the means of neighboring ones are judged, 2,000 in
all. The simulations hold 999 numbers per epoch, and finding the onset takes the square of the epochs. A choice."""


@dataclass(frozen=True)
class CurveRule:
    """Thresholds of `diagnose`. All ours, none from a paper; each is stored with the result.

    Args:
        min_epochs: fewer measured epochs are too little evidence for a curve.
        alpha: largest p-value of a rise that is believed.
        order: where the neighbors of every curve differ as much as strangers (rank von Neumann ratio, p-value above
            this), the rows are shuffled, or noise, and there is no verdict.
        jump: catastrophic overfitting is a rise of the robust error by this much within `jump_epochs`
            measured epochs, jump_to: to at least this level, while the clean error stays this much lower.
        near_drop: a rise that begins within this share of all epochs after a learning-rate drop is aligned with it.
        clean_ratio: a clean rise of more than this share of the robust one is ordinary overfitting.
        point: thresholds of the verdict on the last epochs.
        n_boot: simulated curves.
    """

    min_epochs: int = 10
    alpha: float = 0.01
    order: float = 0.0005
    jump: float = 0.2
    jump_epochs: int = 2
    jump_to: float = 0.9
    near_drop: float = 0.1
    clean_ratio: float = 1 / 3
    point: VerdictRule = DEFAULT_RULE
    n_boot: int = 999


@dataclass(frozen=True)
class Diagnosis:
    """The verdict on one training.

    Args:
        label: one of the labels of `cgro`; `robust_overfitting`, `catastrophic_overfitting` judge a curve. scope: whether
            it judges a `curve` or one `point`. reason: one sentence. findings: further sentences, each with its numbers.
        training: `adversarial` or `standard` (nothing was attacked). rise: of the robust test error. clean_rise: of the
            clean one. drops: epochs at which the learning rate fell. aligned: the drop that the onset follows.
        opened: epoch at which the robust gap reached half of its end. selection: by each rule. point: the verdict on
            the mean of the last epochs, or on better numbers. remedies: what addresses it. lint: of the evaluation.
    """

    label: Label
    scope: str
    reason: str
    training: str
    findings: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()
    rise: Rise | None = None
    clean_rise: Rise | None = None
    drops: tuple[float, ...] = ()
    aligned: float | None = None
    opened: float | None = None
    selection: Selection | None = None
    point: Verdict | None = None
    lint: tuple[Check, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `summary.json`: without the fitted curves."""

        def brief(rise: Rise | None) -> dict[str, Any] | None:
            return rise and {k: v for k, v in vars(rise).items() if k not in ("fit", "epochs")}

        own = {k: getattr(self, k) for k in ("label", "scope", "reason", "training", "findings", "remedies", "drops",
                                             "aligned", "opened", "evidence")}  # fmt: skip
        selection, point = self.selection and self.selection.to_dict(), self.point and self.point.to_dict()
        own["lint"] = [check.to_dict() for check in self.lint]
        rises = {"rise": brief(self.rise), "clean_rise": brief(self.clean_rise)}
        return {**own, **rises, "selection": selection, "point": point}


def diagnose(
    curves: Curves, *, errors: Mapping[str, ErrorRate] | None = None, n_classes: int | None = None,
    rule: CurveRule | None = None, seed: int = 0,
) -> Diagnosis:  # fmt: skip
    """Does this training overfit robustly? Which label does its curve deserve, and on what evidence?

    Robust overfitting is a rise of the robust TEST error after its lowest point that noise between epochs does
    not explain (`rise_of`). Where the curve is too short, or does not rise, the last epochs are judged as one point
    (`cgro_verdict`). It says nothing beyond the attack that measured the curve and the one training it shows.

    Args:
        curves: at least `robust_error/test`; each further curve adds findings.
        errors: the four errors of the last point, if they were measured on more examples than the curve.
        n_classes: sets the error of guessing; None takes the curves' own, else 2, the strictest.
        rule: thresholds. seed: of the simulations.

    Raises:
        BadRequest: the curves hold nothing that was measured.

    Example:
        >>> t = np.arange(60.0)
        >>> test = np.where(t < 30, 0.6 - 0.004 * t, 0.46 + 0.001 * (t - 30))
        >>> found = diagnose(Curves(t, {"robust_error/test": test}), rule=CurveRule(n_boot=199))
        >>> found.label, found.rise.onset
        ('robust_overfitting', 30.0)
    """
    rule = rule or CurveRule()
    classes = n_classes or curves.meta.get("n_classes")
    rule = replace(rule, point=replace(rule.point, n_classes=classes)) if classes else rule
    return _Case(curves, dict(errors or {}), rule, np.random.default_rng(seed)).judged()


def with_lint(found: Diagnosis, checks: Sequence[Check]) -> Diagnosis:
    """Stamp a diagnosis with the lint; masked gradients overrule a verdict that rests on attacks along them."""
    found = replace(found, lint=tuple(checks))
    if not masked(checks) or found.label == "collapsed":
        return found
    signs = "; ".join(f"{c.name}: {c.finding}" for c in checks if c.masking)
    reason = f"Gradient masking: robust errors found along gradients are too low here. {signs}."
    told = f"By the numbers alone it would be {found.label}: {found.reason}"
    return replace(found, label="gradient_masking", reason=reason, findings=(told, *found.findings),
                   remedies=remedies_for("gradient_masking"))  # fmt: skip


class _Case:
    """One diagnosis under way."""

    def __init__(
        self, curves: Curves, errors: dict[str, ErrorRate], rule: CurveRule, generator: np.random.Generator
    ) -> None:
        self.curves, self.rule = curves, rule
        self.training = "standard" if curves.standard else "adversarial"
        self.rise, self.clean_rise = (_rise(curves, k, rule, generator) for k in (TEST, CLEAN))
        self.drops = drops_of(curves)
        self.selection = select(curves) if curves.has(TEST) else None
        self.errors = errors if set(FOUR) <= set(errors) else _last_errors(curves) | errors
        self.point = cgro_verdict(self.errors, prediction_share=self._share(), rule=rule.point)
        self.real = self.rise is not None and self.rise.p_value <= rule.alpha and self.rise.interval[0] > 0

    def judged(self) -> Diagnosis:
        label, scope, reason = self._label()
        aligned = self._aligned() if self.real else None
        opened = opening(self.curves) if scope == "curve" else None
        sentences = (*self.curves.remarks, *self._findings(label, scope, aligned, opened))
        evidence = {"n_epochs": len(self.curves), "rule": asdict(self.rule), "source": self.curves.meta.get("source")}
        return Diagnosis(
            label, scope, reason, self.training, sentences, remedies_for(label), self.rise, self.clean_rise, self.drops,
            aligned, opened, self.selection, self.point, (), evidence,
        )  # fmt: skip

    def _share(self) -> float | None:
        shares = self.curves.measured("prediction_share")[1]
        return float(shares[-1]) if len(shares) else None

    def _label(self) -> tuple[Label, str, str]:
        """The label, whether it judges a curve or a point, and why: the first that applies."""
        curves, rule = self.curves, self.rule
        if self.point.label == "collapsed" or stuck(curves):
            return "collapsed", "point", "The model answers a constant: its errors are those of guessing."
        if not curves.has(TEST):
            return self._without_robust()
        if (jump := catastrophe(curves, rule)) is not None:
            before, after, epoch = jump
            text = (f"Catastrophic overfitting: the robust test error jumps from {before:.1%} to {after:.1%} at epoch "
                    f"{epoch:g}, within {rule.jump_epochs} evaluations, and does not recover.")  # fmt: skip
            return "catastrophic_overfitting", "curve", text
        if self.rise is None:
            return self._as_point(f"{len(curves.measured(TEST)[0])} measured epochs are too few for a curve")
        if shuffled(curves, rule):
            text = (
                "No verdict: neighboring epochs differ as much as distant ones; the rows look shuffled, or are noise."
            )
            return "too_little_evidence", "curve", text
        if not self.real:
            return self._as_point(f"no rise after the lowest point is established (p = {self.rise.p_value:.2g})")
        rise, clean = self.rise, self.clean_rise
        if (
            clean
            and clean.p_value <= rule.alpha
            and clean.interval[0] > 0
            and clean.size > rule.clean_ratio * rise.size
        ):
            text = (f"Ordinary overfitting: the clean test error rises too, by {_points(clean)}, beside "
                    f"{_points(rise)} of the robust one.")  # fmt: skip
            return "clean_overfitting", "curve", text
        text = (f"Robust overfitting: the robust test error rises by {_points(rise)} after epoch {rise.onset:g}, from "
                f"{rise.lowest:.1%} to {rise.final:.1%} (mean of the last {LAST} epochs).")  # fmt: skip
        return "robust_overfitting", "curve", text

    def _without_robust(self) -> tuple[Label, str, str]:
        what = "Standard training" if self.training == "standard" else "No robust error was measured"
        clean = self.clean_rise
        if clean and clean.p_value <= self.rule.alpha and clean.interval[0] > 0:
            text = f"{what}; its clean test error rises by {_points(clean)} after epoch {clean.onset:g}."
            return "clean_overfitting", "curve", text
        return "too_little_evidence", "curve", f"{what}: nothing here can show robust overfitting."

    def _as_point(self, why: str) -> tuple[Label, str, str]:
        """Where the curve shows nothing the last epochs are judged as one point."""
        return self.point.label, "point", f"{self.point.reason} (Judged as one point: {why}.)"

    def _aligned(self) -> float | None:
        assert self.rise is not None
        window = max(1.0, self.rule.near_drop * (self.curves.epoch[-1] - self.curves.epoch[0]))
        before = [d for d in self.drops if -1 <= self.rise.onset - d <= window]
        return max(before) if before else None

    def _findings(self, label: Label, scope: str, aligned: float | None, opened: float | None) -> list[str]:
        lines = []
        n_measured = len(self.curves.measured(TEST)[0])
        if self.rise is not None and n_measured > MOST_EPOCHS:
            lines.append(f"{n_measured} epochs are judged as {MOST_EPOCHS} means of neighboring ones.")
        if self.rise is not None and label != "collapsed":
            lines.append(_bias_sentence(self.rise))
        if self.real and self.rise is not None and scope == "curve":
            lines += [_onset_sentence(self.rise), self._drop_sentence(aligned), *self._signature()]
        if opened is not None:
            lines.append(_opening_sentence(self.curves, opened, self.drops))
        if self.selection is not None:
            lines.append(_selection_sentence(self.selection))
        if scope == "curve" and label != "too_little_evidence":
            lines.append(f"The last epochs, judged as one point: {self.point.label}. {self.point.reason}")
        return [line for line in lines if line]

    def _drop_sentence(self, aligned: float | None) -> str:
        assert self.rise is not None
        if not self.drops:
            return "The learning rate shows no sudden drop." if self.curves.has("lr") else ""
        named = ", ".join(f"{d:g}" for d in self.drops)
        if aligned is None:
            return f"The rise follows none of the learning-rate drops (epochs {named})."
        share = min(1.0, len(self.drops) * self.rule.near_drop)
        return (f"The rise begins {self.rise.onset - aligned:g} epochs after the learning-rate drop at epoch {aligned:g}"
                f" (by chance: {share:.0%}).")  # fmt: skip

    def _signature(self) -> list[str]:
        """Clean error improving while robust error worsens: the signature of CGRO."""
        assert self.rise is not None
        epochs, clean = self.curves.measured(CLEAN)
        near = clean[np.argsort(np.abs(epochs - self.rise.onset))[: min(3, len(clean))]]
        if len(clean) < LAST + 3:
            return []
        change = float(clean[-LAST:].mean() - near.mean())
        verb = "falls" if change < 0 else "rises"
        tail = ": clean error improves while robust error worsens, the signature of CGRO." if change < 0 else "."
        return [f"Over the same epochs the clean test error {verb} by {100 * abs(change):.2f} points, "
                f"to {clean[-LAST:].mean():.1%}{tail}"]  # fmt: skip


def _points(rise: Rise) -> str:
    low, high = (100 * v for v in rise.interval)
    return f"{100 * rise.size:.2f} points [{low:.2f}, {high:.2f}]"


def _bias_sentence(rise: Rise) -> str:
    return (f"Last {LAST} epochs minus the minimum selected on test is {100 * rise.naive:.2f} points, of which "
            f"{100 * rise.bias:.2f} are the bias of picking a minimum over noise of {100 * rise.noise:.2f} points between "
            f"epochs (correlation {rise.rho:.1f}); what remains is {_points(rise)}, p = {rise.p_value:.2g}.")  # fmt: skip


def _onset_sentence(rise: Rise) -> str:
    low, high = rise.onset_interval
    return f"It begins after epoch {rise.onset:g} (95%: {low:g} to {high:g})."


def _opening_sentence(curves: Curves, opened: float, drops: tuple[float, ...]) -> str:
    gap = gap_curve(curves)[1]
    text = f"The gap between robust training and test error reaches half of its final {100 * gap[-LAST:].mean():.1f} points at epoch {opened:g}"
    share = opened_after(curves, drops[0]) if drops else None
    return text + (f"; {share:.0%} of it opens after the first learning-rate drop." if share is not None else ".")


def _selection_sentence(s: Selection) -> str:
    test = f"{s.on_test.robust_error:.2%} at epoch {s.on_test.epoch:g} (selected on test)"
    if s.on_validation is None:
        return (
            f"Robust test error: {test}, {s.last.robust_error:.2%} at the last epoch; no validation set to select on."
        )
    assert s.bias is not None
    return (f"Robust test error: {test}, {s.on_validation.robust_error:.2%} at epoch {s.on_validation.epoch:g} (selected on "
            f"validation), {s.last.robust_error:.2%} at the last; selecting on test flatters by {100 * s.bias:.2f} points.")  # fmt: skip


def _rise(curves: Curves, key: str, rule: CurveRule, generator: np.random.Generator) -> Rise | None:
    epochs, values = curves.measured(key)
    if len(values) < rule.min_epochs:
        return None
    rate = curves["lr"][~np.isnan(curves[key])]
    if len(values) > MOST_EPOCHS:
        starts = np.linspace(0, len(values), MOST_EPOCHS + 1).astype(int)
        values = np.add.reduceat(values, starts[:-1]) / np.diff(starts)
        epochs, rate = epochs[starts[:-1]], rate[starts[:-1]]
    return rise_of(epochs, values, generator, lr=None if np.isnan(rate).any() else rate, n_boot=rule.n_boot)


def _last_errors(curves: Curves) -> dict[str, ErrorRate]:
    """The means of the last epochs as counts of the examples they were measured on (a low guess if unknown)."""
    found = {}
    for key in FOUR:
        values = curves.measured(key)[1][-LAST:]
        if len(values):
            n = int(curves.meta.get(f"n/{key.split('/')[1]}", LIKELY_N))
            found[key] = ErrorRate(round(float(values.mean()) * n), n, "lower" if "robust" in key else "exact")
    return found


def drops_of(curves: Curves, factor: float = 1.5) -> tuple[float, ...]:
    """The epochs at which the learning rate, in one step, fell by more than a factor.

    >>> drops_of(Curves([1, 2, 3, 4], {"lr": [0.1, 0.1, 0.01, 0.01]}))
    (3.0,)
    """
    epochs, rate = curves.measured("lr")
    return tuple(float(e) for e, a, b in zip(epochs[1:], rate[:-1], rate[1:], strict=True) if a > factor * b)


def gap_curve(curves: Curves) -> tuple[np.ndarray, np.ndarray]:
    """Robust test minus robust training error where both were measured: (epochs, gap)."""
    both = ~np.isnan(curves[TEST]) & ~np.isnan(curves[TRAIN])
    return curves.epoch[both], (curves[TEST] - curves[TRAIN])[both]


def opening(curves: Curves) -> float | None:
    """The first epoch from which on the robust gap stays above half of its final value; None without a gap.

    >>> opening(Curves(range(8), {TEST: [.9, .8, .7, .7, .7, .7, .7, .7], TRAIN: [.9, .8, .7, .6, .5, .4, .4, .4]}))
    4.0
    """
    epochs, gap = gap_curve(curves)
    if len(gap) < LAST + 1 or (final := float(gap[-LAST:].mean())) <= 0:
        return None
    below = np.nonzero(gap < final / 2)[0]
    return float(epochs[below[-1] + 1]) if len(below) and below[-1] + 1 < len(gap) else float(epochs[0])


def opened_after(curves: Curves, epoch: float) -> float | None:
    """The share of the final robust gap that opened from an epoch on (three epochs before it are the start)."""
    epochs, gap = gap_curve(curves)
    before = gap[epochs < epoch][-3:]
    final = float(gap[-LAST:].mean()) if len(gap) else 0.0
    return 1 - float(before.mean()) / final if len(before) and final > 0 else None


def catastrophe(curves: Curves, rule: CurveRule) -> tuple[float, float, float] | None:
    """(before, after, epoch) of a jump of the robust test error to nearly 1 that lasts to the end, or None.

    >>> robust, clean = [0.7, 0.6, 0.55, 0.99, 1.0, 1.0], [0.3, 0.25, 0.2, 0.2, 0.15, 0.1]
    >>> catastrophe(Curves(range(6), {TEST: robust, CLEAN: clean}), CurveRule())
    (0.55, 0.99, 3.0)
    """
    epochs, robust = curves.measured(TEST)
    if len(robust) < 3 or robust[-min(3, len(robust) // 2) :].mean() < rule.jump_to:
        return None
    clean = curves[CLEAN][~np.isnan(curves[TEST])]
    if not np.isnan(clean).all() and np.nanmean(clean[-3:]) > rule.jump_to - rule.jump:
        return None
    from_here = np.minimum.accumulate(robust[::-1])[::-1]
    for t in range(1, len(robust)):
        before = float(robust[max(0, t - rule.jump_epochs) : t].min())
        if robust[t] >= rule.jump_to and robust[t] - before >= rule.jump and from_here[t] >= rule.jump_to - rule.jump:
            return before, float(robust[t]), float(epochs[t])
    return None


def stuck(curves: Curves) -> bool:
    """Whether the clean error ends constant at that of guessing among some number of classes, on train and test."""
    ends = [curves.measured(k)[1][-LAST:] for k in (CLEAN, "clean_error/train")]
    if len(ends[0]) < 3:
        return False
    levels = [v for v in ends if len(v)]
    guess = min((abs(levels[0].mean() - (1 - 1 / c)), 1 - 1 / c) for c in range(2, 1001))[1]
    return all(abs(v.mean() - guess) < 0.01 and np.ptp(v) < 0.004 for v in levels)


def shuffled(curves: Curves, rule: CurveRule) -> bool:
    """Whether the order of the epochs carries no information in any curve: rank von Neumann ratio (Bartels, JASA 1982).

    RVN = sum (R_t - R_(t+1))^2 / sum (R_t - mean)^2 of the ranks is near 2 if the order is random and far lower for a
    learning curve. One ordered curve is enough: shuffled rows would have taken the order from all of them.
    """
    known = [curves.measured(k)[1] for k in (TEST, TRAIN, CLEAN, "clean_error/train")]
    return all(order_p_value(v) > rule.order for v in known if len(v) >= rule.min_epochs)


def order_p_value(values: np.ndarray) -> float:
    """How often a random order would be as ordered: by 10,000 permutations, or normal, N(2, 4/T), above 50 values.

    >>> order_p_value(np.arange(12.0)) < 0.0005 < order_p_value(np.array([0.0, 1.0] * 6))
    True
    """
    ordered = np.sort(values)
    below, above = np.searchsorted(ordered, values), np.searchsorted(ordered, values, "right")
    ranks = below + (above - below) / 2
    total = float(((ranks - ranks.mean()) ** 2).sum())
    if total == 0:
        return 1.0
    ratio = float((np.diff(ranks) ** 2).sum()) / total
    if len(values) > 50:
        return 0.5 * math.erfc((2 - ratio) * math.sqrt(len(values)) / 2 / math.sqrt(2))
    null = np.random.default_rng(0).permuted(np.tile(ranks, (9999, 1)), axis=1)
    return (1 + int(((np.diff(null, axis=1) ** 2).sum(1) / total <= ratio).sum())) / 10000
