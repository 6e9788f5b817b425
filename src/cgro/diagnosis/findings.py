"""What a check of the evaluation lint says: its finding, what it would mean, and what to do."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from scipy.special import bdtrc

from cgro.definitions import Attack

TEXTS: Mapping[str, tuple[str, str]] = {
    "mode": (
        "BatchNorm and dropout behave otherwise in train mode, and attacks on it are weak.",
        "call model.eval()",
    ),
    "input range": (
        "Radii are in units of the input; in another range 8/255 is another threat.",
        "give images in [0, 1] and move every conversion into the model",
    ),
    "radius": (
        "A radius in pixels (8 for 8/255) or below half a pixel step measures something else.",
        "give it in units of the input, such as 8/255",
    ),
    "determinism": (
        "A random model answers otherwise each time, and one that mixes its batch with every batch size: its errors "
        "are those of luck.",
        "switch the randomness off, or attack its expectation (EOT); use running statistics in BatchNorm",
    ),
    "classes and loss": (
        "The loss of the attack must fit the outputs; probabilities flatten it, and AutoAttack's targeted losses "
        "need 4 classes.",
        "return logits, one for each class, or log(p / (1 - p)) for a probability p of class +1; use the margin loss "
        "below 4 classes",
    ),
    "normalization": (
        "A model that answers much better on converted inputs is not given what it was trained on.",
        "apply the conversion exactly once, inside the model",
    ),
    "class order": (
        "A model whose outputs stand for other classes is wrong on nearly all of them, attacked or not.",
        "number the classes as in training (torchvision's ImageFolder sorts names as text: 0, 1, 10, 2), or permute "
        "the last layer",
    ),
    "gradients": (
        "Where the gradient is zero or missing, an attack that follows it stands still.",
        "remove rounding, clipping, no_grad and roots of 0 from the forward pass; attack the margin; add Square",
    ),
    "loss rises with steps": (
        "More steps must find lower margins; if one step beats twenty, the gradient misleads.",
        "add random starts, smaller steps and Square",
    ),
    "large radius": (
        "With every input allowed, a classifier that can answer two classes can be broken everywhere.",
        "do not believe robust errors by gradient; use Square and transfer",
    ),
    "random noise": (
        "An attack that random points beat does not search.",
        "check model, loss and step size of the attack",
    ),
    "steps and restarts": (
        "If more effort still breaks more, the number printed is too low.",
        "raise steps and restarts until the error stays, or use the ensemble",
    ),
    "attack strength": (
        "A robust error is a lower bound: what a stronger attack finds on the same images is missing in it.",
        "report the error by the ensemble (cgro evaluate --attack ensemble)",
    ),
    "order of attacks": (
        "Square uses no gradient; what it alone finds, the attacks along the gradient missed.",
        "report the ensemble's error, not PGD's",
    ),
    "transfer": (
        "Examples of another model must not beat those made on the model itself.",
        "report the worst case over both",
    ),
    "8-bit rounding": (
        "Examples that are wrong only between pixel values cannot be stored as images.",
        "evaluate again after rounding and report that",
    ),
}
"""Name of a check -> what it would mean, and what to do."""

FAULTS = ("mode", "input range", "radius", "classes and loss", "normalization", "class order")
"""Checks whose WARN says that the evaluation, not the model, may make errors high: it stands first in a headline."""

MISSED = 0.02
"""Share of the breakable examples that a sound white-box attack may miss. A choice: the slack of the lint. In 259 lints
of 77 pairs of a network that masks nothing (digits, MNIST) and a radius, APGD on two losses missed at most one."""
SIGNIFICANT = 0.01
"""Above this p-value a count of missed examples is chance. A choice, as for a rise (`rise.ESTABLISHED`)."""


@dataclass(frozen=True)
class Check:
    """One check of the lint.

    Args:
        name: of the check.
        status: PASS or WARN.
        finding: what was measured, with its number.
        meaning: why it matters.
        remedy: what to do about a WARN.
        masking: whether a WARN is a sign of gradient masking.
    """

    name: str
    status: Literal["PASS", "WARN"]
    finding: str
    meaning: str
    remedy: str
    masking: bool = False

    def to_dict(self) -> dict[str, object]:
        """Plain values for `summary.json`.

        Returns:
            The fields by name.
        """
        return asdict(self)


def check(name: str, passed: bool, finding: str, *, masking: bool = False) -> Check:
    """A check with its texts.

    Args:
        name: one of `TEXTS`.
        passed: whether it is a PASS.
        finding: what was measured.
        masking: whether a WARN is a sign of gradient masking.

    Returns:
        The check.
    """
    meaning, remedy = TEXTS[name]
    return Check(name, "PASS" if passed else "WARN", finding, meaning, remedy, masking and not passed)


def missed_by_masking(n_missed: int, n_found: int) -> bool:
    """Whether a gradient attack misses so many of the breakable examples that only a masked gradient explains it.

    Two of eighty are a number to report, not evidence that no robust number can be believed. The examples that are
    known to be breakable are those that either attack breaks, m + f. A sound attack misses each with probability q =
    `MISSED` at most; masking is called where

        P(Binomial(m + f, q) >= m) <= `SIGNIFICANT`.

    It is a rule of size as well: m / (m + f) is then well above q. Rejected: McNemar's test of m against what the
    gradient attack alone breaks. It asks which attack is better, and a gradient masked in part still beats noise.

    Args:
        n_missed: m, broken by something weak alone.
        n_found: f, broken by the gradient attack.

    Returns:
        True where it is significant. Without a missed example False.

    Example:
        >>> missed_by_masking(2, 30), missed_by_masking(2, 5), missed_by_masking(1, 0)
        (False, True, False)
    """
    return n_missed > 0 and bool(bdtrc(n_missed - 1, n_missed + n_found, MISSED) <= SIGNIFICANT)


def left_for_queries(parts: Iterable[Attack], broken_by: Mapping[str, int]) -> list[Check]:
    """What an ensemble says of masking itself: how many examples its queries break that its gradients left.

    Args:
        parts: its attacks, in order.
        broken_by: name of an attack -> examples that it broke of those that were left; see `Record.broken_by`.

    Returns:
        A warning; none where gradient attacks would not be believed to have missed so many, or were not tried first.
    """
    n_found = n_missed = 0
    tried = False
    for part in parts:
        if part.uses_gradient:
            tried = True
            n_found += broken_by[part.name]
        elif tried:
            n_missed += broken_by[part.name]
    if not missed_by_masking(n_missed, n_found):
        return []
    text = f"attacks without gradients break {n_missed} that those along gradients, which break {n_found}, left"
    return [check("order of attacks", False, text, masking=True)]


def masked(checks: Iterable[Check]) -> bool:
    """Whether the lint found gradient masking: a WARN of a check that only masked gradients explain.

    Args:
        checks: of one model.

    Returns:
        True for one such WARN or more.
    """
    return any(check.masking for check in checks)


def faults(checks: Iterable[Check]) -> list[Check]:
    """The warnings that explain high errors by the evaluation instead of the model.

    Args:
        checks: of one model.

    Returns:
        Those of `FAULTS` that warn, in the order of the lint.

    Example:
        >>> [one.name for one in faults([check("radius", False, "8"), check("transfer", False, "9 of 9")])]
        ['radius']
    """
    return [one for one in checks if one.name in FAULTS and one.status == "WARN"]


def fault_sentence(found: Iterable[Check]) -> str:
    """The faults of an evaluation, for the front of a headline.

    Args:
        found: one or more, see `faults`.

    Returns:
        One sentence.

    Example:
        >>> fault_sentence([check("radius", False, "radius 8 is 800% of the range")])
        'First mend the evaluation (radius: radius 8 is 800% of the range).'
    """
    named = [f"{one.name}: {one.finding}" for one in found]
    return f"First mend the evaluation ({'; '.join(named)})."


def as_advice(found: Iterable[Check]) -> tuple[str, ...]:
    """What to do about warnings, as remedies of a diagnosis.

    Args:
        found: checks.

    Returns:
        One sentence per check.

    Example:
        >>> as_advice([check("mode", False, "3 parts in train mode")])
        ('Call model.eval() (mode).',)
    """
    return tuple(f"{one.remedy[0].upper()}{one.remedy[1:]} ({one.name})." for one in found)
