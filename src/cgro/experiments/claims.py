"""A claim of the paper beside what was measured: the rules that lead to a verdict. Numbers in, plain values out.

Spread over seeds is the only source of tolerance: a rule that needs more seeds than there are says so and judges nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

Ruling = Literal["reproduced", "partly", "not reproduced", "cannot be tested at this scale"]
REPRODUCED: Ruling = "reproduced"
PARTLY: Ruling = "partly"
NOT_REPRODUCED: Ruling = "not reproduced"
UNTESTED: Ruling = "cannot be tested at this scale"
WORST_FIRST: tuple[Ruling, ...] = (NOT_REPRODUCED, PARTLY, REPRODUCED, UNTESTED)
MIN_SEEDS = 3
"""Seeds below which a spread is not estimated."""
WIDEST = 10.0
"""Percentage points: a tolerance above this could not tell the paper's value from another, so nothing is judged by it. No source."""


@dataclass(frozen=True)
class Sample:
    """One quantity over seeds.

    Example:
        >>> s = Sample((1.0, 2.0, 3.0))
        >>> s.mean, s.sd, [round(v, 2) for v in s.interval]
        (2.0, 1.0, [-0.48, 4.48])
    """

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float | None]) -> "Sample":
        """From a list over seeds, in which None is left out."""
        return cls(tuple(float(v) for v in values if v is not None))

    @property
    def n(self) -> int:
        """Seeds."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """NaN without values."""
        return math.fsum(self.values) / self.n if self.n else math.nan

    @property
    def sd(self) -> float:
        """Sample standard deviation; NaN for fewer than two."""
        return float(np.std(self.values, ddof=1)) if self.n > 1 else math.nan

    @property
    def t(self) -> float:
        """Student's 97.5% quantile with n - 1 degrees of freedom."""
        from scipy.stats import t as student

        return float(student.ppf(0.975, self.n - 1)) if self.n > 1 else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the mean, Student's t over seeds."""
        half = self.t * self.sd / math.sqrt(self.n) if self.n else math.nan
        return self.mean - half, self.mean + half

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"mean": self.mean, "sd": self.sd, "n": self.n, "per_seed": list(self.values)}


@dataclass(frozen=True)
class Claim:
    """What the paper says, what we found, and the verdict with the rule that led to it.

    Args:
        name: artifact/claim. statement: the paper's, in our words. rule: how the verdict comes about.
        paper, ours: the two sides as they stand in tables. reason: why this verdict, and our explanation of a
            disagreement. numbers: plain values behind `ours`.
    """

    name: str
    statement: str
    rule: str
    verdict: Ruling
    paper: str
    ours: str
    reason: str
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def shown(sample: Sample, unit: str = "", digits: int = 2) -> str:
    """Mean, standard deviation and seeds as text.

    >>> shown(Sample((98.0, 99.0, 100.0)), "%")
    '99.00% (sd 1.00, 3 seeds)'
    """
    if not sample.n:
        return "not measured"
    if sample.n == 1:
        return f"{sample.mean:.{digits}f}{unit} (one seed)"
    return f"{sample.mean:.{digits}f}{unit} (sd {sample.sd:.{digits}f}, {sample.n} seeds)"


def value(
    name: str, statement: str, paper: float, ours: Sample, *, unit: str = "%", resolution: float = 0.05,
    noise: float = 0.0, why: str = "", calibrated: bool = False,
) -> Claim:  # fmt: skip
    """Does the paper's single number look like one more seed of ours?

    The tolerance is the 95% prediction interval of one further run, t sd sqrt(1 + 1/n), with the paper's rounding and the
    paper's own sampling noise added in quadrature: inside is reproduced, within twice it partly, beyond not reproduced.

    Args:
        resolution: half of the last printed digit. noise: 95% half-width of the paper's finite test set.
        why: our explanation, said where the verdict is not `reproduced`. calibrated: settings were fitted to this very
            number, so agreement is at most `partly`.

    Example:
        >>> value("t/x", "", 98.5, Sample((98.0, 98.6, 99.1))).verdict
        'reproduced'
        >>> value("t/x", "", 60.0, Sample((98.0, 98.6, 99.1))).verdict
        'not reproduced'
    """
    rule = "the paper's value lies in the 95% prediction interval of one more seed; within twice its width: partly"
    sides = {"paper": f"{paper:g}{unit}", "ours": shown(ours, unit)}
    if ours.n < MIN_SEEDS:
        return Claim(name, statement, rule, UNTESTED, **sides, reason=_few(ours.n), numbers=ours.to_dict())
    spread = ours.t * ours.sd * math.sqrt(1 + 1 / ours.n)
    tolerance = math.hypot(spread, resolution, noise)
    off = abs(ours.mean - paper)
    numbers = {**ours.to_dict(), "tolerance": tolerance, "difference": ours.mean - paper}
    said = f"off by {off:.2f}, tolerance {tolerance:.2f}"
    verdict = REPRODUCED if off <= tolerance else PARTLY if off <= 2 * tolerance else NOT_REPRODUCED
    if tolerance > WIDEST and verdict != NOT_REPRODUCED:
        verdict, said = UNTESTED, f"seeds differ too much to tell: tolerance {tolerance:.1f} exceeds {WIDEST:g}"
    elif calibrated and verdict == REPRODUCED:
        verdict = PARTLY
    reason = said if verdict == REPRODUCED or not why else f"{said}; {why}"
    return Claim(name, statement, rule, verdict, **sides, reason=reason, numbers=numbers)


