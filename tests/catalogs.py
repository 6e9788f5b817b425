"""Small runs on disk for tests of lists."""

from pathlib import Path

from cgro.results import DataSummary, Metric, OutcomeRecord, VerdictRecord
from cgro.runs import Run


def write_run(path: Path, *, error: float | None, **settings: object) -> None:
    """A finished run with one error; unfinished where `error` is None."""
    with Run.start(path, "data", settings) as run:
        if error is None:
            return
        run.finish(
            DataSummary(
                command="data",
                seed=0,
                threat=None,
                outcome=OutcomeRecord(kind="completed", reason=""),
                verdict=VerdictRecord(label="robust", reason="", evidence={}),
                metrics={"robust_error/test": Metric(value=error)},
                data={},
            )
        )
