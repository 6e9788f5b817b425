"""The global random numbers of a process, kept while something else draws from them."""

import contextlib
import random
from collections.abc import Iterator, Sequence

import numpy as np
import torch


@contextlib.contextmanager
def preserve_random_state(
    device: torch.device | None = None, generators: Sequence[torch.Generator] = ()
) -> Iterator[None]:
    """Give the global generators of torch, NumPy and Python back as they were, also when the block raises.

    Args:
        device: whose generator is kept beside that of the CPU, where it is a CUDA device.
        generators: further ones, such as that of a DataLoader.

    Yields:
        Nothing.

    Example:
        >>> before = random.getstate()
        >>> with preserve_random_state():
        ...     _ = random.random(), np.random.rand(), torch.rand(1)
        >>> random.getstate() == before
        True
    """
    cuda: list[torch.device] = []
    if device is not None and device.type == "cuda":
        cuda = [device]
    own = [(generator, generator.get_state()) for generator in generators]
    of_python = random.getstate()
    of_numpy = np.random.get_state()  # noqa: NPY002 - the caller's, which is only kept
    try:
        with torch.random.fork_rng(devices=cuda):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002
        for generator, state in own:
            generator.set_state(state)
