"""Memory on images: who is in it, and when."""

from msgspec.structs import replace
from tests.experiments.cases import Cases, Wrong, judged, spread

from cgro.experiments import memory
from cgro.experiments.claims import NOT_REPRODUCED
from cgro.experiments.memory import PAPER, Findings, Influence, Probes, Quarters, Stages

TRAIN = [99.0, 99.0, 100.0, 100.0]
TEST = [60.0, 80.0, 95.0, 99.0]


def shares(row: list[float]) -> list[list[float]]:
    return [[(percent - 0.5 * seed) / 100 for percent in row] for seed in range(3)]


PROBES = Probes(
    metrics={"score": [*spread(1.0, 0.1)], "ranking": [*spread(0.7, 0.01)], "mu": [*spread(0.9, 0.01)]},
    quarters=Quarters(
        train=shares(TRAIN),
        test=shares(TEST),
        memory=[[(a - b + seed) / 100 for a, b in zip(TRAIN, TEST, strict=True)] for seed in range(3)],
    ),
    stages=[Stages(clean_learned=2, generalized=4, memorized=10, parted=6, ordered=True)] * 3,
)
RIGHT = Findings(
    scale="cpu",
    data={"cifar10": PROBES, "mnist": PROBES},
    influence=Influence(
        quarters=[0.3, 0.2, 0.1, 0.0], n_networks=16, data="mnist", mean=0.15, rank_with_clean_flip=-0.5
    ),
)


def reversed_quarters(probes: Probes) -> Probes:
    found = probes.quarters
    return replace(
        probes,
        quarters=Quarters(
            train=[row[::-1] for row in found.train],
            test=[row[::-1] for row in found.test],
            memory=[row[::-1] for row in found.memory],
        ),
    )


CASES = Cases(
    right=RIGHT,
    wrong=[
        Wrong(replace(PAPER, score="below 0"), "memory/mnist_score"),
        Wrong(replace(PAPER, who="far from the boundary"), "memory/cifar10_who"),
        Wrong(replace(PAPER, ordered=False), "memory/cifar10_stages"),
    ],
    swapped=replace(RIGHT, data={**RIGHT.data, "mnist": reversed_quarters(PROBES)}),
    notices="memory/mnist_who",
    drawn=frozenset({"quarters"}),
)


def test_a_network_without_stages_is_not_in_order() -> None:
    without = replace(RIGHT, data={"cifar10": replace(PROBES, stages=[None] * 3)})
    assert judged(memory, without)["memory/cifar10_stages"].verdict == NOT_REPRODUCED


def test_tables_by_quarter_in_percent() -> None:
    quarters, probe, influence = memory.tables(RIGHT)
    assert quarters.rows[0] == ["cifar10", "nearest", "98.50 (0.50)", "59.50 (0.50)", "40.00 (1.00)"]
    assert [row[1] for row in probe.rows[:3]] == ["score", "ranking", "mu"]
    assert influence.rows[0] == ["nearest", "30.0"]
    assert influence.rows[-1] == ["all", "15.0"]
