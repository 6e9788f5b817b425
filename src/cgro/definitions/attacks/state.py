"""What runs a network between a caller's forward and backward pass must leave the network alone: here that is kept."""

import contextlib
import threading
import weakref
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from cgro.definitions.graphs import is_capturing
from cgro.definitions.losses import Model

_LOCKS: "weakref.WeakKeyDictionary[nn.Module, threading.RLock]" = weakref.WeakKeyDictionary()
_LOCKS_GUARD = threading.Lock()


@contextlib.contextmanager
def preserve_state(model: Model, device: torch.device) -> Iterator[None]:
    """Give a network's buffers, modes, gradients and frozen flags, and the global random state, back as they were.

    Nothing of the caller's is written, not even an equal value: a write counts as a change for autograd, and a backward
    pass whose forward pass came before would fail. Instead the network works on copies of its buffers. Afterwards the
    caller's own tensors are back in place: the same objects, also where the network replaced or deleted one, and also
    when the search raises. Gradients are set aside likewise. Parameters are neither copied nor written, as attacks
    differentiate by the input alone; only those made in inference mode are replaced by copies: autograd refuses them.

    Two threads that pass the same module take turns. They do not where each passes its own wrapper of one network, or a
    plain function, whose buffers cannot be seen: attack such a network from one thread at a time. While it is attacked,
    another thread must not train it. Random numbers that a network draws come from the process-wide generator.

    A lazy module takes shape at its first pass. Buffers that had no shape before keep what that pass wrote.

    Args:
        model: a module; of any other callable nothing but the random state can be seen and kept.
        device: whose global generator is restored beside that of the CPU.

    Returns:
        A context manager.

    Example:
        >>> norm = nn.BatchNorm1d(2)
        >>> mean = norm.running_mean
        >>> version = mean._version
        >>> with preserve_state(norm, torch.device("cpu")):
        ...     _ = norm(torch.rand(8, 2))
        ...     int(norm.num_batches_tracked)
        1
        >>> int(norm.num_batches_tracked), norm.running_mean is mean, mean._version == version
        (0, True, True)
    """
    cuda: list[torch.device] = []
    if device.type == "cuda" and not is_capturing(device):  # in a capture a generator can be neither read nor set
        cuda = [device]
    if not isinstance(model, nn.Module):
        with torch.random.fork_rng(devices=cuda):
            yield
        return
    with _lock_of(model), torch.random.fork_rng(devices=cuda):
        state = _State(model)
        try:
            state.set_aside()
            yield
        finally:
            state.put_back()


def _lock_of(model: nn.Module) -> "threading.RLock":
    with _LOCKS_GUARD:
        return _LOCKS.setdefault(model, threading.RLock())


class _State:
    """What of a module is put back. Making one reads and writes nothing."""

    def __init__(self, model: nn.Module) -> None:
        self.modes: list[tuple[nn.Module, bool]] = []
        self.buffers: list[_Buffers] = []
        self.owners: list[tuple[nn.Module, str, nn.Parameter]] = []
        self.frozen_flags: list[tuple[nn.Parameter, bool]] = []
        self.gradients: list[tuple[nn.Parameter, Tensor | None]] = []
        self.replaced: list[tuple[nn.Module, str, nn.Parameter]] = []
        seen: set[int] = set()
        for module in model.modules():
            self.modes.append((module, module.training))
            if module._buffers:
                self.buffers.append(_Buffers(module))
            for name, parameter in module._parameters.items():
                if parameter is None:
                    continue
                self.owners.append((module, name, parameter))
                if id(parameter) not in seen:  # one that two modules share is kept once
                    seen.add(id(parameter))
                    self.frozen_flags.append((parameter, parameter.requires_grad))
                    self.gradients.append((parameter, parameter.grad))

    def set_aside(self) -> None:
        # One copy for each tensor, so that a tensor registered twice stays one tensor.
        copies: dict[int, Tensor] = {}
        for part in self.buffers:
            part.copy(copies)
        for module, name, parameter in self.owners:
            if is_lazy(parameter) or not parameter.is_inference():
                continue
            if id(parameter) not in copies:
                copies[id(parameter)] = nn.Parameter(parameter.detach().clone(), parameter.requires_grad)
            self.replaced.append((module, name, parameter))
            setattr(module, name, copies[id(parameter)])  # not by the dict: RNNs keep a second list of their weights
        for parameter, gradient in self.gradients:
            # One of another shape or type than its parameter (a trick of sharded training) could not be put back.
            if gradient is not None and (gradient.shape, gradient.dtype) == (parameter.shape, parameter.dtype):
                parameter.grad = None

    def put_back(self) -> None:
        for module, training in self.modes:
            if module.training != training:
                module.training = training
        for part in self.buffers:
            part.put_back()
        for module, name, parameter in self.replaced:
            setattr(module, name, parameter)
        for parameter, required in self.frozen_flags:
            if parameter.requires_grad != required:
                parameter.requires_grad_(required)
        for parameter, gradient in self.gradients:
            if parameter.grad is not gradient:
                parameter.grad = gradient


class _Buffers:
    """The buffers of one module, without those of its parts."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.tensors = dict(module._buffers.items())
        self.unsaved = set(getattr(module, "_non_persistent_buffers_set", ()))  # scripted modules have none

    def copy(self, copies: dict[int, Tensor]) -> None:
        for name, buffer in self.tensors.items():
            if buffer is None or is_lazy(buffer):
                continue
            if id(buffer) not in copies:
                copies[id(buffer)] = buffer.detach().clone()
            # Past `__setattr__`, which networks override.
            self.module._buffers[name] = copies[id(buffer)]

    def put_back(self) -> None:
        now = self.module._buffers
        if list(now.keys()) != list(self.tensors):  # the network registered or deleted some
            for name in self.tensors:
                self.module.__dict__.pop(name, None)  # a deleted one that came back as a plain attribute
            self.module._non_persistent_buffers_set.clear()
            self.module._non_persistent_buffers_set.update(self.unsaved)
            now.clear()
        for name, buffer in self.tensors.items():
            now[name] = buffer
