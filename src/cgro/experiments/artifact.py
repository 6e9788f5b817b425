"""What an artifact is, and how its results come to lie in DIR/NAME: a run directory of small, committable files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml
from msgspec.structs import replace

from cgro.experiments.claims import NOT_REPRODUCED, Claim, unjudged, worst
from cgro.experiments.findings import FILE, Findings, encode, read_findings
from cgro.experiments.provenance import provenance
from cgro.experiments.tables import Table
from cgro.jobs.plan import Job, Scale
from cgro.jobs.workspace import Workspace
from cgro.reading import read_json_object
from cgro.results import ArtifactSummary, FigureRecord, OutcomeRecord, VerdictRecord, plain_summary, read_summary
from cgro.runs import Run, dump_json, environment, plain, write_atomic

SMOKE_CAPTION = "Smoke, on mnist5k in the place of the data named here, no evidence:"
STAND_IN = "stand-in data and tiny networks: smoke tests the machinery"
"""Why nothing is judged that was trained at scale smoke: mnist5k stands in for MNIST and CIFAR-10."""


class Artifact(Protocol):
    """A module of this folder that `cgro.experiments.registry` lists: all that is known of one table or figure.

    `Findings`, `PAPER` and `check` agree on their types; the protocol cannot say so of modules.
    """

    @property
    def NAME(self) -> str:
        """On the command line, and of its folder."""
        ...

    @property
    def TITLE(self) -> str:
        """Of its section on the page."""
        ...

    @property
    def NEEDS_TRAINING(self) -> bool:
        """Whether networks are trained on images for it: such an artifact is not judged at scale smoke."""
        ...

    @property
    def PAPER(self) -> Any:
        """The paper's values, a frozen type."""
        ...

    @property
    def CAPTIONS(self) -> Mapping[str, str]:
        """Figure file (without ending) -> what it shows."""
        ...

    @property
    def Findings(self) -> type[Any]:
        """Type of what `run` returns; see `cgro.experiments.findings`."""
        ...

    def jobs(self, scale: Scale) -> list[Job]:
        """The calls of commands that it reads.

        Args:
            scale: of the reproduction.

        Returns:
            Them; those that other artifacts read as well have the same names.
        """
        ...

    def run(self, scale: Scale, workspace: Workspace) -> Any:
        """Read the numbers from the finished runs of its jobs.

        Args:
            scale: of the reproduction.
            workspace: where the runs are found.

        Returns:
            Its findings, from which all below follows.
        """
        ...

    def check(self, findings: Any, paper: Any) -> list[Claim]:
        """A verdict for each claim.

        Args:
            findings: of `run`, or stored.
            paper: the paper's values; others in tests.

        Returns:
            The claims.
        """
        ...

    def tables(self, findings: Any) -> list[Table]:
        """Small tables.

        Args:
            findings: of `run`, or stored.

        Returns:
            The tables.
        """
        ...

    def draw(self, findings: Any, folder: Path, workspace: Workspace) -> None:
        """The figures of `CAPTIONS`, as SVG in the folder; a figure that a command drew is copied.

        Args:
            findings: of `run`, or stored.
            folder: where figures go.
            workspace: where the runs of commands are found.
        """
        ...


def claims_of(artifact: Artifact, findings: Findings, paper: Any = None) -> list[Claim]:
    """The claims of an artifact with their verdicts; at scale smoke none on trained networks.

    Args:
        artifact: whose claims.
        findings: its own.
        paper: the paper's values; None for the artifact's.

    Returns:
        The claims.
    """
    claims = artifact.check(findings, artifact.PAPER if paper is None else paper)
    if artifact.NEEDS_TRAINING and findings.scale == "smoke":
        return unjudged(claims, STAND_IN)
    return claims


def shown_data(name: str, scale: Scale) -> str:
    """What a figure calls a data set: at `smoke` another one stands in for the paper's, and is named.

    Args:
        name: of the paper's data set.
        scale: of the reproduction.

    Returns:
        The name, or that of the stand-in.

    Example:
        >>> shown_data("CIFAR-10", "cpu"), shown_data("CIFAR-10", "smoke")
        ('CIFAR-10', 'smoke: mnist5k for CIFAR-10')
    """
    if scale == "smoke":
        return f"smoke: mnist5k for {name}"
    return name


