"""The callback of transformers: called as its Trainer calls it; examples/ has the real one."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tests.cases import busy_network, refused
from tests.diagnosis.monitor.cases import is_left_alone, monitor_in
from torch import Tensor, nn

from cgro.integrations.transformers import MonitorCallback
from cgro.runs import Run


class Classifier(nn.Module):
    """Outputs as those of transformers, in eval mode without a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.net = busy_network()

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> object:
        return SimpleNamespace(loss=None, logits=self.net(pixel_values))


def test_epochs_rates_and_verdict(tmp_path: Path) -> None:
    callback = MonitorCallback(monitor_in(tmp_path / "run"))
    model = Classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.5)
    more = {"model": model, "optimizer": optimizer, "lr_scheduler": None, "train_dataloader": None}
    callback.on_train_begin(None, SimpleNamespace(epoch=0, global_step=0), None, **more)
    for epoch in (1.0, 1.9999, 3.0):  # the Trainer counts in steps
        state = SimpleNamespace(epoch=epoch, global_step=round(5 * epoch))
        callback.on_step_begin(None, state, None, **more)
        optimizer.param_groups[0]["lr"] *= 0.5  # a scheduler, before the end of the epoch
        assert is_left_alone(model, lambda s=state: callback.on_epoch_end(None, s, None, **more))
    callback.on_train_end(None, state, None, **more)
    rows = Run.open(tmp_path / "run").rows()
    assert [(row["epoch"], row["lr"]) for row in rows] == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert rows[0]["robust_error/test"] == monitor_in(tmp_path / "direct")(model.net, 1)["robust_error/test"]
    assert callback.diagnosis.label
    refused(lambda: MonitorCallback(None), "a cgro.Monitor")


@pytest.mark.parametrize(("begun", "ends", "evaluated", "n_said"), [
    (0.0, (1.0, 2.0, 2.3333), [1, 2], 1),  # max_steps=14 of 6 an epoch
    (0.0, (1.0, 2.0, 2.9), [1, 2], 1),
    (0.0, (0.5,), [0], 0),  # all there is
    (0.0, (0.1, 1.1, 2.1), [0, 1, 2], 0),  # a stream: the Trainer does not know where an epoch ends
    (2.5, (3.0, 3.5), [3], 1),  # resumed
    (2.5, (2.75,), [], 1),
])  # fmt: skip
def test_parts_of_epochs_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture, begun: float, ends: tuple, evaluated: list, n_said: int
) -> None:
    monitor = monitor_in(tmp_path / "run")
    callback = MonitorCallback(monitor)
    callback.on_train_begin(None, SimpleNamespace(epoch=begun, global_step=round(12 * begun)), None)
    for epoch in ends:
        model = Classifier()  # of other weights each time
        callback.on_epoch_end(None, SimpleNamespace(epoch=epoch, global_step=9), None, model=model)
    assert [row["epoch"] for row in Run(tmp_path / "run").rows()] == evaluated
    assert capsys.readouterr().err.count("that part is not evaluated") == n_said
