"""A callback for the Trainer of Hugging Face (`pip install 'cgro[integrations]'`)."""

import math
from typing import TYPE_CHECKING, Protocol

from torch import nn

from cgro._check import bad
from cgro.diagnosis.monitor import Monitor
from cgro.diagnosis.verdict import Diagnosis
from cgro.integrations._shared import rate_of, verdict_of
from cgro.runs import say

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
    global_step: int


ROUNDED = 0.01
"""How much of an epoch may be missing of a whole one. A choice: less than any that a number of steps cuts short."""


class MonitorCallback(TrainerCallback):
    """Evaluates the four errors after every epoch, and gives the verdict when training is over.

    Whole epochs are counted: a part of one, at the end of a training by `max_steps`, is left out, and that is said.
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
        self._rate: float | None = None
        self._evaluated = -1

    def on_train_begin(self, args: object, state: State, control: object, **others: object) -> None:
        """Take note of the epochs that a resumed training has behind it.

        Args:
            args: not looked at.
            state: says how many.
            control: not looked at.
            **others: what a Trainer passes besides.
        """
        self._evaluated = -1
        if state.global_step:
            self._evaluated = _whole_epochs(state)

    def on_step_begin(
        self, args: object, state: State, control: object, *, optimizer: object | None = None, **others: object
    ) -> None:
        """Remember the learning rate of the step: at the end of an epoch the scheduler has set that of the next one.

        Args:
            args: not looked at.
            state: likewise.
            control: likewise.
            optimizer: says the learning rate.
            **others: what a Trainer passes besides.
        """
        self._rate = rate_of(optimizer)

    def on_epoch_end(self, args: object, state: State, control: object, *, model: nn.Module, **others: object) -> None:
        """Evaluate an epoch.

        Args:
            args: not looked at.
            state: says how many epochs are over.
            control: not looked at.
            model: the network.
            **others: what a Trainer passes besides.
        """
        epoch = _whole_epochs(state)
        if epoch <= self._evaluated:
            # The same in every process: one that left it out alone would let the others wait.
            if self.monitor.path is not None:
                say(f"cgro.Monitor: training ended within an epoch, at {state.epoch:.4g}; that part is not evaluated")
            return
        self._evaluated = epoch
        self.monitor(model, epoch, lr=self._rate)

    def on_train_end(self, args: object, state: State, control: object, **others: object) -> None:
        """Say the verdict, or why there is none; it stays in `diagnosis`.

        Args:
            args: not looked at.
            state: likewise.
            control: likewise.
            **others: likewise.
        """
        self.diagnosis = verdict_of(self.monitor)


def _whole_epochs(state: State) -> int:
    """The epochs that are over; of a stream without a length the Trainer counts them from 0."""
    return math.floor((state.epoch or 0.0) + ROUNDED)
