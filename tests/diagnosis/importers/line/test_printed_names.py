"""What the name of a printed number leaves out."""

from cgro.diagnosis.importers.line.printed_names import completed, measure_in, relevant, with_measure


def test_a_measure_comes_from_the_words_before_the_colon_or_from_the_name_before() -> None:
    assert with_measure("clean", "error", "") == "error clean"
    assert with_measure("clean time", "error", "") == "clean time"
    assert with_measure("Test", "", "Standard Accuracy-\tTrain") == "Standard Accuracy Test"
    assert with_measure("pgd", "", "test acc") == "pgd"
    assert measure_in("Test error") == "error"
    assert measure_in("Test loss") == measure_in("loss and error") == ""


def test_a_name_takes_what_it_lacks() -> None:
    assert completed("acc", "test pgd", "") == "pgd test acc"
    assert completed("train acc", "", "test") == "train acc"
    assert relevant("Robust model on the test set") == "robust model test"


def test_another_attack_takes_the_place_of_that_of_the_name_before() -> None:
    assert with_measure("PGD-50", "", "test PGD-10 acc") == "test acc PGD-50"
    assert with_measure("eps=4/255", "", "test adv acc eps=2/255") == "test adv acc eps=4/255"
    assert with_measure("L2", "", "robust acc Linf") == "robust acc L2"
    assert with_measure("clean", "", "test PGD acc") == "test acc clean"
    for own, last in (
        ("AA", "test robust acc"),
        ("l2", "robust acc"),
        ("eps", "adv acc eps 2"),
        ("PGD", "PGD-10 loss"),
        ("norm", "linf adv acc"),
        ("linf", "linf adv acc"),
        ("pgd", "test pgd acc"),
    ):
        assert with_measure(own, "", last) == own
    assert with_measure("eps 2", "acc", "") == "acc eps 2"
    assert with_measure("eps 2", "acc", "robust acc") == "eps 2"
