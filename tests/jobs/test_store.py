"""What a store keeps of runs: small files without a path of this machine, and nothing measured of another network."""

import json
from pathlib import Path

import pytest
from tests.jobs.runs import evaluation, make, training, workspace

from cgro._check import BadRequest
from cgro.jobs.plan import Job
from cgro.jobs.store import KEPT, Store, without_folder
from cgro.runs import Run

NET = training(0)
READER = evaluation("readers/a", NET)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made")
    make(workspace(path, [NET, READER]), NET, READER)
    return path / "runs"


def kept(root: Path, runs: Path, *jobs: Job) -> Store:
    store = Store(root)
    for job in jobs:
        store.keep(job, runs)
    return store


def test_small_files_and_no_path_of_this_machine(runs: Path, tmp_path: Path) -> None:
    kept(tmp_path, runs, NET, READER)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {*KEPT}
    assert not [path for path in files if str(runs).encode() in path.read_bytes()]
    assert "@/net/seed-0/checkpoints" in (tmp_path / "runs/readers/a/config.yaml").read_text()
    Run.open(tmp_path / "runs/readers/a")  # with digests of the copies


def test_only_dear_and_finished_runs_are_kept(runs: Path, tmp_path: Path) -> None:
    kept(tmp_path, runs, Job("net/seed-0", "separation", {}), training(7))
    assert not (tmp_path / "runs").exists()


def test_found_with_the_same_settings_only(runs: Path, tmp_path: Path) -> None:
    store = kept(tmp_path, runs, NET)
    assert store.found(NET) == Run(tmp_path / "runs/net/seed-0")
    assert Store(tmp_path).found(training(0, epochs=3)) is None
    environment = tmp_path / "runs/net/seed-0/environment.json"
    environment.write_text(json.dumps({**json.loads(environment.read_text()), "schema": 0}))
    with pytest.raises(BadRequest, match="expected run schema 1, got 0"):
        Store(tmp_path).found(NET)


def test_a_network_that_came_out_otherwise_takes_its_stored_measurements_along(runs: Path, tmp_path: Path) -> None:
    store = kept(tmp_path, runs, NET, READER)
    store.keep(NET, runs)  # the same bits
    assert Store(tmp_path).found(READER) is not None
    summary = tmp_path / "runs/net/seed-0/summary.json"
    other = json.loads(summary.read_text())
    metric = other["metrics"]["robust_error/test"]
    metric["wrong"] -= 1
    metric["value"] = metric["wrong"] / metric["n"]
    other["provenance"] = other["digests"] = None  # edited on purpose
    summary.write_text(json.dumps(other))
    store.keep(NET, runs)
    assert Store(tmp_path).found(READER) is None
    assert Store(tmp_path).found(NET) is not None


def test_an_artifact_that_comes_out_as_it_was_keeps_its_environment(tmp_path: Path) -> None:
    artifact = tmp_path / "made/figure9"
    artifact.mkdir(parents=True)
    (artifact / "findings.json").write_text("{}")
    (artifact / "environment.json").write_text("here")
    store = Store(tmp_path / "store")
    store.keep_artifact(artifact, tmp_path / "made/runs")
    environment = tmp_path / "store/figure9/environment.json"
    environment.write_text("another machine's")
    store.keep_artifact(artifact, tmp_path / "made/runs")
    assert environment.read_text() == "another machine's"
    (artifact / "findings.json").write_text("[]")
    store.keep_artifact(artifact, tmp_path / "made/runs")
    assert environment.read_text() == "here"


def test_a_path_in_yaml_is_still_yaml(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"target: {tmp_path}/runs/net/seed-0\nn: 3\n")
    assert without_folder(file, tmp_path / "runs") == b"target: '@/net/seed-0'\nn: 3\n"
