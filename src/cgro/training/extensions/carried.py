"""What an objective carries from step to step, as an extension, so that checkpoints have it."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from cgro.data import Dataset, Split
from cgro.training.extensions.base import Extension, State
from cgro.training.recipe import Recipe


@runtime_checkable
class Memory(Protocol):
    """What `Free` has as its attribute `memory`; an objective is otherwise a value that carries nothing."""

    @property
    def name(self) -> str:
        """Under which its state stands in a checkpoint."""
        ...

    def prepare(self, batch_size: int, train: Split, /) -> None:
        """Called before any work.

        Args:
            batch_size: of the training.
            train: its examples, on their device.
        """
        ...

    def begin(self) -> None:
        """Called before the first step."""
        ...

    def after_step(self) -> None:
        """Called after every step of the optimizer."""
        ...

    def state(self) -> Mapping[str, Tensor]:
        """What a resumed training needs.

        Returns:
            One tensor by name.
        """
        ...

    def load(self, value: Tensor, /) -> None:
        """Take it back.

        Args:
            value: the tensor of `state`.
        """
        ...


class Carried(Extension):
    """The memory of an objective among the extensions.

    Args:
        memory: of the objective.
    """

    capturable = True  # as far as the memory declares it; see `cgro.training.capturable`

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    @property
    def name(self) -> str:
        """That of the memory."""
        return self.memory.name

    def prepare(self, model: nn.Module, recipe: Recipe, data: Dataset) -> None:
        """Make room.

        Args:
            model: unused.
            recipe: says the batch size.
            data: its training part.
        """
        self.memory.prepare(recipe.batch_size, data.train)

    def begin(self, model: nn.Module) -> None:
        """Start anew.

        Args:
            model: unused.
        """
        self.memory.begin()

    def after_step(self, model: nn.Module, k: int) -> None:
        """Follow the step.

        Args:
            model: unused.
            k: unused.
        """
        self.memory.after_step()

    def state(self) -> State:
        """That of the memory.

        Returns:
            Tensors by name.
        """
        return dict(self.memory.state())

    def load(self, state: State) -> None:
        """Take it back.

        Args:
            state: as `state` returned it.

        Raises:
            TypeError: it is another's.
        """
        (value,) = state.values()
        if not isinstance(value, Tensor):
            raise TypeError("no tensor")
        self.memory.load(value)


def with_memory(objective: object, extensions: Sequence[Extension]) -> tuple[Extension, ...]:
    """The extensions of a training, with what its objective carries as the innermost.

    Args:
        objective: of the training.
        extensions: given to `fit`.

    Returns:
        The same, where the objective has no `memory`.
    """
    memory = getattr(objective, "memory", None)
    if isinstance(memory, Memory):
        return (*extensions, Carried(memory))
    return tuple(extensions)
