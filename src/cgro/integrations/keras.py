"""A callback for `fit` of Keras 3 on its torch backend (`KERAS_BACKEND=torch`)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from cgro._check import bad
from cgro.diagnosis.monitor import Monitor
from cgro.diagnosis.verdict import Diagnosis
from cgro.integrations._shared import verdict_of

if TYPE_CHECKING:

    class Callback:
        """The base class of callbacks in Keras."""

        model: object

else:
    try:
        from keras.callbacks import Callback
    except ImportError:

        class Callback:
            """Stands for the base class of callbacks in Keras where that is not installed."""


class MonitorCallback(Callback):
    """Evaluates the four errors after every epoch, and gives the verdict when `fit` is over.

    The examples of the monitor have the layout that the model takes, in Keras mostly (N, H, W, C).

    Args:
        monitor: made with the examples and `ThreatModel` of the training.

    Raises:
        BadRequest: no Monitor.
    """

    def __init__(self, monitor: Monitor) -> None:
        super().__init__()
        if not isinstance(monitor, Monitor):
            raise bad("monitor", expected="a cgro.Monitor", got=type(monitor).__name__)
        self.monitor = monitor
        self.diagnosis: Diagnosis | None = None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, object] | None = None) -> None:
        """Evaluate an epoch.

        Args:
            epoch: counted from 0.
            logs: not looked at.

        Raises:
            BadRequest: Keras runs on another backend than torch.
        """
        if not isinstance(self.model, nn.Module):
            remedy = "set KERAS_BACKEND=torch before keras is imported"
            raise bad("model", expected="Keras on the torch backend", got="another backend", remedy=remedy)
        self.monitor(_Inference(self.model), epoch)

    def on_train_end(self, logs: Mapping[str, object] | None = None) -> None:
        """Say the verdict, or why there is none; it stays in `diagnosis`.

        Args:
            logs: not looked at.
        """
        self.diagnosis = verdict_of(self.monitor)


class _Inference(nn.Module):
    """A model of Keras, which is told at every call whether it trains."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x, training=False)
