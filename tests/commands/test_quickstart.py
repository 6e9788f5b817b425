"""The quickstart on tiny settings: its parts, what its summary carries, and that finished parts are kept."""

import json
from pathlib import Path

import pytest

from cgro.cli import main
from cgro.commands import quickstart

TINY = {
    "data": "digits",
    "n_train": 120,
    "n_test": 100,
    "model": "mlp",
    "epochs": 2,
    "attack": "pgd2",
    "eval_attack": "pgd2",
}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quickstart, "IMAGES", {**TINY, "radius": "0.1"})
    monkeypatch.setattr(quickstart, "STAGES", {"seeds": 2, "n_steps": 300, "n_test": 200})
    monkeypatch.setattr(quickstart, "MEMORIZE", {"data": "digits", "classes": "3,8", "n_train": 30, "radius": "0.05"})


def test_parts_and_summary(tiny: None, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "q"
    assert main(["quickstart", "--out", str(out), "--device", "cpu"]) == 0
    text = capsys.readouterr().out
    whole = json.loads((out / "summary.json").read_text())
    images = json.loads((out / "images" / "summary.json").read_text())
    assert whole["metrics"] == images["metrics"]
    assert whole["verdict"] == images["verdict"]
    assert list(whole["parts"]) == ["images", "theorem", "table2", "memorize"]
    assert "calibrated" in whole["parts"]["table2"]
    assert "calibrated" not in whole["parts"]["theorem"]
    assert "certified on all 30 training balls" in whole["parts"]["memorize"]
    for figure in text.split("Look at ")[1].split(" in the directory")[0].split(", "):
        assert (out / figure).exists()


def test_finished_parts_are_not_computed_again(tiny: None, tmp_path: Path) -> None:
    out = tmp_path / "q"
    assert main(["quickstart", "--out", str(out), "--device", "cpu"]) == 0
    before = (out / "theorem" / "summary.json").stat().st_mtime_ns
    (out / "summary.json").unlink()  # as after a kill in the last part
    assert main(["quickstart", "--out", str(out), "--device", "cpu"]) == 0
    assert (out / "theorem" / "summary.json").stat().st_mtime_ns == before
    assert (out / "summary.json").exists()
