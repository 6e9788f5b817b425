"""Soft labels of a step: what extensions that smooth, mix or distill share."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cgro.data import Dataset
from cgro.definitions import classes_of
from cgro.training.step import Step, passed_over


@dataclass(frozen=True)
class Classes:
    """How labels of a task become probabilities.

    Args:
        n: number of classes.
        are_signs: whether labels are -1 and +1, as with (B,) scores.

    Example:
        >>> Classes(2, are_signs=True).one_hot(torch.tensor([-1, 1]))
        tensor([[1., 0.],
                [0., 1.]])
    """

    n: int
    are_signs: bool

    @classmethod
    def of(cls, data: Dataset) -> "Classes":
        """Those of a data set.

        Args:
            data: its number of outputs is 1 for scores.

        Returns:
            Two classes for scores.
        """
        return cls(max(2, data.n_outputs), are_signs=data.n_outputs == 1)

    def one_hot(self, y: Tensor) -> Tensor:
        """Probability 1 for each label.

        Args:
            y: (B,) labels.

        Returns:
            (B, C) float32.
        """
        columns = torch.arange(self.n, device=y.device)
        return (classes_of(y, are_signs=self.are_signs)[:, None] == columns).float()

    def labels_of(self, step: Step) -> Tensor:
        """The labels of a step as probabilities, soft ones if an outer extension has set them.

        Args:
            step: the batch.

        Returns:
            (B, C).
        """
        if step.targets is not None:
            return step.targets
        return self.one_hot(step.y)


def against(targets: Tensor, step: Step, compute: Callable[[], Tensor], who: str, *, attack: bool) -> Tensor:
    """Compute the gradients of a step with soft labels in place of its labels, which are put back.

    Args:
        targets: (B, C) probabilities.
        step: the batch.
        compute: sets the gradients of the objective.
        who: the extension, for messages.
        attack: whether attacks without a loss of their own maximize the loss against `targets` too.

    Returns:
        What `compute` returned.

    Raises:
        BadRequest: an objective that does not ask `step.loss`, for which nothing would change.
    """
    before = (step.targets, step.attack_targets, step.targets_used)
    step.targets, step.attack_targets, step.targets_used = targets, attack, False
    with contextlib.ExitStack() as stack:
        stack.callback(_put_back, step, before)
        loss = compute()
        if step.passes_over_targets:
            raise passed_over(who)
    return loss


def _put_back(step: Step, before: tuple[Tensor | None, bool, bool]) -> None:
    step.targets, step.attack_targets, used = before
    step.targets_used = used or step.targets_used
