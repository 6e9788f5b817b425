"""A network of a loop that is not finite: epochs are left out, and the verdict says so."""

import json
import math
from pathlib import Path

import pytest
import torch
from tests.cases import busy_network, refused
from tests.diagnosis.monitor.cases import monitor_in
from torch import nn

from cgro.runs import Run


def test_a_training_that_diverges_is_told_of_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    monitor = monitor_in(tmp_path / "run")
    model = busy_network()
    assert monitor(model, 1)
    with torch.no_grad():
        model[0].weight[0, 0, 0, 0] = math.inf
    assert monitor(model, 2) is None
    assert "epoch 2: not evaluated, the weights are not finite" in capsys.readouterr().err
    assert [row["epoch"] for row in Run.open(tmp_path / "run").rows()] == [1]
    assert "not finite after epoch 2" in monitor.verdict().reason


@pytest.mark.parametrize(("broken", "epochs", "words"), [
    ("weights", (0, 1, 2), "not finite after any of 3 epochs, the first of them 0; nothing was measured"),
    ("averages", (4,), "not finite after epoch 4; nothing was measured"),
    ("weights", (1, 1), "not finite after epoch 1; nothing was measured"),
])  # fmt: skip
def test_a_training_that_was_never_finite_has_a_verdict_that_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture, broken: str, epochs: tuple[int, ...], words: str
) -> None:
    """Planted: it ended in an exception that said the monitor was never called."""
    monitor = monitor_in(tmp_path / "run")
    model = busy_network()
    with torch.no_grad():
        (model[0].weight if broken == "weights" else model[1].running_var).fill_(math.nan)
    for epoch in epochs:
        assert monitor(model, epoch) is None
    capsys.readouterr()
    found = monitor.verdict()
    assert found.label == "too_little_evidence"
    assert words in found.reason
    assert "lower the learning rate" in found.remedies[0]
    assert json.dumps(found.to_dict())
    assert capsys.readouterr().err == f"{found.label}: {found.reason}\n"
    monitor.rewind(-1)
    refused(monitor.verdict, "at least one evaluated epoch, got none; call it in the loop")
    assert monitor(busy_network(), 5)
    assert "not finite" not in monitor.verdict().reason


@pytest.mark.parametrize("broken", ["averages", "overflow", "some examples"])
def test_outputs_that_are_not_finite_are_told_of_and_the_loop_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture, broken: str
) -> None:
    """Planted: only weights were looked at, and a half-precision overflow that a scaler skips ended the training."""
    monitor = monitor_in(tmp_path / "run")
    model = busy_network()
    assert monitor(model, 1)
    scale = nn.Parameter(torch.tensor(3e38))

    def overflow(module: nn.Module, inputs: object, outputs: torch.Tensor) -> torch.Tensor:
        if broken == "some examples":
            return outputs / (outputs[:, :1] > outputs[:, :1].median())
        return outputs * scale * scale

    hook = model.register_forward_hook(overflow) if broken != "averages" else None
    (norm,) = (module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    kept = norm.running_var.clone()
    if broken == "averages":
        norm.running_var.fill_(math.nan)
    assert monitor(model, 2) is None
    assert "epoch 2: not evaluated, the network's outputs are not finite" in capsys.readouterr().err
    norm.running_var.copy_(kept)
    if hook is not None:
        hook.remove()
    assert monitor(model, 3)
    assert [row["epoch"] for row in Run.open(tmp_path / "run").rows()] == [1, 3]
    assert "not finite after epoch 2" in monitor.verdict().reason