def above(name: str, statement: str, ours: Sample, **more: Any) -> Claim:
    """Is a quantity, usually a difference paired by seed, above a limit?

    Reproduced if the 95% interval over seeds is; partly if the mean is but the interval is not; else not reproduced.

    Args:
        more: limit, 0 by default; paper, its side as text; unit; digits; why, our explanation where it is not reproduced.

    Example:
        >>> above("t/x", "rises", Sample((2.0, 2.5, 3.0)), paper="rises").verdict
        'reproduced'
        >>> above("t/x", "rises", Sample((-2.0, -2.5, -3.0)), paper="rises").verdict
        'not reproduced'
    """
    return _beyond(name, statement, ours, 1.0, **more)


def below(name: str, statement: str, ours: Sample, **more: Any) -> Claim:
    """Is a quantity below a limit? As `above`.

    >>> below("t/x", "falls", Sample((-2.0, -2.5, -3.0)), paper="falls").verdict
    'reproduced'
    """
    return _beyond(name, statement, ours, -1.0, **more)


def _beyond(
    name: str, statement: str, ours: Sample, sign: float, *, paper: str, limit: float = 0.0, unit: str = " points",
    why: str = "", digits: int = 2,
) -> Claim:  # fmt: skip
    side = "above" if sign > 0 else "below"
    rule = f"95% interval over seeds {side} {limit:g}; only the mean {side} it: partly"
    sides = {"paper": paper, "ours": shown(ours, unit, digits)}
    if ours.n < MIN_SEEDS:
        return Claim(name, statement, rule, UNTESTED, **sides, reason=_few(ours.n), numbers=ours.to_dict())
    ends = ours.interval
    worst_end = min(sign * (end - limit) for end in ends)
    verdict = REPRODUCED if worst_end > 0 else PARTLY if sign * (ours.mean - limit) > 0 else NOT_REPRODUCED
    reason = f"95% interval [{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]"
    reason = reason if verdict == REPRODUCED or not why else f"{reason}; {why}"
    numbers = {**ours.to_dict(), "interval": list(ends), "limit": limit}
    return Claim(name, statement, rule, verdict, **sides, reason=reason, numbers=numbers)


def holds(
    name: str, statement: str, checks: Mapping[str, bool], *, paper: str, ours: str, rule: str, why: str = ""
) -> Claim:
    """Is every one of several exact checks true? Some but not all is partly; no check is no test.

    Example:
        >>> holds("t/x", "", {"a": True, "b": False}, paper="", ours="", rule="all").verdict
        'partly'
    """
    n, true = len(checks), sum(bool(v) for v in checks.values())
    failed = [k for k, v in checks.items() if not v]
    verdict = UNTESTED if not n else REPRODUCED if true == n else PARTLY if true else NOT_REPRODUCED
    reason = f"{true} of {n} checks hold" if n else "nothing was measured"
    reason += f" (not: {', '.join(failed[:6])})" if failed else ""
    reason = reason if verdict == REPRODUCED or not why else f"{reason}; {why}"
    return Claim(name, statement, rule, verdict, paper, ours, reason, {"checks": dict(checks)})


def untested(name: str, statement: str, *, paper: str, ours: str, why: str) -> Claim:
    """A claim that this scale cannot judge, with the reason."""
    return Claim(name, statement, "none at this scale", UNTESTED, paper, ours, why)


def unjudged(claims: Sequence[Claim], why: str) -> list[Claim]:
    """The same claims with their numbers, none of them judged: for scales whose data stand in for the paper's.

    >>> unjudged([above("t/x", "", Sample((1.0, 2.0, 3.0)), paper="")], "stand-in data")[0].verdict
    'cannot be tested at this scale'
    """
    return [Claim(**{**vars(c), "verdict": UNTESTED, "reason": why}) for c in claims]


def worst(claims: Sequence[Claim]) -> Ruling:
    """The label of an artifact: the first of `WORST_FIRST` that occurs; untested claims count only alone.

    >>> worst([untested("a", "", paper="", ours="", why=""), Claim("b", "", "", "reproduced", "", "", "")])
    'reproduced'
    """
    found = {c.verdict for c in claims}
    for ruling in WORST_FIRST:
        if ruling in found:
            return ruling
    return UNTESTED


def _few(n: int) -> str:
    return f"{n} seed{'s' if n != 1 else ''}: a spread needs {MIN_SEEDS} or more"
