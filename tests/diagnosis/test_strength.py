"""A stronger attack on fewer examples: when it shows that a robust error is too low, and when it does not."""

import pytest

from cgro.diagnosis.strength import name_of_attack, too_low
from cgro.results import ErrorRate, Metric


def error(wrong: int, n: int, attack: str = "PGD") -> Metric:
    return Metric.of_error(ErrorRate(wrong, n, "lower"), attack)


def metrics(**more: Metric) -> dict[str, Metric]:
    """PGD's 1.5% on 400 test examples, and what else is given under robust_error/test@NAME."""
    plain = error(6, 400)
    found = {"robust_error/test": plain, "robust_error/test@pgd20": plain}
    return found | {
        f"robust_error/test@{name.replace('_at_', '@').replace('_of_', ':')}": m for name, m in more.items()
    }


def test_both_attacks_on_the_same_examples() -> None:
    found = metrics(ensemble=error(8, 100), pgd20_at_beside_of_ensemble=error(4, 100))
    assert too_low(found) == [
        "ensemble finds 8.0% on 100 of these test images, pgd20 4.0% on the same: a robust test error of 1.5% "
        "(n = 400) is too low by a factor of about 2.0"
    ]


@pytest.mark.parametrize(
    ("n_strong", "n_weak", "said"),
    [
        (89, 86, "too low by about 3.0 points"),
        (59, 40, "too low by about 19.0 points"),
        (60, 40, "too low by a factor of about 1.5"),
        (9, 0, "too low"),
    ],
)
def test_of_large_errors_points_are_said(n_strong: int, n_weak: int, said: str) -> None:
    found = metrics(ensemble=error(n_strong, 100), pgd20_at_beside_of_ensemble=error(n_weak, 100))
    assert too_low(found)[0].partition("(n = 400) is ")[2] == said


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"ensemble": error(8, 400)},  # on as many: it is the run's error itself
        {"ensemble": error(2, 100)},  # its interval holds 1.5%
        {"ensemble": error(8, 100), "pgd20_at_beside_of_ensemble": error(7, 100)},  # the first 100 are harder
        {"ensemble_at_inf_of_0.2": error(50, 100)},  # another threat
        {"ensemble_at_selected_on_validation": error(50, 100)},  # another checkpoint
    ],
)
def test_nothing_is_said_where_nothing_is_shown(more: dict[str, Metric]) -> None:
    assert too_low(metrics(**more)) == []


def test_without_a_comparison_the_interval_decides() -> None:
    assert too_low(metrics(apgd=error(8, 100))) == [
        "apgd finds 8.0% on 100 of these test images: a robust test error of 1.5% (n = 400) is too low"
    ]
    # A comparison on other examples is none.
    other = metrics(apgd=error(8, 100), pgd20_at_beside_of_apgd=error(4, 50))
    assert "on the same" not in too_low(other)[0]


def test_each_part_and_each_attack_speaks_for_itself() -> None:
    found = metrics(apgd=error(8, 100), square=error(9, 100))
    found |= {"robust_error/train": error(0, 400), "robust_error/train@apgd": error(9, 100)}
    assert [clause.split(" finds")[0] for clause in too_low(found)] == ["apgd", "apgd", "square"]
    assert "of these training images" in too_low(found)[0]


def test_an_attack_is_known_by_what_it_found() -> None:
    found = metrics(apgd=error(6, 100, "APGD"))
    assert name_of_attack(found, "robust_error/test") == "pgd20"
    assert name_of_attack(found, "robust_error/train") == ""
    found["robust_error/test"] = error(6, 400, "another")
    assert name_of_attack(found, "robust_error/test") == ""
