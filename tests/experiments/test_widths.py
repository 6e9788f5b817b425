"""Networks that differ in their width: which are compared, and what is read off them."""

from tests.experiments.test_table1 import CIFAR, network

from cgro.experiments.claims import NOT_REPRODUCED, REPRODUCED, UNTESTED
from cgro.experiments.widths import evaluated_widths, readings


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
