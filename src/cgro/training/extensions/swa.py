"""Stochastic weight averaging: the equal average of the weights after each epoch from some epoch on.

Izmailov, Podoprikhin, Garipov, Vetrov and Wilson, "Averaging weights leads to wider optima and better generalization"
(UAI 2018). In adversarial training: Chen, Zhang, Liu, Chang and Wang, "Robust overfitting may be mitigated by properly
learned smoothening" (ICLR 2021).
"""

import copy
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from cgro._check import bad, count, one_of
from cgro.data import Dataset, Split
from cgro.training.extensions.base import Extension, State, with_parameters
from cgro.training.recipe import Recipe

SOURCES = ("recomputed", "averaged", "last")
PUBLISHED_START = (55, 200)
"""Chen et al. average from epoch 55, counted from 0, of 200 on."""
PREFIX = "average."


class SWA(Extension):
    """avg_n = avg_(n-1) + (theta - avg_(n-1)) / n after epoch `start`, `start + every`, ...; avg_n is evaluated.

    Before the first of them the trained network is evaluated. Averaged weights need statistics of BatchNorm that fit
    them; where they come from is an option and stands in the run's configuration.

    Args:
        start: first epoch, from 1, after which weights enter the average; 0: the one after 55 of 200 parts of the
            training, as Chen et al. had it.
        every: epochs between two that enter.
        batchnorm: `recomputed`, by one pass over the clean training data, not augmented, as Chen et al. did (whose
            data were augmented); `averaged`, like weights; `last`, those of the trained network.

    Raises:
        BadRequest: a negative number, another word; before work, a start after the last epoch.

    Example:
        >>> model, swa = nn.Linear(1, 1, bias=False), SWA(start=1)
        >>> swa.begin(model)
        >>> for epoch, value in enumerate((2.0, 4.0), 1):
        ...     _ = nn.init.constant_(model.weight, value)
        ...     swa.after_epoch(model, epoch)
        >>> swa.evaluated_model(model).weight.item()
        3.0
    """

    capturable = True
    evaluates_its_own = True

    def __init__(self, start: int = 0, every: int = 1, *, batchnorm: str = "recomputed") -> None:
        self.start = count(start, "swa: start", low=0)
        self.every = count(every, "swa: every")
        self.batchnorm = one_of(batchnorm, "swa: batchnorm", SOURCES)
        self._first = max(1, self.start)
        self._train: Split | None = None
        self._batch_size = 1
        self._average: nn.Module | None = None
        self._n = 0

    __repr__ = with_parameters

    def prepare(self, model: nn.Module, recipe: Recipe, data: Dataset) -> None:
        """Find the first epoch, and keep the data that statistics are recomputed on.

        Args:
            model: unused.
            recipe: says the epochs and the batch size.
            data: its training part is used.

        Raises:
            BadRequest: the average would start after the last epoch.
        """
        if self.start > recipe.epochs:
            raise bad("swa: start", expected=f"at most the {recipe.epochs} epochs", got=self.start)
        part, whole = PUBLISHED_START
        self._first = self.start or part * recipe.epochs // whole + 1
        self._train = data.train
        self._batch_size = recipe.batch_size

    def begin(self, model: nn.Module) -> None:
        """Forget what was averaged before.

        Args:
            model: the network that is trained.
        """
        self._average = copy.deepcopy(model).requires_grad_(False)
        self._n = 0

    @torch.no_grad()
    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        """Take the weights into the average.

        Args:
            model: the network that is trained.
            epoch: number of epochs that are over.
        """
        if epoch < self._first or (epoch - self._first) % self.every:
            return
        self._n += 1
        average = self._started()
        for mean, value in zip(average.parameters(), model.parameters(), strict=True):
            mean.lerp_(value, 1 / self._n)
        for mean, value in zip(average.buffers(), model.buffers(), strict=True):
            if (mean.is_floating_point() or mean.is_complex()) and self.batchnorm != "last":
                mean.lerp_(value, 1 / self._n)
            else:
                mean.copy_(value)
        if self.batchnorm == "recomputed" and self._train is not None:
            recompute_statistics(average, self._train, self._batch_size)

    def evaluated_model(self, model: nn.Module) -> nn.Module:
        """The network with averaged weights, once there are any.

        Args:
            model: that of the extensions behind this one.

        Returns:
            `model` until the first epoch is averaged.
        """
        if self._n == 0:
            return model
        return self._started()

    def state(self) -> State:
        """The average and the number of epochs in it.

        Returns:
            Tensors and a number by name.
        """
        found: dict[str, torch.Tensor | int] = {"n": self._n}
        for name, value in self._started().state_dict().items():
            found[PREFIX + name] = value
        return found

    def load(self, state: State) -> None:
        """Take both back.

        Args:
            state: as `state` returned it.

        Raises:
            TypeError: it is another's.
        """
        weights: dict[str, object] = dict(state)
        n = weights.pop("n")
        if not isinstance(n, int):
            raise TypeError("n is no number")
        self._n = n
        self._started().load_state_dict({name.removeprefix(PREFIX): value for name, value in weights.items()})

    def _started(self) -> nn.Module:
        assert self._average is not None, "begin comes first"
        return self._average


@torch.no_grad()
def recompute_statistics(network: nn.Module, train: Split, batch_size: int) -> None:
    """Set the running averages of BatchNorm to those of one pass over clean data, weighted by examples.

    A layer that stays in evaluation mode when the network trains is frozen, and keeps the averages that it trained
    with.

    Dropout is off; the batches are those of the data in their order. As Izmailov et al. did, batch k with b of the n
    examples so far has the momentum b / n.

    Args:
        network: its averages are set; its modes are left as they are.
        train: the examples.
        batch_size: of the passes; the averages depend on it slightly, as the variance within a batch does.
    """
    modes = {module: module.training for module in network.modules()}
    network.train()
    layers: list[_BatchNorm] = []
    for layer in network.modules():
        if isinstance(layer, _BatchNorm) and layer.track_running_stats and layer.training:
            layers.append(layer)
    _set_modes(modes)
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    counters = [layer.num_batches_tracked.clone() for layer in layers if layer.num_batches_tracked is not None]
    network.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.train()
    n = 0
    for start in range(0, len(train), batch_size):
        rows = torch.arange(start, min(start + batch_size, len(train)), device=train.y.device)
        if len(rows) == 1 and n > 0:
            break  # a batch of one example has no variance
        n += len(rows)
        for layer in layers:
            layer.momentum = len(rows) / n
        network(train.batch(rows)[0])
    for layer, momentum, counter in zip(layers, momenta, counters, strict=True):
        layer.momentum = momentum
        if layer.num_batches_tracked is not None:
            layer.num_batches_tracked.copy_(counter)
    _set_modes(modes)


def _set_modes(modes: Mapping[nn.Module, bool]) -> None:
    for module, mode in modes.items():
        module.training = mode
