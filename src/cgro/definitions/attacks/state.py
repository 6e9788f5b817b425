"""What runs a network between a caller's forward and backward pass must leave the network alone: here that is kept."""

import contextlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from cgro.definitions.graphs import is_capturing
from cgro.definitions.inputs import network_behind, parts_of
from cgro.definitions.losses import Model
from cgro.definitions.random_state import preserve_random_state, put_back_generators

_LOCKS: "weakref.WeakKeyDictionary[nn.Module, threading.RLock]" = weakref.WeakKeyDictionary()
_LOCKS_GUARD = threading.Lock()
_NEITHER = frozenset({bool, int, float, str, type(None), tuple, list, dict, set, OrderedDict})
"""Types of attributes that are no tensor and no generator."""
FLAGS: tuple[tuple[Callable[[], object], Callable[..., object]], ...] = (
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (lambda: torch.backends.cudnn.benchmark, partial(setattr, torch.backends.cudnn, "benchmark")),
    (lambda: torch.backends.cudnn.deterministic, partial(setattr, torch.backends.cudnn, "deterministic")),
)
"""How flags of the process are read and set that attacks of others change and that decide what a training computes."""
_CONTAINERS = frozenset({dict, OrderedDict, list, set})
"""Types of attributes whose contents code of others changes in place: parts, hooks, and settings of a network."""


