"""The product in tiles against numpy's: every number of vectors in a row, transposed operands, steps by the thousand."""

import numpy as np
import pytest

from cgro.dynamics.tiles import LINE, ROWS, WIDTH, add_product, padded


@pytest.mark.parametrize("m", [8, 16, 24, 32, 40, 64])
@pytest.mark.parametrize(("rows", "k"), [(8, 1), (16, 104), (24, 2_003), (8, 0)])
def test_a_product_is_added(m: int, rows: int, k: int) -> None:
    rng = np.random.default_rng(m + k)
    c = rng.standard_normal((rows, m))
    a = rng.standard_normal((rows, k))
    b = rng.standard_normal((k, m))
    expected = c + a @ b
    add_product(c, a, b)
    np.testing.assert_allclose(c, expected, rtol=0, atol=1e-13 * (k + 1))


def test_operands_may_be_transposed_and_parts_of_others() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((50, 40))
    b = rng.standard_normal((60, 24))
    c = np.zeros((20, 24))
    add_product(c[2:18], a[5:37, 8:24].T, b[7:39])
    np.testing.assert_allclose(c[2:18], a[5:37, 8:24].T @ b[7:39], atol=1e-13)
    assert not c[:2].any()
    assert not c[18:].any()


def test_numbers_that_are_not_finite_stay_in_their_rows() -> None:
    a = np.ones((8, 3))
    a[5, 1] = np.nan
    c = np.zeros((8, 8))
    add_product(c, a, np.ones((3, 8)))
    assert np.isnan(c[5]).all()
    assert np.isfinite(np.delete(c, 5, axis=0)).all()


def test_padded_matrices_are_whole_tiles_of_zeros_at_a_cache_line() -> None:
    for shape in ((1, 1), (8, 8), (9, 100)):
        found = padded(*shape)
        assert found.ctypes.data % LINE == 0
        assert found.flags.c_contiguous
        assert (found.shape[0] % ROWS, found.shape[1] % WIDTH) == (0, 0)
        assert not found.any()
