"""Where runs were made: one row per machine, versions, commit and source."""

import json
from pathlib import Path

import pytest
from tests.jobs.runs import training, workspace
from tests.jobs.test_execute import finish

from cgro._check import BadRequest
from cgro.experiments.provenance import provenance
from cgro.jobs.execute import Call

MACHINE = {"system": "Linux", "processor": "a CPU", "cores": 2}
MADE_IN = {
    "machine": MACHINE,
    "threads": 1,
    "versions": {"torch": "2.13.0"},
    "cgro": "1.0",
    "commit": "abc",
    "schema": 1,
}


def unchecked(folder: Path) -> Path:
    """The environment of a run that is read without its digests, to be changed."""
    path = folder / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "provenance": None}))
    return folder / "environment.json"


def test_runs_that_agree_are_one_row(tmp_path: Path) -> None:
    jobs = [training(seed) for seed in range(4)]
    home = workspace(tmp_path, jobs)
    for job, machine in zip(jobs[:3], (MACHINE, {**MACHINE, "gpu": "a GPU"}, MACHINE), strict=True):
        finish(home, Call(job.name, job.command, home.options(job), home.folder(job)))
        path = unchecked(home.folder(job))
        path.write_text(json.dumps({**json.loads(path.read_text()), **MADE_IN, "machine": machine}))
    first, second = provenance(home, jobs)  # the last one is not finished
    assert (first.machine, first.torch, first.threads) == ("a CPU, 2 cores", "2.13.0", 1)
    assert list(first.runs) == ["net/seed-0", "net/seed-2"]
    assert (second.machine, list(second.runs)) == ("a CPU, 2 cores, a GPU", ["net/seed-1"])


def test_a_damaged_environment_is_one_line(tmp_path: Path) -> None:
    job = training(0)
    home = workspace(tmp_path, [job])
    finish(home, Call(job.name, job.command, home.options(job), home.folder(job)))
    path = unchecked(home.folder(job))
    path.write_text(json.dumps({**json.loads(path.read_text()), "machine": "a CPU"}))
    with pytest.raises(BadRequest, match=r"environment.json: expected `object` at machine, got `str`"):
        provenance(home, [job])
