"""Memory on images: who is in it, and when."""

from msgspec.structs import replace
from tests.experiments.cases import Cases, Wrong, judged, spread

from cgro.experiments import memory
from cgro.experiments.claims import NOT_REPRODUCED, PARTLY, REPRODUCED
from cgro.experiments.memory import PAPER, Findings, Influence, Probes, Quarters, Stages

TRAIN = [99.0, 96.0, 98.0, 99.2]
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


def test_stages_that_end_together_are_an_order_that_is_not_contradicted() -> None:
    tied = Stages(clean_learned=14, generalized=14, memorized=20, parted=12, ordered=True)
    claim = judged(memory, replace(RIGHT, data={"cifar10": replace(PROBES, stages=[tied] * 3)}))[
        "memory/cifar10_stages"
    ]
    assert claim.verdict == PARTLY
    assert "and was not observed" in claim.reason


def of(train: list[float], test: list[float]) -> Probes:
    """Shares in percent of every seed, the same but for a little spread."""
    trained = [[share / 100 - 0.001 * seed for share in train] for seed in range(3)]
    tested = [[share / 100 for share in test]] * 3
    pairs = zip(trained, tested, strict=True)
    held = [[a - b for a, b in zip(one, other, strict=True)] for one, other in pairs]
    return replace(PROBES, quarters=Quarters(train=trained, test=tested, memory=held))


def test_memory_near_the_boundary_by_its_ceiling_alone_is_partly() -> None:
    """MNIST's shares, of the referee: 55 against 0.2 points, since almost none is wrong in the farthest quarter."""
    mnist = of([89.78, 98.89, 100.0, 100.0], [35.11, 92.44, 98.89, 99.78])
    shares = mnist.quarters.of_robust_test_error
    assert [round(100 * share) for share in shares if share is not None] == [84, 84, 91, 55]
    exact = replace(mnist.quarters, memory=[[0.5467, 0.0645, 0.0111, 0.0022]] * 3)
    assert [round(100 * share) for share in exact.of_robust_test_error if share is not None] == [84, 85, 100, 100]
    claim = judged(memory, replace(RIGHT, data={"mnist": replace(mnist, quarters=exact)}))["memory/mnist_who"]
    assert claim.verdict == PARTLY
    assert "84 / 85 / 100 / 100% of the robust test error" in claim.ours
    assert "cannot exceed the robust test error" in claim.reason


def test_memory_that_prefers_the_boundary_is_reproduced_and_a_quarter_without_errors_has_no_share() -> None:
    prefers = of([96.0, 92.0, 96.0, 100.0], [60.0, 90.0, 95.0, 100.0])
    assert prefers.quarters.of_robust_test_error[3] is None
    assert prefers.quarters.preference.n == 3
    claim = judged(memory, replace(RIGHT, data={"mnist": prefers}))["memory/mnist_who"]
    assert claim.verdict == REPRODUCED
    assert "/ none%" in claim.ours
    table, *_ = memory.tables(replace(RIGHT, data={"mnist": prefers}))
    assert [row[-1] for row in table.rows] == ["90", "19", "18", ""]


def test_tables_by_quarter_in_percent() -> None:
    quarters, probe, influence = memory.tables(RIGHT)
    assert quarters.rows[0] == ["cifar10", "nearest", "98.50 (0.50)", "59.50 (0.50)", "40.00 (1.00)", "99"]
    assert [row[1] for row in probe.rows[:3]] == ["score", "ranking", "mu"]
    assert influence.rows[0] == ["nearest", "30.0"]
    assert influence.rows[-1] == ["all", "15.0"]
