"""Tables and figures of the paper, each with a verdict per claim: reproduced, partly, not reproduced, or not testable here.

Killed at any moment and called again it goes on where it was and ends in the same page, DIR/index.html. Exit 1 when a
claim is not reproduced.

examples:
  cgro reproduce all --scale smoke
  cgro reproduce table2,figure2c --scale cpu --out runs/theory
  cgro reproduce all --scale cpu --store results --workers 2   (what is committed there is not made again)
  cgro reproduce figure1 --scale gpu --minutes 9              (again and again: slices of at most ten minutes)
  cgro reproduce table1 --scale paper                         (says what it costs before it starts)

artifacts: table1, table2, figure1, figure2ab, figure2c, figure3, figure4, bound, theorem44, theorem47, hierarchy,
  memory.
groups: all, theory (no training of images), trained, figure2.
scales: smoke (ten minutes, tests the machinery), cpu (about five hours on two cores with bfloat16), gpu, paper.
"""

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cgro._check import CheckFailed, bad, count, number, one_of
from cgro._interrupt import interrupt, stop_requests
from cgro.commands._common import Computing, Output, option, set_up
from cgro.experiments import (
    bound,
    figure1,
    figure2ab,
    figure2c,
    figure3,
    figure4,
    hierarchy,
    memory,
    table1,
    table2,
    theorem44,
    theorem47,
)
from cgro.experiments.artifact import Artifact, produce
from cgro.experiments.claims import NOT_REPRODUCED
from cgro.experiments.cost import check_commands, check_data, check_machine
from cgro.experiments.jobs import PASSED_ON, SCALES, Home, Scale, duration, unique
from cgro.experiments.store import held, replace
from cgro.experiments.workers import make_all
from cgro.report import reproduction
from cgro.results import Summary, plain_summary
from cgro.runs import Run, say, summary, write_atomic

THEORY: tuple[Any, ...] = (table2, figure2c, theorem47, hierarchy, theorem44)
TRAINED: tuple[Any, ...] = (table1, figure2ab, figure1, figure3, figure4, bound, memory)
ARTIFACTS: dict[str, Artifact] = {a.NAME: a for a in (*THEORY, *TRAINED)}
GROUPS = {
    "all": tuple(ARTIFACTS), "theory": tuple(a.NAME for a in THEORY), "trained": tuple(a.NAME for a in TRAINED),
    "figure2": ("figure2ab", "figure2c"),
}  # fmt: skip

MADE_IN = "environment.json"


@dataclass(kw_only=True)
class Config(Output, Computing):
    """Options of `cgro reproduce`."""

    names: str = option("all", "an artifact, several joined by commas, or a group; default all", positional=True)
    scale: str = option("smoke", "smoke, cpu, gpu or paper")
    workers: int = option(1, "jobs at a time, each with its share of the threads")
    minutes: float = option(0.0, "stop, resumable, after so long; 0 for never")
    max_hours: float = option(168.0, "refuse gpu and paper when their estimate is above")
    store: str | None = option(
        None, "keep results in STORE/SCALE, small files to commit, and take finished ones from there"
    )


