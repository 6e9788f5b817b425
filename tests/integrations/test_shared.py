"""The learning rate of whatever optimizer a trainer has; the verdict when a training is over, however it went."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tests.cases import busy_network
from tests.diagnosis.monitor.cases import monitor_in

from cgro.integrations import keras, lightning, transformers
from cgro.integrations._shared import rate_of


@pytest.mark.parametrize(("optimizer", "rate"), [
    (torch.optim.Adam([torch.zeros(1)], lr=torch.tensor(0.5)), 0.5), (None, None), (object(), None),
    (SimpleNamespace(param_groups=[]), None), (SimpleNamespace(param_groups=[{"momentum": 1}]), None),
])  # fmt: skip
def test_rates(optimizer, rate) -> None:
    assert rate_of(optimizer) == rate


TRAINERS = {
    "lightning": (lightning.MonitorCallback, lambda callback: callback.on_fit_end(None, None)),
    "transformers": (transformers.MonitorCallback, lambda callback: callback.on_train_end(None, None, None)),
    "keras": (keras.MonitorCallback, lambda callback: callback.on_train_end()),
}


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize(("scale", "label", "said"), [
    (None, None, "cgro.Monitor, no verdict: monitor: expected at least one evaluated epoch, got none"),
    (math.nan, "too_little_evidence", "too_little_evidence: No verdict, training diverged"),
    (1.0, "too_little_evidence", "too_little_evidence: Too little evidence: fewer than 50 examples"),
])  # fmt: skip
def test_a_training_ends_without_an_exception(
    tmp_path: Path, capsys: pytest.CaptureFixture, trainer: str, scale: float | None, label: str | None, said: str
) -> None:
    """Planted: training that was over ended in a BadRequest, where it was NaN throughout or had no epoch."""
    make, end = TRAINERS[trainer]
    monitor = monitor_in(tmp_path / "run")
    callback = make(monitor)
    if scale is not None:
        model = busy_network()
        with torch.no_grad():
            model[-1].weight.mul_(scale)
        monitor(model, 0)
    capsys.readouterr()
    end(callback)
    assert capsys.readouterr().err.startswith(said)
    assert (callback.diagnosis and callback.diagnosis.label) == label
