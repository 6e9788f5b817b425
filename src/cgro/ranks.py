"""Processes that compute one result together, and the few things that they tell one another.

They are those of `torch.distributed`, started by torchrun, by Slurm, or by the caller. Everything here is exact: counts
are added as integers, results per example are put into the order of one process, decisions are those of one process
or of all. What several processes must do alike they decide here, and never each by itself: a process that skips an
exchange leaves the others waiting, so every method must be called by all of them, in the same order.

Nobody waits for ever: whatever is exchanged on the host ends after `Ranks.seconds` in one line, and at once where
another process has ended. No object is pickled; numbers and bytes alone are exchanged.
"""

import contextlib
import hashlib
import os
import re
import time
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch import Tensor

from cgro._check import BadRequest, bad

SECONDS = 1800.0
"""How long a process waits for the others, unless `VARIABLE` says otherwise: PyTorch's own value for gloo."""
VARIABLE = "CGRO_RANK_SECONDS"
"""Environment variable: how long a process waits for the others."""
VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun tells each process; LOCAL_RANK as well, its number on its machine."""
SMALL = 4096
"""Bytes of tensors that are kept after their exchange, for the sake of `_LAST`."""
_LAST: deque[Tensor] = deque(maxlen=256)
"""What was exchanged last. A thread of gloo lets go of an exchange a moment after whoever waited for it goes on; if it
held the last reference to a tensor of Python, it needs the interpreter's lock for that, which a process that leaves
holds while it waits for the thread. With torch 2.6 processes hung there for ever; 2.13 lets the lock go."""
LEAVE = 0.01
"""Seconds before a process leaves the others."""
_HOST_GROUPS: "WeakKeyDictionary[dist.ProcessGroup, dist.ProcessGroup]" = WeakKeyDictionary()
"""Default group that exchanges nothing on the host -> the one beside it that does. Made once: each holds sockets."""


@dataclass(frozen=True)
class Ranks:
    """The processes that work together, seen from one of them. One process alone is `ALONE`.

    Args:
        size: number of processes.
        number: of this one, from 0; its rank.
        seconds: after which another that does not answer is given up.
        group: of `torch.distributed`, for what lies on the host; None is the default group.

    Example:
        >>> ALONE.size, ALONE.writes, ALONE.piece(10), ALONE.sums([1, 2])
        (1, True, slice(0, 10, None), [1, 2])
    """

    size: int = 1
    number: int = 0
    seconds: float = SECONDS
    group: dist.ProcessGroup | None = None

    @property
    def shared(self) -> bool:
        """Whether there are several."""
        return self.size > 1

    @property
    def writes(self) -> bool:
        """Whether this is the process that writes files and speaks: the first."""
        return self.number == 0

    def piece(self, n: int) -> slice:
        """The share of this process of n things in a row: contiguous, the first ones larger by one if need be.

        Args:
            n: how many there are.

        Returns:
            The share; empty if there are fewer things than processes before this one.

        Example:
            >>> [Ranks(3, k).piece(8) for k in range(3)]
            [slice(0, 3, None), slice(3, 6, None), slice(6, 8, None)]
        """
        return piece_of(n, self.size, self.number)

    def sums(self, counts: Sequence[int]) -> list[int]:
        """Add the counts of all processes, exactly.

        Args:
            counts: of this process; as many in each.

        Returns:
            The sums, in int64.

        Raises:
            BadRequest: a process has ended, or does not answer.
        """
        return self._reduced(counts, dist.ReduceOp.SUM)

    def largest(self, numbers: Sequence[int]) -> list[int]:
        """The largest of the processes' numbers, place by place; of 0 and 1 it is whether any process says so.

        Args:
            numbers: of this process; as many in each.

        Returns:
            The maxima.

        Raises:
            BadRequest: a process has ended, or does not answer.
        """
        return self._reduced(numbers, dist.ReduceOp.MAX)

    def smallest(self, numbers: Sequence[int]) -> list[int]:
        """The smallest of the processes' numbers, place by place; of 0 and 1 it is whether all processes say so.

        Args:
            numbers: of this process; as many in each.

        Returns:
            The minima.

        Raises:
            BadRequest: a process has ended, or does not answer.
        """
        return self._reduced(numbers, dist.ReduceOp.MIN)

    def of_first(self, numbers: Sequence[int]) -> list[int]:
        """The numbers of the first process, such as a decision that its clock made.

        Args:
            numbers: of this process; as many in each.

        Returns:
            Those of the first.

        Raises:
            BadRequest: a process has ended, or does not answer.
        """
        if not self.shared:
            return list(numbers)
        told = torch.tensor(numbers, dtype=torch.int64, device="cpu")
        self._broadcast(told)
        return told.tolist()

    def bytes_of_first(self, data: bytes) -> bytes:
        """The bytes of the first process, such as a file that the others may not see.

        Args:
            data: of this process; only that of the first counts.

        Returns:
            Those of the first.

        Raises:
            BadRequest: a process has ended, or does not answer.
        """
        if not self.shared:
            return data
        (n,) = self.of_first([len(data)])
        told = torch.empty(n, dtype=torch.uint8, device="cpu")
        if self.writes:
            told = torch.frombuffer(bytearray(data), dtype=torch.uint8) if n else told
        self._broadcast(told)
        return told.numpy().tobytes()

    def in_order(self, values: Tensor, places: Tensor, n: int) -> Tensor:
        """Results per example, of all processes, in the order that one process would have given them.

        Args:
            values: (R, *S) of the examples of this process; of the same type and S in each, R may be 0.
            places: (R,) integer positions of these examples among all, such as `torch.arange(n)[ranks.piece(n)]`.
            n: number of all examples.

        Returns:
            (n, *S) on the device of `values`, the same in every process, to the bit.

        Raises:
            BadRequest: a place that came twice or not at all; a process has ended, or does not answer.

        Example:
            >>> ALONE.in_order(torch.tensor([0.5, 0.25]), torch.tensor([1, 0]), 2)
            tensor([0.2500, 0.5000])
        """
        found = self._gathered(values.detach())
        where = torch.cat([part.view(torch.int64) for part in self._gathered(places.long())]).reshape(-1)
        whole = torch.cat(found).view(values.dtype)
        whole = whole.reshape(len(where), *values.shape[1:])
        came = torch.bincount(where, minlength=n)
        if len(came) != n or bool((came != 1).any()):
            raise bad("results of the processes", expected=f"each of {n} examples once", got=f"{len(where)} results")
        ordered = torch.empty_like(whole)
        ordered[where] = whole
        return ordered.to(values.device)

    def add(self, values: Tensor) -> None:
        """Replace a tensor by its sum over all processes, where it lies; the same bits in every process.

        Args:
            values: of the same shape and type in each; floating point numbers are added in an order of the library.

        Raises:
            BadRequest: a process has ended, or does not answer. On a GPU it is only noticed later.
        """
        if not self.shared:
            return
        with self._told():
            if values.device.type == "cpu":
                self._wait(dist.all_reduce(values, group=self.group, async_op=True), values)
            else:
                dist.all_reduce(values)

    def copy_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors by those of the first process.

        Args:
            tensors: as many, of the same shapes and types, in each.

        Raises:
            BadRequest: a process has ended, or does not answer.
        """
        if not self.shared:
            return
        for tensor in tensors:
            # By bytes: every type is known to every library then.
            told = tensor.detach().reshape(-1).contiguous().view(torch.uint8).cpu()
            self._broadcast(told)
            with torch.no_grad():
                tensor.copy_(told.view(tensor.dtype).reshape(tensor.shape))

    def wait(self, what: str) -> None:
        """Wait until all processes are here.

        Args:
            what: they wait for, for the message.

        Raises:
            BadRequest: a process has ended, or has not come within `seconds`.
        """
        with self._told(what):
            self._all_reduce(torch.zeros(1, dtype=torch.int64, device="cpu"), dist.ReduceOp.SUM)

    @contextlib.contextmanager
    def failing_together(self, what: str) -> Generator[None, None, None]:
        """After the block, fail in every process if it failed in one, which the others would wait for in vain.

        Within the block nothing may be exchanged: a process that fails leaves it early.

        Args:
            what: is done in the block, for the message.

        Yields:
            Nothing.

        Raises:
            BadRequest: another process failed. What failed here is raised as it is.
        """
        try:
            yield
        except Exception:
            self.sums([1])
            raise
        (n_failed,) = self.sums([0])
        if n_failed:
            raise BadRequest(f"{what}: failed in {n_failed} of {self.size} processes; see what they say")

    def require_same(self, what: str, text: str) -> None:
        """Refuse to go on where the processes were given different things.

        Args:
            what: is compared, for the message.
            text: that must be the same in all.

        Raises:
            BadRequest: it is not; a process has ended, or does not answer.
        """
        digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
        low, high = self.smallest([digest]), self.largest([digest])
        if low != high:
            raise bad(what, expected=f"the same in all {self.size} processes", got="different ones")

    def _reduced(self, numbers: Sequence[int], operation: dist.ReduceOp.RedOpType) -> list[int]:
        if not self.shared:
            return list(numbers)
        told = torch.tensor(numbers, dtype=torch.int64, device="cpu")
        with self._told():
            self._all_reduce(told, operation)
        return told.tolist()

    def _all_reduce(self, told: Tensor, operation: dist.ReduceOp.RedOpType) -> None:
        if self.shared:
            self._wait(dist.all_reduce(told, op=operation, group=self.group, async_op=True), told)

    def _broadcast(self, told: Tensor) -> None:
        with self._told():
            self._wait(dist.broadcast(told, src=0, group=self.group, async_op=True), told)

    def _gathered(self, values: Tensor) -> list[Tensor]:
        """The bytes of the values of every process."""
        own = values.reshape(-1).contiguous().view(torch.uint8).cpu()
        if not self.shared:
            return [own]
        sizes = [0] * self.size
        sizes[self.number] = len(own)
        sizes = self.sums(sizes)
        padded = torch.zeros(max(sizes), dtype=torch.uint8, device="cpu")
        padded[: len(own)] = own
        found = [torch.empty_like(padded) for _ in sizes]
        with self._told():
            self._wait(dist.all_gather(found, padded, group=self.group, async_op=True), padded, *found)
        return [part[:size] for part, size in zip(found, sizes, strict=True)]

    def _wait(self, work: "dist.Work | None", *tensors: Tensor) -> None:
        assert work is not None, "a process outside of the group exchanges nothing"
        for tensor in tensors:
            if tensor.nbytes <= SMALL:
                _LAST.append(tensor)
        work.wait(timedelta(seconds=self.seconds))

    @contextlib.contextmanager
    def _told(self, what: str = "") -> Generator[None, None, None]:
        """Errors of the library, which stand for a process that is gone or hangs, in one line."""
        try:
            yield
        except RuntimeError as error:
            prefix = f"{what}: " if what else ""
            if "timed out" in str(error).lower() or "timeout" in str(error).lower():
                raise BadRequest(
                    f"{prefix}one of {self.size} processes has not answered for {self.seconds:g} seconds: it hangs, or "
                    "has more to do; see what it says"
                ) from error
            raise BadRequest(
                f"{prefix}one of {self.size} processes has ended; see what it says, and start all of them again"
            ) from error


