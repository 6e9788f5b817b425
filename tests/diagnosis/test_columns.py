"""A column that was read: the sentence for the terminal, and plain values for the summary."""

from cgro.diagnosis.columns import CURVES, ERRORS, LOSSES, Column


def test_names_are_those_of_summaries_and_each_once() -> None:
    assert len(set(CURVES)) == len(CURVES) == 3 + len(ERRORS) + len(LOSSES)
    assert {"clean_error/train", "robust_error/test", "robust_loss/validation"} <= set(CURVES)


def test_sentences() -> None:
    assert Column("lr", "lr", "number").sentence(9) == "lr: column 'lr'"
    fraction = Column("err", "clean_error/train", "error", unit="fraction", n_missing=3, n_nan=2)
    assert fraction.sentence(9) == (
        "clean error, train: column 'err' as a fraction; 3 of 9 epochs without a value (2 NaN)"
    )


def test_a_column_survives_the_summary() -> None:
    column = Column("pgd", "robust_error/test", "accuracy", "pgd 20", "percent", 1, 1, 7.0)
    assert Column(**column.to_dict()) == column
