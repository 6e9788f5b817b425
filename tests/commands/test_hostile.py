"""Files that only save work are made anew where they are damaged; options that look like numbers are refused."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from cgro._check import BadRequest
from cgro.commands import _records, flatness
from cgro.commands.train import Config
from cgro.data import Split
from cgro.definitions import Record
from cgro.flatness import Flatness

N, RADII = 5, (0.1, 0.2)
SPLIT = Split(torch.zeros(N, 1, 2, 2), torch.zeros(N, dtype=torch.long), torch.arange(N))


def stored_record(path: Path) -> dict[str, np.ndarray]:
    known = {k: torch.zeros(N, dtype=torch.long) for k in ("index", "tried", "by", "step")}
    record = Record(("a", "b"), **known, margin=torch.zeros(N), x_adv=torch.zeros(N, 1, 2, 2))
    _records._store(path, record, {"identity": "id"}, SPLIT, True)
    return dict(np.load(path))


def record_of(path: Path) -> Record | None:
    return _records._load(path, "id", "", SPLIT, True)


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\5\6" + bytes(18), b"\x93NUMPY", b"\x80\x04."])
def test_damaged_records_are_measured_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    assert record_of(tmp_path / "x.npz") is None
    assert flatness._load(tmp_path / "x.npz", RADII) == []


def test_records_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "link.npz").symlink_to("/dev/zero")
    for name in ("pipe.npz", "link.npz", "none.npz"):
        assert record_of(tmp_path / name) is None
        assert flatness._load(tmp_path / name, RADII) == []


@pytest.mark.parametrize(
    "change",
    [{"tried": np.zeros(4, int)}, {"by": np.full(N, 9)}, {"by": np.full(N, -3)}, {"tried": np.full(N, 3)}, {"step": np.zeros(N)},
     {"margin": np.zeros(N)}, {"x_adv": np.zeros((N, 2, 2), np.float32)}, {"attacks": np.array("a")}, {"attacks": np.zeros(2)},
     {"identity": np.array("other")}, {"index": np.array(["x"] * N)}],
)  # fmt: skip
def test_a_record_of_other_arrays_is_none(tmp_path: Path, change: dict[str, np.ndarray]) -> None:
    path = tmp_path / "x.npz"
    arrays = stored_record(path)
    assert record_of(path) is not None
    np.savez(path, **arrays | change)
    assert record_of(path) is None
    for name in ("tried", "attacks", "x_adv"):
        np.savez(path, **{k: v for k, v in arrays.items() if k != name})
        assert record_of(path) is None


def test_flatness_of_other_arrays_is_none(tmp_path: Path) -> None:
    path, values = tmp_path / "x.npz", torch.zeros(N, 2)
    flatness._store(path, Flatness(RADII, values, values, values[:, 0], values[:, 0]))
    arrays = dict(np.load(path))
    assert len(flatness._load(path, RADII)[0].loss) == N
    assert flatness._load(path, (0.1, 0.2, 0.3)) == []
    for change in (
        {"loss": np.zeros(())},
        {"rise": np.zeros((N, 1))},
        {"slope": np.zeros(N, int)},
        {"more": np.zeros(N)},
    ):
        np.savez(path, **arrays | change)
        assert flatness._load(path, RADII) == []


@pytest.mark.parametrize("drops", ["\u00b2", "\u0663", "9" * 5_000, "1,\u2460", "1.5", "-3", "x"])
def test_epochs_of_the_schedule_are_digits(drops: str) -> None:
    with pytest.raises(BadRequest, match="--lr-drops"):
        Config(lr_drops=drops).recipe()