ALONE = Ranks()
"""One process: every method leaves its input as it is."""


def piece_of(n: int, size: int, number: int) -> slice:
    """One of `size` contiguous pieces of n things, as equal as can be, the first ones larger by one if need be.

    Args:
        n: how many things.
        size: how many pieces.
        number: of the piece, from 0.

    Returns:
        Its place.

    Example:
        >>> [piece_of(5, 2, k) for k in range(2)]
        [slice(0, 3, None), slice(3, 5, None)]
    """
    small, n_large = divmod(n, size)
    first = number * small + min(number, n_large)
    return slice(first, first + small + (number < n_large))


def patience() -> float:
    """How long a process waits for the others.

    Returns:
        Seconds, from `VARIABLE` or `SECONDS`.

    Raises:
        BadRequest: the variable is no positive number.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return SECONDS
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or float(text) == 0:
        raise bad(VARIABLE, expected="a number of seconds", got=repr(text))
    return float(text)


def together(seconds: float | None = None) -> Ranks:
    """The processes of `torch.distributed`, if it is in use and there are several.

    All of them must call this alike: where the default group exchanges nothing on the host (NCCL), one that does is
    made beside it.

    Args:
        seconds: how long to wait for another; None: see `patience`.

    Returns:
        One process where `torch.distributed` is not in use.
    """
    if seconds is None:
        seconds = patience()
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return Ranks(seconds=seconds)
    return Ranks(dist.get_world_size(), dist.get_rank(), seconds, _host_group())


def _host_group() -> dist.ProcessGroup | None:
    """The group for what lies on the host; None for the default one."""
    if "cpu" in dist.get_backend_config():
        return None
    default = dist.group.WORLD
    assert default is not None, "the default group is there"
    if default not in _HOST_GROUPS:
        made = dist.new_group(backend="gloo")
        assert isinstance(made, dist.ProcessGroup), "every process is in the group"
        _HOST_GROUPS[default] = made
    return _HOST_GROUPS[default]


def launched() -> int:
    """How many processes a launcher such as torchrun has started together, this one included.

    Returns:
        1 if none has.

    Raises:
        BadRequest: variables that do not fit one another.
    """
    size = os.environ.get("WORLD_SIZE", "1")
    if not re.fullmatch("[0-9]{1,6}", size) or int(size) < 1:
        raise bad("WORLD_SIZE", expected="a number of processes", got=repr(size), remedy="start with torchrun")
    if int(size) == 1:
        return 1
    for name in (*VARIABLES, "LOCAL_RANK"):
        if not os.environ.get(name):
            got = f"WORLD_SIZE={size} without it"
            raise bad(name, expected="as torchrun sets it", got=got, remedy="start with torchrun, or unset WORLD_SIZE")
    for name in ("RANK", "LOCAL_RANK"):
        number = os.environ[name]
        # Of a number beyond them all would wait for one that never comes.
        if not re.fullmatch("[0-9]{1,6}", number) or int(number) >= int(size):
            expected = f"a number below the {size} processes of WORLD_SIZE"
            raise bad(name, expected=expected, got=repr(number), remedy="start with torchrun")
    return int(size)


def local_number() -> int:
    """The number of this process among those that were started together on this machine.

    Returns:
        0 if it is alone.
    """
    if launched() == 1:
        return 0
    return int(os.environ.get("LOCAL_RANK", "0"))


@contextlib.contextmanager
def joined(device: str = "cpu", seconds: float | None = None) -> Generator[Ranks, None, None]:
    """Within, the processes that a launcher started together are connected; gloo on the host, NCCL between GPUs.

    A process that is alone, or connected already, stays as it is.

    Args:
        device: `cpu` or `cuda`.
        seconds: how long to wait for another; None: see `patience`.

    Yields:
        The processes.

    Raises:
        BadRequest: not all of them come within `seconds`.
    """
    if seconds is None:
        seconds = patience()
    if launched() == 1 or dist.is_initialized():
        yield together(seconds)
        return
    backend = "gloo"
    if device == "cuda":
        backend = "cpu:gloo,cuda:nccl"
    try:
        dist.init_process_group(backend, timeout=timedelta(seconds=seconds))
    except (RuntimeError, ValueError) as error:
        what = str(error).strip().split("\n")[0]
        raise BadRequest(f"the {launched()} processes of this job do not find one another: {what}") from error
    try:
        yield together(seconds)
    finally:
        time.sleep(LEAVE)  # gives the interpreter's lock to threads that hold larger tensors than `_LAST`
        dist.destroy_process_group()
