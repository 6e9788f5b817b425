"""Files of weights: the formats, and files that are damaged or made to harm."""

import argparse
import io
import json
import os
import pickle
import struct
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.cases import refused

from cgro.training.weights import entries_of, is_weights, read_weights, weights_inside
from cgro.training.weights.formats import content_of


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
    # Of a bare pickle torch's own reader is not asked, which would name the function.
    assert ("print" in text) == (form != "bare")
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


def _members(content: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        return [(f"a/{member.filename.partition('/')[2]}", opened.read(member)) for member in opened.infolist()]


def _zipped(members: list[tuple[str, bytes]]) -> tuple[bytes, bytes, bytes]:
    """An archive in its parts: the members, the list of them, and the end."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in members:
            new.writestr(name, content)
    whole = out.getvalue()
    length, start = struct.unpack("<LL", whole[-10:-2])
    return whole[:start], whole[start : start + length], whole[start + length :]


def test_two_archives_in_one_file_of_which_python_reads_one_and_torch_the_other(tmp_path: Path) -> None:
    small, large = io.BytesIO(), io.BytesIO()
    torch.save({"a": torch.ones(2)}, small)
    torch.save({"a": torch.zeros(100_000)}, large)
    body, table, _ = _zipped(_members(large.getvalue()))
    other, other_table, end = _zipped(_members(small.getvalue()))
    assert len(table) == len(other_table)
    place = struct.pack("<LL", len(table), len(body))
    # Python counts the place of the list from the end of the file, where the second is, and torch from its beginning.
    path = tmp_path / "x.pt"
    path.write_bytes(body + table + other.ljust(len(body), b"\0") + other_table + end[:-10] + place + end[-2:])
    assert torch.load(path, weights_only=True)["a"].numel() == 100_000
    with zipfile.ZipFile(path) as seen:
        assert sum(member.file_size for member in seen.infolist()) < 10_000
    refused(lambda: read_weights(path), "several in one file")


def test_checkpoints_that_are_no_files(tmp_path: Path) -> None:
    for suffix in (".pt", ".pth", ".bin", ".safetensors"):
        os.mkfifo(tmp_path / f"pipe{suffix}")
        (tmp_path / f"zero{suffix}").symlink_to("/dev/zero")
        (tmp_path / f"folder{suffix}").mkdir()
        for name, words in (("pipe", "named pipe"), ("zero", "device"), ("folder", "folder")):
            refused(lambda name=name, suffix=suffix: read_weights(tmp_path / f"{name}{suffix}"), words)


def test_every_mapping_of_names_to_tensors_is_an_entry_wherever_it_lies(tmp_path: Path) -> None:
    weights = {"a.weight": torch.ones(2)}
    value = {
        "epoch": 7,
        "net": weights,
        "ema": {"decay": 0.9, "module": {"a.weight": torch.zeros(2)}},
        "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]},
    }
    found = entries_of(saved(tmp_path / "x.pth.tar", value))
    assert {name: entry["a.weight"].sum().item() for name, entry in found.items()} == {"net": 2, "ema.module": 0}


def test_a_refusal_names_the_keys_that_are_there(tmp_path: Path) -> None:
    refused(lambda: entries_of(saved(tmp_path / "x.ckpt", {"epoch": 3, "best": 0.5})), "epoch, best")


def test_mappings_that_nest_without_end_end(tmp_path: Path) -> None:
    """Two keys a level that share what is below: 2^60 paths in a file of some kilobytes."""
    value: dict[str, object] = {"w": torch.zeros(1)}
    for _ in range(60):
        value = {"a": value, "b": value}
    refused(lambda: entries_of(saved(tmp_path / "x.pt", value)), "state dict")


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_are_one_file(tmp_path: Path, suffix: str) -> None:
    parts = {"a": torch.arange(3.0)}, {"b": torch.arange(2.0)}
    names = [f"model-0000{k}-of-00002.{suffix}" for k in (1, 2)]
    for part, name in zip(parts, names, strict=True):
        (save_file if suffix == "safetensors" else torch.save)(part, tmp_path / name)
    index = tmp_path / f"model.{suffix}.index.json"
    index.write_text(json.dumps({"weight_map": {"a": names[0], "b": names[1]}}))
    found = read_weights(index)
    assert {key: value.tolist() for key, value in found.items()} == {"a": [0, 1, 2], "b": [0, 1]}
    for places, words in (
        ({"c": names[0]}, "c"),
        ({"a": "../x.bin"}, "beside"),
        ({"a": index.name}, "beside"),
        ({}, "weight_map"),
    ):
        index.write_text(json.dumps({"weight_map": places}))
        refused(lambda: entries_of(index), words)


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_of_each_shard_what_the_index_has_there_is_taken(tmp_path: Path, suffix: str) -> None:
    """Planted: a tensor that lay in a later shard as well was taken from there, and nothing was said."""
    save = save_file if suffix == "safetensors" else torch.save
    names = [f"model-0000{k}-of-00002.{suffix}" for k in (1, 2)]
    save({"a": torch.arange(3.0), "b": -torch.ones(2)}, tmp_path / names[0])
    save({"a": -torch.ones(3), "b": torch.arange(2.0), "c": torch.zeros(1)}, tmp_path / names[1])
    index = tmp_path / f"model.{suffix}.index.json"
    index.write_text(json.dumps({"weight_map": {"a": names[0], "b": names[1]}}))
    assert {key: value.tolist() for key, value in read_weights(index).items()} == {"a": [0, 1, 2], "b": [0, 1]}
    index.write_text(json.dumps({"weight_map": {"a": names[0], "c": names[0]}}))
    refused(lambda: entries_of(index), "none of c")


def test_a_shard_with_several_sets_is_refused(tmp_path: Path) -> None:
    """Planted: they were merged, and the last one won."""
    torch.save({"raw": {"a": torch.zeros(1)}, "ema": {"a": torch.ones(1)}}, tmp_path / "x.bin")
    index = tmp_path / "model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "x.bin"}}))
    refused(lambda: entries_of(index), "x.bin", "several: raw, ema")


@pytest.mark.parametrize(
    "where", ["optimizer.exp_avg", "optim.momentum_buffer", "exp_avg_sq", "optimizer_states.state", "opt_state"]
)
def test_what_an_optimizer_keeps_by_names_of_weights_are_no_weights(tmp_path: Path, where: str) -> None:
    """Planted: a file with nothing but this was loaded as the network."""
    state = {"a.weight": torch.zeros(2), "a.bias": torch.zeros(1)}
    for name in reversed(where.split(".")):
        state = {name: state}
    refused(
        lambda: entries_of(saved(tmp_path / "x.pt", state)), "expected a state dict of tensors", where.split(".")[0]
    )
    both = {"model": {"a.weight": torch.ones(2), "a.bias": torch.ones(1)}, **state}
    assert list(entries_of(saved(tmp_path / "y.pt", both))) == ["model"]
    # A part of a network may be called so as well.
    network = {"optimizer.weight": torch.ones(2), "momentum.bias": torch.ones(1)}
    assert read_weights(saved(tmp_path / "z.pt", network)).keys() == network.keys()


def test_a_shard_alone_names_its_index(tmp_path: Path) -> None:
    names = [f"model-0000{k}-of-00002.safetensors" for k in (1, 2)]
    for name in names:
        save_file({name[:11]: torch.zeros(1)}, tmp_path / name)
    assert entries_of(tmp_path / names[0])  # without an index nobody knows of the other
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {n[:11]: n for n in names}}))
    refused(lambda: entries_of(tmp_path / names[0]), "one of its shards", "name model.safetensors.index.json")
    assert len(read_weights(tmp_path / "model.safetensors.index.json")) == 2


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_of_hugging_face_is_its_weights(tmp_path: Path, name: str) -> None:
    (save_file if name.endswith("safetensors") else torch.save)({"a": torch.ones(2)}, tmp_path / name)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "training_args.bin").write_bytes(pickle.dumps(Runs()))
    assert weights_inside(tmp_path) == tmp_path / name
    assert read_weights(tmp_path)["a"].tolist() == [1, 1]
    assert weights_inside(tmp_path / name) is None


def test_a_mapping_that_is_mostly_tensors_is_a_state_dict_unless_it_holds_one(tmp_path: Path) -> None:
    weights = {"a": torch.ones(2), "b": torch.ones(1)}
    assert set(entries_of(saved(tmp_path / "x.pt", {**weights, "epoch": 3}))) == {""}
    assert set(entries_of(saved(tmp_path / "x.pt", {"net": weights, "acc": torch.ones(1), "t": torch.ones(1)}))) == {
        "net"
    }
    refused(
        lambda: entries_of(saved(tmp_path / "x.pt", {"acc": torch.ones(1), "epoch": 3, "lr": 0.1})), "acc, epoch, lr"
    )


@pytest.mark.parametrize("value", [Runs(), argparse.Namespace(lr=0.1), np.float64(0.5), Path("x"), defaultdict(list)])
def test_what_blocks_is_named_with_the_way_out(tmp_path: Path, value: object) -> None:
    """The class, or the function that a pickle would call."""
    name = "print" if isinstance(value, Runs) else type(value).__name__.replace("float64", "scalar")
    text = refused(lambda: entries_of(saved(tmp_path / "x.pt", {"state_dict": {"a": torch.ones(1)}, "x": value})))
    assert name in text
    assert "save model.state_dict() alone" in text


def test_names_of_files_of_weights() -> None:
    names = ["a.pt", "A.PTH", "a.pth.tar", "a.ckpt", "a.safetensors", "a.t7", "model.safetensors.index.json"]
    assert all(is_weights(Path(name)) for name in names)
    assert not any(is_weights(Path(name)) for name in ("a.csv", "a.json", "a.tar", "pt", "log.txt"))


@pytest.mark.parametrize(
    ("beside", "epoch"), [({"epoch": 7}, 7), ({"epoch": True}, None), ({"epoch": "7"}, None), ({"epochs": 200}, None)]
)
def test_the_epoch_beside_the_weights_is_known(tmp_path: Path, beside: dict, epoch: int | None) -> None:
    weights = {"a": torch.ones(2)}
    assert content_of(saved(tmp_path / "x.pt", {"net": weights, **beside})).epoch == epoch
    assert content_of(saved(tmp_path / "y.pt", {"epoch": weights, "net": weights})).epoch is None
