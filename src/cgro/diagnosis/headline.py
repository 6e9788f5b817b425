"""The headline of a verdict beside the evaluation lint: a fault of the evaluation stands before one of the model."""

from collections.abc import Sequence
from dataclasses import replace

from cgro.definitions import Label, Verdict
from cgro.diagnosis.findings import Check, as_advice, fault_sentence, faults, masked
from cgro.diagnosis.remedies import remedies_for
from cgro.diagnosis.verdict import Diagnosis

EXPLAINED: tuple[Label, ...] = ("collapsed", "underfitting")
"""Labels that say of the model what a fault of the evaluation would look like: high errors on every part."""


def with_lint(found: Diagnosis, checks: Sequence[Check]) -> Diagnosis:
    """Stamp a diagnosis with the lint. What it says of the evaluation stands in the headline.

    Masked gradients overrule a verdict that rests on attacks along them. A fault of the evaluation (`faults`) comes
    first in the reason and in what helps; where it alone may make the errors high, nothing is said of the model.

    Args:
        found: by the numbers alone.
        checks: of the model that they were measured on.

    Returns:
        The diagnosis, with the lint and perhaps with the label `gradient_masking` or `too_little_evidence`.
    """
    found = replace(found, lint=tuple(checks))
    if masked(checks) and found.label != "collapsed":
        overruled = _overruled(found, "gradient_masking", _masking_reason(checks))
        found = replace(overruled, remedies=remedies_for("gradient_masking"))
    elif "errors" not in found.evidence:  # a curve by the attack of a training; the errors of a point are an ensemble's
        weak = [f"{check.name}: {check.finding}" for check in checks if _is_weak(check)]
        found = with_caveats(found, weak)
    wrong = faults(checks)
    if not wrong:
        return found
    first = fault_sentence(wrong)
    if found.label in EXPLAINED:
        return replace(_overruled(found, "too_little_evidence", first), remedies=as_advice(wrong))
    return replace(found, reason=f"{first} {found.reason}", remedies=(*as_advice(wrong), *found.remedies))


def _masking_reason(checks: Sequence[Check]) -> str:
    signs = "; ".join(f"{check.name}: {check.finding}" for check in checks if check.masking)
    return f"Gradient masking: robust errors found along gradients are too low here. {signs}."


def _is_weak(check: Check) -> bool:
    return check.name == "attack strength" and check.status == "WARN"


def _overruled(found: Diagnosis, label: Label, reason: str) -> Diagnosis:
    """Another label, and the one by the numbers alone among the findings."""
    told = f"By the numbers alone it would be {found.label}: {found.reason}"
    return replace(found, label=label, reason=reason, findings=(told, *found.findings))


def with_caveats(found: Diagnosis, caveats: Sequence[str]) -> Diagnosis:
    """Add what makes the numbers doubtful to the end of the headline.

    Args:
        found: a diagnosis.
        caveats: clauses without capital and full stop.

    Returns:
        The diagnosis with them, and with those that it has.
    """
    if not caveats:
        return found
    known = found.evidence.get("caveats") or []
    assert isinstance(known, list)
    if known:
        reason = f"{found.reason.removesuffix('.')}; {'; '.join(caveats)}."
    else:
        reason = f"{found.reason} But {'; '.join(caveats)}."
    return replace(found, reason=reason, evidence={**found.evidence, "caveats": [*known, *caveats]})


def point_with_lint(found: Verdict, checks: Sequence[Check]) -> Verdict:
    """A verdict on one point, with the faults of the evaluation in its headline; see `with_lint`.

    Args:
        found: by the numbers alone.
        checks: of the model that they were measured on.

    Returns:
        The verdict; `gradient_masking` where its robust errors are too low, and `too_little_evidence` instead of a
        label that a fault explains.
    """
    if masked(checks) and found.label not in ("collapsed", "standard_training"):
        told = f"By the numbers alone it would be {found.label}: {found.reason}"
        found = replace(found, label="gradient_masking", reason=f"{_masking_reason(checks)} {told}")
    wrong = faults(checks)
    if not wrong:
        return found
    first = fault_sentence(wrong)
    if found.label not in EXPLAINED:
        return replace(found, reason=f"{first} {found.reason}")
    reason = f"{first} By the numbers alone it would be {found.label}: {found.reason}"
    return replace(found, label="too_little_evidence", reason=reason)
