"""What a check of the lint says."""

import pytest
from scipy.stats import binomtest

from cgro.definitions import PGD, Square, ThreatModel
from cgro.diagnosis.findings import MISSED, SIGNIFICANT, TEXTS, check, left_for_queries, masked, missed_by_masking


def test_only_a_warning_can_be_a_sign_of_masking() -> None:
    passed, failed = (check("transfer", ok, "0 of 9", masking=True) for ok in (True, False))
    assert (passed.status, passed.masking) == ("PASS", False)
    assert (failed.status, failed.masking) == ("WARN", True)
    assert masked([passed, failed])
    assert not masked([passed, check("radius", False, "8")])


def test_every_check_has_a_meaning_and_something_to_do() -> None:
    for name, (meaning, remedy) in TEXTS.items():
        found = check(name, False, "x").to_dict()
        assert found["meaning"] == meaning.strip()
        assert meaning.endswith(".")
        assert not remedy.endswith(".")


@pytest.mark.parametrize(
    ("pgd", "square", "warns"), [(2, 8, True), (0, 1, False), (0, 2, True), (30, 2, False), (0, 0, False)]
)
def test_an_ensemble_tells_what_gradients_left_for_queries(pgd: int, square: int, warns: bool) -> None:
    """Planted: a network whose backward pass has the wrong sign, of which an ensemble said nothing."""
    threat = ThreatModel("inf", 0.1)
    together = PGD(threat, n_steps=2), Square(threat, n_queries=3)
    counts = {"clean": 90, "given": 50, "pgd2": pgd, "square": square}
    found = left_for_queries(together, counts)
    assert masked(found) == bool(found) == warns
    for one in found:
        assert f"break {square} that" in one.finding
    assert left_for_queries(together[1:], counts) == []
    assert left_for_queries(together[::-1], counts) == [], "queries that come first take what gradients would find"


@pytest.mark.parametrize(("n_missed", "most_found"), [(2, 5), (3, 19), (4, 38)])
def test_the_boundary_of_masking(n_missed: int, most_found: int) -> None:
    """By hand for two: 1 - 0.98^7 - 7 * 0.02 * 0.98^6 = 0.0079 and 1 - 0.98^8 - 8 * 0.02 * 0.98^7 = 0.0103."""
    assert missed_by_masking(n_missed, most_found)
    assert not missed_by_masking(n_missed, most_found + 1)


def test_masking_is_the_exact_binomial_test() -> None:
    for n_missed in range(1, 12):
        for n_found in range(0, 130, 3):
            p = binomtest(n_missed, n_missed + n_found, MISSED, alternative="greater").pvalue
            assert missed_by_masking(n_missed, n_found) == (p <= SIGNIFICANT)
    assert not missed_by_masking(0, 0)
    assert not missed_by_masking(0, 80)


@pytest.mark.parametrize(("n_missed", "expected"), [(1000, False), (1080, True), (40_000, True)])
def test_masking_of_very_many_examples(n_missed: int, expected: bool) -> None:
    # 2% of 50,000 are 1,000, with a standard deviation of 31; the binomial coefficients have thousands of digits.
    assert missed_by_masking(n_missed, 50_000 - n_missed) == expected
