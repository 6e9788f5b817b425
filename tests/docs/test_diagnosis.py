"""docs/diagnosis.md: its Python runs, with the objects that a reader has at that place."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.diagnosis.writers import four, write_log

from cgro.data import load
from cgro.definitions import PGD, ThreatModel
from cgro.models import build

TEXT = (Path(__file__).parents[2] / "docs" / "diagnosis.md").read_text()
FACTORY, CALLS, ROWS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


class Recorded(torch.nn.Module):
    """In place of a network of transformers, which the tests do not install: keeps what it was made from."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        self.config = config
        n_inputs = config.num_channels * config.image_size**2
        self.body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(n_inputs, config.num_labels))

    def forward(self, pixel_values: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.body(pixel_values))


def test_the_factory_is_one_that_build_accepts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "transformers" not in sys.modules:
        stand_in = SimpleNamespace(ViTConfig=SimpleNamespace, ViTForImageClassification=Recorded)
        monkeypatch.setitem(sys.modules, "transformers", stand_in)  # type: ignore[arg-type]
    (tmp_path / "nets_of_the_page.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(tmp_path)
    model = build("nets_of_the_page:vit", (1, 28, 28), 10)
    assert model(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    (network,) = (module for module in model.modules() if hasattr(module, "config"))
    assert (network.config.image_size % network.config.patch_size, network.config.num_channels) == (0, 1)


def test_what_is_called_on_a_log_and_on_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "output.log").write_text(write_log(four(80), rng=np.random.default_rng(0), drops=(47,)))
    monkeypatch.chdir(tmp_path)
    data = load("digits", n_train=60, n_test=40)
    given = {"model": build("mlp", data.shape, data.n_outputs, width=8)}
    given |= {"x_train": data.train.x, "y_train": data.train.y, "x_test": data.test.x, "y_test": data.test.y}
    exec(CALLS, given)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 5
    assert all(line.split()[0] in ("PASS", "WARN") for line in lines), lines


def test_rows_of_a_loop_are_curves() -> None:
    data = load("digits", n_train=60, n_test=40)
    model = build("mlp", data.shape, data.n_outputs, width=8).eval()
    attack = PGD(ThreatModel("inf", 0.1), n_steps=1)
    rows: list[dict[str, object]] = []
    for epoch in range(12):
        exec(ROWS, {"rows": rows, "epoch": epoch, "model": model, "x": data.test.x, "y": data.test.y, "attack": attack})
    assert len(rows) == 12
    assert all(row["robust_error/test"].n == 40 for row in rows)  # type: ignore[attr-defined]