@contextlib.contextmanager
def preserve_state(model: Model, device: torch.device, *, weights: bool = False) -> Iterator[None]:
    """Give a network's buffers, modes, gradients and frozen flags, and the global random state, back as they were.

    Nothing of the caller's is written, not even an equal value: a write counts as a change for autograd, and a backward
    pass whose forward pass came before would fail. Instead the network works on copies of its buffers. Afterwards the
    caller's own tensors are back in place: the same objects, also where the network replaced or deleted one, and also
    when the search raises. Gradients are set aside likewise. Trained parameters are neither copied nor written, as
    attacks differentiate by the input alone, unless they were made in inference mode: autograd refuses these. Frozen
    ones beside them are copied: networks keep there what others keep in buffers, such as the vectors of spectral
    normalization, and write on it in every pass.

    What a module has as an attribute of its own is given back where it was a tensor, such as the weight that weight
    normalization computes, or a generator of random numbers. Counters, and what lies in lists and other objects, are
    not seen.

    Two threads that pass the same module take turns. They do not where each passes its own wrapper of one network, or a
    plain function, whose buffers cannot be seen: attack such a network from one thread at a time. While it is attacked,
    another thread must not train it. Random numbers that a network draws come from the process-wide generator.

    A lazy module takes shape at its first pass. Buffers that had no shape before keep what that pass wrote.

    Args:
        model: a module, or what `network_behind` finds one behind, such as its method; of any other callable nothing
            but the random state can be seen and kept.
        device: whose global generator is restored beside that of the CPU.
        weights: have copies of all parameters in their places, for what may write on them.

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
    kept = None
    if not is_capturing(device):  # in a capture a generator of the device can be neither read nor set
        kept = device
    network = network_behind(model)
    if network is None:
        with preserve_random_state(kept):
            yield
        return
    with _lock_of(network), preserve_random_state(kept):
        state = _State(network, generators=not is_capturing(device))
        try:
            state.set_aside(weights=weights)
            yield
        finally:
            state.put_back()


@contextlib.contextmanager
def code_of_others(model: Model, device: torch.device) -> Iterator[None]:
    """Run code that promises nothing, such as an attack from a paper: network and process are as before afterwards.

    What is replaced in the classes of torch themselves, such as `nn.ReLU.forward`, and what lies deeper in objects of
    the network than an attribute, or an entry of a list or dictionary, is not seen.

    Args:
        model: that the code is given. Of a module its weights, modes and all that `preserve_state` keeps are put back,
            and its parts, hooks and attributes, such as a `forward` of its own.
        device: see `preserve_state`.

    Returns:
        A context manager.

    Example:
        >>> net = nn.Linear(2, 2)
        >>> weight = net.weight.clone()
        >>> with code_of_others(net, torch.device("cpu")):
        ...     _ = net.train(False).half()
        ...     _ = net.register_forward_hook(lambda module, inputs, outputs: -outputs)
        ...     torch.set_default_dtype(torch.float64)
        >>> net.training, torch.equal(net.weight, weight), len(net._forward_hooks), torch.get_default_dtype()
        (True, True, 0, torch.float32)
    """
    values = [read() for read, _ in FLAGS]
    try:
        # Inside: it has the lock, and copies of the weights stand where the network's own do.
        with preserve_state(model, device, weights=True), _makeup_kept(model):
            yield
    finally:
        for (read, write), value in zip(FLAGS, values, strict=True):
            if read() != value:
                write(value)


@contextlib.contextmanager
def _makeup_kept(model: Model) -> Iterator[None]:
    """Put parts, hooks and attributes of a network back, and the hooks that torch calls for every module."""
    makeup = [_Makeup(module) for module in parts_of(model)]
    of_torch = vars(nn.modules.module)
    hooks = [_Contents(held) for name, held in of_torch.items() if "_hooks" in name and type(held) in _CONTAINERS]
    try:
        yield
    finally:
        for part in (*makeup, *hooks):
            part.put_back()


def _lock_of(model: nn.Module) -> "threading.RLock":
    with _LOCKS_GUARD:
        return _LOCKS.setdefault(model, threading.RLock())


class _State:
    """What of a module is put back. Making one reads and writes nothing."""

    def __init__(self, model: nn.Module, *, generators: bool) -> None:
        self.modes: list[tuple[nn.Module, bool]] = []
        self.buffers: list[_Buffers] = []
        self.attributes: list[_Attributes] = []
        self.generators: list[Callable[[], object]] = []
        self.owners: list[tuple[nn.Module, str, nn.Parameter]] = []
        self.frozen_flags: list[tuple[nn.Parameter, bool]] = []
        self.gradients: list[tuple[nn.Parameter, Tensor | None]] = []
        seen: set[int] = set()
        for module in model.modules():
            if hasattr(module, "training"):  # what `torch.jit.freeze` returns is for evaluation alone
                self.modes.append((module, module.training))
            if module._buffers:
                self.buffers.append(_Buffers(module))
            held = _held_by(module)
            if held:
                self.attributes.append(_Attributes(module, held))
                if generators:
                    self.generators += put_back_generators(held.values())
            for name, parameter in module._parameters.items():
                if parameter is None:
                    continue
                self.owners.append((module, name, parameter))
                if id(parameter) not in seen:  # one that two modules share is kept once
                    seen.add(id(parameter))
                    self.frozen_flags.append((parameter, parameter.requires_grad))
                    self.gradients.append((parameter, parameter.grad))

    def set_aside(self, *, weights: bool) -> None:
        # One copy for each tensor, so that a tensor registered twice stays one tensor.
        copies: dict[int, Tensor] = {}
        for part in (*self.buffers, *self.attributes):
            part.copy(copies)
        # A network that is frozen as a whole is finished: it is not copied, so that captured searches find its weights
        # where they were.
        trains = any(required for _, required in self.frozen_flags)
        for module, name, parameter in self.owners:
            asked = weights or (trains and not parameter.requires_grad)
            if not _needs_copy(module, parameter, asked=asked):
                continue
            if id(parameter) not in copies:
                copies[id(parameter)] = nn.Parameter(parameter.detach().clone(), parameter.requires_grad)
            setattr(module, name, copies[id(parameter)])  # not by the dict: RNNs keep a second list of their weights
        for parameter, gradient in self.gradients:
            # One of another shape or type than its parameter (a trick of sharded training) could not be put back.
            if gradient is not None and (gradient.shape, gradient.dtype) == (parameter.shape, parameter.dtype):
                parameter.grad = None

    def put_back(self) -> None:
        for module, training in self.modes:
            if module.training != training:
                module.training = training
        for part in (*self.buffers, *self.attributes):
            part.put_back()
        self._put_parameters_back()
        for give_back in self.generators:
            give_back()

    def _put_parameters_back(self) -> None:
        for module, name, parameter in self.owners:
            if name not in module._parameters or module._parameters[name] is not parameter:
                setattr(module, name, parameter)  # where a copy of ours stands, or one that the network put there
        for parameter, required in self.frozen_flags:
            if parameter.requires_grad != required:
                parameter.requires_grad_(required)
        for parameter, gradient in self.gradients:
            if parameter.grad is not gradient:
                parameter.grad = gradient


def _needs_copy(module: nn.Module, parameter: nn.Parameter, *, asked: bool) -> bool:
    """Whether the network is given a copy of a parameter; `asked` says whether it would be well."""
    if is_lazy(parameter):
        return False
    if parameter.is_inference():
        return True
    # Exactly a parameter: sharded ones and those of other libraries are subclasses.
    return asked and type(parameter) is nn.Parameter and not isinstance(module, torch.jit.ScriptModule)


def _held_by(module: nn.Module) -> dict[str, object]:
    """What a module has as plain attributes, without the values that nearly all of them are: this runs in every attack.

    Those of a scripted module are not Python's.
    """
    found = {name: value for name, value in vars(module).items() if type(value) not in _NEITHER}
    if found and isinstance(module, torch.jit.ScriptModule):
        return {}
    return found


class _Makeup:
    """What one module is made of: its class, its attributes, and what lies in those that are lists or dictionaries."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.kind = type(module)
        self.contents = [_Contents(vars(module))]
        self.contents += [_Contents(held) for held in vars(module).values() if type(held) in _CONTAINERS]

    def put_back(self) -> None:
        if type(self.module) is not self.kind:  # parametrizations make a class of their own
            self.module.__class__ = self.kind
        for contents in self.contents:
            contents.put_back()


