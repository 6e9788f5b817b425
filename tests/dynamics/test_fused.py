"""Steps block by block against the unblocked step in loops and in numpy, with padding, and where margins overflow."""

from dataclasses import replace

import numpy as np
import pytest
from tests.dynamics.cases import CASES, SMALL

from cgro.data.patches import PatchData
from cgro.dynamics import Setting
from cgro.dynamics.batch import Direct
from cgro.dynamics.compiled import Examples, step_in_place
from cgro.dynamics.fused import PATCHES, rows_of, workspace
from cgro.dynamics.spaces import direct

MANY = Setting(PatchData(11, 4), n_train=53, n_filters=9, radius_ratio=0.9, init_std=0.4, lr=0.02)
"""Nothing is a multiple of a tile, and there are several blocks."""


def unblocked(batch: Direct, n_steps: int) -> None:
    """The loop that was there before: two products of a library around the step of all examples."""
    for s in range(len(batch.y)):
        weights = batch.weights(n_steps, s)
        for t in range(n_steps):
            z = batch.noise[s] @ batch.filters[s]
            now = weights[min(t, len(weights) - 1)]
            step_in_place(batch.u[s], z, Examples(batch.y[s], batch.group[s]), now, batch.rule)
            batch.filters[s] += batch.noise[s].T @ z


def compare(blocks: Direct, other: Direct) -> None:
    np.testing.assert_allclose(blocks.u, other.u, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(blocks.filters, other.filters, rtol=1e-12, atol=1e-14)


SETTINGS = {
    **{name: replace(setting, lr=0.02) for name, setting in CASES.items()},
    "several blocks": MANY,
    "several blocks in batches": replace(MANY, batch_size=7),
    "one filter": replace(MANY, n_filters=1),
    "more patches than a block": replace(MANY, data=PatchData(11, PATCHES + 3), n_train=9),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_blocks_take_the_steps_of_the_unblocked_loop(name: str) -> None:
    setting = SETTINGS[name]
    blocks, other = (direct(setting, [3, 4]) for _ in range(2))
    start = blocks.filters.copy()
    blocks.advance(40, compiled=True)
    unblocked(other, 40)
    assert np.abs(blocks.filters - start).max() > 1e-4
    compare(blocks, other)


def test_blocks_are_smaller_than_the_examples_of_these_tests() -> None:
    """Else the tests above see one block only."""
    room = workspace(np.zeros((11, 9)), 3)
    assert room.examples % 8 == 0
    assert 2 * room.examples < MANY.n_train


@pytest.mark.parametrize("scale", [1.0, 30.0, 300.0])
def test_margins_that_overflow_an_exponential(scale: float) -> None:
    """Margins up to 1e9: the product of two exponentials would be NaN where one is 0 and the other infinite."""
    setting = replace(SMALL, lr=1e-9)
    blocks, other = (direct(setting, [3]) for _ in range(2))
    for batch in (blocks, other):
        batch.filters *= scale
        batch.u *= scale
    blocks.advance(3, compiled=True)
    unblocked(other, 3)
    assert np.isfinite(blocks.filters).all()
    compare(blocks, other)


def test_a_patch_left_out_is_noticed() -> None:
    """Planted: one noise patch of the last block set to zero moves the filters by more than rounding."""
    blocks, other = (direct(MANY, [3]) for _ in range(2))
    rows = rows_of(blocks.noise[0], MANY.n_train)
    assert np.array_equal(rows.patches[: blocks.noise.shape[1], :11], blocks.noise[0])
    blocks.noise[0, -1] = 0.0
    blocks.advance(40, compiled=True)
    unblocked(other, 40)
    with pytest.raises(AssertionError):
        compare(blocks, other)


def test_a_run_that_diverges_ends_as_nan_and_not_as_numbers() -> None:
    blocks = direct(replace(MANY, lr=1e6), [3])
    blocks.advance(40, compiled=True)
    assert not np.isfinite(blocks.activations()).all()
