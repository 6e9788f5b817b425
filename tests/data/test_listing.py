"""The index of class folders."""

import os
from pathlib import Path

import numpy as np
from tests.cases import refused
from tests.data.samples import class_folders, png, two_classes

from cgro.data import listing
from cgro.data.listing import FilesOnDisk, listing_of


def listed(root: Path) -> listing.Listing:
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    return listing_of(root, folders, (".png",), lambda name: not name.startswith("."))


def test_it_finds_the_files_of_a_walk_in_order(tmp_path: Path) -> None:
    root = Path(class_folders(tmp_path / "own", ("",)))
    (root / "ant" / ".hidden").write_text("")
    (root / "bee" / os.fsdecode(b"caf\xe9.PNG")).write_bytes(b"12345")
    found = listed(root)
    expected = sorted(
        (p for p in root.rglob("*") if p.is_file() and p.name != ".hidden"), key=lambda p: (p.parent, p.name)
    )
    assert [found.name_of(row) for row in range(len(found))] == [str(path) for path in expected]
    assert found.sizes.tolist() == [path.stat().st_size for path in expected]
    assert [found.folders[label].name for label in found.labels] == [path.parent.name for path in expected]
    assert [FilesOnDisk(found)[row] for row in range(len(found))] == [path.read_bytes() for path in expected]


def test_the_index_takes_a_few_dozen_bytes_a_file(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for k in range(100):
            (tmp_path / label / f"n0144_{k:08}.png").write_bytes(b"")
    found = listed(tmp_path)
    n_bytes = sum(column.nbytes for column in (found.labels, found.sizes, found.times, found.ends)) + len(found.names)
    assert n_bytes == len(found) * (4 * 8 + len("n0144_00000000.png"))


def test_the_digest_says_names_sizes_and_some_contents(tmp_path: Path, monkeypatch) -> None:
    root = two_classes(tmp_path / "set", b"12345", n=3)
    before = listed(root).digest()
    moved = root.rename(tmp_path / "moved")
    assert listed(moved).digest() == before
    file = moved / "a" / "0.png"
    file.write_bytes(b"12346")
    assert listed(moved).digest() != before
    file.write_bytes(b"12345")
    assert listed(moved).digest() == before
    file.rename(moved / "a" / "00.png")
    assert listed(moved).digest() != before
    monkeypatch.setattr(listing, "CONTENTS_DIGESTED", 2)
    few = listed(moved).digest()
    (moved / "a" / "1.png").write_bytes(b"12346")  # row 1 of 6: not among the two that are read, as documented
    assert listed(moved).digest() == few
    (moved / "a" / "1.png").write_bytes(b"1234567")
    assert listed(moved).digest() != few


def test_a_file_that_changes_while_it_is_used_is_refused(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "set", png())
    files = FilesOnDisk(listed(root))
    path = root / "b" / "1.png"
    content = path.read_bytes()
    os.utime(path, ns=(0, 0))
    refused(lambda: files[4], "b/1.png", "changed since")
    path.write_bytes(content + b"0")
    refused(lambda: files[4], "changed since")
    path.unlink()
    refused(lambda: files[4], "b/1.png: expected a file, got none")
    os.mkfifo(path)
    refused(lambda: files[4], "a named pipe")
    assert files[3] == content


def test_what_is_no_image_is_refused_by_name(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "set", png())
    (root / "a" / "notes.txt").write_text("")
    refused(lambda: listed(root), "notes.txt", "a file .png")
    (root / "a" / "notes.txt").unlink()
    (root / "a" / "x.png").symlink_to(root / "a" / "nowhere")
    refused(lambda: listed(root), "x.png")
    (root / "a" / "x.png").unlink()
    (root / "c").mkdir()
    refused(lambda: listed(root), "an empty class folder")


def test_labels_follow_the_folders(tmp_path: Path) -> None:
    assert np.array_equal(listed(two_classes(tmp_path / "set", png(), n=2)).labels, [0, 0, 1, 1])
