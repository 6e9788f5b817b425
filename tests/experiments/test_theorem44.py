"""Theorem 4.4: certificates, sizes and brackets."""

from msgspec.structs import replace
from tests.experiments.cases import Cases, Wrong, judged, spread

from cgro.experiments import theorem44
from cgro.experiments.claims import PARTLY, REPRODUCED, UNTESTED
from cgro.experiments.memorizers import RADII, Size, Task
from cgro.experiments.theorem44 import PAPER, Findings


def task(data: str, p: str) -> Task:
    return Task(
        data=data,
        classes="3,8",
        p=p,
        radius="0.1",
        n_train=100,
        separation=0.9,
        holds=[True] * 3,
        method="A",
        least_margin=[1.0] * 3,
        certified_error=[0.0] * 3,
        clean_error=spread(2.0),
        clean_model_error=spread(2.0),
        robust_low=spread(80.0),
        robust_high=spread(86.0),
        robust_low_end=spread(75.0),
        naive_pgd=spread(3.0),
        parameters=10**6,
        n_test=200,
        agree=[True] * 3,
    )


def sizes() -> list[Size]:
    """Memories of 6 N D + N parameters."""
    found = []
    for p in RADII:
        for data, dim in (("digits", 64), ("mnist5k", 784)):
            for n in (50, 100, 200):
                generic = 6 * n * dim + n
                found.append(
                    Size(
                        p=p,
                        data=data,
                        n=n,
                        dim=dim,
                        n_times_dim=n * dim,
                        generic=generic,
                        measured=1,
                        formula=1,
                        holds=True,
                    )
                )
    return found


SLOPES = {"inf": 1.0, "2": 1.0, "1": 1.0}
TASKS = {"a": task("mnist5k", "inf"), "b": task("mnist", "2")}
RIGHT = Findings(scale="cpu", tasks=TASKS, sizes=sizes(), slopes=SLOPES)
CASES = Cases(
    right=RIGHT,
    wrong=[
        Wrong(
            replace(PAPER, power_of_nd=2.0),
            "theorem44/size",
            PARTLY,
            "18 of 21 checks hold (not: p = inf, p = 2, p = 1)",
        ),
        Wrong(replace(PAPER, robust_test_above=0.95), "theorem44/robust_test"),
    ],
    swapped=replace(RIGHT, tasks={name: replace(one, clean_error=one.robust_low) for name, one in TASKS.items()}),
    notices="theorem44/clean",
    drawn=frozenset({"law", "brackets"}),
)


def test_one_certificate_that_does_not_hold_is_noticed() -> None:
    broken = replace(RIGHT, tasks={**TASKS, "a": replace(TASKS["a"], holds=[True, False, True])})
    assert judged(theorem44, broken)["theorem44/robust_train"].verdict == PARTLY
    table, _ = theorem44.tables(broken)
    assert str(table.rows[0][4]).startswith("DOES NOT HOLD")


def test_all_of_mnist_has_a_claim_of_its_own() -> None:
    assert judged(theorem44, RIGHT)["theorem44/mnist"].verdict == REPRODUCED
    without = replace(RIGHT, tasks={"a": TASKS["a"]})
    assert judged(theorem44, without)["theorem44/mnist"].verdict == UNTESTED
