"""Which column is what, without any numbers."""

import shlex

import pytest
from tests.cases import refused

from cgro._check import BadRequest
from cgro.diagnosis.importers import Told, parse_map
from cgro.diagnosis.importers.table.layout import layout_of


def layout(*names: str, columns: str = ""):
    return layout_of(names, Told.of(parse_map(columns)), "x")


def test_what_the_caller_says_goes_before_what_the_names_say() -> None:
    found = layout("epoch", "test_acc", "b", columns="clean_accuracy/test=b")
    assert {name: meaning.told for name, meaning in found.used.items()} == {
        "b": "clean_accuracy/test",
        "epoch": "epoch",
    }


def test_eval_beside_test_is_validation_and_alone_the_test_set() -> None:
    found = layout("epoch", "test_acc", "eval_adv_acc", "eval/loss")
    assert found.used["eval_adv_acc"].told == "robust_accuracy/validation"
    assert found.evals == ("eval_adv_acc",)
    assert layout("epoch", "eval_acc", "eval_adv_acc").used["eval_adv_acc"].told == "robust_accuracy/test"
    for names in (("test_acc", "eval_acc", "val_acc"), ("test_acc", "eval/test_adv_acc")):
        assert not _evals_of(*names)
    found = layout("epoch", "test_acc", "eval_adv_acc", columns="robust_accuracy/test=eval_adv_acc")
    assert (found.used["eval_adv_acc"].told, found.evals) == ("robust_accuracy/test", ())


def _evals_of(*names: str) -> tuple[str, ...]:
    try:
        return layout("epoch", *names).evals
    except BadRequest:  # two columns of one meaning
        return ()


def test_groups_steps_and_runs() -> None:
    found = layout("Seed", "epoch", "global_step", "myrun/test_acc")
    assert (found.group, found.steps, found.run) == ("Seed", True, "myrun")
    assert layout("epoch", "test_acc").group is None


@pytest.mark.parametrize(
    "names",
    [
        ["epoch", "trades - test_acc", "awp run - test_adv_acc"],
        ["epoch", "a1 - test_adv_acc", "b2 - test_adv_acc"],
        ["epoch", "a1 - test_acc", "a1 - test_adv_acc", "b2 - val_adv_acc"],
    ],
)
def test_columns_of_several_runs_are_not_put_together(names: list[str]) -> None:
    text = refused(lambda: layout(*names), "the names of several runs", "choose one, as with")
    option = shlex.split(text.partition("--map ")[2])[0]
    found = layout(*names, columns=option)
    run = option.partition("=")[2].partition(" - ")[0]
    assert all(name.startswith(run) for name in found.used if name != "epoch")


def test_columns_of_one_run_are() -> None:
    found = layout("run 3 - test_acc", "run 3 - test_adv_acc", "epoch")
    assert len(found.used) == 3
    assert found.run == "run 3"


@pytest.mark.parametrize("last", [("44.2", "", ""), ("", "", "44.2"), ("44.2", "45.0", "44.1")])
def test_one_value_behind_the_last_epoch_is_a_summary(last: tuple[str, ...]) -> None:
    names = ("epoch", "test adv acc", "test/adv_acc")
    rows = [{"epoch": e, "test adv acc": 40.5 + e, "test/adv_acc": value} for e, value in enumerate(last)]
    if last[0]:  # one of the first epoch, or a whole column
        refused(lambda: layout_of(names, Told({}), "x", rows=lambda: rows), "both look like robust_accuracy/test")
        return
    found = layout_of(names, Told({}), "x", rows=lambda: rows)
    assert found.summaries == ("test/adv_acc",)
    assert "test/adv_acc" not in found.used
    told = Told.of({"robust_accuracy/test": "test/adv_acc"})
    assert layout_of(names, told, "x", rows=lambda: rows).summaries == ()
