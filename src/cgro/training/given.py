"""What a training is given beside its options, such as teachers: digests, which its run records.

The configuration of a run names them by path only, and what lies there may change.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import nn

from cgro.training.weights.formats import digest_of


@runtime_checkable
class Given(Protocol):
    """An objective or extension that was given something from outside."""

    def given(self) -> Mapping[str, str]:
        """Digests.

        Returns:
            What it is -> 64 hexadecimal digits.
        """
        ...


def weights_digest(network: nn.Module) -> str:
    """SHA-256 of the parameters and buffers of a network, with their names, types and shapes.

    Args:
        network: any.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> first = weights_digest(nn.Linear(1, 1))
        >>> len(first), first == weights_digest(nn.Linear(1, 1))
        (64, False)
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    return digest_of(tensors, "")


def given_to(objective: object, extensions: Sequence[object]) -> dict[str, str]:
    """Everything that a training is given.

    Args:
        objective: of the training.
        extensions: of the training.

    Returns:
        Such as "kd: robust" -> digest.
    """
    found: dict[str, str] = {}
    for part in (objective, *extensions):
        if isinstance(part, Given):
            found |= {f"{type(part).__name__.lower()}: {what}": digest for what, digest in part.given().items()}
    return found
