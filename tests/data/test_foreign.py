"""Layouts that are not read are named, with the way out; nothing of them is loaded."""

import gzip
import pickle
from pathlib import Path

import pytest
from tests.data.samples import class_folders, load_refused

from cgro.data.foreign import not_read


class Bomb:
    """Writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "place",
    ["cifar-10-batches-py/data_batch_1", "cifar-100-python/train", "data/cifar-10-batches-py/test_batch", "x.pkl"],
)
def test_pickles_are_named_and_never_loaded(tmp_path: Path, place: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    loaded = tmp_path / "loaded"
    path.write_bytes(pickle.dumps(Bomb(loaded), protocol=2))
    asked = path if path.suffix else tmp_path / Path(place).parts[0]
    load_refused(rf"{path.name}, a Python pickle.*never loaded; use --data cifar10 .*numpy.savez", str(asked))
    assert not loaded.exists()
    pickle.loads(path.read_bytes())
    assert loaded.exists(), "the pickle is one that acts"


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"])
def test_the_idx_files_of_torchvision_are_named(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(gzip.compress(b""))
    load_refused(f"{name}, an IDX file.*use --data mnist with CGRO_DATA", str(tmp_path / "MNIST"))


def test_what_is_read_is_none_of_these(tmp_path: Path) -> None:
    root = Path(class_folders(tmp_path / "own"))
    (root / ".hidden").write_bytes(b"\x80")
    (root / "README").write_text("of text")
    assert not_read(root) is None
    assert not_read(root / "train") is None
