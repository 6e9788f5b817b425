"""What mixup, CutMix and same-class boxes share: another training example for each of the batch, shares, boxes.

Everything is drawn from streams keyed by the example, and the other example from the whole training set: what happens
to an example depends neither on its batch nor on an interruption. In the authors' code of mixup and CutMix the others
are a permutation of the batch.
"""

from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from cgro._check import bad, number
from cgro.data import Dataset, augmentation_by_name
from cgro.definitions import Draws
from cgro.training.extensions.base import Extension
from cgro.training.extensions.labels import Classes, against
from cgro.training.recipe import Recipe
from cgro.training.step import Step

N_QUANTILES = 4096
"""Intervals of the table of the beta distribution; between them it is interpolated. A choice."""


class Mixing(Extension):
    """Gives the objective mixed inputs, and labels mixed alike, within a step; the attack starts from the former.

    Args:
        alpha: the share of the example itself is drawn from Beta(alpha, alpha); 1 is uniform.
        probability: of an example to be mixed at all.
        same_class: whether the other example has the same class; then labels stay as they are.

    Raises:
        BadRequest: an alpha that is not positive, a probability outside [0, 1].
    """

    def __init__(self, alpha: float, probability: float, *, same_class: bool) -> None:
        self.alpha = number(alpha, f"{self.name}: alpha", above=0.0)
        self.probability = number(probability, f"{self.name}: probability", low=0.0, high=1.0)
        self.same_class = same_class
        self._made: tuple[Step, Tensor, Tensor] | None = None

    def __repr__(self) -> str:
        """With its parameters."""
        return f"{type(self).__name__}(alpha={self.alpha}, probability={self.probability})"

    @abstractmethod
    def mixed(self, x: Tensor, other: Tensor, share: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Mix a batch.

        Args:
            x: (B, C, H, W).
            other: of the same shape.
            share: (B,) of x, in [0, 1].
            draws: (B,) streams for what else is random.

        Returns:
            The mixed batch, and (B,) shares of x that came out.
        """

    def prepare(self, model: nn.Module, recipe: Recipe, data: Dataset) -> None:
        """Keep the training examples, by class.

        Args:
            model: unused.
            recipe: says how they are augmented.
            data: its training part is mixed.

        Raises:
            BadRequest: no images.
        """
        if len(data.train.shape) != 4:
            raise bad(self.name, expected="images of shape (C, H, W)", got=data.shape)
        self._train = data.train
        self._classes = Classes.of(data)
        self._augment = augmentation_by_name(recipe.augment)
        self._by_class = torch.argsort(data.train.y, stable=True)
        self._labels = data.train.y[self._by_class].contiguous()
        self._made = None

    def around(self, step: Step, compute: Callable[[], Tensor]) -> Tensor:
        """Gradients on the mixed batch.

        Args:
            step: the batch, which is put back.
            compute: sets the gradients of the objective.

        Returns:
            The loss on it.

        Raises:
            BadRequest: labels that an outer extension has made soft, an objective that takes no soft labels.
        """
        if step.targets is not None and not self.same_class:
            raise bad(self.name, expected="plain labels", got="soft ones", remedy="name it before the others")
        if self._made is None or self._made[0] is not step:
            self._made = (step, *self._mix(step))
        x = step.x
        step.x = self._made[1]
        try:
            if self.same_class:
                return compute()
            return against(self._made[2], step, compute, self.name, attack=True)
        finally:
            step.x = x

    def _mix(self, step: Step) -> tuple[Tensor, Tensor]:
        """The inputs and the labels of the step."""
        draws = step.streams(self.name)
        rows = self._others(step.y, draws)
        other, y = self._train.batch(rows)
        other = self._augment(other, generator=step.streams(f"{self.name}: augment"))
        if other.shape != step.x.shape:
            raise bad(self.name, expected=f"images of shape {tuple(step.x.shape[1:])}", got=tuple(other.shape[1:]))
        share = torch.where(draws.uniform(1)[:, 0] < self.probability, self._share(draws), 1.0)
        x, share = self.mixed(step.x, other, share.to(step.x.dtype), draws)
        share = share[:, None]
        targets = share * self._classes.one_hot(step.y) + (1 - share) * self._classes.one_hot(y)
        return x, targets

    def _others(self, y: Tensor, draws: Draws) -> Tensor:
        """(B,) rows of the training set."""
        u = draws.uniform(1)[:, 0]
        if not self.same_class:
            return (u * len(self._labels)).long()
        first = torch.searchsorted(self._labels, y.contiguous())
        number_of_class = torch.searchsorted(self._labels, y.contiguous(), right=True) - first
        return self._by_class[first + (u * number_of_class).long()]

    def _share(self, draws: Draws) -> Tensor:
        """(B,) float64 from Beta(alpha, alpha), by its quantiles."""
        u = draws.uniform(1)[:, 0]
        if self.alpha == 1.0:
            return u
        if self._quantiles.device != u.device:
            # Once: a copy from the host in every step would end what can be captured.
            self._quantiles = self._quantiles.to(u.device)
        table = self._quantiles
        place = u * N_QUANTILES
        below = place.long()
        return torch.lerp(table[below], table[below + 1], place - below)

    @cached_property
    def _quantiles(self) -> Tensor:
        from scipy.special import betaincinv  # here, as the import takes a fifth of a second

        return torch.from_numpy(betaincinv(self.alpha, self.alpha, np.linspace(0.0, 1.0, N_QUANTILES + 1)))


def box(share: Tensor, draws: Draws, height: int, width: int) -> Tensor:
    """Random boxes that cover 1 - share of an image, apart from what its border cuts off (Yun et al., ICCV 2019).

    The sides are height sqrt(1 - share) and width sqrt(1 - share), rounded down, and the center is uniform.

    Args:
        share: (B,) in [0, 1].
        draws: (B,) streams.
        height: of the image, in pixels.
        width: of the image, in pixels.

    Returns:
        (B, 1, H, W) bool, true inside the box.

    Example:
        >>> inside = box(torch.tensor([1.0, 0.0]), Draws.of(0, "box", torch.arange(2)), 4, 4)
        >>> inside[0].any().item()
        False
    """
    side = (1 - share.double()).clamp_min(0.0).sqrt()
    rows = _interval(side, draws, height)
    columns = _interval(side, draws, width)
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def _interval(side: Tensor, draws: Draws, length: int) -> Tensor:
    """(B, length), true inside the box along one axis."""
    size = (side * length).long()
    start = draws.integers(length, 1)[:, 0] - size // 2
    place = torch.arange(length, device=side.device)
    return (place >= start[:, None]) & (place < (start + size)[:, None])


class Pasting(Mixing):
    """Mixing by a random box of the other image; what becomes of the label is left to `same_class`."""

    def mixed(self, x: Tensor, other: Tensor, share: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """The pasted boxes.

        Args:
            x: (B, C, H, W).
            other: of the same shape.
            share: (B,) of x that is asked for.
            draws: place the boxes.

        Returns:
            x~ and the share of pixels of x.
        """
        inside = box(share, draws, x.shape[2], x.shape[3])
        return torch.where(inside, other, x), 1 - inside.to(x.dtype).mean((1, 2, 3))
