"""What comes from another machine: taken whole or refused, and what is there already stays."""

import json
from pathlib import Path

import pytest
from tests.gpu.cases import cut_off, job, trained
from tools.gpu import collect
from tools.gpu.items import TABLE, folder_of
from tools.gpu.keeper import Keeper
from tools.gpu.parcel import RESULTS, Record, zipped
from tools.gpu.weights import restore

from cgro._check import BadRequest
from cgro.environment import current_environment
from cgro.runs import Run, write_atomic
from cgro.training.checkpoint import LAST


def record() -> Record:
    return Record(environment=current_environment(0), scale="gpu", item="b-0", words="", minutes=9.0, device="cpu")


def left_by_a_slice(path: Path) -> Path:
    """One finished training, and one that was cut off by a kill: what the keeper had written last."""
    keeper = Keeper(path / "out", path / "work", record(), ["net/seed-0", "net/seed-1"])
    done = job("net/seed-0")
    trained(keeper.runs, done)
    keeper.store.keep(done, keeper.runs)
    cut_off(keeper.runs, "net/seed-1")
    keeper.look()
    return keeper.out


def test_finished_runs_go_to_results_and_others_to_weights(tmp_path: Path) -> None:
    out = left_by_a_slice(tmp_path)
    assert sum(path.is_file() for path in out.iterdir()) == 3
    results, weights = tmp_path / "results", tmp_path / "weights"
    lines = collect.collected(out, results, weights)
    assert lines[0] == "taken: runs/net/seed-0"
    assert lines[-1].endswith("to go on with")
    taken = Run.open(results / "gpu/runs/net/seed-0")
    assert taken.finished
    assert not (results / "gpu/runs/net/seed-1").exists()
    kept = folder_of(weights, "net/seed-1")
    assert {path.name for path in kept.iterdir()} >= {"config.yaml", "metrics.jsonl", "index_sets.json"}
    restore(kept, "net/seed-1", tmp_path / "again")
    assert (tmp_path / "again/checkpoints" / LAST).exists()
    # A second time nothing changes.
    before = (taken.path / "summary.json").read_bytes()
    assert collect.main([str(out), "--results", str(results), "--weights", str(weights)]) == 0
    assert collect.collected(out, results, weights)[0] == "there already, and kept: runs/net/seed-0"
    assert (taken.path / "summary.json").read_bytes() == before


@pytest.mark.parametrize(
    "name",
    [
        "../evil.json",
        "runs/../../x/summary.json",
        "runs/net/seed-0/module.py",
        "runs//summary.json",
        "table/other.json",
    ],
)
def test_names_that_no_slice_writes_are_refused(name: str, tmp_path: Path) -> None:
    write_atomic(tmp_path / RESULTS, zipped({name: b"{}"}))
    with pytest.raises(BadRequest, match="expected files of runs"):
        collect.unpacked(tmp_path / RESULTS)


def test_a_damaged_result_is_refused_and_nothing_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = left_by_a_slice(tmp_path)
    files = collect.unpacked(out / RESULTS)
    name = "runs/net/seed-0/metrics.jsonl"
    write_atomic(
        out / RESULTS, zipped({**files, TABLE: b"{}", name: files[name].replace(b'"epoch": 1', b'"epoch": 9')})
    )
    results = tmp_path / "results"
    assert collect.main([str(out), "--results", str(results), "--weights", str(tmp_path / "w")]) == 2
    assert "not as it was when the run was finished" in capsys.readouterr().err
    assert not results.exists()
    assert not (tmp_path / "w").exists()
    write_atomic(out / RESULTS, b"no archive")
    with pytest.raises(BadRequest, match="expected the results of a slice"):
        collect.collected(out, results, tmp_path / "w")
    write_atomic(out / "slice.json", json.dumps({"item": 3}).encode())
    with pytest.raises(BadRequest, match="expected the record of a slice"):
        collect.collected(out, results, tmp_path / "w")
