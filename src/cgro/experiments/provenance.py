"""Which machine, versions and commit made the runs that an artifact reads."""

from collections.abc import Sequence

from msgspec.structs import replace

from cgro.environment import read_environment
from cgro.jobs.plan import Job
from cgro.jobs.workspace import Workspace
from cgro.results import MachineRecord


def provenance(workspace: Workspace, jobs: Sequence[Job]) -> list[MachineRecord]:
    """Where runs were made; runs that agree are one row.

    Args:
        workspace: where they are found.
        jobs: those that an artifact reads; one that is not finished is left out.

    Returns:
        Rows of a summary, with the names of their runs.

    Raises:
        BadRequest: an environment.json is damaged.
    """
    names: dict[str, tuple[MachineRecord, list[str]]] = {}
    for job in jobs:
        run = workspace.found(job)
        if run is None:
            continue
        made_in = read_environment(run.path / "environment.json")
        row = MachineRecord(
            machine=made_in.machine.text,
            threads=made_in.threads,
            torch=made_in.versions.get("torch"),
            cgro=made_in.cgro,
            commit=made_in.commit,
            source=run.source,
            runs=[],
        )
        names.setdefault(str(row), (row, []))[1].append(job.name)
    return [replace(row, runs=runs) for row, runs in names.values()]
