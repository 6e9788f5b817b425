"""`diagnose`: the verdict on a curve, with the numbers behind it in plain sentences."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from cgro._check import bad
from cgro.definitions import FOUR, ErrorRate, Label, Verdict, cgro_verdict
from cgro.definitions.inputs import describe
from cgro.diagnosis import sentences
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.findings import Check
from cgro.diagnosis.held_out import held_out, last_errors
from cgro.diagnosis.remedies import remedies_for
from cgro.diagnosis.rise import LAST, PhaseRise, Rise, rises_of
from cgro.diagnosis.rule import CurveRule
from cgro.diagnosis.selection import Selection, select
from cgro.diagnosis.settings import (
    classes_in,
    classes_sentence,
    mixed_images,
    regularized,
    settings_of,
)
from cgro.diagnosis.shape import catastrophe, drops_of, last_jump, opening, shuffled, stuck
from cgro.results.keys import CLEAN_TEST, CLEAN_TRAIN, ROBUST_TEST

__all__ = ["MOST_EPOCHS", "CurveRule", "Diagnosis", "diagnose"]

MOST_EPOCHS = 2_000
"""Measured epochs that the simulations follow one by one; of more, the means of neighboring ones are judged, 2,000 in
all. The simulations hold 999 numbers per epoch, and finding the onset takes the square of the epochs. A choice."""

RISEN = ("robust_overfitting", "clean_overfitting")
"""Labels that rest on a rise."""


@dataclass(frozen=True)
class Diagnosis:
    """The verdict on one training.

    Args:
        label: one of the labels of `cgro`; `robust_overfitting`, `catastrophic_overfitting` judge a curve.
        scope: whether it judges a `curve` or one `point`.
        reason: the headline; caveats stand at its end.
        training: `adversarial`, `standard` (nothing was attacked) or `unknown`.
        findings: further sentences, each with its numbers.
        remedies: what addresses it.
        rise: of the robust error on held-out data.
        clean_rise: of the clean one.
        phase: a rise of the robust error within one stretch of learning rate, where the label rests on it and not on
            `rise`.
        drops: epochs at which the learning rate fell.
        aligned: the drop that the onset follows.
        opened: epoch at which the robust gap reached half of its end.
        selection: by each rule.
        point: the verdict on the mean of the last epochs, or on better numbers.
        lint: of the evaluation.
        evidence: number of epochs, thresholds, source, what each column was read as, and caveats.
    """

    label: Label
    scope: str
    reason: str
    training: str
    findings: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()
    rise: Rise | None = None
    clean_rise: Rise | None = None
    phase: PhaseRise | None = None
    drops: tuple[float, ...] = ()
    aligned: float | None = None
    opened: float | None = None
    selection: Selection | None = None
    point: Verdict | None = None
    lint: tuple[Check, ...] = ()
    evidence: Mapping[str, object] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """Plain values for `summary.json`: without the fitted curves.

        Returns:
            The fields by name.
        """
        nested: dict[str, object] = {
            "rise": _brief(self.rise),
            "clean_rise": _brief(self.clean_rise),
            "selection": self.selection and self.selection.to_dict(),
            "point": self.point and self.point.to_dict(),
            "lint": [check.to_dict() for check in self.lint],
        }
        if self.phase is not None:
            nested |= {"phase": {**vars(self.phase), "rise": _brief(self.phase.rise)}}
        given = {name: value for name, value in vars(self).items() if name != "phase"}
        return {**given, **nested}


def _brief(rise: Rise | None) -> dict[str, object] | None:
    if rise is None:
        return None
    return {name: value for name, value in vars(rise).items() if name not in ("fit", "epochs", "visible")}


def diagnose(
    curves: Curves,
    *,
    errors: Mapping[str, ErrorRate] | None = None,
    n_classes: int | None = None,
    rule: CurveRule | None = None,
    seed: int = 0,
) -> Diagnosis:
    """Does this training overfit robustly? Which label does its curve deserve, and on what evidence?

    Robust overfitting is a rise of the robust ROBUST_TEST error after its lowest point that noise between epochs does
    not explain (`rise_of`). Where the curve is too short, or does not rise, the last epochs are judged as one point
    (`cgro_verdict`). Where nothing was measured on test, or too little for a curve that validation has, the validation
    set is the held-out data, and that is said. It says nothing beyond the attack that measured the curve and the one
    training it shows.

    Args:
        curves: at least `robust_error/test`; each further curve adds findings.
        errors: the four errors of the last point, if they were measured on more examples than the curve.
        n_classes: sets the error of guessing; None takes the curves' own, then that of the data set which the settings
            of a log name, else 2, the strictest. A finding says which.
        rule: thresholds; None takes the defaults.
        seed: of the simulations.

    Returns:
        The label with everything behind it.

    Raises:
        BadRequest: no `Curves`, such as a path or rows; they hold nothing that was measured.

    Example:
        >>> t = np.arange(60.0)
        >>> test = np.where(t < 30, 0.6 - 0.004 * t, 0.46 + 0.001 * (t - 30))
        >>> found = diagnose(Curves(t, {"robust_error/test": test}), rule=CurveRule(n_boot=199))
        >>> found.label, found.rise.onset
        ('robust_overfitting', 30.0)
    """
    _require_curves(curves)
    rule = rule or CurveRule()
    classes = n_classes or curves.meta.get("n_classes")
    known = bool(classes)
    in_log = classes_in(settings_of(curves))
    if not known and in_log is not None:
        classes = in_log[0]
    if isinstance(classes, int) and classes:
        rule = replace(rule, point=replace(rule.point, n_classes=classes))
    return _Case(curves, dict(errors or {}), rule, np.random.default_rng(seed), known=known).judged()


def _require_curves(curves: object) -> None:
    if isinstance(curves, Curves):
        return
    remedy = "make them of rows by Curves.from_rows(rows)"
    if isinstance(curves, str | os.PathLike):
        remedy = "read a file by read_curves(path), which gives one per seed"
    elif isinstance(curves, Sequence) and any(isinstance(one, Curves) for one in curves):
        remedy = "they are one per seed: diagnose each"
    raise bad("curves", expected="Curves", got=describe(curves), remedy=remedy)


class _Case:
    """One diagnosis under way."""

    def __init__(
        self,
        curves: Curves,
        errors: dict[str, ErrorRate],
        rule: CurveRule,
        generator: np.random.Generator,
        *,
        known: bool,
    ) -> None:
        self.given = curves
        self.known = known
        self.settings = settings_of(curves)
        self.mixed = mixed_images(self.settings)
        self.curves, self.part = held_out(curves, rule.min_epochs)
        if self.mixed:
            kept = {name: value for name, value in self.curves.values.items() if not name.endswith("/train")}
            self.curves = replace(self.curves, values=kept)
        self.rule = rule
        self.training = "adversarial"
        attacked = None
        if curves.standard:
            self.training = "standard"
            attacked = False
        self.rise, phases = _rises(self.curves, ROBUST_TEST, rule, generator)
        self.clean_rise, self.clean_phases = _rises(self.curves, CLEAN_TEST, rule, generator)
        self.drops = drops_of(self.curves)
        self.selection = None
        if self.curves.has(ROBUST_TEST):
            self.selection = select(self.curves)
        if not set(FOUR) <= set(errors):
            errors = last_errors(self.curves) | errors
        self.errors = errors
        self.point = cgro_verdict(errors, prediction_share=self._share(), rule=rule.point, attacked=attacked)
        self.real = _is_established(self.rise, rule)
        self.phases = [one for one in phases if _is_established(one.rise, rule)]
        self.phase = None
        if self.phases and not self.real:
            self.phase = max(self.phases, key=lambda one: one.rise.size)

    def judged(self) -> Diagnosis:
        label, scope, reason = self._label()
        caveats = self._caveats(label)
        reason = self._in_words(reason)
        if caveats:
            reason = f"{reason} But {'; '.join(caveats)}."
        risen = self._established()
        aligned = None
        if risen is not None:
            aligned = self._aligned(risen)
        opened = None
        if scope == "curve" and label != "catastrophic_overfitting":
            opened = opening(self.curves)
        evidence = {
            "n_epochs": len(self.curves),
            "rule": asdict(self.rule),
            "source": self.curves.meta.get("source"),
            "held_out": self.part,
            "columns": [column.to_dict() for column in self.curves.columns],
            "caveats": list(caveats),
        }
        if self.rise is not None:
            evidence |= {"visible_rise": self.rise.visible}
        return Diagnosis(
            label=label,
            scope=scope,
            reason=reason,
            training=self.training,
            findings=(*self.curves.remarks, *self._findings(label, scope, aligned, opened)),
            remedies=self._remedies(label),
            rise=self.rise,
            clean_rise=self.clean_rise,
            phase=self.phase if scope == "curve" and label in RISEN else None,
            drops=self.drops,
            aligned=aligned,
            opened=opened,
            selection=self.selection,
            point=self.point,
            evidence=evidence,
        )

    def _remedies(self, label: Label) -> tuple[str, ...]:
        fits = self.errors.get(CLEAN_TRAIN)
        fits_clean = fits is not None and fits.value < self.rule.point.good_enough
        also = None
        if label == "robust_overfitting" and _is_established(self.clean_rise, self.rule):
            also = "clean_overfitting"
        return remedies_for(label, too_small=not (fits_clean or regularized(self.settings)), also=also)

    def _share(self) -> float | None:
        shares = self.curves.measured("prediction_share")[1]
        return float(shares[-1]) if len(shares) else None

    def _in_words(self, text: str) -> str:
        """A sentence about held-out data, with the name of the set that it is."""
        if self.part == "test":
            return text
        for word in ("test error", "test set", "test images"):
            text = text.replace(word, word.replace("test", self.part))
        return text.replace("error/test", f"error/{self.part}")

    def _caveats(self, label: Label) -> tuple[str, ...]:
        found = list(sentences.caveats_of(self.given))
        diverged = sentences.divergence(self.given)
        if diverged and label != "collapsed":
            found.append(diverged)
        jump = last_jump(self.curves, self.rule)
        if jump is not None and label not in ("catastrophic_overfitting", "collapsed"):
            before, after, epoch = jump
            found.append(
                f"the robust error jumps from {before:.1%} to {after:.1%} in the last evaluation (epoch {epoch:g}): "
                "evaluate again; if it stays, this is catastrophic overfitting"
            )
        if self.part != "test" and self.curves.has(ROBUST_TEST):
            found.append(sentences.stand_in(self.given))
        return tuple(found)

    def _label(self) -> tuple[Label, str, str]:
        """The label, whether it judges a curve or a point, and why: the first that applies."""
        curves, rule, rise = self.curves, self.rule, self.rise
        if self.point.label == "collapsed" or stuck(curves):
            return "collapsed", "point", self._collapsed()
        if not curves.has(ROBUST_TEST):
            return self._without_robust()
        if curves.standard:
            return self._standard()
        jump = catastrophe(curves, rule)
        if jump is not None:
            before, after, epoch = jump
            text = (
                f"Catastrophic overfitting: the robust test error jumps from {before:.1%} to {after:.1%} at epoch "
                f"{epoch:g}, within {rule.jump_epochs} evaluations, and {self._since(epoch)}."
            )
            return "catastrophic_overfitting", "curve", text
        if rise is None:
            n = len(curves.measured(ROBUST_TEST)[0])
            return self._as_point(f"{n} measured epochs are too few for a curve")
        if shuffled(curves, rule):
            text = (
                "No verdict: neighboring epochs differ as much as distant ones; the rows look shuffled, or are noise."
            )
            return "too_little_evidence", "curve", text
        if self.phase is not None:
            return self._risen_in(self.phase)
        if not self.real:
            return self._as_point(f"no rise after the lowest point is established (p = {rise.p_value:.2g})")
        return self._risen(rise)

    def _risen(self, rise: Rise) -> tuple[Label, str, str]:
        """Of a rise that is established: robust overfitting, unless the clean error rises as much."""
        rule = self.rule
        clean = self.clean_rise
        if not _is_established(clean, rule):
            clean = None
        if clean is not None and clean.size > rule.clean_ratio * rise.size:
            text = (
                f"Ordinary overfitting: the robust test error rises by {sentences.points(rise)}, and the clean one by "
                f"nearly as much or more, {sentences.points(clean)}."
            )
            return "clean_overfitting", "curve", text
        text = (
            f"Robust overfitting: the robust test error rises by {sentences.points(rise)} after epoch {rise.onset:g}, "
            f"from {rise.lowest:.1%} to {rise.final:.1%} (mean of the {sentences.last_of(rise)})"
        )
        if clean is not None:
            text += f"; the clean one rises as well, by {sentences.points(clean)}"
        return "robust_overfitting", "curve", f"{text}."

    def _risen_in(self, phase: PhaseRise) -> tuple[Label, str, str]:
        """Of a rise within one stretch of learning rate, of which nothing is established at the end."""
        ratio = self.rule.clean_ratio
        text = sentences.phase_sentence(phase)
        for clean in self.clean_phases:
            same = np.array_equal(clean.rise.epochs, phase.rise.epochs)
            if same and _is_established(clean.rise, self.rule) and clean.rise.size > ratio * phase.rise.size:
                said = f"the clean one by nearly as much or more, {sentences.points(clean.rise)}"
                return "clean_overfitting", "curve", f"Ordinary overfitting: {text}; {said}."
        assert self.rise is not None
        end = f"at the end no rise above the lowest point is established (p = {self.rise.p_value:.2g})"
        return "robust_overfitting", "curve", f"Robust overfitting: {text}; {end}."

    def _established(self) -> Rise | None:
        """The rise that the label rests on, if any."""
        if self.real:
            return self.rise
        return self.phase.rise if self.phase is not None else None

    def _since(self, epoch: float) -> str:
        """What a jump did after its epoch."""
        n_after = int((self.curves.measured(ROBUST_TEST)[0] > epoch).sum())
        if n_after >= 2:
            return "does not recover"
        return "is still there in the last evaluation; go back to a checkpoint before the jump"

    def _collapsed(self) -> str:
        text = "The model answers a constant: its errors are those of guessing"
        diverged = sentences.divergence(self.given)
        if diverged:
            return f"{text}. The reason: {diverged}."
        return f"{text}."

    def _without_robust(self) -> tuple[Label, str, str]:
        what = "No robust error was measured"
        if self.training == "standard":
            what = "Standard training"
        clean = self.clean_rise
        if clean is not None and _is_established(clean, self.rule):
            return "clean_overfitting", "curve", self._clean_rise(what, clean)
        if self.training == "standard":
            text = "Standard training: nothing was attacked while it learned, and no robust error was measured."
            return "standard_training", "point", text
        return "too_little_evidence", "curve", f"{what}: nothing here can show robust overfitting."

    @staticmethod
    def _clean_rise(what: str, clean: Rise) -> str:
        return f"{what}; its clean test error rises by {sentences.points(clean)} after epoch {clean.onset:g}."

    def _standard(self) -> tuple[Label, str, str]:
        """Training without an attack whose robust error was measured all the same."""
        clean = self.clean_rise
        if clean is not None and _is_established(clean, self.rule):
            return "clean_overfitting", "curve", self._clean_rise("Standard training", clean)
        if self.point.label != "too_little_evidence":
            return self.point.label, "point", f"{self.point.reason} (Nothing was attacked in training.)"
        robust = self.curves.measured(ROBUST_TEST)[1][-LAST:].mean()
        text = f"Standard training: nothing was attacked while it learned; its robust test error ends at {robust:.1%}."
        return "standard_training", "point", text

    def _as_point(self, why: str) -> tuple[Label, str, str]:
        """Where the curve shows nothing the last epochs are judged as one point."""
        if self.rise is None:
            return self.point.label, "point", f"{self._of_point()} (Judged as one point: {why}.)"
        ends = sentences.verdict_sentence(self.rise, "test", real=False)
        blind = sentences.visible_sentence(self.rise)
        return self.point.label, "point", " ".join(filter(None, (self._of_point(), ends, blind)))

    def _of_point(self) -> str:
        if not self.mixed:
            return self.point.reason
        return (
            f"No gap can be judged: the log says {self.mixed}, so its training errors are on mixed images, too high, "
            "and are not used."
        )

    def _aligned(self, rise: Rise) -> float | None:
        window = max(1.0, self.rule.near_drop * (self.curves.epoch[-1] - self.curves.epoch[0]))
        before = [drop for drop in self.drops if -1 <= rise.onset - drop <= window]
        return max(before, default=None)

    def _findings(self, label: Label, scope: str, aligned: float | None, opened: float | None) -> list[str]:
        lines: list[str] = []
        rise = self.rise
        n_measured = len(self.curves.measured(ROBUST_TEST)[0])
        if rise is not None and n_measured > MOST_EPOCHS:
            lines.append(f"{n_measured} epochs are judged as {MOST_EPOCHS} means of neighboring ones.")
        if rise is not None and label != "collapsed":
            if scope == "curve" and label != "catastrophic_overfitting":
                lines.append(sentences.verdict_sentence(rise, "test", real=self.real))
                lines.append(sentences.missed_sentence(rise))
                lines += self._taken_back()
            lines.append(sentences.noise_sentence(rise))
        risen = self._established()
        if risen is not None and label in RISEN:
            lines.append(sentences.onset_sentence(risen))
            if self.curves.has("lr"):
                lines.append(sentences.drop_sentence(risen, self.drops, aligned, self.rule))
        if self.real and rise is not None and label == "robust_overfitting":
            lines.append(sentences.signature_sentence(self.curves, rise, self.clean_rise, self.rule))
        if opened is not None:
            lines.append(sentences.opening_sentence(self.curves, opened, self.drops, self.part))
        if self.selection is not None:
            lines.append(sentences.selection_sentence(self.selection, self.part))
        lines += self._background(label, scope)
        return [self._in_words(line) for line in lines if line]

    def _taken_back(self) -> list[str]:
        """The rises that ended with a drop of the learning rate, beside the one that the label rests on."""
        lines: list[str] = []
        for one in self.phases:
            if one is not self.phase and one.drop is not None:
                text = sentences.phase_sentence(one)
                lines.append(f"{text[0].upper()}{text[1:]}.")
        return lines

    def _background(self, label: Label, scope: str) -> list[str]:
        """The errors of the end, and what a log says of its training."""
        lines: list[str] = []
        if scope == "curve" and label not in ("too_little_evidence", "catastrophic_overfitting"):
            lines.append(sentences.end_sentence(self.errors, "test"))
        if self.mixed and label == "robust_overfitting":
            lines.append(f"The log says {self.mixed}: its training errors are on mixed images and are not used.")
        if scope == "point":
            good = f"errors below {self.rule.point.good_enough:.0%} count as learned"
            lines.append(classes_sentence(self.settings, self.rule.point.n_classes, good, known=self.known))
        return lines


def _is_established(rise: Rise | None, rule: CurveRule) -> bool:
    return rise is not None and rise.p_value <= rule.alpha and rise.interval[0] > 0


def _rises(
    curves: Curves, key: str, rule: CurveRule, generator: np.random.Generator
) -> tuple[Rise | None, tuple[PhaseRise, ...]]:
    epochs, values = curves.measured(key)
    if len(values) < rule.min_epochs:
        return None, ()
    rate = curves["lr"][~np.isnan(curves[key])]
    if len(values) > MOST_EPOCHS:
        starts = np.linspace(0, len(values), MOST_EPOCHS + 1).astype(int)
        values = np.add.reduceat(values, starts[:-1]) / np.diff(starts)
        epochs, rate = epochs[starts[:-1]], rate[starts[:-1]]
    known_rate = None if np.isnan(rate).any() else rate
    return rises_of(epochs, values, generator, lr=known_rate, n_boot=rule.n_boot)
