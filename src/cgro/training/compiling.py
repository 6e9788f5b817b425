"""The network compiled for the steps of a training: decided once, checked, never visible outside of a step.

`torch.compile` turns the passes of a network into fewer, larger kernels. It takes half a minute or more and rounds
otherwise, so whether a training compiles is decided once, at its start (`decided`), written into its checkpoints and
kept when it is resumed. Compiled are passes of whole batches within a step: those of the attack, and those by which the
weights are updated. The network itself stays the module it was, with the names of its parameters; evaluations, copies
such as averages of weights, and the last, smaller batch of an epoch never see the compiled one.

Nothing of this is believed: each kind of pass is taken in its first two steps by the compiled network and by the plain
one too, from the same state (`CompiledNetwork`). Where it cannot be compiled, or gives something else, training goes on
with the plain network, and says why.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cgro._check import one_line, one_of
from cgro.definitions.attacks import preserve_state
from cgro.definitions.attacks.float32 import full_float32
from cgro.definitions.inputs import logits_of

Option: TypeAlias = Literal["auto", "yes", "no"]
OPTIONS: tuple[Option, ...] = ("auto", "yes", "no")
Compiler = Callable[[nn.Module], Callable[[Tensor], object]]
"""A network -> its forward pass, compiled at its first calls."""

CAPTURED = 116e12
"""Operations per second of the whole captured step of PreActResNet-18 of width 64, PGD-10, batches of 128, bfloat16
passes: measured once on an H100 (27.5 ms a step, 10.2 to 11 s an epoch)."""
COMPILED = 166e12
"""The same with the network compiled before the capture: 7.7 s an epoch."""
COMPILE_SECONDS = 34.0
"""What compiling took there, measured once."""
GAIN = 2.0
"""How many times the compile time must be saved before `auto` compiles. A choice: 34 s were measured for two kinds of
passes, and a training has up to four."""
N_CHECKED = 2
"""Steps in which a kind of pass is taken both ways. A choice."""
TOLERANCE = 1e-3
"""How far, as a share of the norm, results of the compiled network may be from those in float32, beyond `ROUNDING`
times the error of the plain one. A choice: measured on a CPU at most 7e-6 over outputs, gradients and buffers of a
PreActResNet-18 of width 8 in float32."""
ROUNDING = 2.0
"""See `TOLERANCE`: in bfloat16 both are off, and neither is the truth. A choice; measured as above, outputs of the one
differ from those of the other by up to 0.8%, gradients to the input by 9.8%, those of
the weights by 39% for the worst tensor and by up to 75% over all passes that were looked at."""
COMPILED_CALL = "_compiled_call_impl"
"""Where a module keeps what is called in place of its forward pass. A private name of torch, as `Module.compile` is
public only in what it compiles: root modules of torch itself, such as `nn.Sequential`, it leaves in pieces."""


@dataclass(frozen=True)
class Decision:
    """Whether a training compiles.

    Args:
        compiles: so it was decided.
        reason: why not; "" where it does.
    """

    compiles: bool
    reason: str = ""

    @property
    def text(self) -> str:
        """What the header of a checkpoint says: `yes`, or `no: REASON`."""
        if self.compiles:
            return "yes"
        return f"no: {self.reason}"

    @classmethod
    def of_text(cls, text: object) -> "Decision":
        """What a checkpoint says.

        Args:
            text: as `text`; anything else is of a version that compiled nothing.

        Returns:
            The decision.

        Example:
            >>> Decision.of_text("yes"), Decision.of_text("no: asked for").reason, Decision.of_text(None).compiles
            (Decision(compiles=True, reason=''), 'asked for', False)
        """
        if text == "yes":
            return cls(True)
        if isinstance(text, str) and text.startswith("no: "):
            return cls(False, one_line(text.removeprefix("no: "), 200))
        return cls(False, "the run was begun without")


def decided(
    option: str, network: nn.Module, shape: Sequence[int], *, operations: float, device: torch.device
) -> Decision:
    """Whether a training that begins now compiles its network. Looks at nothing that varies from call to call.

    `auto` compiles on CUDA where the time that it saves at the rates measured there, n F (1 / CAPTURED - 1 / COMPILED)
    for n passes of F operations, is at least GAIN * COMPILE_SECONDS: from 21 epochs of CIFAR-10 on with
    PreActResNet-18 and PGD-10. On a CPU it does not: attacks there fold and lay out by themselves.

    Args:
        option: auto, yes or no.
        network: on its device; it is called once where the rule asks what a pass costs.
        shape: of an example.
        operations: of the whole training that is left, in units of a forward pass of one example.
        device: of the training.

    Returns:
        The decision.

    Raises:
        BadRequest: another option.

    Example:
        >>> decided("auto", nn.Linear(2, 1), (2,), operations=1e9, device=torch.device("cpu"))
        Decision(compiles=False, reason='on a CPU it pays too little')
    """
    option = one_of(option, "compiling", OPTIONS)
    if option == "no":
        return Decision(False, "asked for")
    if is_compiled(network):
        return Decision(False, "the network is compiled already")
    if option == "yes":
        return Decision(True)
    if device.type != "cuda":
        return Decision(False, "on a CPU it pays too little")
    saved = seconds_saved(operations * forward_operations(network, shape))
    if saved >= GAIN * COMPILE_SECONDS:
        return Decision(True)
    return Decision(
        False,
        f"compiling takes {COMPILE_SECONDS:g} s and more, and would save about {saved:.0f} s of this training",
    )


def seconds_saved(operations: float) -> float:
    """What compiling saves of a captured training, at the rates that were measured.

    Args:
        operations: of the training, multiplications and additions.

    Returns:
        Seconds.

    Example:
        >>> round(seconds_saved(50_000 * 23 * 1.11e9), 1)  # an epoch of CIFAR-10, PreActResNet-18, PGD-10
        3.3
    """
    return operations * (1 / CAPTURED - 1 / COMPILED)


def forward_operations(network: nn.Module, shape: Sequence[int]) -> int:
    """Multiplications and additions of a forward pass of one example.

    Args:
        network: left as it is.
        shape: of the example.

    Returns:
        Their number, as torch counts them: products and convolutions.
    """
    some = next(network.parameters())
    x = torch.zeros(1, *shape, dtype=some.dtype, device=some.device)
    with preserve_state(network, some.device), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(x)
    return counter.get_total_flops()


def is_compiled(network: nn.Module) -> bool:
    """Whether somebody compiled a network, or a part of it, before.

    Args:
        network: any.

    Returns:
        True if there is something compiled in it.
    """
    for module in network.modules():
        if hasattr(module, "_orig_mod") or isinstance(module, torch.jit.ScriptModule):
            return True
        if getattr(module, COMPILED_CALL, None) is not None:
            return True
    return False


def by_inductor(network: nn.Module) -> Callable[[Tensor], object]:
    """Compile with torch's own compiler: static shapes, the whole network in one piece.

    Args:
        network: called in whichever mode and precision it is when it is called.

    Returns:
        Its forward pass. Random numbers of the network are those that it draws uncompiled.
    """

    def forward(x: Tensor) -> object:
        return network._call_impl(x)

    # Code of its own: torch counts the variants that it compiled by code, and would refuse after a few networks.
    forward.__code__ = forward.__code__.replace(co_name="forward")
    return torch.compile(forward, dynamic=False, fullgraph=True, options=_inductor_options())


def _inductor_options() -> dict[str, str | int | bool | Callable[..., object]]:
    import torch._inductor.config as known  # takes a second, and only who compiles needs it

    options: dict[str, str | int | bool | Callable[..., object]] = {"fallback_random": True}
    if hasattr(known, "deterministic"):
        # Kernels are not chosen by timing them: a resumed training would end in other bits.
        options |= {"deterministic": True}
    return options


_COMPILER: ContextVar[Compiler] = ContextVar("compiler", default=by_inductor)


@contextlib.contextmanager
def compiling_by(compiler: Compiler) -> Iterator[None]:
    """Within, trainings that compile do it by this.

    Args:
        compiler: in place of torch's.

    Yields:
        Nothing.
    """
    token = _COMPILER.set(compiler)
    try:
        yield
    finally:
        _COMPILER.reset(token)


@dataclass(frozen=True)
class Kind:
    """What a compiler makes a pass anew for.

    Args:
        shape: of the batch, with its strides.
        modes: whether each part of the network is in training mode.
        gradients: whether gradients are taken, by the input, by the weights.
        precision: of autocast; None without.
        layout: strides of the weights.
    """

    shape: tuple[tuple[int, ...], tuple[int, ...]]
    modes: tuple[bool, ...]
    gradients: tuple[bool, bool, bool]
    precision: torch.dtype | None
    layout: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, network: nn.Module, x: Tensor) -> "Kind":
        """Of a pass that is about to be taken.

        Args:
            network: that takes it.
            x: (B, *S).

        Returns:
            Its kind.
        """
        device = x.device.type
        weights = list(network.parameters())
        return cls(
            (tuple(x.shape), x.stride()),
            tuple(module.training for module in network.modules()),
            (torch.is_grad_enabled(), x.requires_grad, any(weight.requires_grad for weight in weights)),
            torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None,
            tuple(weight.stride() for weight in weights),
        )


class CompiledNetwork:
    """A network whose passes of whole batches are compiled within steps.

    Args:
        network: that is trained.
        size: of a whole batch; passes of multiples of it are compiled, all others are taken as ever.

    Attributes:
        reason: why nothing is compiled any more; "" as long as it is.
        capturing: whether a step is being captured: then nothing can be compiled or checked.

    Example:
        >>> net, x = nn.Linear(2, 1), torch.rand(4, 2)
        >>> with compiling_by(lambda network: lambda x: network._call_impl(x) + 1):
        ...     compiled = CompiledNetwork(net, 4)
        >>> with compiled.in_step():
        ...     equal = torch.equal(net(x), net._call_impl(x))
        >>> equal, compiled.reason
        (True, 'outputs of the compiled network are off by ...')
    """

    def __init__(self, network: nn.Module, size: int) -> None:
        self.network = network
        self.reason = ""
        self.capturing = False
        self._size = size
        self._call: Callable[[Tensor], object] = network._call_impl
        self._searching = False
        self._n_steps = 0
        self._checks: dict[Kind, list[int]] = {}
        try:
            self._call = _COMPILER.get()(network)
        except Exception as error:  # of any kind, such as an option that this torch does not have
            self.reason = words(error)

    @contextlib.contextmanager
    def in_step(self) -> Iterator[None]:
        """Within, the network is the compiled one.

        Yields:
            Nothing.
        """
        if self.reason:
            yield
            return
        self._n_steps += 1
        # Past `__setattr__`, which networks override.
        self.network.__dict__[COMPILED_CALL] = self
        try:
            yield
        finally:
            self.network.__dict__.pop(COMPILED_CALL, None)

    @contextlib.contextmanager
    def searching(self) -> Iterator[None]:
        """Within, gradients are taken by the input alone: a compiled pass would compute those of the weights too.

        Yields:
            Nothing.
        """
        before = self._searching
        self._searching = True
        try:
            yield
        finally:
            self._searching = before

    def __call__(self, *args: object, **kwargs: object) -> object:
        """A pass, in place of the network's own.

        Args:
            *args: of the network's call.
            **kwargs: of the network's call.

        Returns:
            What it gives.
        """
        x = args[0] if len(args) == 1 and not kwargs else None
        if self.reason or not isinstance(x, Tensor) or not x.ndim or len(x) % self._size or not len(x):
            return self.network._call_impl(*args, **kwargs)
        with self._frozen():
            return self._taken(x)

    def _taken(self, x: Tensor) -> object:
        kind = Kind.of(self.network, x)
        steps = self._checks.setdefault(kind, [])
        if len(steps) < N_CHECKED and self._n_steps not in steps:
            if self.capturing:
                raise RuntimeError("a step took a kind of pass that the steps before it did not")
            steps.append(self._n_steps)
            self.reason = self._different(x)
        if self.reason:
            return self.network._call_impl(x)
        try:
            return self._call(x)
        except Exception as error:
            if self.capturing:
                raise
            self.reason = words(error)
        return self.network._call_impl(x)

    @contextlib.contextmanager
    def _frozen(self) -> Iterator[None]:
        weights: list[nn.Parameter] = []
        if self._searching:
            weights = [weight for weight in self.network.parameters() if weight.requires_grad and weight.is_leaf]
        for weight in weights:
            weight.requires_grad_(False)
        try:
            yield
        finally:
            for weight in weights:
                weight.requires_grad_(True)

    def _different(self, x: Tensor) -> str:
        """Why a pass by the compiled network is not to be believed; "" if it is."""
        try:
            found = self._pass(self._call, x)
        except Exception as error:  # of any kind: the pass as ever, which comes next, raises it if it is its own
            return words(error)
        plain = self._pass(self.network._call_impl, x)
        with full_float32(x.device), torch.autocast(x.device.type, enabled=False):
            exact = self._pass(self.network._call_impl, x)
        for name, values in found.items():
            error = _distance(values, exact[name])
            allowed = ROUNDING * _distance(plain[name], exact[name]) + TOLERANCE
            if not error <= allowed:
                return f"{name} of the compiled network are off by {error:.2g} of their norm, more than {allowed:.2g}"
        return ""

    def _pass(self, call: Callable[[Tensor], object], x: Tensor) -> dict[str, list[Tensor]]:
        """All that a pass gives, from the state as it is, which stays."""
        weights = [weight for weight in self.network.parameters() if weight.requires_grad]
        with preserve_state(self.network, x.device):
            own = x.detach().clone().requires_grad_(x.requires_grad)
            outputs = logits_of(call(own))
            found: dict[str, list[Tensor]] = {"outputs": [outputs.detach().clone()]}
            if outputs.requires_grad:
                # Of no symmetry: the gradient of a sum of logits is nearly none behind BatchNorm.
                along = torch.arange(outputs.numel(), device=x.device).cos().to(outputs).view_as(outputs)
                wanted = [*weights, own] if own.requires_grad else weights
                gradients = torch.autograd.grad(outputs, wanted, along, allow_unused=True)
                found |= {"gradients": [_or_zeros(g, value) for g, value in zip(gradients, wanted, strict=True)]}
            found |= {"buffers": [buffer.detach().clone() for buffer in self.network.buffers()]}
        return found


def _or_zeros(gradient: Tensor | None, value: Tensor) -> Tensor:
    if gradient is None:
        return torch.zeros_like(value)
    return gradient


def _distance(found: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    """‖found - exact‖ / ‖exact‖ over all values; infinite where one is finite and the other is not."""
    squares, norm = 0.0, 0.0
    for a, b in zip(found, exact, strict=True):
        a, b = a.detach().double(), b.detach().double()
        if a.shape != b.shape or not torch.equal(a.isfinite(), b.isfinite()):
            return math.inf
        a, b = a.nan_to_num(posinf=0.0, neginf=0.0), b.nan_to_num(posinf=0.0, neginf=0.0)
        squares += float((a - b).square().sum())
        norm += float(b.square().sum())
    if squares == 0.0:
        return 0.0
    if norm == 0.0:
        return math.inf
    return math.sqrt(squares / norm)


@contextlib.contextmanager
def searching(network: nn.Module) -> Iterator[None]:
    """Within, passes of a network are those of a search, which takes gradients by the input alone.

    Args:
        network: nothing happens unless it is compiled here.

    Yields:
        Nothing.
    """
    compiled = getattr(network, COMPILED_CALL, None)
    if not isinstance(compiled, CompiledNetwork):
        yield
        return
    with compiled.searching():
        yield


def words(error: Exception) -> str:
    """What an error says in one line.

    Args:
        error: any.

    Returns:
        Its first line, with the next one where a colon ends it; or its kind. torch's errors of a compiler name the
        compiler in the first line alone, and the reason in the second.

    Example:
        >>> words(RuntimeError("backend='inductor' raised:\\nCppCompileError: C++ compile error\\n\\nCommand: ..."))
        "backend='inductor' raised: CppCompileError: C++ compile error"
    """
    lines = [line for line in str(error).splitlines() if line.strip()]
    n_taken = 1
    if lines and lines[0].rstrip().endswith(":"):
        n_taken = 2
    return one_line(" ".join(lines[:n_taken]), 160) or type(error).__name__
