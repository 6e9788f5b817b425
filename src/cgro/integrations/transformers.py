"""A callback for the Trainer of Hugging Face (`pip install 'cgro[integrations]'`)."""

from typing import TYPE_CHECKING, Protocol

from torch import nn

from cgro._check import bad
from cgro.diagnosis.monitor import Monitor
from cgro.diagnosis.verdict import Diagnosis
from cgro.integrations._shared import rate_of

if TYPE_CHECKING:

    class TrainerCallback:
        """The base class of callbacks in transformers."""

else:
    try:
        from transformers import TrainerCallback
    except ImportError:

        class TrainerCallback:
            """Stands for the base class of callbacks in transformers where that is not installed."""


class State(Protocol):
    """What the callback reads of a TrainerState."""

    epoch: float | None


class MonitorCallback(TrainerCallback):
    """Evaluates the four errors after every epoch, and gives the verdict when training is over.

    The model is called with the images alone, and its output's `.logits` are used. An image processor that normalizes
    is said to the monitor: `Monitor(..., normalize=(processor.image_mean, processor.image_std))`.

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

    def on_epoch_end(
        self,
        args: object,
        state: State,
        control: object,
        *,
        model: nn.Module,
        optimizer: object | None = None,
        **others: object,
    ) -> None:
        """Evaluate an epoch.

        Args:
            args: not looked at.
            state: says how many epochs are over.
            control: not looked at.
            model: the network.
            optimizer: says the learning rate.
            **others: what a Trainer passes besides.
        """
        self.monitor(model, round(state.epoch or 0), lr=rate_of(optimizer))

    def on_train_end(self, args: object, state: State, control: object, **others: object) -> None:
        """Say the verdict; it stays in `diagnosis`.

        Args:
            args: not looked at.
            state: likewise.
            control: likewise.
            **others: likewise.
        """
        self.diagnosis = self.monitor.verdict()
