"""The cache of images that are unpacked once."""

import os
import threading
from pathlib import Path

import pytest
from tests.cases import refused

from cgro.data import spool
from cgro.data.spool import Spool, cache_folder, spooled

ROWS = [(b"first", 3), (b"", 0), (b"the third", 1)]
PLACES = {"n_images": 3, "n_bytes": 14, "what": "a table"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CGRO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


def test_rows_come_back_and_are_written_once(cache: Path) -> None:
    calls: list[int] = []

    def rows() -> list[tuple[bytes, int]]:
        calls.append(1)
        return ROWS

    for _ in range(2):
        found = spooled("key", rows, **PLACES)
        assert [(found[row], int(found.labels[row])) for row in range(len(found))] == ROWS
        assert found.sizes.tolist() == [5, 0, 9]
    assert len(calls) == 1
    assert sorted(path.name for path in cache.iterdir()) == ["key.images", "key.lock"]


def test_every_damaged_byte_is_found(cache: Path) -> None:
    spooled("key", lambda: ROWS, **PLACES)
    file = cache / "key.images"
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        refused(lambda: [Spool(file)[row] for row in range(3)], "key.images", "delete it")
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        refused(lambda: [Spool(file)[row] for row in range(3)], "key.images")
    file.write_bytes(whole)
    assert Spool(file)[2] == b"the third"


def test_what_stops_half_way_leaves_nothing(cache: Path) -> None:
    def rows():
        yield ROWS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        spooled("key", rows, **PLACES)
    assert [path.name for path in cache.iterdir()] == ["key.lock"]
    assert spooled("key", lambda: ROWS, **PLACES)[0] == b"first"


def test_a_disk_without_room_is_refused_before_it_is_filled(cache: Path) -> None:
    refused(lambda: spooled("key", lambda: ROWS, n_images=3, n_bytes=1 << 62, what="a table"), "CGRO_CACHE", "a table")
    assert not (cache / "key.images").exists()


def test_a_link_in_its_place_is_not_followed(cache: Path, tmp_path: Path) -> None:
    spooled("key", lambda: ROWS, **PLACES)
    (cache / "key.images").rename(tmp_path / "elsewhere")
    (cache / "key.images").symlink_to(tmp_path / "elsewhere")
    refused(lambda: spooled("key", lambda: ROWS, **PLACES), "a link")


def test_several_processes_write_it_once(cache: Path) -> None:
    """Who holds the lock writes; the others find the file."""
    started, go = threading.Event(), threading.Event()
    found: list[bytes] = []

    def slow():
        started.set()
        assert go.wait(20)
        yield from ROWS

    def never():
        raise AssertionError("written already")

    first = threading.Thread(target=lambda: found.append(spooled("key", slow, **PLACES)[0]))
    first.start()
    assert started.wait(20)
    second = threading.Thread(target=lambda: found.append(spooled("key", never, **PLACES)[2]))
    second.start()
    go.set()
    first.join(20)
    second.join(20)
    assert sorted(found) == [b"first", b"the third"]


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CGRO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/cgro")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path(os.path.expanduser("~/.cache/cgro"))
    assert spool.FOLDER == "CGRO_CACHE"
