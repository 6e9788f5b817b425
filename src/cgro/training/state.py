"""All that a step of training changes, copied and given back: so that a step can be taken twice."""

from collections.abc import Iterator

import torch
from torch import Tensor

from cgro.training.extensions.base import State
from cgro.training.optimizers import PARAMS
from cgro.training.steps import Steps
from cgro.training.weights.fit import same_bits

CHECKS = "checks of attacks"


class TrainingState:
    """A copy of weights, buffers, the optimizer's state, that of the extensions, and what is noted of attacks.

    Args:
        steps: of the training; between two of its steps.
    """

    def __init__(self, steps: Steps) -> None:
        self._tensors = {name: value.detach().clone() for name, value in live_tensors(steps)}
        self._extensions = {extension.name: _copy(extension.state()) for extension in steps.extensions}

    def restore(self, steps: Steps) -> None:
        """Write everything back into the tensors that are there.

        Args:
            steps: as given.
        """
        for name, slots, key in _slots(steps.optimizer.optimizer):
            if name not in self._tensors:
                del slots[key]  # a first gradient came in between
        if CHECKS not in self._tensors:
            steps.checks.forget()
        with torch.no_grad():
            for name, value in live_tensors(steps):
                value.copy_(self._tensors[name])
        for extension in steps.extensions:
            # Copies: an extension may keep what it is given, and move it.
            extension.load(_copy(self._extensions[extension.name]))

    def differences(self, other: "TrainingState") -> list[str]:
        """What is not the same to the bit.

        Args:
            other: of the same training.

        Returns:
            Names.
        """
        found = _different(self._tensors, other._tensors, "")
        for name, values in self._extensions.items():
            found += _different(values, other._extensions[name], f"extension {name}: ")
        return found


def live_tensors(steps: Steps) -> Iterator[tuple[str, Tensor]]:
    """The tensors that a step changes in place, apart from those of extensions.

    Args:
        steps: of the training.

    Yields:
        Name and tensor.
    """
    yield from steps.network.named_parameters()
    yield from steps.network.named_buffers()
    for name, slots, key in _slots(steps.optimizer.optimizer):
        yield name, slots[key]
    if steps.checks.noted is not None:
        yield CHECKS, steps.checks.noted


def addresses(steps: Steps) -> tuple[tuple[str, int], ...]:
    """Where the tensors lie. A graph that was captured before they moved would work on the old ones.

    Args:
        steps: of the training.

    Returns:
        Names and addresses.
    """
    return tuple((name, value.data_ptr()) for name, value in live_tensors(steps))


def _slots(optimizer: torch.optim.Optimizer) -> list[tuple[str, dict[str, Tensor], str]]:
    """The tensors of an optimizer: a name of our own, and where they lie."""
    found: list[tuple[str, dict[str, Tensor], str]] = []
    for i, group in enumerate(optimizer.param_groups):
        for j, weight in enumerate(group[PARAMS]):
            slots = optimizer.state.get(weight, {})
            for key, value in slots.items():
                if isinstance(value, Tensor):
                    found.append((f"optimizer {i}.{j}.{key}", slots, key))
    return found


def _copy(state: State) -> State:
    copied: dict[str, Tensor | bool | int | float | str | None] = {}
    for name, value in state.items():
        copied[name] = value.detach().clone() if isinstance(value, Tensor) else value
    return copied


def _different(ours: State, theirs: State, prefix: str) -> list[str]:
    found: list[str] = []
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs or not _same(ours[name], theirs[name]):
            found.append(prefix + name)
    return found


def _same(a: object, b: object) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return same_bits(a, b)
    return repr(a) == repr(b)  # of plain values; NaN as well
