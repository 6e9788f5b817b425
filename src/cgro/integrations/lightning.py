"""A callback for the Trainer of Lightning (`pip install 'cgro[lightning]'`; pytorch_lightning works as well)."""

from typing import TYPE_CHECKING, Protocol

from torch import nn
from torch.optim import Optimizer

from cgro._check import bad
from cgro.diagnosis.monitor import Monitor
from cgro.diagnosis.verdict import Diagnosis
from cgro.integrations._shared import rate_of, verdict_of

if TYPE_CHECKING:

    class Callback:
        """The base class of Lightning's callbacks."""

else:
    try:
        from lightning.pytorch import Callback
    except ImportError:
        try:
            from pytorch_lightning import Callback
        except ImportError:

            class Callback:
                """Stands for the base class of Lightning's callbacks where that is not installed."""


class Trainer(Protocol):
    """What the callback reads of a Trainer."""

    current_epoch: int
    optimizers: list[Optimizer]


class MonitorCallback(Callback):
    """Evaluates the four errors after every training epoch, and gives the verdict when `fit` is over.

    The LightningModule is evaluated by its `forward`, which has to return logits for images in [0, 1].

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

    def on_train_batch_start(self, trainer: Trainer, pl_module: nn.Module, batch: object, batch_idx: int) -> None:
        """Remember the learning rate of the step: at the end of an epoch schedulers have set that of the next one.

        Args:
            trainer: says the learning rate.
            pl_module: not looked at.
            batch: likewise.
            batch_idx: likewise.
        """
        self._rate = rate_of(*trainer.optimizers[:1])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Evaluate an epoch.

        Args:
            trainer: says its number.
            pl_module: the network.
        """
        self.monitor(pl_module, trainer.current_epoch, lr=self._rate)

    def on_fit_end(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Say the verdict, or why there is none; it stays in `diagnosis`.

        Args:
            trainer: not looked at.
            pl_module: likewise.
        """
        self.diagnosis = verdict_of(self.monitor)
