"""Which option is proposed for columns that are not understood."""

import shlex

import pytest
from tests.cases import refused

from cgro.diagnosis.importers import Told, parse_map
from cgro.diagnosis.importers.table.doubts import require_understood
from cgro.diagnosis.importers.table.layout import layout_of


def layout(*names: str, columns: str = ""):
    return layout_of(names, Told.of(parse_map(columns)), "x")


def test_of_several_attacks_the_strongest_is_proposed_with_the_clean_column_beside_it() -> None:
    names = ("epoch", "FGSM Acc", "AA Acc", "PGD-20 Acc", "Clean Acc")
    text = refused(lambda: require_understood(layout(*names), names, "x", standard=False), "'AA Acc'")
    assert "--map 'robust_accuracy/test=AA Acc,clean_accuracy/test=Clean Acc'" in text
    names = ("epoch", "test_acc_eps0", "test_acc_eps4", "test_acc_eps8")
    refused(lambda: require_understood(layout(*names), names, "x", standard=False), "=test_acc_eps8")
    refused(lambda: layout("epoch", "test_fgsm_acc", "test_pgd10_acc", "test_pgd50_acc"), "test=test_pgd50_acc")
    names = ("epoch", "robust", "robust acc after AA")
    text = refused(lambda: require_understood(layout(*names), names, "x", standard=False), "'robust'")
    assert "clean" not in text


def test_a_table_needs_an_epoch_and_an_error() -> None:
    for names, said in (
        (("a", "b"), "epoch=COLUMN"),
        (("step", "test_acc"), "epoch=step"),
        (("epoch", "loss"), "no column"),
    ):
        refused(lambda names=names: require_understood(layout(*names), names, "x", standard=False), said)
    require_understood(layout("test_acc"), ["test_acc"], "x", standard=False)  # rows can be numbered
    require_understood(layout("epoch", "some_acc"), ["epoch", "some_acc"], "x", standard=True)


def test_the_doubtful_column_that_says_robust_is_asked_for_first() -> None:
    for names in (["epoch", "accuracy", "robust_accuracy"], ["epoch", "adv_train acc x", "accuracy", "pgd_accuracy"]):
        found = layout(*names)
        refused(lambda found=found, names=names: require_understood(found, names, "x", standard=False), names[-1] + "'")


def test_columns_with_few_values_are_not_proposed() -> None:
    """The strongest attack is often measured at the end only: mapped, its curve would be a point."""
    names = ("epoch", "test_pgd_acc", "test_aa_acc")
    rows = [{"epoch": e, "test_pgd_acc": "45.2%", "test_aa_acc": "40.1%" if e == 9 else ""} for e in range(10)]
    for empty in ("", "-1", "nan", None):
        for row in rows[:9]:
            row["test_aa_acc"] = empty
        refused(lambda: layout_of(names, Told({}), "x", rows=lambda: rows), "=test_pgd_acc")
    rows = [{"epoch": e, "test_pgd_acc": 0.45, "test_aa_acc": 0.4} for e in range(10)]
    refused(lambda: layout_of(names, Told({}), "x", rows=lambda: rows), "=test_aa_acc")
    names = ("epoch", "test_pgd50", "test_aa")
    sparse = [{"epoch": e, "test_pgd50": 0.45, "test_aa": None} for e in range(10)]
    found = layout(*names)
    refused(lambda: require_understood(found, names, "x", standard=False, rows=lambda: sparse), "=test_pgd50")
    refused(lambda: require_understood(found, names, "x", standard=False), "=test_aa")


def test_the_option_names_the_columns_of_training_beside_those_of_the_test() -> None:
    names = ("epoch", "Train clean", "Train adv", "Test clean", "Test adv")
    text = refused(lambda: require_understood(layout(*names), names, "x", standard=False), "alike")
    (option,) = shlex.split(text.rpartition("--map ")[2])
    found = layout(*names, columns=option)
    assert {name: meaning.told for name, meaning in found.used.items() if name != "epoch"} == {
        "Test adv": "robust_accuracy/test", "Test clean": "clean_accuracy/test",
        "Train clean": "clean_accuracy/train", "Train adv": "robust_accuracy/train",
    }  # fmt: skip
    names = ("epoch", "Train pgd", "Train aa", "Test clean", "Test adv")  # which of them is not known
    assert "alike" not in refused(lambda: require_understood(layout(*names), names, "x", standard=False))


def asked(*names: str) -> str:
    found = layout(*names)
    return refused(lambda: require_understood(found, names, "x", standard=False), "is not understood")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (
            ("epoch", "train_loss", "valid_loss", "accuracy", "adv_accuracy"),
            "add --map robust_accuracy/validation=adv_a",
        ),
        (("epoch", "Validation accuracy", "PGD accuracy"), "add --map 'robust_accuracy/validation=PGD accuracy'"),
        (("epoch", "train_loss", "dev_loss", "robust_error"), "add --map robust_error/validation=robust_error"),
        (
            ("epoch", "trn_acc", "adv_acc"),
            "CURVE=adv_acc, where CURVE is robust_accuracy/test or robust_accuracy/train",
        ),
        (("epoch", "val_acc", "test_acc", "PGD acc"), "is robust_accuracy/test or robust_accuracy/validation"),
        (("epoch", "Natural Test Acc", "Valid_acc", "PGD10 Acc"), "add --map 'robust_accuracy/test=PGD10 Acc'"),
        (("epoch", "accuracy", "robust_accuracy"), "add --map robust_accuracy/test=robust_accuracy"),
    ],
)
def test_the_part_that_a_name_lacks_is_that_of_the_names_beside_it(names: tuple[str, ...], says: str) -> None:
    """The test set was proposed, whatever they said."""
    assert says in asked(*names)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (
            ("epoch", "val_acc/loader_0", "val_acc/loader_1"),
            "is clean_accuracy/validation or robust_accuracy/validation",
        ),
        (("epoch", "test_foo_acc", "test_bar_acc"), "CURVE=test_foo_acc, where CURVE is clean_accuracy/test or robust"),
        (("epoch", "test_foo_err", "test_bar_err"), "where CURVE is clean_error/test or robust_error/test"),
        (("epoch", "test_acc_eps4", "test_acc_eps8"), "add --map robust_accuracy/test=test_acc_eps8"),
        (("epoch", "test_acc", "test_foo_acc", "test_bar_acc"), "add --map robust_accuracy/test=test_foo_acc"),
        (("epoch", "test_foo_acc"), "add --map robust_accuracy/test=test_foo_acc"),
        (
            ("epoch", "test robust model clean acc", "test robust model adv acc"),
            "add --map 'robust_accuracy/test=test robust model adv acc'",
        ),
    ],
)
def test_of_two_names_that_say_neither_clean_nor_robust_none_is_proposed(names: tuple[str, ...], says: str) -> None:
    """One of them is clean, unless another column is."""
    assert says in asked(*names)
