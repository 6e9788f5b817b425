"""Table 1: widths, starts, and the orders that are judged on them."""

import itertools

from msgspec.structs import replace
from tests.experiments.cases import Cases, Wrong, judged, spread

from cgro.experiments import table1
from cgro.experiments.claims import NOT_REPRODUCED, REPRODUCED, UNTESTED
from cgro.experiments.table1 import PAPER, Findings, Printed
from cgro.experiments.widths import Beside, Network


def network(clean: float, robust: float, train: float, data: str, width: float = 0.4) -> Network:
    return Network(
        clean_test=spread(clean, width),
        robust_test=spread(robust, width),
        robust_train=spread(train, width),
        outcome=["completed"] * 3,
        n_test=4000,
        verdict=["cgro"] * 3,
        n_parameters=1000,
        data=data,
        beside=Beside(pgd=spread(robust, width), ensemble=spread(robust - 3, width), n=100),
    )


CONSTANT = network(11.35, 11.35, 11.7, "mnist", 0)
MNIST = {
    "1": CONSTANT,
    "1-warm": CONSTANT,
    "8": CONSTANT,
    "12": network(95.06, 77.96, 99.3, "mnist"),
    "16": network(94.85, 83.43, 99.5, "mnist"),
}
CIFAR = {
    "1": network(82.56, 43.39, 64.19, "cifar10"),
    "5": network(85.83, 46.25, 97.37, "cifar10"),
    "10": network(86.05, 50.08, 99.57, "cifar10"),
}
RIGHT = Findings(scale="paper", mnist=MNIST, cifar10=CIFAR)
SWAPPED = replace(RIGHT, cifar10={**CIFAR, "1": CIFAR["10"], "10": CIFAR["1"]})
CASES = Cases(
    right=RIGHT,
    wrong=[
        Wrong(
            replace(PAPER, cifar10={**PAPER.cifar10, 10: Printed(60.0, 50.08, 99.57)}), "table1/cifar10_x10_clean_test"
        ),
        Wrong(replace(PAPER, mnist={**PAPER.mnist, 8: Printed(80.0, 11.35, 11.70)}), "table1/mnist_x8_constant"),
    ],
    swapped=SWAPPED,
    notices="table1/cifar10_rises",
    drawn=frozenset(),  # Figure 2 (a, b) has its curves
)


def test_what_is_gained_on_training_images_alone_is_no_order() -> None:
    narrow = CIFAR["5"]
    wide = CIFAR["10"]
    assert at_fixed_clean(narrow) == REPRODUCED
    # Robust training accuracy rises, but the gap by more.
    narrow = replace(narrow, robust_test=[accuracy + 0.5 for accuracy in wide.robust_test])
    assert at_fixed_clean(narrow) == NOT_REPRODUCED
    narrow = replace(narrow, clean_test=[accuracy - 3.0 for accuracy in wide.clean_test])
    assert at_fixed_clean(narrow) == UNTESTED


def at_fixed_clean(narrow: Network) -> str:
    found = replace(RIGHT, cifar10={**CIFAR, "5": narrow})
    return judged(table1, found)["table1/cifar10_order_at_fixed_clean"].verdict


def test_the_values_of_other_networks_than_the_papers_are_not_judged() -> None:
    claims = judged(table1, replace(RIGHT, scale="cpu"))
    assert claims["table1/cifar10_values"].verdict == UNTESTED
    assert claims["table1/cifar10_values"].paper == "86.05% / 50.08% / 99.57%"
    assert "table1/cifar10_x10_clean_test" not in claims


def test_the_table_of_starts_counts_those_that_learned_and_shows_only_what_they_reached() -> None:
    mixed = replace(
        CONSTANT, clean_test=[90.9, 11.35, 92.8], robust_test=[57.7, 11.35, 73.8], robust_train=[66.5, 11.7, 85.0]
    )
    found = replace(RIGHT, mnist={**MNIST, "1-sgd-warm": mixed})
    (starts,) = [table for table in table1.tables(found) if table.name == "starts"]
    rows = {(row[0], row[2]): row[3:] for row in starts.rows}
    assert rows["x1", "SGD, warm"] == ["2 of 3", "90.9 to 92.8", "57.7 to 73.8", "66.5 to 85.0"]
    assert rows["x1", "plain"] == ["0 of 3", "", "", ""]
    assert [row[0] for row in starts.rows] == ["x1", "x1", "x1", "x8", "x12", "x16"]


def test_a_width_is_evaluated_while_its_networks_are_there() -> None:
    own = [next(iter(job.reads), job.name).partition("/")[0] for job in table1.jobs("cpu")]
    assert len(list(itertools.groupby(own))) == len(set(own)) == 27


def test_one_gpus_results_are_compared_where_they_are_comparable() -> None:
    wrn = {"5": network(80.0, 44.0, 60.0, "cifar10")}
    claims = judged(table1, replace(RIGHT, scale="gpu", wrn=wrn, comparable=["mnist"]))
    assert claims["table1/mnist_x16_clean_test"].verdict == REPRODUCED
    assert "table1/cifar10_x10_clean_test" not in claims
    own = claims["table1/cifar10_wrn_5"]
    assert (own.verdict, own.paper) == (UNTESTED, "85.83% / 46.25% / 97.37%")
    assert "JPEG mirror" in own.reason
    assert "80.00 (0.40)" in own.ours
    rows = table1.tables(replace(RIGHT, wrn=wrn))[0].rows
    assert any(row[1] == "xWRN-34-5" or row[1] == "WRN-34-5" for row in rows)
    assert "table1/mnist_x16_clean_test" not in judged(table1, replace(RIGHT, scale="gpu"))


def test_what_width_gains_is_judged_by_optimizer() -> None:
    narrow, wide = MNIST["12"], MNIST["16"]
    both = {"2-warm": wide, "16-warm": narrow, "2-sgd-warm": narrow, "16-sgd-warm": wide}
    claims = judged(table1, replace(RIGHT, mnist=MNIST | both))
    assert claims["table1/mnist_width_with_sgd"].verdict == REPRODUCED
    assert claims["table1/mnist_width_with_sgd_under_ensemble"].verdict == REPRODUCED
    assert claims["table1/mnist_width_with_adam"].verdict == NOT_REPRODUCED
    assert claims["table1/mnist_width_with_sgd"].paper == "rises from 77.96% at x12 to 83.43% at x16"
    assert "table1/mnist_width_with_sgd_6000" not in claims
