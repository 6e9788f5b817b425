"""What the name of a printed number leaves out."""

from cgro.diagnosis.importers.printed_names import completed, measure_in, relevant, with_measure


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