def run(config: Config) -> Run:
    """Make what is missing, judge, draw, and write the page after every artifact."""
    chosen = _chosen(config.names)
    scale = one_of(config.scale, "--scale", SCALES)
    number(config.minutes, "--minutes", low=0.0)
    count(config.workers, "--workers")
    set_up(config)
    planned = unique(job for a in chosen for job in a.jobs(scale))
    path = Path(config.out or f"runs/reproduce-{scale}")
    taken_up = _there(path, scale) and not config.overwrite
    where = {k: getattr(config, k) for k in PASSED_ON if getattr(config, k) not in (None, "auto")}
    if config.workers > 1:
        where["threads"] = max(1, (config.threads or os.cpu_count() or 1) // config.workers)
    stored = Path(config.store) / scale if config.store and scale != "smoke" else None
    home = Home(path, where, planned, stored)
    home.keep([] if config.overwrite else planned)
    missing = planned if config.overwrite else home.missing(planned)
    if missing:
        check_commands(missing)
        check_data(missing)
        check_machine(scale, missing, config.device, config.max_hours)
    begun = Run.start(path, "reproduce", {"scale": scale}, overwrite=config.overwrite, parts=tuple(ARTIFACTS))
    with Run(path).locked() if taken_up else begun as whole, _stopping_after(config.minutes):
        for artifact in chosen:
            if config.workers > 1:
                make_all(home, artifact.jobs(scale), config.workers)
            result = produce(artifact, scale, home)
            say(f"{artifact.NAME}: {result['verdict']['label']} ({result['verdict']['reason']})")
            _publish(config, whole, home)
    failed = [c["name"] for r in reproduction.results_of(whole.path) if ARTIFACTS[r["artifact"]] in chosen
              for c in r["claims"] if c["verdict"] == NOT_REPRODUCED]  # fmt: skip
    if failed:
        raise CheckFailed(f"{len(failed)} claims not reproduced: {', '.join(failed)}; see {whole.path}/index.html")
    return whole


def _chosen(names: str) -> list[Artifact]:
    """Artifacts of a list of names and groups, each once.

    >>> [a.NAME for a in _chosen("figure2,figure2c")]
    ['figure2ab', 'figure2c']
    """
    found: list[str] = []
    for name in (n.strip() for n in str(names).split(",")):
        one_of(name, "NAME", [*ARTIFACTS, *GROUPS])
        found += GROUPS.get(name, (name,))
    return [ARTIFACTS[name] for name in dict.fromkeys(found)]


def _there(path: Path, scale: Scale) -> bool:
    """Whether a reproduction of this scale is already there; a finished one may be called again.

    Raises:
        BadRequest: something else is, or one of another version.
    """
    run = Run(path)
    if not (path / "config.yaml").exists():
        return False
    run.check_version()
    found = run.config
    if (found.get("command"), found.get("scale")) != ("reproduce", scale):
        raise bad("--out", expected=f"a directory of cgro reproduce --scale {scale}",
                  got=f"{path} of cgro {found.get('command')} {found.get('scale', '')}".strip(), remedy="choose another")  # fmt: skip
    return True


@contextlib.contextmanager
def _stopping_after(minutes: float) -> Iterator[None]:
    """A request to stop, as from the keyboard, when the time is up: every command saves and stops on it."""
    if not minutes:
        yield
        return
    with stop_requests(interrupt, [signal.SIGALRM]):
        signal.setitimer(signal.ITIMER_REAL, 60 * minutes)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


def _publish(config: Config, whole: Run, home: Home) -> None:
    """The page and the summary of what there is so far; copies to the store."""
    results = reproduction.results_of(whole.path)
    reproduction.write(whole.path, results, f"The paper, reproduced at scale {config.scale}")
    claims = [c for r in results for c in r["claims"]]
    counts = {v: sum(c["verdict"] == v for c in claims) for v in reproduction.MARKS}
    label = next(r["verdict"]["label"] for r in results) if len(results) == 1 else "see claims"
    reason = ", ".join(f"{n} {v}" for v, n in counts.items() if n)
    whole.write_summary(
        summary(
            "reproduce", seed=0, threat=None, outcome={"kind": "completed", "reason": f"{len(results)} artifacts"},
            verdict={"label": label, "reason": reason}, metrics={}, scale=config.scale,
            claims={c["name"]: c["verdict"] for c in claims}, seconds=home.seconds(home.planned),
        )
    )  # fmt: skip
    if config.store:
        _store(Path(config.store) / config.scale, whole, results, home)


def _store(target: Path, whole: Run, results: Sequence[dict[str, Any]], home: Home) -> None:
    """Copy artifacts, small files all; one that comes out as it was keeps the environment it was made in."""
    with held(target):
        for result in results:
            source, kept = whole.path / result["artifact"], target / result["artifact"]
            files = sorted(p for p in source.rglob("*") if p.is_file())
            copies = {str(p.relative_to(source)): home.copied(p) for p in files}
            if copies | {MADE_IN: b""} == _contents(kept) | {MADE_IN: b""}:
                continue

            def fill(folder: Path, copies: dict[str, bytes] = copies) -> None:
                for name, data in copies.items():
                    write_atomic(folder / name, data)

            replace(target, kept, fill)


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def describe(summary: Summary) -> str:
    """Verdict of every claim, and the time it took."""
    result: Any = plain_summary(summary)
    lines = [f"  {name:36} {verdict}" for name, verdict in result["claims"].items()]
    return "\n".join(
        [*lines, "", f"{result['verdict']['reason']}; runs took {duration(result['seconds'])}; open index.html"]
    )
