"""An exponential moving average of the weights: Polyak averaging with a window.

Rebuffi et al. (NeurIPS 2021) use it for adversarial training; Izmailov et al. (UAI 2018) average without a window.
"""

import copy

import torch
from torch import nn

from cgro._check import number
from cgro.training.extensions.base import Extension, State, with_parameters


class EMA(Extension):
    """avg_0 = theta_0 and avg_k = decay * avg_(k-1) + (1 - decay) * theta_k after step k; avg_k is evaluated.

    Floating point buffers, such as BatchNorm's running averages, are averaged alike; counters are copied. There is no
    warm-up: the weight of theta_0 after k steps is decay^k, so some 5 / (1 - decay) steps should be taken.

    Args:
        decay: in [0, 1); 0 evaluates the last weights.

    Raises:
        BadRequest: a decay outside [0, 1); with 1 the initial weights would be evaluated for ever.

    Example:
        >>> model, ema = nn.Linear(1, 1, bias=False), EMA(decay=0.75)
        >>> _ = nn.init.constant_(model.weight, 0.0)
        >>> ema.begin(model)
        >>> _ = nn.init.constant_(model.weight, 8.0)
        >>> ema.after_step(model, 1)
        >>> ema.evaluated_model(model).weight.item()
        2.0
    """

    capturable = True
    evaluates_its_own = True

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = number(decay, "ema: decay", low=0.0, below=1.0)
        self._average: nn.Module | None = None

    __repr__ = with_parameters

    def begin(self, model: nn.Module) -> None:
        """Start from the initial weights.

        Args:
            model: the network that is trained.
        """
        self._average = copy.deepcopy(model).requires_grad_(False)

    @torch.no_grad()
    def after_step(self, model: nn.Module, k: int) -> None:
        """Move the average towards the weights.

        Args:
            model: the network that is trained.
            k: unused; every step counts alike.
        """
        average = self._started()
        means = [*average.parameters(), *average.buffers()]
        values = [*model.parameters(), *model.buffers()]
        for mean, value in zip(means, values, strict=True):
            if mean.is_floating_point() or mean.is_complex():
                mean.lerp_(value, 1 - self.decay)
            else:
                mean.copy_(value)

    def evaluated_model(self, model: nn.Module) -> nn.Module:
        """The network with averaged weights.

        Args:
            model: unused; no other extension has its own network evaluated.

        Returns:
            The same object in every step of a training.
        """
        return self._started()

    def state(self) -> State:
        """The average.

        Returns:
            Its state dict.
        """
        return dict(self._started().state_dict())

    def load(self, state: State) -> None:
        """Take the average back.

        Args:
            state: as `state` returned it.
        """
        self._started().load_state_dict(dict(state))

    def _started(self) -> nn.Module:
        assert self._average is not None, "begin comes first"
        return self._average
