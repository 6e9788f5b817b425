"""Runs are found here or in the store, and refused where their settings are others."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.jobs.runs import evaluation, make, training, workspace

from cgro._check import BadRequest
from cgro.jobs.plan import Job
from cgro.jobs.store import Store
from cgro.jobs.workspace import _is_moved


def test_a_finished_run_is_found_until_its_settings_are_others(tmp_path: Path) -> None:
    net = training(0)
    here = workspace(tmp_path, [net])
    assert here.found(net) is None
    assert here.missing([net]) == [net]
    with pytest.raises(BadRequest, match="expected a finished run, got none"):
        here.read(net)
    make(here, net)
    assert here.read(net).path == tmp_path / "runs/net/seed-0"
    assert here.missing([net]) == []
    assert here.unfinished() == []
    other = training(0, epochs=3)
    with pytest.raises(BadRequest, match="epochs 3, got 2"):
        workspace(tmp_path, [other]).found(other)


def test_a_finished_run_that_was_changed_since_is_refused(tmp_path: Path) -> None:
    """Findings were read from rows of which some had been taken out."""
    net = training(0)
    make(workspace(tmp_path, [net]), net)
    rows = tmp_path / "runs/net/seed-0/metrics.jsonl"
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:1]))
    with pytest.raises(BadRequest, match=r"not as it was.*; or delete \S+net/seed-0, and the same command makes it"):
        workspace(tmp_path, [net]).here(net)
    (tmp_path / "runs/net/seed-0/config.yaml").unlink()
    with pytest.raises(BadRequest, match=r"expected a run directory.*; or delete \S+net/seed-0"):
        workspace(tmp_path, [net]).here(net)


def test_only_options_that_a_command_knows_are_passed_on(tmp_path: Path) -> None:
    net = training(0)
    here = workspace(tmp_path, [net])
    assert here.options(net)["threads"] == 1
    here.computing = {"threads": 1, "no_such_option": 2}
    assert "no_such_option" not in here.options(net)


def test_a_stored_result_is_found_elsewhere_and_its_network_is_asked_for_again(tmp_path: Path) -> None:
    net = training(0)
    first, second = evaluation("a", net), evaluation("b", net)
    store = Store(tmp_path / "store")
    here = workspace(tmp_path / "here", [net, first], store)
    make(here, first)  # its network with it
    elsewhere = workspace(tmp_path / "elsewhere", [net, first, second], Store(tmp_path / "store"))
    assert elsewhere.missing([net, first]) == []
    assert elsewhere.missing([second]) == [net, second]
    assert elsewhere.read(first).summary["metrics"] == here.read(first).summary["metrics"]
    assert elsewhere.here(net) is None


def test_a_setting_that_names_another_job_is_no_moved_one() -> None:
    assert _is_moved("@/net/seed-0", "/elsewhere/runs/net/seed-0")
    assert _is_moved(["@/net/seed-0"], ["runs/net/seed-0"])
    assert not _is_moved("@/net/seed-0", "/elsewhere/runs/net/seed-1")
    assert not _is_moved("@/net/seed-0", "/elsewhere/runs/other-net/seed-0")
    assert not _is_moved("net/seed-0", "runs/net/seed-0")
    assert not _is_moved(["@/a", "@/b"], ["runs/a"])


def test_free_settings_are_those_of_the_first_seed_that_was_made(tmp_path: Path) -> None:
    def free(seed: int, **more: object) -> Job:
        return replace(training(seed, **more), free=("epochs",))

    plan = [free(0, epochs=60), free(1, epochs=60)]
    clean = Job("standard/net/seed-1", "train", {**plan[1].settings, "attack": "none"}, 1.0, ("epochs",), "net/seed-1")
    store = Store(tmp_path / "store")
    here = workspace(tmp_path / "here", [*plan, clean], store)
    assert here.decided(plan[0]) is None
    assert here.settled(plan[1]) == plan[1]
    made = free(0, epochs=2)
    make(workspace(tmp_path / "other", [made], store), made)
    assert here.found(plan[0]) is not None  # with other epochs than planned, as they are free
    assert [here.settled(job).settings["epochs"] for job in (*plan, clean)] == [2, 2, 2]
    assert here.options(plan[1])["epochs"] == 2
    # Of another network, or where nothing is free, nothing is taken over.
    other = replace(free(0, epochs=60, model="lenet"), name="other/seed-0")
    assert here.settled(other) == other
    fixed = training(1, epochs=60)
    assert here.settled(fixed) == fixed
    with pytest.raises(BadRequest, match="epochs 60, got 2"):
        workspace(tmp_path / "other", [training(0, epochs=60)]).found(training(0, epochs=60))
