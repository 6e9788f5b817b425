"""The loop's settings, and how learning rate and radius move over the epochs."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from cgro._check import LARGEST_FLOAT32, bad, count_field, number_field, one_of
from cgro.data import augmentation_by_name
from cgro.training.batch_norm import POLICIES
from cgro.training.step import CraftMode

SCHEDULES = ("steps", "cosine", "one-cycle", "cyclic")
CYCLIC_PEAK = 0.4
"""Share of the run at which `cyclic` peaks: the code of "Fast is better than free" (Wong, Rice, Kolter, ICLR 2020)."""
ONE_CYCLE_PEAK = 0.3
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = 1 / 25e4
"""`one-cycle`: where it peaks, and first and last value as shares of lr; the defaults of torch's OneCycleLR."""


@dataclass(frozen=True)
class Recipe:
    """Full description of a training loop, apart from data, network, objective, extensions and seed. Plain values.

    Args:
        epochs: passes over the training set.
        batch_size: examples in a step; the last batch of an epoch may be smaller.
        optimizer: `sgd`, `adam` or `adamw`.
        lr: learning rate at the start, or at the peak of a cycle.
        momentum: of sgd.
        weight_decay: as torch defines it for the optimizer.
        schedule: of lr, set at every step: `steps` (constant, multiplied by `lr_factor` after each epoch in
            `lr_drops`); `cosine` (lr to 0); `one-cycle` (Smith and Topin, 2018: up over 30% of the run and down, along
            cosines); `cyclic` (a triangle: up over 40% and down to 0).
        lr_drops: epochs of `steps`, each between 1 and epochs - 1.
        lr_factor: of each drop.
        clip: largest l_2 norm of the weights' gradient in a step; 0 for no clipping.
        patience: stop after so many evaluations in a row without a lower VALIDATION robust error; 0 for never.
        augment: what is done to a batch before it is attacked: `none`, `idbh-weak`, parts such as `crop-flip-cutout8`.
        radius_warmup: epochs over which the radius grows linearly from 0; 0 for none.
        craft_mode: mode of BatchNorm and dropout while the attack runs: `eval`; `train` (batch statistics, buffers
            left alone); `train_update_bn` (as many published loops: each attack step updates the running averages).
        accumulate: pieces in which a process takes its examples of a batch, their gradients added: less memory, the
            same mean over the batch. BatchNorm has the statistics of each piece.
        batch_norm: where several processes train together: `local` (statistics of each process's examples; running
            averages are the mean over processes), or `synchronized` (statistics of the examples of all).

    Raises:
        BadRequest: a value out of its range (says which).

    Example:
        >>> Recipe(epochs=4, lr=1.0, lr_drops=(2,)).lr_at(3.5)
        0.1
    """

    epochs: int = 20
    batch_size: int = 100
    optimizer: str = "adam"
    lr: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "steps"
    lr_drops: tuple[int, ...] = ()
    lr_factor: float = 0.1
    clip: float = 0.0
    patience: int = 0
    augment: str = "none"
    radius_warmup: float = 0.0
    craft_mode: CraftMode = "eval"
    accumulate: int = 1
    batch_norm: str = "local"

    def __post_init__(self) -> None:
        count_field(self, "epochs")
        count_field(self, "batch_size")
        one_of(self.optimizer, "optimizer", ("sgd", "adam", "adamw"))
        one_of(self.schedule, "schedule", SCHEDULES)
        augmentation_by_name(self.augment)
        one_of(self.craft_mode, "craft_mode", ("eval", "train", "train_update_bn"))
        one_of(self.batch_norm, "batch_norm", POLICIES)
        count_field(self, "accumulate")
        number_field(self, "lr", low=0.0, high=LARGEST_FLOAT32)
        number_field(self, "lr_factor", low=0.0, high=LARGEST_FLOAT32)
        number_field(self, "momentum", low=0.0, high=1.0)
        number_field(self, "weight_decay", low=0.0, high=LARGEST_FLOAT32)
        number_field(self, "radius_warmup", low=0.0)
        number_field(self, "clip", low=0.0, high=LARGEST_FLOAT32)
        count_field(self, "patience", low=0)
        if not isinstance(self.lr_drops, tuple | list):
            raise bad("lr_drops", expected="epochs in a tuple", got=self.lr_drops, remedy=f"give ({self.lr_drops},)")
        if self.lr_drops and self.schedule != "steps":
            raise bad("lr_drops", expected=f"none with schedule {self.schedule}", got=list(self.lr_drops))
        if any(not 0 < epoch < self.epochs for epoch in self.lr_drops):
            expected = f"epochs from 1 to {self.epochs - 1}"
            if self.epochs == 1:
                expected = "none in a single epoch"
            raise bad("lr_drops", expected=expected, got=list(self.lr_drops))
        if self.radius_warmup > self.epochs:
            raise bad("radius_warmup", expected=f"at most the {self.epochs} epochs", got=self.radius_warmup)

    def lr_at(self, time: float) -> float:
        """The learning rate at a time.

        Args:
            time: in epochs, 0 <= time < epochs; a fraction within one.

        Returns:
            That of the step which begins then.

        Example:
            >>> [Recipe(epochs=4, lr=1.0, lr_drops=(2,)).lr_at(t) for t in (0, 1.9, 2, 3)]
            [1.0, 1.0, 0.1, 0.1]
            >>> [Recipe(epochs=10, lr=1.0, schedule="cyclic").lr_at(t) for t in (0, 2, 4)]
            [0.0, 0.5, 1.0]
        """
        if self.schedule == "steps":
            n_drops = sum(time >= drop for drop in self.lr_drops)
            return self.lr * self.lr_factor**n_drops
        done = time / self.epochs
        if self.schedule == "cosine":
            return self.lr * along_cosine(1.0, 0.0, done)
        if self.schedule == "cyclic":
            return self.lr * _triangle(done)
        if done < ONE_CYCLE_PEAK:
            return self.lr * along_cosine(ONE_CYCLE_START, 1.0, done / ONE_CYCLE_PEAK)
        return self.lr * along_cosine(1.0, ONE_CYCLE_END, (done - ONE_CYCLE_PEAK) / (1 - ONE_CYCLE_PEAK))

    def radius_fraction(self, progress: float) -> float:
        """The share of the full radius at a time.

        Args:
            progress: in epochs.

        Returns:
            In [0, 1].

        Example:
            >>> [Recipe(radius_warmup=2).radius_fraction(t) for t in (0.5, 2, 7)]
            [0.25, 1.0, 1.0]
        """
        if not self.radius_warmup:
            return 1.0
        return min(1.0, progress / self.radius_warmup)

    def build_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer over all trainable parameters.

        Args:
            model: whose parameters are updated.

        Returns:
            One with a single group, at the learning rate `lr`.

        Raises:
            BadRequest: nothing is trainable.
        """
        parameters = [p for p in model.parameters() if p.requires_grad]
        if not parameters:
            raise bad("model", expected="trainable parameters", got="none")
        if self.optimizer == "sgd":
            return torch.optim.SGD(parameters, self.lr, momentum=self.momentum, weight_decay=self.weight_decay)
        if self.optimizer == "adam":
            return torch.optim.Adam(parameters, self.lr, weight_decay=self.weight_decay)
        return torch.optim.AdamW(parameters, self.lr, weight_decay=self.weight_decay)


def along_cosine(start: float, end: float, share: float) -> float:
    """end + (start - end) (1 + cos(pi share)) / 2.

    Args:
        start: at a share of 0.
        end: at 1.
        share: of the way.

    Returns:
        Between both.

    Example:
        >>> along_cosine(1.0, 0.0, 0.5)
        0.5
    """
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def _triangle(done: float) -> float:
    """From 0 up to 1 at `CYCLIC_PEAK` and down to 0."""
    if done < CYCLIC_PEAK:
        return done / CYCLIC_PEAK
    return (1 - done) / (1 - CYCLIC_PEAK)
