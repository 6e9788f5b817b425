"""The verdict on weights: folders of checkpoints measured one by one, and examples in any usual form."""

from pathlib import Path

import pytest
import torch
from tests.cases import LinearScore, points, refused

from cgro.data import Split
from cgro.definitions import FGSM, ThreatModel, robust_error
from cgro.diagnosis import checkpoint_files, diagnose_model, measured

THREAT = ThreatModel("inf", 0.05)


def examples() -> Split:
    x, y = points(40)
    return Split(x, y, torch.arange(40))


def folder_of(tmp_path: Path, n: int, **beside: object) -> list[LinearScore]:
    """Checkpoints whose accuracies would sort otherwise than their epochs."""
    models = [LinearScore(seed=e) for e in range(1, n + 1)]
    for e, model in enumerate(models, 1):
        torch.save({"net": model.state_dict(), **beside}, tmp_path / f"ckpt_epoch{e}_acc{90 - 7 * e}.5.pth")
    return models


def test_test_images_that_were_trained_on_are_a_finding() -> None:
    x, y = points(40)
    found = diagnose_model(LinearScore(seed=1).eval(), (x[:30], y[:30]), (x[20:], y[20:]), THREAT)
    assert "10 of 20 test images are also training images: no error on them says anything of new images." in (
        found.findings
    )
    apart = diagnose_model(LinearScore(seed=1).eval(), (x[:20], y[:20]), (x[20:], y[20:]), THREAT)
    assert not any("training images" in finding for finding in apart.findings)


def test_each_row_is_the_checkpoint_of_its_epoch(tmp_path: Path) -> None:
    """On a linear network one step is exact, so a direct call is an independent truth."""
    models, part = folder_of(tmp_path, 11), examples()
    attack = FGSM(THREAT)
    seen: list[int] = []
    model = LinearScore(seed=99).eval()
    rows = measured(
        model,
        checkpoint_files(tmp_path),
        {"train": part, "test": part},
        attack,
        saved=lambda rows: seen.append(len(rows)),
    )
    assert [row["epoch"] for row in rows] == list(range(1, 12))
    for row, trained in zip(rows, models, strict=True):
        assert row["robust_error/test"] == robust_error(trained.eval(), part.x, part.y, attack).value
    assert seen == list(range(1, 12))
    assert torch.equal(model.w, models[-1].w)


def test_averages_beside_raw_weights_are_asked_for_every_file(tmp_path: Path) -> None:
    average = LinearScore(seed=50)
    folder_of(tmp_path, 3, ema=average.state_dict())
    part = examples()
    attack = FGSM(THREAT)
    parts = {"train": part, "test": part}
    refused(lambda: measured(LinearScore().eval(), checkpoint_files(tmp_path), parts, attack), "net, ema")
    rows = measured(LinearScore().eval(), checkpoint_files(tmp_path), parts, attack, entry="ema")
    expected = robust_error(average.eval(), part.x, part.y, attack).value
    assert [row["robust_error/train"] for row in rows] == [pytest.approx(expected)] * 3
