"""Folders of checkpoints, and files of weights that are damaged or made to harm."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from tests.cases import refused

from cgro.diagnosis import checkpoint_files
from cgro.training.checkpoint import read_weights


class Runs:
    def __reduce__(self) -> tuple:
        return print, ("executed",)


def saved(path: Path, value: object) -> Path:
    torch.save(value, path)
    return path


@pytest.mark.parametrize("form", ["zip", "legacy", "bare"])
def test_a_pickle_is_refused_in_one_line_of_ours(tmp_path: Path, capsys: pytest.CaptureFixture, form: str) -> None:
    path = tmp_path / "evil.pt"
    if form == "bare":
        path.write_bytes(pickle.dumps({"state_dict": Runs()}))
    else:
        torch.save({"state_dict": Runs()}, path, _use_new_zipfile_serialization=form == "zip")
    text = refused(lambda: read_weights(path), "refused", "save model.state_dict() alone")
    assert "weights_only" not in text
    assert "print" in text or form == "bare"
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"PK\3\4", pickle.dumps([1])[:-1], b"\x80", b"\x80\x02}q\0.", b"x" * 1000])
def test_damaged_pt_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    text = refused(lambda: read_weights(tmp_path / "x.pt"))
    assert "()" not in text.replace("state_dict()", "")


@pytest.mark.parametrize(
    ("value", "words"),
    [({1: torch.zeros(2)}, "names"), ({None: torch.zeros(2)}, "names"), ({(1, 2): torch.zeros(2)}, "names"), ([1], "state dict"),
     ({}, "state dict"), ({"a": 1}, "state dict"), ({"a": torch.zeros(1).expand(10**6, 10**6)}, "bytes of the file"),
     ({"a": torch.zeros(1).expand(2**40)}, "bytes of the file"), ({"a": torch.eye(3).to_sparse()}, "plain numbers"),
     ({"a": torch.empty(3, device="meta")}, "plain numbers")],
)  # fmt: skip
def test_pt_files_of_other_things(tmp_path: Path, value: object, words: str) -> None:
    refused(lambda: read_weights(saved(tmp_path / "x.pt", value)), words)


def test_pt_files_that_expand(tmp_path: Path) -> None:
    plain, path = io.BytesIO(), tmp_path / "x.pt"
    torch.save({"a": torch.zeros(4)}, plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            with new.open(member.filename, "w") as out:
                for piece in [bytes(1 << 20)] * 300 if member.filename.endswith("data/0") else [old.read(member)]:
                    out.write(piece)
    refused(lambda: read_weights(path), "bytes of the file")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("x/data.pkl", bytes(20 << 20))
    refused(lambda: read_weights(path), "index")


def test_checkpoints_that_are_no_files(tmp_path: Path) -> None:
    for suffix in (".pt", ".pth", ".bin", ".safetensors"):
        os.mkfifo(tmp_path / f"pipe{suffix}")
        (tmp_path / f"zero{suffix}").symlink_to("/dev/zero")
        (tmp_path / f"folder{suffix}").mkdir()
        for name, words in (("pipe", "named pipe"), ("zero", "device"), ("folder", "folder")):
            refused(lambda name=name, suffix=suffix: read_weights(tmp_path / f"{name}{suffix}"), words)


@pytest.mark.parametrize(
    ("names", "words"),
    [(["epoch-0002.pt", "epoch-0002 (copy).pt"], "several checkpoints of epoch 2"), (["a1.pt", "b1.pt", "c2.pt"], "epoch 1"),
     ([f"{k}-7.pt" for k in range(2_000)], "epoch 7"), (["x.txt"], "checkpoints"), ([], "nothing")],
    ids=range(5),
)  # fmt: skip
def test_folders_of_checkpoints_that_do_not_say_which(tmp_path: Path, names: list[str], words: str) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"")
    refused(lambda: checkpoint_files(tmp_path), words)


def test_names_of_checkpoints(tmp_path: Path) -> None:
    for name in ("epoch-0001.pt", "epoch-final.pt", "epoch-\u00b2.pt", "epoch-0010.pt", "opt-0001.pt"):
        (tmp_path / name).write_bytes(b"")
    assert [e for e, _ in checkpoint_files(tmp_path)] == [1, 10]
    for pattern in ("", "/etc/*", "**x", "[\0"):
        refused(lambda pattern=pattern: checkpoint_files(tmp_path, pattern))
