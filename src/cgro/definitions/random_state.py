"""The global random numbers of a process, kept while something else draws from them."""

import contextlib
import random
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

GENERATORS = (torch.Generator, random.Random, np.random.RandomState, np.random.Generator)
"""Types whose state can be put back."""
LONGEST_LIST = 1000
"""Longer lists and dictionaries hold data, and are not searched for generators. A choice."""
_NO_OWNERS = (str, bytes, int, float, type, ModuleType, Tensor, np.ndarray)
"""Types of values that hold no generator of their owner's."""


@contextlib.contextmanager
def preserve_random_state(device: torch.device | None = None, generators: Iterable[object] = ()) -> Iterator[None]:
    """Give the global generators of torch, NumPy and Python back as they were, also when the block raises.

    Args:
        device: whose generator is kept beside that of the CPU, where it is a CUDA device.
        generators: further ones, such as that of a DataLoader; see `generators_in`.

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
    own = put_back_generators(generators)
    of_python = random.getstate()
    of_numpy = np.random.get_state()  # noqa: NPY002 - the caller's, which is only kept
    try:
        with torch.random.fork_rng(devices=cuda):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002
        for give_back in own:
            give_back()


def put_back_generators(values: Iterable[object]) -> list[Callable[[], object]]:
    """For each generator among the values, what puts its state back.

    Args:
        values: any; what is no generator, or draws from the system and has no state, is passed over.

    Returns:
        Functions without arguments.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> (give_back,) = put_back_generators([generator, "no generator"])
        >>> first = generator.random()
        >>> give_back()
        >>> generator.random() == first
        True
    """
    found: list[Callable[[], object]] = []
    for value in values:
        if isinstance(value, torch.Generator):
            found.append(partial(value.set_state, value.get_state()))
        elif isinstance(value, random.Random) and not isinstance(value, random.SystemRandom):
            found.append(partial(value.setstate, value.getstate()))
        elif isinstance(value, np.random.RandomState):
            found.append(partial(value.set_state, value.get_state()))
        elif isinstance(value, np.random.Generator):
            found.append(partial(setattr, value.bit_generator, "state", value.bit_generator.state))
    return found


def generators_in(owner: object) -> list[object]:
    """The generators that an object has as attributes, in lists and dictionaries there, or in objects there.

    Args:
        owner: such as a DataLoader, whose Dataset and samplers are looked through as well. Nothing of it is called.

    Returns:
        Each once. One that is global to a module, or that a function keeps to itself, is not seen.

    Example:
        >>> from types import SimpleNamespace
        >>> crop = SimpleNamespace(rng=random.Random(0))
        >>> generators_in(SimpleNamespace(transforms=[crop], again=crop)) == [crop.rng]
        True
    """
    found: list[object] = []
    seen: dict[int, object] = {}  # the values as well, so that no other one gets the number of one that is gone
    waiting = [owner]
    while waiting:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, _NO_OWNERS):
            continue
        seen[id(value)] = value
        if isinstance(value, GENERATORS):
            found.append(value)
            continue
        waiting += _values_of(value)
        waiting += _values_of(getattr(value, "__dict__", None))
    return found


def _values_of(container: object) -> list[object]:
    """What a list or a dictionary holds; nothing of one that holds data, or that is of a type of others."""
    held: Collection[object] = ()
    if type(container) is dict:
        held = container.values()
    elif type(container) is list or type(container) is tuple or type(container) is set:
        held = container
    if len(held) > LONGEST_LIST:
        return []
    return list(held)


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
