"""Selection accounting: what each rule reports."""

import pytest

from cgro._check import BadRequest
from cgro.diagnosis import Curves, select


def test_selection_needs_a_robust_test_error() -> None:
    with pytest.raises(BadRequest, match="none of it measured"):
        select(Curves([1], {"clean_error/test": [0.5]}))
