"""Devices, the precision of the step, and trackers."""

import warnings
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from tests.training.cases import small, train
from torch import nn

from cgro.data import Dataset
from cgro.definitions.attacks import bfloat16_pays
from cgro.models import build
from cgro.training import Recipe, make_fabric
from cgro.training.fabric import step_precision


def test_bad_devices() -> None:
    for device in ("tpu", "cuda:99", "cpu0"):
        with pytest.raises(ValueError, match="--device"):
            make_fabric(device)


def test_one_process_needs_no_srun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Slurm is installed Fabric advises every single process to be started by srun."""
    (tmp_path / "srun").write_text("#!/bin/sh")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert make_fabric("cpu").device.type == "cpu"
        with pytest.raises(Warning, match="srun"):
            Fabric(accelerator="cpu", devices=1)


def test_bfloat16_training_steps_differ_and_evaluations_do_not(digits: Dataset) -> None:
    """The forward pass of the step is cast; weights, gradients and every evaluation stay float32."""
    rows = {}
    for precision in ("float32", "bfloat16"):
        model = small()
        t = train(model, digits, Recipe(epochs=2), fabric=make_fabric("cpu", precision=precision))
        assert all(p.dtype == torch.float32 for p in model.parameters())
        rows[precision] = t["train_loss"].tolist()
    assert rows["float32"] != rows["bfloat16"]
    assert rows["float32"] == pytest.approx(rows["bfloat16"], rel=0.02)


def test_auto_takes_bfloat16_where_a_cpu_and_a_large_network_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = "float32"
    if bfloat16_pays(torch.device("cpu")):
        expected = "bfloat16"
    convolutions = build("lenet", (1, 12, 12), 3, width=1)
    assert step_precision("auto", "cpu", convolutions) == expected
    assert step_precision("auto", "cpu", nn.Linear(4, 3)) == "float32", "too small"
    assert step_precision("auto", "cpu") == "float32", "nothing is known of it"
    assert step_precision("float32", "cpu", convolutions) == "float32"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE")
    assert step_precision("auto", "cpu", convolutions) == "float32", "the instructions are masked"
    assert step_precision("bfloat16", "cpu", convolutions) == "bfloat16", "as was asked for"
    with pytest.raises(ValueError, match="--train-precision"):
        step_precision("float16", "cpu")