class _Contents:
    """What a container holds, not deeper."""

    def __init__(self, container: dict | list | set) -> None:
        self.container = container
        self.before = container.copy()

    def put_back(self) -> None:
        if _identities(self.container) == _identities(self.before):
            return
        self.container.clear()
        if isinstance(self.container, list):
            self.container.extend(self.before)
        else:
            self.container.update(self.before)


def _identities(container: Iterable[object]) -> list[int]:
    """Which objects a container holds. They are not compared by value: tensors are no truth values."""
    held = list(container)
    if isinstance(container, dict):
        held += container.values()
    return [id(value) for value in held]


def modes_of(model: Model) -> list[bool]:
    """Which parts of a network are in training mode.

    Args:
        model: any; a function has no parts.

    Returns:
        One flag per part.
    """
    return [getattr(module, "training", False) for module in parts_of(model)]


def passes_of(model: Model) -> list[object]:
    """What of a network, beside modes and values, decides how a forward pass goes.

    Args:
        model: any; of a function nothing is known.

    Returns:
        For each part its class, its own parts, its forward hooks, and a `forward` that it has for itself.
    """
    found: list[object] = []
    for module in parts_of(model):
        held = vars(module)
        hooks = [tuple(held.get(name, {}).values()) for name in ("_forward_pre_hooks", "_forward_hooks")]
        found.append((type(module), tuple(module.children()), hooks, held.get("forward")))
    return found


def evaluation_flags(model: nn.Module) -> None:
    """Put every part of a module in evaluation mode by its flag alone.

    `eval()` is not called: networks override it with work of their own, such as merging low-rank adapters into the
    weights, and what `torch.export` makes refuses it. To be called inside `preserve_state`, which puts the flags back.

    Args:
        model: any.
    """
    for module in model.modules():
        if getattr(module, "training", False):
            module.training = False


class _Attributes:
    """The tensors that one module holds as plain attributes."""

    def __init__(self, module: nn.Module, held: Mapping[str, object]) -> None:
        self.module = module
        self.tensors = {name: value for name, value in held.items() if isinstance(value, Tensor)}

    def copy(self, copies: dict[int, Tensor]) -> None:
        for name, value in self.tensors.items():
            if id(value) not in copies:
                copies[id(value)] = value.detach().clone()
            vars(self.module)[name] = copies[id(value)]

    def put_back(self) -> None:
        vars(self.module).update(self.tensors)


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
