"""What helps: an entry for every label there is."""

import typing

from cgro.definitions import Label
from cgro.diagnosis.remedies import REMEDIES, remedies_for


def test_every_label_has_an_entry_and_all_but_one_a_remedy() -> None:
    assert set(REMEDIES) == set(typing.get_args(Label))
    assert [label for label, texts in REMEDIES.items() if not texts] == ["robust"]


def test_regularized_training_is_not_told_to_take_a_larger_network_first() -> None:
    assert "regularized on purpose" in remedies_for("underfitting")[0]
    assert "larger network" in remedies_for("underfitting")[1]


def test_a_larger_network_is_advised_only_where_it_may_be_too_small() -> None:
    assert not any("larger network" in text for text in remedies_for("underfitting", too_small=False))
    assert len(remedies_for("underfitting", too_small=False)) == len(REMEDIES["underfitting"]) - 1


def test_a_second_label_adds_its_first_sentence() -> None:
    found = remedies_for("robust_overfitting", also="clean_overfitting")
    assert found == (*REMEDIES["robust_overfitting"], REMEDIES["clean_overfitting"][0])
