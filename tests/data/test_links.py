"""Links out of a data set are followed, and said."""

from pathlib import Path

import pytest
from tests.data.samples import class_folders, parquet_file, said_of

from cgro.data import load


def test_a_folder_without_links_says_nothing(tmp_path: Path) -> None:
    assert said_of(load(class_folders(tmp_path / "own"))) == ()


@pytest.mark.parametrize("stream", ["yes", "no"])
def test_an_image_a_class_and_a_part_from_elsewhere_are_said(tmp_path: Path, stream: str) -> None:
    elsewhere = Path(class_folders(tmp_path / "elsewhere"))
    root = Path(class_folders(tmp_path / "own"))
    before = load(str(root), stream=stream).train.raw  # type: ignore[arg-type]
    for name, n_links in (("train/ant/00.png", 1), ("train/bee", 1), ("test", 1)):
        place = root / name
        aside = tmp_path / "aside"
        place.rename(aside)
        place.symlink_to(elsewhere / name)
        data = load(str(root), stream=stream)  # type: ignore[arg-type]
        said = f"own: links out of the folder are followed, such as {place} -> {elsewhere / name} (links in all: {n_links})"
        assert said in said_of(data)
        assert (data.train.raw == before).all()
        place.unlink()
        aside.rename(place)


def test_links_that_stay_inside_are_the_callers_own_affair(tmp_path: Path) -> None:
    root = Path(class_folders(tmp_path / "own"))
    (root / "train/ant/zz.png").symlink_to("00.png")
    (root / "loop").symlink_to("loop")
    assert not any("links" in remark for remark in said_of(load(str(root))))


def test_parquet_files_from_elsewhere_are_said(tmp_path: Path) -> None:
    for name in ("train", "test"):
        parquet_file(tmp_path / "own" / f"{name}.parquet")
    assert said_of(load(str(tmp_path / "own"))) == ()
    (tmp_path / "own" / "test.parquet").rename(tmp_path / "test.parquet")
    (tmp_path / "own" / "test.parquet").symlink_to(tmp_path / "test.parquet")
    (said,) = said_of(load(str(tmp_path / "own")))
    assert said.startswith("own: links out of the folder are followed, such as ")
