"""Which machine, versions and commit made the runs that an artifact reads."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from cgro._check import bad
from cgro.experiments.plan import Job
from cgro.experiments.workspace import Workspace
from cgro.reading import read_json_object
from cgro.results import MachineRecord


class Machine(Struct, frozen=True):
    """The machine, of environment.json.

    Attributes:
        processor: its name.
        cores: that the process may use.
        instructions: vector instructions; "" where they are not known.
        gpu: its name; "" without one.
    """

    processor: str
    cores: int
    instructions: str = ""
    gpu: str = ""

    @property
    def text(self) -> str:
        """One phrase."""
        parts = [self.processor, f"{self.cores} cores", self.instructions, self.gpu]
        return ", ".join(part for part in parts if part)


class MadeIn(Struct, frozen=True):
    """What is read of environment.json.

    Attributes:
        machine: on which the run was made.
        threads: that it used.
        versions: package -> version.
        cgro: version of this package.
        commit: of the source code, if it was known.
    """

    machine: Machine
    threads: int | None
    versions: dict[str, str]
    cgro: str
    commit: str | None


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
        path = run.path / "environment.json"
        try:
            made_in = msgspec.convert(read_json_object(path, follow=False), MadeIn)
        except msgspec.ValidationError as error:
            raise bad(str(path), expected="the environment of a run", got=str(error)) from None
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
