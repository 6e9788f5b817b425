"""Summaries: one golden schema per command."""

import json
from pathlib import Path

import pytest

from cgro.results import (
    ArtifactSummary,
    SeedsSummary,
    json_schema,
)
from cgro.results.summaries import BY_COMMAND

GOLDEN = Path(__file__).parents[1] / "golden"
KINDS = {**BY_COMMAND, "seeds": SeedsSummary, "artifact": ArtifactSummary}


@pytest.mark.parametrize("name", KINDS)
def test_the_schema_is_the_golden_one(name: str) -> None:
    """A change needs a new file, made on purpose: python -m tests.results.test_summaries. One that changes what a key
    means needs the next number in SCHEMA as well.
    """
    schema = json.loads(json.dumps(json_schema(KINDS[name])))
    assert schema == json.loads((GOLDEN / f"summary_{name}.json").read_text())


if __name__ == "__main__":
    for name, kind in KINDS.items():
        (GOLDEN / f"summary_{name}.json").write_text(json.dumps(json_schema(kind), indent=2) + "\n")
