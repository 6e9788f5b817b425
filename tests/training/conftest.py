"""Data of all tests of training."""

import pytest

from cgro.data import Dataset, load


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load("digits", n_train=60, n_test=40, validation=0.05)
