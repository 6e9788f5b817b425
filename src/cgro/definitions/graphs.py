"""A call as one graph of device work: taken down once, then done again on the same tensors without Python.

A graph holds kernels and addresses, nothing else: a number of the host is what it was at the capture, and a value that
is read on the host cannot be in it. What a caller wants to change between two replays lies in a tensor that the call
reads, and is written there.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Protocol

import torch
from torch import Tensor

from cgro._check import bad

N_WARM_UPS = 3
"""Calls before the capture: libraries tune and allocate in them. Torch's documentation takes 3."""
Call = Callable[[], Tensor]
"""Work on tensors that stay where they are; reads no value on the host. Returns one tensor."""


class Backend(Protocol):
    """What captures. `CudaGraphs` is the one for use; tests have one for the CPU."""

    def warm_up(self, call: Call, *, strict: bool = False) -> Tensor:
        """Do a call as it is, where and how it will be captured.

        Args:
            call: the work.
            strict: raise where it reads a value on the host, before a capture would fail on it.

        Returns:
            What it returned.

        Raises:
            RuntimeError: see `strict`.
        """
        ...

    def capture(self, call: Call) -> Call:
        """Take a call down. Its work is not done.

        Args:
            call: was warmed up; see `N_WARM_UPS`.

        Returns:
            A function that does the work again on the tensors as they are then, and returns the tensor that the call
            returned, written anew.

        Raises:
            RuntimeError: the call does what a graph cannot hold.
        """
        ...


class CudaGraphs:
    """CUDA graphs of one device. NOT YET RUN on CUDA in this form.

    Args:
        device: of CUDA.

    Raises:
        BadRequest: another device.
    """

    def __init__(self, device: torch.device) -> None:
        if device.type != "cuda":
            raise bad("device", expected="CUDA", got=device, remedy="only CUDA has graphs")
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def warm_up(self, call: Call, *, strict: bool = False) -> Tensor:
        """Do a call on the stream of the captures.

        Args:
            call: the work.
            strict: see `Backend`; by torch's debug mode of synchronization.

        Returns:
            What it returned.

        Raises:
            RuntimeError: see `strict`.
        """
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._stream), waiting_is_an_error(on=strict):
                return call()
        finally:
            current.wait_stream(self._stream)

    def capture(self, call: Call) -> Call:
        """Take a call down as one CUDA graph.

        Args:
            call: was warmed up.

        Returns:
            See `Backend`.

        Raises:
            RuntimeError: see `Backend`. The device's generator of random numbers is replaced by a new one in this case,
                as torch leaves the old one in the state of a capture.
        """
        graph = torch.cuda.CUDAGraph()
        current = torch.cuda.current_stream(self._device)
        try:
            # Casts that autocast remembers from before would stand in the graph as they are now.
            torch.clear_autocast_cache()
            with torch.cuda.graph(graph, stream=self._stream):
                found = call()
        except BaseException:
            # Torch's own context does not give the stream back where the end of a capture raises.
            torch.cuda.set_stream(current)
            self._renew_generator()
            raise

        def replay() -> Tensor:
            graph.replay()
            return found

        return replay

    def _renew_generator(self) -> None:
        index = self._device.index
        if index is None:
            index = torch.cuda.current_device()
        fresh = torch.Generator(self._device)
        torch.cuda.default_generators[index].graphsafe_set_state(fresh.graphsafe_get_state())


@contextlib.contextmanager
def waiting_is_an_error(*, on: bool = True) -> Iterator[None]:
    """Within, an operation for which the host waits for a GPU raises.

    Args:
        on: False changes nothing.

    Yields:
        Nothing.
    """
    if not on:
        yield
        return
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


_CHOSEN: ContextVar[tuple[Backend | None] | None] = ContextVar("backend of graphs", default=None)


@contextlib.contextmanager
def capturing_by(backend: Backend | None) -> Iterator[None]:
    """Within, this captures on every device, whatever it is.

    Args:
        backend: None captures nothing, as where a GPU is to be measured without graphs.

    Yields:
        Nothing.

    Example:
        >>> with capturing_by(None):
        ...     backend_on(torch.device("cuda")) is None
        True
    """
    token = _CHOSEN.set((backend,))
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def backend_on(device: torch.device) -> Backend | None:
    """What captures on a device.

    Args:
        device: of the work.

    Returns:
        CUDA graphs on CUDA, else None; within `capturing_by` what that says.
    """
    chosen = _CHOSEN.get()
    if chosen is not None:
        return chosen[0]
    if device.type != "cuda":
        return None
    return CudaGraphs(device)


def is_capturing(device: torch.device) -> bool:
    """Whether work on a device is being captured by CUDA, where generators of random numbers must not be touched.

    Args:
        device: any.

    Returns:
        False everywhere but on CUDA.
    """
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()
