"""Images in folders by class."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.samples import (
    LABELS,
    PIXELS,
    class_folders,
    gray_png,
    huge_png,
    load_refused,
    png,
    refused_in_little_memory,
    said_of,
    two_classes,
)

from cgro.data import load


def test_class_folders(tmp_path: Path) -> None:
    data = load(class_folders(tmp_path / "own"))
    (tmp_path / "own" / "train" / "ant" / ".hidden").write_text("")
    assert (data.name, data.note, data.classes, data.shape, len(data.train), len(data.test)) == (
        "own",
        "own",
        ("ant", "bee", "cat"),
        (3, 6, 5),
        12,
        12,
    )
    expected = torch.from_numpy(PIXELS[np.argsort(LABELS, kind="stable")])
    assert torch.equal(data.train.raw, expected[data.train.index])
    assert data.train.y.tolist() == np.sort(LABELS)[data.train.index].tolist()
    only = load(class_folders(tmp_path / "only", ("",), "bmp", ("10", "9", "1")))
    assert (only.classes, len(only.train), len(only.test)) == (("1", "9", "10"), 10, 2)
    assert load(str(tmp_path / "own"), classes="bee,ant").n_outputs == 1
    assert load(str(tmp_path / "only"), classes="odd,even").train.y.tolist().count(-1) >= 6
    moved = (tmp_path / "own").rename(tmp_path / "moved")
    assert load(str(moved)).sha256 == data.sha256
    (moved / "train" / "ant" / "00.png").rename(moved / "train" / "ant" / "99.png")
    assert load(str(moved)).sha256 != data.sha256
    validated = load(class_folders(tmp_path / "validated", ("train", "val")))
    assert validated.note == "validated (val part as test)"
    three = load(class_folders(tmp_path / "three", ("train", "test", "val")))
    assert "three: left out val, beside test; --validation takes part of train" in three.remarks
    assert load(str(tmp_path / "validated"), n_train=8, n_test=1, seed=1).train.raw.shape == (8, 3, 6, 5)


@pytest.mark.parametrize("fault", ["size", "test size", "damaged", "other file", "empty class", "no classes", "one class",
                                   "test classes", "other part", "nested", "missing", "sixteen bits"])  # fmt: skip
def test_wrong_folders_name_the_file(tmp_path: Path, fault: str) -> None:
    root = tmp_path / "own"
    class_folders(root)
    train, words = root / "train" / "bee", {}
    if fault == "size":
        gray_png(train / "50.png", "RGB", (5, 7))
        words = "bee/50.png: expected 6x5 as the first image, got 7x5"
    elif fault == "test size":
        for path in (root / "test").rglob("*.png"):
            gray_png(path, "RGB", (5, 7))
        words = r"test/.*png: expected 6x5"
    elif fault == "damaged":
        (train / "01.png").write_bytes((train / "01.png").read_bytes()[:60])
        words = r"bee/01.png: expected a PNG or JPEG [^<]*damaged[^<]*$"
    elif fault == "other file":
        (train / "notes.txt").write_text("")
        words = r"notes.txt: expected a file \.png"
    elif fault == "empty class":
        (root / "train" / "dog").mkdir()
        words = "dog: expected at least one image, got an empty class folder"
    elif fault == "no classes":
        root, words = tmp_path / "nothing", "at least two class folders with images, got none"
        root.mkdir()
    elif fault == "one class":
        root, words = root / "one", "at least two class folders with images, got a"
        (root / "a").mkdir(parents=True)
    elif fault == "test classes":
        (root / "test" / "bee").rename(root / "test" / "bea")
        words = "test: expected the class folders of train/, got other ones: bea, bee"
    elif fault == "other part":
        (root / "extra").mkdir()
        words = "expected train/ and test/, or only class folders, got train, extra"
    elif fault == "nested":
        (train / "deeper").mkdir()
        words = "deeper: expected a file"
    elif fault == "sixteen bits":
        gray_png(train / "50.png", "I;16")
        words = "50.png: expected 8 bits a channel"
    else:
        root, words = tmp_path / "missing", "expected a folder of class folders, or an .npz, got none"
    load_refused(words, str(root))


def test_huge_images_are_refused_by_their_header(tmp_path: Path) -> None:
    one = huge_png(9_000)
    refused_in_little_memory(lambda: load(str(two_classes(tmp_path / "six", one))), "bytes of the file")
    refused_in_little_memory(lambda: load(str(two_classes(tmp_path / "headers", one[:200], 300))), "bytes of the file")
    refused_in_little_memory(
        lambda: load(str(two_classes(tmp_path / "pixels", huge_png(14_000), 1))), "limit"
    )  # Pillow's own


def test_a_text_that_expands_inside_an_image(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    info, out = PngInfo(), io.BytesIO()
    info.add_text("k", "A" * 20_000_000, zip=True)
    Image.new("L", (8, 8)).save(out, "PNG", pnginfo=info)
    refused_in_little_memory(lambda: load(str(two_classes(tmp_path / "text", out.getvalue()))), "damaged or other file")


@pytest.mark.parametrize("name", [b"caf\xe9", b"\xff", b"a\x1b[31m", b"two\nlines"])
def test_class_names_that_cannot_be_written(tmp_path: Path, name: bytes) -> None:
    root = two_classes(tmp_path / "set", png())
    (root / "a").rename(os.fsdecode(os.path.join(os.fsencode(root), name)))
    refused_in_little_memory(lambda: load(str(root)), "classes")


def test_files_and_folders_in_other_encodings(tmp_path: Path) -> None:
    root = two_classes(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")), png(), 5)
    (root / "a" / "0.png").rename(os.fsdecode(os.fsencode(root) + b"/a/\xff.png"))
    data = load(str(root))
    assert data.name == data.note == "caf\\udce9"
    (root / "a" / "1.png").write_bytes(b"no image")
    refused_in_little_memory(lambda: load(str(root)), "damaged")


@pytest.mark.parametrize("target", ["pipe", "/dev/zero", "loop", "folder", "none"])
def test_what_is_no_file_is_not_opened(tmp_path: Path, target: str) -> None:
    root = two_classes(tmp_path / "set", png())
    image = root / "a" / "x.png"
    if target == "pipe":
        os.mkfifo(image)
    elif target == "folder":
        image.mkdir()
    else:
        image.symlink_to(image if target == "loop" else target)
    refused_in_little_memory(lambda: load(str(root)), "x.png")


def test_a_folder_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = two_classes(tmp_path / "set", png())

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    refused_in_little_memory(lambda: load(str(root)), "Permission denied")


@pytest.mark.parametrize("name", ["Thumbs.db", "desktop.ini", "ehthumbs.db"])
def test_files_of_systems_are_left_out_and_said(tmp_path: Path, name: str) -> None:
    root = class_folders(tmp_path / "own")
    clean = load(root)
    (Path(root) / "train" / "bee" / name).write_bytes(b"\0")
    (Path(root) / "__MACOSX" / "ant").mkdir(parents=True)
    (Path(root) / "test" / "@eaDir").mkdir()
    found = load(root)
    assert (found.sha256, found.classes, len(found.train)) == (clean.sha256, clean.classes, len(clean.train))
    assert not said_of(clean)
    (said,) = said_of(found)
    for word in (name, "__MACOSX", "@eaDir"):
        assert word in said


@pytest.mark.parametrize(
    ("names", "first"),
    [(("0", "2", "10"), "label 1 is folder 2"), (("9", "11", "100"), "label 0 is folder 9"), (("1", "2", "3"), None)],
)
def test_numbers_in_another_order_than_text_are_said(tmp_path: Path, names: tuple[str, ...], first: str | None) -> None:
    """The truth is torchvision's rule: classes sorted as text."""
    data = load(class_folders(tmp_path / "own", names=names))
    assert data.classes == names
    if first is None:
        assert said_of(data) == ()
        return
    label = next(k for k, name in enumerate(sorted(names)) if name != names[k])
    assert first in data.remarks[0]
    assert f"label {label} is folder {sorted(names)[label]}" in data.remarks[0]
