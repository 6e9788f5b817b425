"""Only regular files are opened; anything else is one line, at once."""

import os
import socket
from pathlib import Path

from tests.reading.refusal import refused

from cgro.reading import read_bytes


def test_only_regular_files_are_opened(tmp_path: Path, monkeypatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # the name of a socket may have 108 bytes
        server.bind("socket")
    for name, kind in (("pipe", "a named pipe"), ("folder", "a folder"), ("none", "none")):
        assert kind in refused(read_bytes, tmp_path / name)
    assert "socket" in refused(read_bytes, tmp_path / "socket")
    assert "a device" in refused(read_bytes, Path("/dev/zero"))
    assert "none" in refused(read_bytes, tmp_path / "none")
    assert refused(read_bytes, tmp_path / "null\0character")


def test_links_are_followed_only_where_they_may(tmp_path: Path, file) -> None:
    target = file(b"text")
    link = tmp_path / "link"
    link.symlink_to(target)
    assert read_bytes(link) == b"text"
    assert "a link" in refused(read_bytes, link, follow=False)


def test_a_file_above_its_limit_is_not_read(file) -> None:
    path = file(b"x" * 100)
    assert read_bytes(path, limit=100) == b"x" * 100
    assert "at most 99 bytes, got 100" in refused(read_bytes, path, limit=99)
