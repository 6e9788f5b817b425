"""Networks that differ in their width: which are compared, and what is read off them."""

from msgspec.structs import replace
from tests.experiments.test_table1 import CIFAR, network

from cgro.experiments.claims import NOT_REPRODUCED, REPRODUCED, UNDECIDED, UNTESTED
from cgro.experiments.widths import FIXED, evaluated_widths, gains, orders, readings, with_start


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


def test_what_width_gains_on_test_images_is_told_from_what_it_gains_on_training_images() -> None:
    narrow = network(94.8, 73, 90, "mnist")
    only_training = network(96.5, 72.9, 99, "mnist")
    both = network(96.5, 76, 99, "mnist")
    weak, strong = gains("t/mnist_x", "LeNets", {2: narrow, 16: only_training}, paper="rises")
    assert (weak.name, strong.name) == ("t/mnist_x", "t/mnist_x_under_ensemble")
    assert weak.verdict == NOT_REPRODUCED
    assert "the robust gap rises by 9.1 points" in weak.statement
    assert [claim.verdict for claim in gains("t/x", "LeNets", {2: narrow, 16: both}, paper="rises")] == [REPRODUCED] * 2
    noisy = replace(narrow, robust_test=[74.9, 72.0, 76.0])
    assert gains("t/x", "LeNets", {2: noisy, 16: only_training}, paper="")[0].verdict == UNDECIDED


def test_width_is_compared_at_a_clean_accuracy_that_the_widest_reaches() -> None:
    learning = network(96.5 - 2 * FIXED, 40, 50, "mnist")
    widths = {1: learning, 2: network(94.8, 73, 90, "mnist"), 16: network(96.5, 76, 99, "mnist")}
    assert "from x2 to x16" in gains("t/x", "LeNets", widths, paper="")[0].statement
    assert gains("t/x", "LeNets", {1: learning, 16: widths[16]}, paper="") == []
    assert with_start({"1-warm": 1, "2-warm": 2, "2-sgd-warm": 3}, "warm") == {1: 1, 2: 2}
