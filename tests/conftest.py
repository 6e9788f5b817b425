"""What holds for every test: it draws the same numbers wherever it runs, and leaves torch as it found it."""

import random
from collections.abc import Generator

import numpy as np
import pytest
import torch

# Of the whole process: what one test leaves, the next computes with.
STATES = {
    "the number of threads": (torch.get_num_threads, torch.set_num_threads),
    "the default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "the precision of float32 products": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "whether gradients are taken": (torch.is_grad_enabled, torch.set_grad_enabled),
    "whether only deterministic algorithms run": (
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
}
BEFORE = {name: read() for name, (read, _) in STATES.items()}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture is made. Without it a test that sets no seed depends on those that ran before in its process."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  # what foreign code draws from
    torch.manual_seed(0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """After all fixtures are undone."""
    yield
    left: list[str] = []
    for name, (read, write) in STATES.items():
        if read() != BEFORE[name]:
            left.append(f"{name} is {read()}, was {BEFORE[name]}")
            write(BEFORE[name])
    assert not left, f"{item.nodeid} leaves torch changed: {'; '.join(left)}"
