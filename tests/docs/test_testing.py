"""docs/testing.md quotes the stored run of mutation testing, and the floor of coverage in pyproject.toml."""

import tomllib
from pathlib import Path

import msgspec
from tools import mutation

ROOT = Path(__file__).parents[2]
PAGE = " ".join((ROOT / "docs" / "testing.md").read_text().split())


def test_the_page_quotes_the_stored_run() -> None:
    report = msgspec.json.decode(mutation.RESULT.read_bytes(), type=mutation.Report)
    assert report.total == mutation.share_of("all", report.mutants)
    for share, words in ((report.first, "At first"), (report.total, "Now")):
        low, high = (round(100 * end) for end in share.interval)
        noticed = f"{share.killed + share.timed_out} of {share.n - share.equivalent}"
        assert f"{words} {noticed} were noticed, {100 * share.noticed:.0f}% [{low}, {high}]" in PAGE
    assert f"{report.places:,} places" in PAGE
    assert f"{report.total.equivalent} are equivalent" in PAGE
    for row in report.modules:
        room = row.module.split("/")[0]
        assert f"`{room}/" in PAGE


def test_the_page_quotes_the_floor() -> None:
    coverage = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["coverage"]
    assert f"fails below {coverage['report']['fail_under']}%" in PAGE
    assert coverage["run"]["branch"] is True
    assert "subprocess" in coverage["run"]["patch"]


def test_survivors_are_discussed() -> None:
    report = msgspec.json.decode(mutation.RESULT.read_bytes(), type=mutation.Report)
    for mutant in report.mutants:
        if mutant.now == "survived" and mutant.equivalent is None:
            assert f"`{mutant.module}`" in PAGE, mutant
