"""Digests of a run's files: equal for what is equal, different for every damage."""

import json
import struct
from pathlib import Path

import pytest

from cgro._check import BadRequest
from cgro.seal import (
    DIGESTED,
    check_files,
    digest_in_header,
    digest_of_file,
    digest_of_rows,
    digest_of_summary,
    digests_of_checkpoints,
    digests_of_files,
    entry,
    resealed,
    sealed,
)
from cgro.writing import dump_json, sha256

RESULT = {"schema": 1, "command": "train", "metrics": {"clean_error/test": {"value": 0.25}}, "seed": 0}


def test_a_sealed_summary_tells_any_change() -> None:
    found = sealed(RESULT, {"metrics.jsonl": "m"}, {"last.safetensors": "c"})
    digest = entry(found, "provenance")["summary"]
    assert digest_of_summary(found) == digest
    assert digest_of_summary(json.loads(dump_json(found))) == digest
    changed = [
        {**found, "seed": 1},
        {**found, "more": None},
        {k: v for k, v in found.items() if k != "seed"},
        {**found, "provenance": {**entry(found, "provenance"), "files": {"metrics.jsonl": "n"}}},
    ]
    for other in changed:
        assert digest_of_summary(other) != digest


def test_sealing_again_changes_nothing_and_keeps_the_source() -> None:
    taken_over = {**RESULT, "provenance": "computed on another machine"}
    once = sealed(taken_over, {"a": "1"}, {})
    assert sealed(once, {"a": "1"}, {}) == once
    assert entry(once, "provenance")["source"] == "computed on another machine"
    assert entry(sealed(RESULT, {}, {}), "provenance")["source"] is None
    assert list(once) == [*RESULT, "provenance"]
    assert list(entry(once, "provenance")) == ["source", "files", "checkpoints", "summary"]


def test_rows_count_without_their_times() -> None:
    rows = [{"epoch": 1, "loss": 0.5, "seconds": 3.0}, {"epoch": 2, "loss": 0.25, "attack_seconds": 1.0}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    digest = digest_of_rows(rows)
    assert digest == digest_of_rows([{"epoch": 1, "loss": 0.5}, {"loss": 0.25, "epoch": 2, "seconds": 9.0}])
    assert digest == digest_of_file("metrics.jsonl", lines.encode())
    assert digest != digest_of_rows(rows[::-1])
    assert digest != digest_of_rows([{**rows[0], "loss": 0.6}, rows[1]])


def test_files_count_with_every_byte_and_damaged_rows_with_none() -> None:
    assert digest_of_file("memory.json", b"{} ") == sha256(b"{} ") != digest_of_file("memory.json", b"{}")
    for damaged in (b"{", b"[1]\n", b"[" * 100_000):
        assert digest_of_file("metrics.jsonl", damaged) == ""


def test_copies_are_sealed_for_themselves() -> None:
    environment = b'{"schema": 1}'
    result = sealed(RESULT, {"environment.json": digest_of_file("environment.json", environment)}, {"c": "d"})
    copies = {"summary.json": dump_json(result), "environment.json": b'{"schema":1}', "config.yaml": b"a: 1"}
    again = resealed(copies)
    assert {name: again[name] for name in ("environment.json", "config.yaml")} == {
        name: copies[name] for name in ("environment.json", "config.yaml")
    }
    found = json.loads(again["summary.json"])
    provenance = entry(found, "provenance")
    assert provenance["files"] == {"environment.json": sha256(copies["environment.json"])}
    assert provenance["checkpoints"] == {"c": "d"}
    assert provenance["summary"] == digest_of_summary(found)
    assert set(provenance["files"]) <= set(DIGESTED)


def header(value: object) -> bytes:
    text = json.dumps(value).encode()
    return struct.pack("<Q", len(text)) + text


def test_a_checkpoint_carries_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    path.write_bytes(header({"__metadata__": {"state": json.dumps({"sha256": "abc"})}}) + b"weights")
    assert digest_in_header(path) == "abc"


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\0", header({}), header([]), header({"__metadata__": 3}), header({"__metadata__": {"state": 3}}),
     header({"__metadata__": {"state": "{"}}), header({"__metadata__": {"state": "[]"}}),
     header({"__metadata__": {"state": '{"sha256": 5}'}}), struct.pack("<Q", 2**63) + b"{}", header({})[:-1]],
)  # fmt: skip
def test_a_header_without_a_digest_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    assert digest_in_header(path) is None
    assert digest_in_header(tmp_path / "missing") is None


def test_an_entry_is_a_mapping_or_empty() -> None:
    assert entry({"a": {"b": 1}}, "a") == {"b": 1}
    for value in (None, [], "text", {}, {"a": 5}, {"a": [1]}):
        assert entry(value, "a") == {}


def test_files_of_a_folder_are_compared_with_their_digests(tmp_path: Path) -> None:
    (tmp_path / "memory.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("not digested")
    digests = digests_of_files(tmp_path)
    assert digests == {"memory.json": sha256(b"{}")}
    check_files(tmp_path, digests)
    (tmp_path / "memory.json").write_text("{ }")
    with pytest.raises(BadRequest, match=r"memory\.json: not as it was when the run was finished"):
        check_files(tmp_path, digests)
    with pytest.raises(BadRequest, match=r"summary\.json: expected digests of files of a run, got \.\./secret"):
        check_files(tmp_path, {"../secret": ""})


def test_checkpoints_of_a_folder_are_those_that_carry_a_digest(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    assert digests_of_checkpoints(tmp_path) == {}
    (folder / "last.safetensors").write_bytes(header({"__metadata__": {"state": json.dumps({"sha256": "abc"})}}))
    (folder / "bare.safetensors").write_bytes(header({}))
    assert digests_of_checkpoints(tmp_path) == {"last.safetensors": "abc"}
