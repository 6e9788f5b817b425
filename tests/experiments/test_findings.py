"""Findings are written and read strictly."""

import math
from pathlib import Path

import msgspec
import pytest

from cgro._check import BadRequest
from cgro.experiments import findings
from cgro.experiments.findings import encode, read_findings
from cgro.experiments.registry import ARTIFACTS

RESULTS = Path(__file__).parents[2] / "results"
STORED = [(a, scale) for a in ARTIFACTS for scale in sorted(RESULTS.iterdir()) if (scale / a.NAME).exists()]


class Found(findings.Findings, frozen=True, kw_only=True):
    """One list and one number."""

    values: list[float | None]
    n: int


@pytest.mark.parametrize(("artifact", "folder"), STORED, ids=lambda v: getattr(v, "NAME", None) or v.name)
def test_stored_findings_are_read_and_written_again_to_the_byte(artifact: findings.Findings, folder: Path) -> None:
    path = folder / artifact.NAME / findings.FILE  # type: ignore[attr-defined]
    assert encode(read_findings(path, artifact.Findings)) == path.read_bytes()  # type: ignore[attr-defined]


def test_what_is_not_a_number_is_null_and_types_are_held_when_writing() -> None:
    assert (
        encode(Found(scale="cpu", values=[1.0, math.nan], n=2)) == b'{"scale": "cpu", "values": [1.0, null], "n": 2}\n'
    )
    with pytest.raises(msgspec.ValidationError, match=r"\$\.n"):
        encode(Found(scale="cpu", values=[], n="two"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"scale": "cpu", "values": []}', "missing required field `n`"),
        ('{"scale": "cpu", "values": [], "n": 1, "more": 2}', "unknown field `more`"),
        ('{"scale": "huge", "values": [], "n": 1}', "scale"),
        ('{"scale": "cpu", "values": ["1"], "n": 1}', r"float . null.*values\[0\]"),
        ("{", "truncated"),
    ],
)
def test_other_findings_are_one_line(text: str, word: str, tmp_path: Path) -> None:
    path = tmp_path / "findings.json"
    path.write_text(text)
    with pytest.raises(BadRequest, match=word) as error:
        read_findings(path, Found)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
