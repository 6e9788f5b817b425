"""A step that notes what it read of the host: what decides whether it may be done again without Python."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cgro.definitions.random_state import device_state, host_states, torch_state
from cgro.training.step import Moment, Step

TIMES = ("epoch", "progress", "radius_share")
"""The numbers of a `Moment`, which a step has under the same names."""
Rule = Callable[[Moment], bool]
Number = Callable[[Moment], float]


@dataclass
class Reads:
    """What a step read of the host.

    Args:
        moment: when it was taken.
        times: numbers of the moment that it read themselves.
        rules: what it decided by the moment, and how; in its order.
        numbers: numbers that it was given in tensors; in its order.
        purposes: of the random streams that it asked for.
        n_noisy: calls of `compute` in which the network drew random numbers of its own.
        draws_on_host: whether it drew from generators of Python, NumPy, or of the CPU where it runs on another device.
    """

    moment: Moment
    times: set[str] = field(default_factory=set[str])
    rules: list[tuple[Rule, bool]] = field(default_factory=list[tuple[Rule, bool]])
    numbers: list[Number] = field(default_factory=list[Number])
    purposes: set[str] = field(default_factory=set[str])
    n_noisy: int = 0
    draws_on_host: bool = False

    def holds(self, moment: Moment) -> bool:
        """Whether a step at another moment would read the same, apart from numbers in tensors.

        Args:
            moment: of the other step.

        Returns:
            True if it may be a replay of this one.
        """
        if self.changed(moment):
            return False
        return all(rule(moment) == value for rule, value in self.rules)

    def changed(self, moment: Moment) -> list[str]:
        """The numbers that were read themselves and are others at another moment.

        Args:
            moment: of another step.

        Returns:
            Their names, sorted.
        """
        names: list[str] = []
        for name in sorted(self.times):
            if getattr(self.moment, name) != getattr(moment, name):
                names.append(name)
        return names

    def is_like(self, other: "Reads") -> bool:
        """Whether two steps asked for the same things, whatever they were told.

        Args:
            other: of another step.

        Returns:
            True if the buffers of one fit the other.
        """
        same_numbers = (len(self.rules), len(self.numbers)) == (len(other.rules), len(other.numbers))
        return same_numbers and (self.times, self.purposes) == (other.times, other.purposes)

    def obstacle(self) -> str:
        """Why such a step cannot be captured.

        Returns:
            One sentence; "" if nothing is known against it.
        """
        if self.draws_on_host:
            return "the step draws random numbers on the host, which a graph would repeat"
        if self.n_noisy > 1:
            return (
                f"the network draws random numbers (dropout) in {self.n_noisy} passes of a step that are seeded alike"
            )
        return ""


@dataclass
class WatchedStep(Step):
    """A `Step` that notes what is read of it.

    Args:
        reads: takes the notes.
        buffers: where the numbers of `number` lie in a step that is captured; None for one that is not.
    """

    reads: Reads = field(default_factory=lambda: Reads(Moment()))
    buffers: list[Tensor] | None = None

    def __getattribute__(self, name: str) -> object:
        if name in TIMES:
            object.__getattribute__(self, "reads").times.add(name)
        return object.__getattribute__(self, name)

    def decide(self, rule: Rule) -> bool:
        """As `Step.decide`, noted.

        Args:
            rule: of the moment alone.

        Returns:
            What the rule says of this step.
        """
        value = rule(self.reads.moment)
        self.reads.rules.append((rule, value))
        return value

    def number(self, rule: Number) -> Tensor:
        """As `Step.number`, noted.

        Args:
            rule: of the moment alone.

        Returns:
            0-dimensional; in a captured step the tensor that is written before each replay.

        Raises:
            RuntimeError: a captured step asks for more numbers than the steps before it did.
        """
        self.reads.numbers.append(rule)
        if self.buffers is None:
            return torch.full((), rule(self.reads.moment), dtype=self.x.dtype, device=self.x.device)
        if len(self.reads.numbers) > len(self.buffers):
            raise RuntimeError("the step asked for other numbers than the steps before it")
        return self.buffers[len(self.reads.numbers) - 1]


@contextlib.contextmanager
def watching_noise(reads: Reads, device: torch.device) -> Iterator[None]:
    """Note whether torch's generators are drawn from in the block.

    Args:
        reads: takes the note.
        device: of the step.

    Yields:
        Nothing.
    """
    before = (torch_state(), device_state(device))
    yield
    host_drawn = before[0] != torch_state()
    if device.type != "cuda":
        reads.n_noisy += host_drawn
        return
    reads.n_noisy += before[1] != device_state(device)
    reads.draws_on_host |= host_drawn


@contextlib.contextmanager
def watching_python(reads: Reads) -> Iterator[None]:
    """Note whether the generators of Python or NumPy are drawn from in the block.

    Args:
        reads: takes the note.

    Yields:
        Nothing.
    """
    before = host_states()
    yield
    reads.draws_on_host |= before != host_states()
