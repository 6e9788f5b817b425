"""Results on trained networks as small files to commit, so that another machine, or another day, goes on from there.

A store is STORE/SCALE with `runs/JOB` and one folder an artifact. Networks are not in it. The folder of runs of a
reproduction is written as @ in it, as in the settings of jobs: no path of a machine is committed.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from cgro.jobs.folders import contents, held, replace_files
from cgro.jobs.plan import HERE, Job
from cgro.runs import Run, plain
from cgro.seal import resealed

STORED = ("train", "evaluate", "flatness", "memory")
"""Commands whose results are kept: dear, and all that artifacts read of them are these files."""
KEPT = ("config.yaml", "environment.json", "metrics.jsonl", "summary.json")
"""Files of a run that are kept."""
MADE_IN = "environment.json"


@dataclass
class Store:
    """The folder STORE/SCALE.

    Args:
        root: it; made when something is kept.
    """

    root: Path
    _compared: dict[str, Run] = field(default_factory=dict, init=False)

    def found(self, job: Job) -> Run | None:
        """The stored result of a job.

        Args:
            job: of any command.

        Returns:
            Its run; None where there is none with these settings.

        Raises:
            BadRequest: it is of another version, or damaged.
        """
        if job.command not in STORED:
            return None
        run = Run(self.root / "runs" / job.name)
        if not run.finished:
            return None
        if self._compared.get(job.name) != run:
            run.check_version()
            there = run.config
            if any(there.get(name) != value for name, value in plain(job.fixed).items()):
                return None
            self._compared[job.name] = run
        return run

    def keep(self, job: Job, runs: Path) -> None:
        """Copy the result of a job, if it is finished and of a command that is kept.

        What was measured of a network that came out otherwise than the stored one is taken away with the latter.

        Args:
            job: any.
            runs: folder of runs of the reproduction.
        """
        run = Run(runs / job.name)
        if job.command not in STORED or not run.finished:
            return
        with held(self.root):
            copies = {}
            for name in KEPT:
                if (run.path / name).exists():
                    copies[name] = without_folder(run.path / name, runs)
            copies = resealed(copies)
            target = self.root / "runs" / job.name
            there = {name: (target / name).read_bytes() for name in KEPT if (target / name).exists()}
            if copies != there:
                replace_files(self.root, target, copies, outdated=self._outdated(job, run))

    def _outdated(self, job: Job, made: Run) -> list[Path]:
        """What was measured of the stored network, if the one made is another: trained elsewhere it comes out so."""
        stored = self.root / "runs"
        kept = Run(stored / job.name)
        if not kept.finished or kept.summary["metrics"] == made.summary["metrics"]:
            return []
        found = []
        for config in sorted(stored.rglob("config.yaml")):
            reader = Job("", "", yaml.safe_load(config.read_text(encoding="utf-8")))
            if job.name in reader.reads:
                found.append(config.parent)
        return found

    def keep_artifact(self, folder: Path, runs: Path) -> None:
        """Copy an artifact, small files all; one that comes out as it was keeps the environment it was made in.

        Args:
            folder: DIR/ARTIFACT of the reproduction.
            runs: folder of runs of the reproduction.
        """
        with held(self.root):
            target = self.root / folder.name
            copies = {}
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    copies[str(path.relative_to(folder))] = without_folder(path, runs)
            same_place: dict[str, bytes] = {MADE_IN: b""}
            if copies | same_place != contents(target) | same_place:
                replace_files(self.root, target, copies)


def without_folder(source: Path, runs: Path) -> bytes:
    """What the store gets of a small file: the folder of runs is written as @, as in the settings of a job.

    Args:
        source: the file.
        runs: folder of runs.

    Returns:
        Its content.
    """
    data = source.read_bytes()
    if source.suffix == ".yaml":  # a word that begins with @ needs quotes there
        values = json.loads(_without(json.dumps(yaml.safe_load(data)).encode(), runs))
        data = yaml.safe_dump(values, sort_keys=False).encode()
    return _without(data, runs)


def _without(data: bytes, runs: Path) -> bytes:
    return data.replace(str(runs).encode() + b"/", HERE.encode())
