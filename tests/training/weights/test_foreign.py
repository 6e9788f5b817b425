"""Files that are no weights: each is called by its name, whatever its suffix, and the way out is said."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.cases import busy_network, refused

from cgro.training.weights import entries_of
from cgro.training.weights.foreign import foreign_kind


def archived() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.pth"))
    return out.getvalue()


def zipped(name: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, b"x" * 100)
    return out.getvalue()


def arrays() -> bytes:
    out = io.BytesIO()
    np.savez(out, a=np.zeros(3))
    return out.getvalue()


def scripted() -> bytes:
    out = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), out)
    return out.getvalue()


KINDS = {
    "Git LFS": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
    "a web page": (lambda: b"\n<!DOCTYPE html><html></html>", "download failed"),
    "gzip": (lambda: gzip.compress(b"x"), "unpack"),
    "a tar archive": (archived, "unpack"),
    "a zip archive": (lambda: zipped("model.pth"), "unpack"),
    "an .npz of numpy": (arrays, "safetensors"),
    "HDF5": (lambda: b"\x89HDF\r\n\x1a\n", "PyTorch"),
    "a text": (lambda: b"Epoch 1 | test acc 80.1\nEpoch 2 | test acc 81.0\n", "cgro diagnose"),
    "a text ": (lambda: ("epoch,gr\u00f6\u00dfe\n" + 5000 * "1,\u00e4").encode(), "cgro diagnose"),
    "TorchScript": (scripted, "torch.jit.load(FILE).state_dict()"),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".pth.tar", ".any"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("what", KINDS)
def test_what_it_is_and_what_to_do(tmp_path: Path, what: str, suffix: str) -> None:
    write, remedy = KINDS[what]
    path = tmp_path / f"x{suffix}"
    path.write_bytes(write())
    refused(lambda: entries_of(path), what.strip(), remedy)


def test_weights_are_not_foreign(tmp_path: Path) -> None:
    for new in (True, False):
        torch.save(busy_network().state_dict(), tmp_path / "x.pt", _use_new_zipfile_serialization=new)
        with open(tmp_path / "x.pt", "rb") as file:
            assert foreign_kind(file) is None
            assert file.tell() == 0
    for content in (b"", b"PK", b"PK\3\4", b"\x80\x02"):
        assert foreign_kind(io.BytesIO(content)) is None
