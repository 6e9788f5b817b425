"""Runs as rows: what is found, what is said of runs that cannot be read, and what differs."""

import json
from pathlib import Path

import pytest

from cgro._check import BadRequest
from cgro.catalog import OWN, columns_of, differing, find_runs
from tests.catalogs import write_run


def test_runs_are_found_at_any_depth_and_inside_of_runs_only_on_demand(tmp_path: Path) -> None:
    write_run(tmp_path / "a", error=0.5, width=2)
    write_run(tmp_path / "a" / "seed-0", error=0.5, width=2)
    write_run(tmp_path / "deep" / "er" / "b", error=0.25, width=4)
    (tmp_path / "no_run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert [one.path.name for one in find_runs([tmp_path])] == ["a", "b"]
    assert [one.path.name for one in find_runs([tmp_path, tmp_path / "a"], inside=True)] == ["a", "seed-0", "b"]
    assert find_runs([tmp_path])[1].get("robust_error/test") == 0.25


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_what_is_no_folder_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadRequest, match="a folder with runs"):
        find_runs([tmp_path / folder])


def test_a_run_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    write_run(tmp_path / "begun", error=None, width=2)
    write_run(tmp_path / "edited", error=0.5, width=2)
    write_run(tmp_path / "foreign", error=0.5, width=2)
    write_run(tmp_path / "garbled", error=0.5, width=2)
    path = tmp_path / "edited" / "summary.json"
    path.write_text(path.read_text().replace("0.5", "0.1"))
    path = tmp_path / "foreign" / "environment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))
    (tmp_path / "garbled" / "environment.json").write_bytes(b"\xff{")
    begun, edited, foreign, garbled = find_runs([tmp_path])
    assert (begun.state, begun.note) == ("unfinished", "no summary.json yet; the same command resumes it")
    assert edited.state == "damaged"
    assert "not as it was written" in edited.note
    assert foreign.state == "damaged"
    assert "schema" in foreign.note
    assert garbled.state == "damaged"
    assert garbled.get("robust_error/test") is None


def test_columns_and_differences_are_those_of_the_settings(tmp_path: Path) -> None:
    write_run(tmp_path / "a", error=0.5, width=2, optimizer="sgd", drops=[0.5, 0.75], plan={"many": 1})
    write_run(tmp_path / "b", error=0.25, width=4, optimizer="sgd", drops=[0.5, 0.75], plan={"many": 2})
    runs = find_runs([tmp_path])
    assert differing(runs) == ["width"]
    assert columns_of(runs) == [*OWN, "width", "optimizer", "drops", "robust_error/test"]
    assert runs[0].get("drops") == "0.5,0.75"
    assert runs[0].get("verdict") == "robust"
    assert runs[0].get("nothing") is None
