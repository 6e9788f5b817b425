"""The callback of transformers: called as its Trainer calls it; examples/ has the real one."""

from pathlib import Path
from types import SimpleNamespace

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
    for epoch in (1.0, 1.9999, 3.0):  # the Trainer counts in steps
        state = SimpleNamespace(epoch=epoch)
        more = {"model": model, "optimizer": optimizer, "lr_scheduler": None, "train_dataloader": None}
        assert is_left_alone(model, lambda s=state, m=more: callback.on_epoch_end(None, s, None, **m))
    callback.on_train_end(None, state, None, **more)
    rows = Run.open(tmp_path / "run").rows()
    assert [(row["epoch"], row["lr"]) for row in rows] == [(1, 0.5), (2, 0.5), (3, 0.5)]
    assert rows[0]["robust_error/test"] == monitor_in(tmp_path / "direct")(model.net, 1)["robust_error/test"]
    assert callback.diagnosis.label
    refused(lambda: MonitorCallback(None), "a cgro.Monitor")
