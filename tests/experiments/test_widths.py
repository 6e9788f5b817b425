"""Networks that differ in their width: which are compared, and what is read off them."""

from tests.experiments.test_table1 import CIFAR, network

from cgro.experiments.claims import NOT_REPRODUCED, REPRODUCED, UNTESTED
from cgro.experiments.widths import FIXED, evaluated_widths, orders, readings


def test_orders_are_judged_on_warmed_up_networks_only_where_all_widths_have_them() -> None:
    plain = {"1": "a", "4": "b"}
    warm = {"1-warm": "c", "4-warm": "d", "1-sgd-warm": "e", "1-long": "f"}
    assert evaluated_widths(plain | warm) == {1: "c", 4: "d"}
    assert evaluated_widths(plain | {"1-warm": "c"}) == {1: "a", 4: "b"}


def test_a_gap_that_opens_and_closes_and_one_that_only_opens() -> None:
    widths = evaluated_widths(CIFAR)
    rises, opens, closes = readings("t", "cifar10", widths)
    assert [claim.verdict for claim in (rises, opens, closes)] == [REPRODUCED] * 3
    assert "x5" in opens.statement
    opening = {4: network(80, 40, 60, "cifar10"), 8: network(80, 40, 70, "cifar10")}
    *_, closes = readings("t", "cifar10", opening)
    assert closes.verdict == UNTESTED
    assert closes.name == "t/cifar10_closes"


def test_a_gap_that_is_largest_at_the_narrowest_network_does_not_open() -> None:
    shrinking = {4: network(80, 40, 70, "cifar10"), 8: network(80, 40, 60, "cifar10")}
    _, opens, _ = readings("t", "cifar10", shrinking)
    assert opens.verdict == NOT_REPRODUCED


def test_robust_training_error_falls_before_the_gap_opens_or_with_it() -> None:
    narrow = network(80, 40, 50, "cifar10")
    before = {4: narrow, 8: network(80, 50, 62, "cifar10")}  # training +12, gap +2
    together = {4: narrow, 8: network(80, 40, 62, "cifar10")}  # both +12
    after = {4: narrow, 8: network(80, 35, 57, "cifar10")}  # training +7, gap +12
    found = {name: orders("t", "cifar10", widths, lacking="x") for name, widths in
             (("before", before), ("together", together), ("after", after))}  # fmt: skip
    assert [claim.verdict for claim in found["before"]] == [REPRODUCED] * 2
    assert [claim.verdict for claim in found["after"]] == [NOT_REPRODUCED] * 2
    assert REPRODUCED not in [claim.verdict for claim in found["together"]]
    assert (
        "from x4 to x8 it rises by 12.0 points, the gap by 2.0, clean accuracy by 0.0" in found["before"][0].statement
    )


def test_orders_leave_out_constant_networks_and_those_of_another_clean_accuracy() -> None:
    constant = network(11.35, 11.35, 11.7, "mnist", 0)
    widths = {1: constant, 4: network(80 - 2 * FIXED, 40, 50, "mnist"), 8: network(80, 50, 62, "mnist")}
    first, fixed = orders("t", "mnist", widths, lacking="no start left it")
    assert (first.name, first.verdict) == ("t/mnist_order", REPRODUCED)
    assert "from x4 to x8" in first.statement
    assert (fixed.name, fixed.verdict) == ("t/mnist_order_at_fixed_clean", UNTESTED)
    only, _ = orders("t", "mnist", {1: constant, 8: widths[8]}, lacking="no start left it")
    assert (only.verdict, only.reason) == (UNTESTED, "no start left it")
