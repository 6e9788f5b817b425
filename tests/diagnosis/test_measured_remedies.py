"""What was measured with this program, as advice: which findings it answers, what it names, and the file that ships."""

import pytest

from cgro._check import BadRequest
from cgro.definitions import ThreatModel
from cgro.definitions.attacks import attack_by_name
from cgro.diagnosis.measured_remedies import (
    FILE,
    MeasuredComparison,
    MeasuredRemedy,
    MeasuredTable,
    measured_sentences,
    points,
)
from cgro.diagnosis.remedies import PATIENCE, REMEDIES, remedies_for, with_options_of
from cgro.reading import read_json
from cgro.results.reading import read_value
from cgro.training.objectives import MART, TRADES


def remedy(name: str, effect: str, difference: float | None) -> MeasuredRemedy:
    interval = None if difference is None else (difference - 0.01, difference + 0.01)
    return MeasuredRemedy(
        name=name, command=f"cgro train --extension {name}", effect=effect, difference=difference, interval=interval
    )


def table(*remedies: MeasuredRemedy) -> MeasuredTable:
    return MeasuredTable(comparisons=[MeasuredComparison(title="MNIST", setting="lenet", remedies=remedies)])


def test_those_that_help_are_named_the_best_first_and_three_at_most() -> None:
    helping = [remedy(f"r{k}", "helps", -0.01 * k) for k in (2, 5, 3, 4)]
    (text,) = measured_sentences("robust_overfitting", table(*helping, remedy("bad", "harms", 0.2)))
    assert text.index("r5 -5.0 points [-6.0, -4.0]") < text.index("r4 -4.0") < text.index("r3 -3.0")
    assert "r2" not in text
    assert "bad" not in text
    assert text.endswith("Run: cgro train --extension r5; cgro train --extension r4; cgro train --extension r3")


def test_that_nothing_helped_is_said_and_other_findings_are_not_answered() -> None:
    none = table(remedy("a", "only_fits_less", -0.01), remedy("b", "failed", None))
    (text,) = measured_sentences("cgro", none)
    assert text.endswith("no remedy of 2 was shown to lower it.")
    for label in set(REMEDIES) - {"cgro", "robust_overfitting"}:
        assert measured_sentences(label, none) == ()
    assert measured_sentences("cgro", MeasuredTable(comparisons=[])) == ()


def test_a_remedy_without_a_number() -> None:
    assert points(remedy("a", "helps", None)) == "not measured"
    assert points(MeasuredRemedy(name="a", command="", effect="", difference=0.01, interval=None)) == (
        "+1.0 points (one seed)"
    )


def test_the_file_that_ships_is_read_and_stands_behind_the_literature() -> None:
    read_value(read_json(FILE), "", MeasuredTable)
    for label in ("robust_overfitting", "cgro"):
        found = remedies_for(label)
        assert found[: len(REMEDIES[label])] == REMEDIES[label]
        assert found[len(REMEDIES[label]) :] == measured_sentences(label)


@pytest.mark.parametrize("label", ["robust_overfitting", "cgro", "underfitting"])
def test_the_options_of_a_run_stand_in_every_command(label: str) -> None:
    for text in REMEDIES[label]:
        changed = with_options_of(text, "runs/my run")
        assert changed.count("cgro train --config 'runs/my run/config.yaml' --") == text.count("cgro train --")
        assert changed.replace(" --config 'runs/my run/config.yaml'", "") == text


@pytest.mark.parametrize("n_evaluations", [3, 4, 5, 9, 10, 11, 12, 13, 60])
def test_the_patience_that_is_advised_can_stop_such_a_run(n_evaluations: int) -> None:
    """`cgro train` refuses one that cannot: its patience plus one evaluations must lie before the end."""
    (text,) = [text for text in REMEDIES["robust_overfitting"] if "--patience" in text]
    words = with_options_of(text, "runs/a", n_evaluations).split()
    patience = int(words[words.index("--patience") + 1])
    assert 1 <= patience <= PATIENCE
    assert patience + 1 < n_evaluations
    assert (patience == PATIENCE) == (n_evaluations > PATIENCE + 1)


@pytest.mark.parametrize(
    ("attack", "named"), [("pgd7", 0), ("pgd20", 0), ("fgsm", 1), ("pgd2x2", 1), ("apgd", 1), ("mine:attack", 1)]
)
@pytest.mark.parametrize(("objective", "kind"), [("trades", TRADES), ("mart", MART)])
def test_an_objective_that_is_made_of_pgd_is_advised_with_it_to_a_run_of_another_attack(
    objective: str, kind: type[TRADES | MART], attack: str, named: int
) -> None:
    """TRADES refuses FGSM: the three commands that were printed for such a run ended in an error."""
    text = f"Run: cgro train --objective {objective}:beta=6; cgro train --extension awp"
    changed = with_options_of(text, "a", attack=attack)
    assert changed.count("--attack pgd10") == named
    assert changed.endswith("cgro train --config a/config.yaml --extension awp")
    threat = ThreatModel("inf", 0.1)
    kind(attack_by_name("pgd10" if named else attack, threat), beta=6.0)
    if named and ":" not in attack:
        with pytest.raises(BadRequest):
            kind(attack_by_name(attack, threat), beta=6.0)
