"""The end of a training: what is told of its errors."""

from pathlib import Path

import numpy as np
import pytest

from cgro.cli import main


def test_no_collapse_is_told_above_images_that_use_a_share_of_the_range(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Divided by 255 twice, images that any network learns leave it at guessing after two epochs."""
    rng = np.random.default_rng(0)
    y = np.arange(400) % 4
    x = rng.random((400, 1, 8, 8)) * 0.2
    for i, label in enumerate(y):
        x[i, 0, :, 2 * label : 2 * label + 2] += 0.6
    np.savez(tmp_path / "twice.npz", x=(x / 255).astype("float32"), y=y)
    words = ["--data", str(tmp_path / "twice.npz"), "--model", "mlp", "--radius", "0.1", "--attack", "pgd1"]
    more = ["--eval-attack", "pgd1", "--epochs", "2", "--lr", "0.001", "--device", "cpu", "--out", str(tmp_path / "r")]
    assert main(["train", *words, *more]) == 0
    text = capsys.readouterr()
    assert "warning: input range" in text.err
    assert text.out.startswith("too_little_evidence: First mend the evaluation (input range: ")
    assert "warm the radius up" not in text.out
    assert "\ncollapsed: the network answers one class; mend the evaluation" in text.out
