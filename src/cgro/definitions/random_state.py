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


def seed_torch(seed: int, device: torch.device) -> None:
    """Seed torch's global generators of the CPU and of a device.

    `torch.manual_seed` gives the same numbers, and on a machine without an accelerator remembers every call for ever,
    with its stack, in case one should come.

    Args:
        seed: in [0, 2^63).
        device: any.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the global generators of torch, NumPy and Python, for code of others that draws from them.

    Args:
        seed: in [0, 2^63).
        device: whose generator is seeded beside that of the CPU.
    """
    seed_torch(seed, device)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - what code of others draws from
    random.seed(seed)


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Have the global generators of torch, NumPy and Python begin at a seed, and give them back as they were.

    What code of others draws from them is then the same in every process and after every call.

    Args:
        seed: in [0, 2^63).
        device: whose generator is seeded and kept beside that of the CPU.

    Yields:
        Nothing.

    Example:
        >>> values = []
        >>> for seed in (3, 3, 4):
        ...     with seeded(seed, torch.device("cpu")):
        ...         values.append((random.random(), float(np.random.rand()), float(torch.rand(1))))
        >>> values[0] == values[1], any(a == b for a, b in zip(values[1], values[2]))
        (True, False)
    """
    with preserve_random_state(device):
        seed_generators(seed, device)
        yield


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
