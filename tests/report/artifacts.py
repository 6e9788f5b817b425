"""A small result of an artifact for the tests of the results page, with one text wherever text can stand."""

import json
from pathlib import Path
from typing import Any

from cgro.report.artifacts import Result
from cgro.results import ArtifactSummary, read_summary

ORDER = ("table2", "figure1")


def result(text: str = "x", *, artifact: str = "table2", scale: str = "cpu", figure: str = "a.svg") -> dict[str, Any]:
    claim = dict.fromkeys(("name", "statement", "paper", "ours", "reason", "rule"), text)
    return {
        "schema": 1,
        "command": "reproduce",
        "seed": 0,
        "threat": None,
        "outcome": {"kind": "completed", "reason": "1 run"},
        "verdict": {"label": "partly", "reason": "1 claim"},
        "metrics": {},
        "artifact": artifact,
        "title": text,
        "scale": scale,
        "claims": [{**claim, "verdict": "partly", "numbers": {}}],
        "tables": [{"name": text, "caption": text, "columns": [text], "rows": [[text]]}],
        "provenance": [
            {"machine": text, "threads": 1, "torch": text, "cgro": text, "commit": text, "source": text, "runs": [text]}
        ],
        "figures": [{"file": figure, "caption": text}],
        "seconds": 1.0,
    }


def read(folder: Path, **more: str) -> Result:
    return Result(read_summary(result(**more), "summary.json", ArtifactSummary), folder)


def stored(folder: Path, found: dict[str, Any]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "environment.json").write_text('{"schema": 1}')
    (folder / "summary.json").write_text(json.dumps(found))
