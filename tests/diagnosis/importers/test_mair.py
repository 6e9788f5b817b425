"""MAIR's table of fixed width: which attack is taken, and its other columns."""

import numpy as np
from tests.cases import refused
from tests.diagnosis.formats import ERRORS, RTR, mair

from cgro.diagnosis import Curves
from cgro.diagnosis.importers import Told
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.mair import Mair


def read(text: str) -> Curves:
    (found,) = Mair().read(Text(text, "x"), Told({}))
    return found


def test_without_pgd_fgsm_is_the_attack() -> None:
    text = mair().replace("PGD(Tr)", "Any(Tr)")
    found = read(text)
    assert np.allclose(found["robust_error/train"], ERRORS[RTR] - 0.03, atol=1e-6)
    by_curve = {column.curve: column for column in found.columns}
    assert by_curve["robust_error/train"].attack == "fgsm"
    assert by_curve["robust_error/validation"].attack == "pgd"


def test_percent_is_known_even_where_all_values_are_small() -> None:
    """Catastrophic overfitting from the start: accuracies of 0.3% are no fractions."""
    lines = ["Epoch   Clean(Val)   PGD(Val)", "=" * 30, *(f"{e}   0.9000   0.{e}000" for e in range(1, 9))]
    found = read("\n".join(lines))
    assert np.allclose(found["robust_error/validation"], 1 - np.arange(1, 9) / 1000)


def test_standard_training_and_a_header_without_rows() -> None:
    assert read(mair().replace("[AT]", "[Standard]")).standard
    refused(lambda: read("Epoch   Clean(Val)   PGD(Val)\n=====\n"), "rows of numbers under the header")
