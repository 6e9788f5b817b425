"""What an artifact is, and how its results come to lie in DIR/NAME: a run directory of small, committable files."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml

from cgro.experiments.claims import NOT_REPRODUCED, Claim, worst
from cgro.experiments.jobs import Home, Job, Scale
from cgro.runs import Run, dump_json, environment, plain, read_json, summary, write_atomic

Findings = dict[str, Any]
Table = dict[str, Any]
"""{name, caption, columns, rows}: rows are lists of text and numbers."""


class Artifact(Protocol):
    """A module of this folder."""

    NAME: str
    TITLE: str
    CAPTIONS: Mapping[str, str]
    """Figure file (without ending) -> what it shows."""
    PAPER: Mapping[str, Any]

    def jobs(self, scale: Scale) -> list[Job]:
        """The calls of commands that it reads."""
        ...

    def run(self, scale: Scale, home: Home) -> Findings:
        """Make what is missing and read the numbers: plain values, from which all below follows."""
        ...

    def check(self, findings: Findings, paper: Mapping[str, Any]) -> list[Claim]:
        """A verdict for each claim."""
        ...

    def tables(self, findings: Findings) -> list[Table]:
        """Small tables."""
        ...

    def draw(self, findings: Findings, folder: Path, home: Home) -> None:
        """The figures of `CAPTIONS`, as SVG in the folder; a figure that a command drew is copied."""
        ...


def produce(artifact: Artifact, scale: Scale, home: Home) -> dict[str, Any]:
    """Run an artifact and write DIR/NAME: config.yaml, environment.json, findings.json, tables, figures, summary.json.

    A finished one is judged and drawn anew from the finished runs, which changes nothing unless the code has changed.
    """
    folder, jobs = home.path / artifact.NAME, artifact.jobs(scale)
    if (folder / "config.yaml").exists():
        Run(folder).check_version()
    findings = plain(artifact.run(scale, home))
    claims, tables = artifact.check(findings, artifact.PAPER), artifact.tables(findings)
    config = {"command": "reproduce", "names": artifact.NAME, "scale": scale,
              "jobs": {j.name: {"command": j.command, **j.settings} for j in jobs}}  # fmt: skip
    if not (folder / "environment.json").exists():
        write_atomic(folder / "environment.json", dump_json(environment(0)))
    write_atomic(folder / "config.yaml", yaml.safe_dump(plain(config), sort_keys=False).encode())
    write_atomic(folder / "findings.json", (json.dumps(findings, allow_nan=False) + "\n").encode())
    for table in tables:
        write_atomic(folder / "tables" / f"{table['name']}.csv", _csv(table))
    artifact.draw(findings, folder / "figures", home)
    for png in (folder / "figures").glob("*.png"):  # SVG is what is kept; PNG is for looking
        png.unlink()
    result = _summary(artifact, scale, home, jobs, claims, tables)
    write_atomic(folder / "summary.json", dump_json(result))
    return result


def _summary(
    artifact: Artifact, scale: Scale, home: Home, jobs: Sequence[Job], claims: Sequence[Claim], tables: Sequence[Table]
) -> dict[str, Any]:
    label = worst(claims)
    n_failed = sum(c.verdict == NOT_REPRODUCED for c in claims)
    figures = [{"file": f"figures/{k}.svg", "caption": v} for k, v in artifact.CAPTIONS.items()
               if (home.path / artifact.NAME / "figures" / f"{k}.svg").exists()]  # fmt: skip
    return plain(
        summary(
            "reproduce", seed=0, threat=None, outcome={"kind": "completed", "reason": f"{len(jobs)} runs"},
            verdict={"label": label, "reason": f"{len(claims)} claims, {n_failed} not reproduced"}, metrics={},
            artifact=artifact.NAME, title=artifact.TITLE, scale=scale, claims=[c.to_dict() for c in claims],
            tables=list(tables), figures=figures, provenance=provenance(home, jobs), seconds=home.seconds(jobs),
        )
    )  # fmt: skip


def provenance(home: Home, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Which machine, versions and commit made the runs; runs that agree in these are one row."""
    rows: dict[str, dict[str, Any]] = {}
    for job in jobs:
        run = home.found(job)
        if run is None:
            continue
        e = read_json(run.path / "environment.json")
        source = run.source
        units = ", ".join(e["machine"][k] for k in ("instructions", "gpu") if k in e["machine"])
        machine = f"{e['machine']['processor']}, {e['machine']['cores']} cores" + (units and f", {units}")
        row = {"machine": machine, "threads": e["threads"], "torch": e["versions"].get("torch"), "cgro": e["cgro"],
               "commit": e["commit"], "source": source}  # fmt: skip
        rows.setdefault(str(sorted(row.items(), key=str)), {**row, "runs": []})["runs"].append(job.name)
    return list(rows.values())


def _csv(table: Table) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table["columns"])
    writer.writerows(table["rows"])
    return text.getvalue().encode()


def copied(home: Home, job: str, figure: str, folder: Path, name: str) -> None:
    """Take a figure that a command drew in its run."""
    source = home.runs / job / "figures" / f"{figure}.svg"
    if source.exists():
        write_atomic(folder / f"{name}.svg", source.read_bytes())


def per_seed(result: Mapping[str, Any], key: str, change: Callable[[float], float] = lambda v: v) -> list[float]:
    """A metric of a summary as a list over seeds."""
    m = result["metrics"][key]
    return [change(v) for v in (m["per_seed"] if "per_seed" in m else [m["value"]])]


def accuracy(error: float) -> float:
    """Percent right from an error in [0, 1].

    >>> accuracy(0.25)
    75.0
    """
    return 100 * (1 - error)
