"""Labels as probabilities of the classes: what smoothing, mixing and distillation put in place of one class."""

from torch import Tensor

from cgro._check import bad
from cgro.definitions.losses import log_probabilities


def classes_of(y: Tensor, *, are_signs: bool) -> Tensor:
    """The column of `log_probabilities` that belongs to each label.

    Args:
        y: (B,) labels.
        are_signs: whether they are -1 and +1, as with (B,) scores.

    Returns:
        (B,) int64, from 0.

    Example:
        >>> import torch
        >>> classes_of(torch.tensor([-1, 1]), are_signs=True)
        tensor([0, 1])
    """
    if are_signs:
        return (y > 0).long()
    return y.long()


def soft_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """-sum_c t_c log softmax(z)_c, cross-entropy against probabilities of the classes.

    Args:
        outputs: (B, C) logits or (B,) scores.
        targets: (B, C), or (B, 2) with the class -1 first.

    Returns:
        (B,), in nats.

    Raises:
        BadRequest: targets of another number of classes.

    Example:
        >>> import torch
        >>> soft_cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.25, 0.75]]))
        tensor([0.6931])
    """
    log_p = log_probabilities(outputs)
    if log_p.shape != targets.shape:
        raise bad("soft labels", expected=f"shape {tuple(log_p.shape)}, as the outputs", got=tuple(targets.shape))
    return -(targets * log_p).sum(1)


class SoftTargets:
    """A `Loss` against probabilities of the classes in place of labels: (outputs, y) -> soft cross-entropy.

    Args:
        targets: (B, C), or (B, 2) with the class -1 first; taken as constants.

    Raises:
        BadRequest: when called, on outputs of other rows or classes.

    Example:
        >>> import torch
        >>> loss = SoftTargets(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> loss.rows(torch.tensor([1]))(torch.tensor([0.0]), torch.tensor([1]))
        tensor([0.6931])
    """

    def __init__(self, targets: Tensor) -> None:
        self.targets = targets.detach()

    def __call__(self, outputs: Tensor, y: Tensor, /) -> Tensor:
        """Return the cross-entropy against the targets.

        Args:
            outputs: (B, C) or (B,).
            y: not used.

        Returns:
            (B,), in nats.

        Raises:
            BadRequest: outputs of other rows or classes.
        """
        return soft_cross_entropy(outputs, self.targets)

    def rows(self, rows: Tensor) -> "SoftTargets":
        """The loss of some examples.

        Args:
            rows: (R,) int64, their rows.

        Returns:
            A loss for (R, C) or (R,) outputs.
        """
        return SoftTargets(self.targets[rows])
