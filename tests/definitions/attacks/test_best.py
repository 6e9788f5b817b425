"""The best points of a search, against a loop over the examples; and that nothing is read on the host."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from cgro.definitions.attacks import Best, per_example

READS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::masked_select")


class HostReads(TorchDispatchMode):
    """Counts the operations inside that make a device wait for the host."""

    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._schema.name in READS:
            self.n += 1
        if func._schema.name in ("aten::index", "aten::index_put_"):
            self.n += any(isinstance(i, Tensor) and i.dtype == torch.bool for i in args[1])
        return func(*args, **(kwargs or {}))


def by_hand(best: list[list], offers: list[tuple], until_wrong: bool) -> list[list]:
    """[x, margin, step] of each example, after offers (x, margins, rows, step)."""
    for x, margins, rows, step in offers:
        for k, row in enumerate(rows.tolist()):
            known = best[row]
            m = float(margins[k])
            if m < known[1] and not (until_wrong and known[1] <= 0):
                if known[2] < 0 and not m > 0:
                    known[2] = step
                known[0], known[1] = float(x[k]), m
    return best


@pytest.mark.parametrize("until_wrong", [False, True])
@pytest.mark.parametrize("some", [False, True])
def test_updates_are_those_of_a_loop(until_wrong: bool, some: bool) -> None:
    g = torch.Generator().manual_seed(0)
    x, margins = torch.rand(40, 1, generator=g), torch.randn(40, generator=g) + 0.5
    best = Best(x, margins, until_wrong=until_wrong)
    expected = [[float(a), float(m), -1 if m > 0 else 0] for a, m in zip(x, margins, strict=True)]
    offers = []
    for step in range(1, 7):
        rows = torch.randperm(40, generator=g)[:25].sort().values if some else torch.arange(40)
        points, found = torch.rand(len(rows), 1, generator=g), torch.randn(len(rows), generator=g)
        found[::7] = torch.nan
        offers.append((points, found, rows, step))
        with HostReads() as reads:
            best.update(points, found, rows if some else None, step)
        assert reads.n == 0
    expected = by_hand(expected, offers, until_wrong)
    assert best.x.squeeze(1).tolist() == [row[0] for row in expected]
    assert best.margins.tolist() == [row[1] for row in expected]
    assert best.step.tolist() == [row[2] for row in expected]
    assert 5 < int((best.step > 0).sum()) < 40


def test_the_counter_of_reads_counts() -> None:
    values = torch.arange(3)
    with HostReads() as reads:
        torch.nonzero(values)
        bool((values > 1).any())
        values[values > 1]
    assert reads.n >= 3


def test_it_owns_its_points() -> None:
    x = torch.zeros(3, 2)
    best = Best(x, torch.ones(3))
    best.update(torch.ones(1, 2), torch.tensor([-1.0]), torch.tensor([1]), 4)
    assert torch.equal(x, torch.zeros(3, 2))
    assert best.correct().tolist() == [0, 2]


def test_replacing_some_rows_leaves_the_others() -> None:
    best = Best(torch.zeros(3, 1), torch.tensor([1.0, 2.0, -1.0]))
    best.replace(torch.ones(2, 1), torch.tensor([3.0, -0.5]), 7, torch.tensor([0, 1]))
    assert best.x.squeeze(1).tolist() == [1, 1, 0]
    assert best.margins.tolist() == [3, -0.5, -1]
    assert best.step.tolist() == [-1, 7, 0]


@pytest.mark.parametrize("rows", [None, torch.tensor([2, 0])])
def test_of_examples_that_do_not_come_into_question_nothing_is_taken(rows: Tensor | None) -> None:
    among = torch.tensor([True, False, False]) if rows is None else torch.tensor([False, True])
    points = torch.ones(len(among), 1)
    margins = torch.full((len(among),), -1.0)
    best = Best(torch.zeros(3, 1), torch.tensor([1.0, 2.0, 3.0]))
    best.update(points, margins, rows, 4, among=among)
    assert best.margins.tolist() == [-1, 2, 3]
    assert best.step.tolist() == [4, -1, -1]
    best = Best(torch.zeros(3, 1), torch.tensor([1.0, 2.0, 3.0]))
    best.replace(points, margins + 9, 4, rows, among=among)
    assert best.margins.tolist() == [8, 2, 3]
    assert best.x.squeeze(1).tolist() == [1, 0, 0]


def test_steps_may_be_one_per_example_and_the_first_update_of_nothing_is_taken() -> None:
    best = Best.nothing(torch.zeros(3, 1))
    best.update(torch.ones(3, 1), torch.tensor([-1.0, 5.0, -2.0]), step=torch.tensor([4, 5, 6]))
    assert best.step.tolist() == [4, -1, 6]
    assert best.margins.tolist() == [-1, 5, -2]


def test_one_value_per_example_is_broadcast() -> None:
    x = torch.zeros(2, 3, 4, 5)
    assert per_example(torch.tensor([1.0, 2.0]), x).shape == (2, 1, 1, 1)


def test_points_given_away_are_those_of_a_first_update() -> None:
    x, margins, step = torch.rand(4, 2), torch.tensor([-1.0, 5.0, 0.0, 1e-9]), torch.tensor([4, 5, 6, 7])
    best, updated = Best.found(x, margins, step), Best.nothing(x)
    updated.update(x, margins, step=step)
    assert torch.equal(best.x, updated.x)
    assert torch.equal(best.margins, updated.margins)
    assert best.step.tolist() == updated.step.tolist() == [4, -1, 6, -1]
    assert best.until_wrong is False
