"""A claim of the paper beside what was measured: the rules that lead to a verdict. Numbers in, plain values out.

Spread over seeds is the only source of tolerance: a rule that needs more seeds than there are says so and judges
nothing.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from cgro.report.artifacts import NO_RULE
from cgro.results import ClaimRecord, Measured

Ruling = Literal[
    "reproduced", "derived", "partly", "cannot be told", "not reproduced", "cannot be tested at this scale"
]
REPRODUCED: Ruling = "reproduced"
DERIVED: Ruling = "derived"
"""It follows from our own derivation, evaluated: nothing that was measured could have contradicted it."""
PARTLY: Ruling = "partly"
UNDECIDED: Ruling = "cannot be told"
"""The limit lies inside the 95% interval, and the mean is not on the claimed side."""
NOT_REPRODUCED: Ruling = "not reproduced"
UNTESTED: Ruling = "cannot be tested at this scale"
WORST_FIRST: tuple[Ruling, ...] = (NOT_REPRODUCED, UNDECIDED, PARTLY, DERIVED, REPRODUCED, UNTESTED)
MIN_SEEDS = 3
"""Seeds below which a spread is not estimated."""
WIDEST = 10.0
"""Percentage points: a tolerance above this could not tell the paper's value from another, so nothing is judged by it.
No source."""
SHOWN_FAILURES = 6
"""Checks that failed, of those that a reason names. A choice."""


@dataclass(frozen=True)
class Claim:
    """What the paper says, what we found, and the verdict with the rule that led to it.

    Args:
        name: artifact/claim.
        statement: the paper's, in our words.
        rule: how the verdict comes about.
        verdict: one of six.
        paper: the paper's side, as it stands in tables.
        ours: our side, as it stands in tables.
        reason: why this verdict, and our explanation of a disagreement.
        numbers: plain values behind `ours`.
    """

    name: str
    statement: str
    rule: str
    verdict: Ruling
    paper: str
    ours: str
    reason: str
    numbers: Mapping[str, object] = field(default_factory=dict)

    def record(self) -> ClaimRecord:
        """The claim as a summary holds it.

        Returns:
            The same values.
        """
        return ClaimRecord(**{f.name: getattr(self, f.name) for f in dataclasses.fields(self)})


@dataclass(frozen=True)
class Statement:
    """A claim before anything is measured.

    Args:
        name: artifact/claim.
        text: what the paper says, in our words.
        paper: its side, as it stands in tables.
        why: our explanation, said where the verdict is not `reproduced`, nor left open by an interval.
    """

    name: str
    text: str
    paper: str = ""
    why: str = ""

    def judged(
        self, verdict: Ruling, reason: str, *, rule: str, ours: str, numbers: Mapping[str, object] | None = None
    ) -> Claim:
        """The claim with a verdict.

        Args:
            verdict: one of six.
            reason: why this one.
            rule: how it comes about.
            ours: our side, as it stands in tables.
            numbers: plain values behind `ours`.

        Returns:
            The claim.
        """
        return Claim(self.name, self.text, rule, verdict, self.paper, ours, reason, numbers or {})

    def explained(self, verdict: Ruling, reason: str) -> str:
        """A reason with our explanation where a claim is not reproduced.

        Args:
            verdict: of the claim.
            reason: what led to it.

        Returns:
            Both, or the reason alone.
        """
        if verdict == REPRODUCED or not self.why:
            return reason
        return f"{reason}; {self.why}"


def numbers_of(ours: Measured) -> dict[str, object]:
    """The plain values behind one quantity.

    Args:
        ours: over seeds.

    Returns:
        Mean, standard deviation, seeds and values.
    """
    return {"mean": ours.mean, "sd": ours.sd, "n": ours.n, "per_seed": list(ours.values)}


def value(
    said: Statement,
    paper: float,
    ours: Measured,
    *,
    unit: str = "%",
    resolution: float = 0.05,
    noise: float = 0.0,
    calibrated: bool = False,
) -> Claim:
    """Does the paper's single number look like one more seed of ours?

    The tolerance is the 95% prediction interval of one further run, t sd sqrt(1 + 1/n), with the paper's rounding and
    the paper's own sampling noise added in quadrature: inside is reproduced, within twice it partly, beyond not
    reproduced.

    Args:
        said: the claim; its side in tables is made from the number.
        paper: its number, in units of ours.
        ours: over seeds.
        unit: written behind numbers.
        resolution: half of the last printed digit.
        noise: 95% half-width of the paper's finite test set.
        calibrated: settings were fitted to this very number, so agreement is at most `partly`.

    Returns:
        The claim with its verdict.

    Example:
        >>> value(Statement("t/x", ""), 98.5, Measured((98.0, 98.6, 99.1))).verdict
        'reproduced'
        >>> value(Statement("t/x", ""), 60.0, Measured((98.0, 98.6, 99.1))).verdict
        'not reproduced'
    """
    rule = "the paper's value lies in the 95% prediction interval of one more seed; within twice its width: partly"
    said = dataclasses.replace(said, paper=f"{paper:g}{unit}")
    shown = ours.text(unit)
    if ours.n < MIN_SEEDS:
        return said.judged(UNTESTED, _few(ours.n), rule=rule, ours=shown, numbers=numbers_of(ours))
    spread = ours.t * ours.sd * math.sqrt(1 + 1 / ours.n)
    tolerance = math.hypot(spread, resolution, noise)
    difference = ours.mean - paper
    verdict = by_distance(abs(difference), tolerance)
    reason = f"off by {abs(difference):.2f}, tolerance {tolerance:.2f}"
    if tolerance > WIDEST and verdict != NOT_REPRODUCED:
        verdict = UNDECIDED
        reason = f"seeds differ too much to tell: tolerance {tolerance:.1f} exceeds {WIDEST:g}"
    elif calibrated and verdict == REPRODUCED:
        verdict = PARTLY
    numbers = {**numbers_of(ours), "tolerance": tolerance, "difference": difference}
    return said.judged(verdict, said.explained(verdict, reason), rule=rule, ours=shown, numbers=numbers)


def by_distance(off: float, tolerance: float) -> Ruling:
    """The verdict on a number beside a predicted one.

    Args:
        off: their distance.
        tolerance: the largest that counts as none; up to twice as far is partly.

    Returns:
        The verdict.
    """
    if off <= tolerance:
        return REPRODUCED
    if off <= 2 * tolerance:
        return PARTLY
    return NOT_REPRODUCED


def above(said: Statement, ours: Measured, *, limit: float = 0.0, unit: str = " points", digits: int = 2) -> Claim:
    """Is a quantity, usually a difference paired by seed, above a limit?

    Reproduced if the 95% interval over seeds is, not reproduced if it lies below the limit. Where the interval contains
    the limit: partly if the mean is above it, else it cannot be told.

    Args:
        said: the claim.
        ours: over seeds.
        limit: in units of ours.
        unit: written behind numbers.
        digits: of numbers.

    Returns:
        The claim with its verdict.

    Example:
        >>> above(Statement("t/x", "rises"), Measured((2.0, 2.5, 3.0))).verdict
        'reproduced'
        >>> above(Statement("t/x", "rises"), Measured((-2.0, -2.5, -3.0))).verdict
        'not reproduced'
        >>> above(Statement("t/x", "rises"), Measured((1.0, -2.0, -1.0))).verdict
        'cannot be told'
    """
    rule = f"95% interval over seeds above {limit:g}; only the mean above it: partly; all of it below: not reproduced"
    low, high = ours.interval
    distances = (low - limit, ours.mean - limit, high - limit)
    excluded = f"above {high:.{digits}f}{unit}"
    return _one_sided(said, ours, rule, distances=distances, limit=limit, written=(unit, digits), excluded=excluded)


def below(said: Statement, ours: Measured, *, limit: float = 0.0, unit: str = " points", digits: int = 2) -> Claim:
    """Is a quantity below a limit? As `above`.

    Args:
        said: the claim.
        ours: over seeds.
        limit: in units of ours.
        unit: written behind numbers.
        digits: of numbers.

    Returns:
        The claim with its verdict.

    Example:
        >>> below(Statement("t/x", "falls"), Measured((-2.0, -2.5, -3.0))).verdict
        'reproduced'
    """
    rule = f"95% interval over seeds below {limit:g}; only the mean below it: partly; all of it above: not reproduced"
    low, high = ours.interval
    distances = (limit - high, limit - ours.mean, limit - low)
    excluded = f"below {low:.{digits}f}{unit}"
    return _one_sided(said, ours, rule, distances=distances, limit=limit, written=(unit, digits), excluded=excluded)


def _one_sided(
    said: Statement,
    ours: Measured,
    rule: str,
    *,
    distances: tuple[float, float, float],
    limit: float,
    written: tuple[str, int],
    excluded: str,
) -> Claim:
    """The verdict on one side of a limit.

    `distances` are those of the interval's end that is worst for the claim, of the mean and of the other end, positive
    on the claimed side; `excluded` are the values that an interval around the limit still excludes.
    """
    unit, digits = written
    shown = ours.text(unit, digits)
    if ours.n < MIN_SEEDS:
        return said.judged(UNTESTED, _few(ours.n), rule=rule, ours=shown, numbers=numbers_of(ours))
    verdict = by_interval(*distances)
    low, high = ours.interval
    reason = f"95% interval [{low:.{digits}f}, {high:.{digits}f}]"
    if verdict == UNDECIDED:  # no disagreement was found that our explanation could explain
        reason += f" contains the limit {limit:g}; excluded are values {excluded}"
    else:
        reason = said.explained(verdict, reason)
    numbers = {**numbers_of(ours), "interval": [low, high], "limit": limit}
    return said.judged(verdict, reason, rule=rule, ours=shown, numbers=numbers)


def by_interval(worst_end: float, mean: float, best_end: float) -> Ruling:
    """The verdict on a number beside a limit, by distances from it that are positive on the claimed side.

    Args:
        worst_end: of the end of its interval that speaks most against the claim.
        mean: of the number itself.
        best_end: of the other end.

    Returns:
        The verdict.
    """
    if worst_end > 0:
        return REPRODUCED
    if mean > 0:
        return PARTLY
    if best_end <= 0:
        return NOT_REPRODUCED
    return UNDECIDED


def holds(said: Statement, checks: Mapping[str, bool], *, ours: str, rule: str) -> Claim:
    """Is every one of several exact checks true? Some but not all is partly; no check is no test.

    Args:
        said: the claim.
        checks: what is checked -> whether it holds.
        ours: our side, as it stands in tables.
        rule: what is checked, in words.

    Returns:
        The claim with its verdict.

    Example:
        >>> holds(Statement("t/x", ""), {"a": True, "b": False}, ours="", rule="all").verdict
        'partly'
    """
    failed = [name for name, right in checks.items() if not right]
    n_true = len(checks) - len(failed)
    verdict = _by_count(n_true, len(checks))
    reason = "nothing was measured"
    if checks:
        reason = f"{n_true} of {len(checks)} checks hold"
    if failed:
        reason += f" (not: {', '.join(failed[:SHOWN_FAILURES])})"
    reason = said.explained(verdict, reason)
    return said.judged(verdict, reason, rule=rule, ours=ours, numbers={"checks": dict(checks)})


def _by_count(n_true: int, n: int) -> Ruling:
    if n == 0:
        return UNTESTED
    if n_true == n:
        return REPRODUCED
    if n_true > 0:
        return PARTLY
    return NOT_REPRODUCED


def untested(said: Statement, *, ours: str) -> Claim:
    """The claim when this scale cannot judge it.

    Args:
        said: the claim; its `why` is the reason.
        ours: our side, as it stands in tables.

    Returns:
        The claim without a judgment.
    """
    return said.judged(UNTESTED, said.why, rule=NO_RULE, ours=ours)


def derived(claim: Claim, why: str) -> Claim:
    """The same claim where it follows from a derivation: what is reproduced by evaluating it was not measured.

    Args:
        claim: with a verdict.
        why: what it follows from, said after its reason.

    Returns:
        It as `derived` if it was `reproduced`; else as it is, since an evaluation that fails does refute it.

    Example:
        >>> derived(above(Statement("t/x", ""), Measured((1.0, 1.1, 0.9))), "by Taylor").verdict
        'derived'
    """
    if claim.verdict != REPRODUCED:
        return claim
    return dataclasses.replace(claim, verdict=DERIVED, reason=f"{claim.reason}; {why}")


def limited(claim: Claim, why: str) -> Claim:
    """The same claim where its reading says less than the claim: `partly` is the most that it can earn.

    Args:
        claim: with a verdict.
        why: what the reading leaves open, said after its reason.

    Returns:
        It as `partly` if it was `reproduced`; else as it is.

    Example:
        >>> limited(above(Statement("t/x", ""), Measured((1.0, 1.1, 0.9))), "ties").verdict
        'partly'
    """
    if claim.verdict != REPRODUCED:
        return claim
    return dataclasses.replace(claim, verdict=PARTLY, reason=f"{claim.reason}; {why}")


def unjudged(claims: Sequence[Claim], why: str) -> list[Claim]:
    """The same claims with their numbers, none of them judged: for scales whose data stand in for the paper's.

    Args:
        claims: with verdicts.
        why: the reason that they get.

    Returns:
        Them without.

    Example:
        >>> unjudged([above(Statement("t/x", ""), Measured((1.0, 2.0, 3.0)))], "stand-in data")[0].verdict
        'cannot be tested at this scale'
    """
    return [dataclasses.replace(claim, verdict=UNTESTED, reason=why) for claim in claims]


def worst(claims: Sequence[Claim]) -> Ruling:
    """The label of an artifact: the first of `WORST_FIRST` that occurs; untested claims count only alone.

    Args:
        claims: of the artifact.

    Returns:
        One of six.

    Example:
        >>> worst([untested(Statement("a", ""), ours=""), Claim("b", "", "", "reproduced", "", "", "")])
        'reproduced'
    """
    found = {claim.verdict for claim in claims}
    for ruling in WORST_FIRST:
        if ruling in found:
            return ruling
    return UNTESTED


def _few(n: int) -> str:
    seeds = "seed" if n == 1 else "seeds"
    return f"{n} {seeds}: a spread needs {MIN_SEEDS} or more"
