"""The callback of Lightning: in a stand-in that calls its hooks as the Trainer does; examples/ has the real one."""

from pathlib import Path
from types import SimpleNamespace

import torch
from tests.cases import busy_network, refused
from tests.diagnosis.monitor.cases import is_left_alone, monitor_in, train

from cgro.integrations.lightning import MonitorCallback
from cgro.runs import Run


def test_epochs_rates_and_verdict(tmp_path: Path) -> None:
    callback = MonitorCallback(monitor_in(tmp_path / "run"))
    model = busy_network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
    for epoch in range(3):
        train(model, optimizer, epoch)
        trainer = SimpleNamespace(current_epoch=epoch, optimizers=[optimizer])
        callback.on_train_batch_start(trainer, model, None, 2)
        optimizer.param_groups[0]["lr"] *= 0.5  # a scheduler, before the end of the epoch
        assert is_left_alone(model, lambda t=trainer: callback.on_train_epoch_end(t, model))
    callback.on_fit_end(trainer, model)
    rates = [(row["epoch"], row["lr"]) for row in Run.open(tmp_path / "run").rows()]
    assert rates == [(0, 0.25), (1, 0.125), (2, 0.0625)]
    assert callback.diagnosis.label
    refused(lambda: MonitorCallback(model), "a cgro.Monitor")


def test_without_an_optimizer(tmp_path: Path) -> None:
    callback = MonitorCallback(monitor_in(tmp_path / "run"))
    trainer = SimpleNamespace(current_epoch=0, optimizers=[])
    callback.on_train_batch_start(trainer, busy_network(), None, 0)
    callback.on_train_epoch_end(trainer, busy_network())
    assert "lr" not in Run.open(tmp_path / "run").rows()[0]
