"""What helps: an entry for every label there is."""

import re
import shlex
import typing

import pytest

from cgro._check import BadRequest
from cgro.commands import train
from cgro.commands._common import parse
from cgro.definitions import Label
from cgro.diagnosis.measured_remedies import measured_sentences
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
    alone = remedies_for("robust_overfitting")
    found = remedies_for("robust_overfitting", also="clean_overfitting")
    assert found == (*alone, REMEDIES["clean_overfitting"][0])


def test_what_was_measured_here_stands_behind_what_was_published() -> None:
    """However many comparisons are stored: the sentences of measured_remedies.json are tested where it is read."""
    for label in typing.get_args(Label):
        assert remedies_for(label) == (*REMEDIES[label], *measured_sentences(label))


def commands() -> list[str]:
    """Every command in the sentences, up to the mark that ends it."""
    texts = " | ".join(" | ".join(found) for found in REMEDIES.values())
    return re.findall(r"cgro train (--[^|;,)]*)", texts)


def test_commands_are_ones_that_can_be_run() -> None:
    assert len(commands()) >= 7
    for words in commands():
        config = parse("train", "", train.Config, shlex.split(words.replace(" R", " 0.1")))
        config.recipe()
        config.build_objective()
        config.build_extensions()
    with pytest.raises(BadRequest):
        parse("train", "", train.Config, ["--extension", "no-such"]).build_extensions()


def test_the_first_remedies_of_overfitting_have_a_command() -> None:
    for label in ("robust_overfitting", "cgro"):
        assert all("cgro train --" in text for text in REMEDIES[label][:2])
