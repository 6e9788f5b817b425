"""A fault of the evaluation stands before the model's: in the label, in the reason, and in what helps."""

import pytest

from cgro.definitions import Label, Verdict
from cgro.diagnosis.findings import FAULTS, Check, check
from cgro.diagnosis.headline import point_with_lint, with_caveats, with_lint
from cgro.diagnosis.remedies import remedies_for
from cgro.diagnosis.verdict import Diagnosis

NOT_SCALED = check("input range", False, "inputs lie in [0, 0.0039]; only 0.4% of the box [0, 1] is used")
MASKED = check("gradients", False, "zero gradient: 90.0% of the examples", masking=True)
WEAK = check("attack strength", False, "PGD breaks 4 of 128, with APGD on two losses and Square 9")


def found(label: Label, reason: str = "The reason.", **evidence: object) -> Diagnosis:
    return Diagnosis(label, "curve", reason, "adversarial", remedies=remedies_for(label), evidence=evidence)


@pytest.mark.parametrize("label", ["collapsed", "underfitting"])
@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_said_of_the_model_above_a_fault(label: Label, name: str) -> None:
    fault = check(name, False, "clean error 90.0%, but 2.0% on x * 255")
    stamped = with_lint(found(label), [fault])
    assert stamped.label == "too_little_evidence"
    assert stamped.reason.startswith(f"First mend the evaluation ({name}: clean error 90.0%")
    assert stamped.findings[0] == f"By the numbers alone it would be {label}: The reason."
    assert not any("warm the radius up" in text or "larger network" in text for text in stamped.remedies)
    assert fault.remedy[1:] in stamped.remedies[0]


def test_another_label_stays_behind_the_fault() -> None:
    stamped = with_lint(found("cgro"), [NOT_SCALED])
    assert stamped.label == "cgro"
    assert stamped.reason.startswith("First mend the evaluation (input range: ")
    assert stamped.reason.endswith("The reason.")
    assert stamped.remedies[1:] == remedies_for("cgro")


def test_a_fault_stands_before_masked_gradients_too() -> None:
    stamped = with_lint(found("robust"), [NOT_SCALED, MASKED])
    assert stamped.label == "gradient_masking"
    assert stamped.reason.index("input range") < stamped.reason.index("Gradient masking")
    collapsed = with_lint(found("collapsed"), [NOT_SCALED, MASKED])
    assert collapsed.label == "too_little_evidence"


def test_a_lint_without_a_fault_changes_no_verdict() -> None:
    passed = [check(name, True, "as it should be") for name in FAULTS]
    stamped = with_lint(found("collapsed"), passed)
    assert (stamped.label, stamped.reason) == ("collapsed", "The reason.")
    assert point_with_lint(Verdict("collapsed", "The reason.", {}), passed).label == "collapsed"


def test_a_weak_attack_makes_a_curve_doubtful_but_not_errors_by_an_ensemble() -> None:
    assert "But attack strength: PGD breaks 4 of 128" in with_lint(found("robust"), [WEAK]).reason
    assert with_lint(found("robust", errors={}), [WEAK]).reason == "The reason."


def test_caveats_are_added_to_those_that_are_there() -> None:
    once = with_caveats(found("robust"), ["a is doubtful"])
    twice = with_caveats(once, ["b too"])
    assert twice.reason == "The reason. But a is doubtful; b too."
    assert twice.evidence["caveats"] == ["a is doubtful", "b too"]


@pytest.mark.parametrize(
    ("label", "faults", "told"),
    [
        ("collapsed", [NOT_SCALED], "too_little_evidence"),
        ("underfitting", [NOT_SCALED], "too_little_evidence"),
        ("robust", [NOT_SCALED], "robust"),
        ("collapsed", [MASKED], "collapsed"),
        ("standard_training", [MASKED], "standard_training"),
        ("robust", [MASKED], "gradient_masking"),
        ("cgro", [WEAK, MASKED], "gradient_masking"),
        ("underfitting", [NOT_SCALED, MASKED], "gradient_masking"),
    ],
)
def test_a_point_is_stamped_alike(label: Label, faults: list[Check], told: str) -> None:
    stamped = point_with_lint(Verdict(label, "The reason.", {"n": 3}), faults)
    assert stamped.label == told
    assert "The reason." in stamped.reason
    assert stamped.evidence == {"n": 3}
    assert stamped.reason.startswith("First mend") == (NOT_SCALED in faults)
