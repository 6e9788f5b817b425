"""The callback of Keras: called as `fit` calls it; examples/ has the real one."""

from pathlib import Path

from tests.cases import busy_network, refused
from tests.diagnosis.monitor.cases import is_left_alone, monitor_in
from torch import Tensor, nn

from cgro.integrations.keras import MonitorCallback
from cgro.runs import Run


class Model(nn.Module):
    """Told at every call whether it trains, as on the torch backend."""

    def __init__(self) -> None:
        super().__init__()
        self.net = busy_network()
        self.told: list[bool | None] = []

    def forward(self, x: Tensor, training: bool | None = None) -> Tensor:
        self.told.append(training)
        return self.net(x)


def test_epochs_and_verdict(tmp_path: Path) -> None:
    callback = MonitorCallback(monitor_in(tmp_path / "run"))
    callback.model = Model()
    for epoch in range(2):
        assert is_left_alone(callback.model, lambda e=epoch: callback.on_epoch_end(e, {"loss": 1.0}))
    callback.on_train_end()
    assert set(callback.model.told) == {False}
    assert [row["epoch"] for row in Run.open(tmp_path / "run").rows()] == [0, 1]
    assert callback.diagnosis.label
    callback.model = object()
    refused(lambda: callback.on_epoch_end(2), "KERAS_BACKEND=torch")
    refused(lambda: MonitorCallback("run"), "a cgro.Monitor")
