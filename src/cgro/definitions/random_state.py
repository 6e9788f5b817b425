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


def random_states(device: torch.device) -> tuple[object, ...]:
    """The states of the global generators, to be compared: whether something drew from one of them.

    Args:
        device: whose generator is among them, where it is a CUDA device.

    Returns:
        Of torch, the device, Python and NumPy.

    Example:
        >>> before = random_states(torch.device("cpu"))
        >>> with preserve_random_state():
        ...     _ = torch.rand(1)
        ...     drawn = random_states(torch.device("cpu")) != before
        >>> drawn, random_states(torch.device("cpu")) == before
        (True, True)
    """
    return (torch_state(), device_state(device), host_states())


def torch_state() -> bytes:
    """The state of torch's generator of the CPU.

    Returns:
        Its bytes.
    """
    return torch.get_rng_state().numpy().tobytes()


def device_state(device: torch.device) -> bytes:
    """The state of a device's generator; b"" where it has none of its own.

    Args:
        device: any.

    Returns:
        Its bytes, which lie on the host.
    """
    if device.type != "cuda":
        return b""
    return torch.cuda.get_rng_state(device).numpy().tobytes()


def host_states() -> tuple[object, ...]:
    """The states of the global generators of Python and NumPy.

    Returns:
        Values that can be compared.
    """
    kind, keys, position, *_ = np.random.get_state()  # noqa: NPY002 - of the code that is watched
    return (random.getstate(), str(kind), np.asarray(keys).tobytes(), int(position))