def produce(artifact: Artifact, scale: Scale, workspace: Workspace) -> ArtifactSummary:
    """Write DIR/NAME: config.yaml, environment.json, findings.json, tables, figures, summary.json.

    A finished one is judged and drawn anew from the finished runs, which changes nothing unless the code has changed.

    Args:
        artifact: whose jobs are finished.
        scale: of the reproduction.
        workspace: the reproduction.

    Returns:
        The summary.

    Raises:
        BadRequest: the folder holds results of another version; a run is missing.
    """
    folder = workspace.path / artifact.NAME
    if (folder / "config.yaml").exists():
        Run(folder).check_version()
    jobs = artifact.jobs(scale)
    findings = artifact.run(scale, workspace)
    if not (folder / "environment.json").exists():
        write_atomic(folder / "environment.json", dump_json(environment(0)))
    write_atomic(folder / "config.yaml", _config(artifact, scale, [workspace.settled(job) for job in jobs]))
    write_atomic(folder / FILE, encode(findings))
    made = OutcomeRecord(kind="completed", reason=f"{len(jobs)} runs")
    judged = _judge(artifact, findings, folder, workspace)
    summary = replace(
        judged, outcome=made, provenance=provenance(workspace, jobs), seconds=workspace.ledger.total(jobs)
    )
    write_atomic(folder / "summary.json", dump_json(plain_summary(summary)))
    return summary


def judge_again(artifact: Artifact, folder: Path, workspace: Workspace) -> ArtifactSummary:
    """Judge, tabulate and draw stored findings by the code of today; no run is made, no number read again.

    Args:
        artifact: whose findings they are.
        folder: its results, STORE/SCALE/NAME.
        workspace: where runs may be whose commands drew figures. A figure of a run that is not there stays as it is.

    Returns:
        The summary, with the provenance that it had.

    Raises:
        BadRequest: the results are of another version, or damaged.
    """
    Run(folder).check_version()
    path = folder / "summary.json"
    stored = read_summary(read_json_object(path), str(path), ArtifactSummary)
    findings = read_findings(folder / FILE, artifact.Findings)
    judged = _judge(artifact, findings, folder, workspace)
    summary = replace(judged, outcome=stored.outcome, provenance=stored.provenance, seconds=stored.seconds)
    write_atomic(path, dump_json(plain_summary(summary)))
    return summary


def _judge(artifact: Artifact, findings: Findings, folder: Path, workspace: Workspace) -> ArtifactSummary:
    """Write the tables and figures that follow from findings. The summary does not say yet how they were made."""
    claims = claims_of(artifact, findings)
    tables = artifact.tables(findings)
    for table in tables:
        write_atomic(folder / "tables" / f"{table.name}.csv", table.csv())
    artifact.draw(findings, folder / "figures", workspace)
    for path in (folder / "figures").glob("*.*"):  # SVG is what is kept, PNG is for looking; others are of older code
        if path.suffix == ".png" or path.stem not in artifact.CAPTIONS:
            path.unlink()
    n_failed = sum(claim.verdict == NOT_REPRODUCED for claim in claims)
    return ArtifactSummary(
        command="reproduce",
        seed=0,
        threat=None,
        outcome=OutcomeRecord(kind="completed", reason=""),
        verdict=VerdictRecord(label=worst(claims), reason=f"{len(claims)} claims, {n_failed} not reproduced"),
        metrics={},
        artifact=artifact.NAME,
        title=artifact.TITLE,
        scale=findings.scale,
        claims=[claim.record() for claim in claims],
        tables=[table.record() for table in tables],
        figures=_figures(artifact, findings.scale, folder),
        seconds=None,
    )


def _config(artifact: Artifact, scale: Scale, jobs: Sequence[Job]) -> bytes:
    settings = {job.name: {"command": job.command, **job.settings} for job in jobs}
    config = {"command": "reproduce", "names": artifact.NAME, "scale": scale, "jobs": settings}
    return yaml.safe_dump(plain(config), sort_keys=False).encode()


def _figures(artifact: Artifact, scale: Scale, folder: Path) -> list[FigureRecord]:
    """The figures that were drawn, in the order of their captions."""
    found = []
    for name, caption in artifact.CAPTIONS.items():
        if (folder / "figures" / f"{name}.svg").exists():
            if artifact.NEEDS_TRAINING and scale == "smoke":
                caption = f"{SMOKE_CAPTION} {caption}"
            found.append(FigureRecord(file=f"figures/{name}.svg", caption=caption))
    return found


def copy_figure(run: Path, figure: str, target: Path) -> None:
    """Take a figure that a command drew in its run, if it did.

    Args:
        run: directory of the command.
        figure: its file, without ending.
        target: the file, without ending.
    """
    source = run / "figures" / f"{figure}.svg"
    if source.exists():
        write_atomic(target.with_suffix(".svg"), source.read_bytes())
