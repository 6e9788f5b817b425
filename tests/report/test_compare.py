"""The page of a comparison: cells, the front against all pairs, hostile names, and what is not known yet."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from cgro.report.compare import COLUMNS, differences_of, draw, html, pareto, rows_of, sentences_of, text, write
from cgro.results import CompareSummary, Metric, ModelRecord, OutcomeRecord, RemedyRecord, ThreatRecord, VerdictRecord

HOSTILE = "<script>alert(1)</script> $\\frac{ \x1b[31m"


def remedy(name: str, test: list[float | None], *, kind: str = "completed", reason: str = "done") -> RemedyRecord:
    metrics = {column.key: Metric.over_seeds([0.25 for _ in test]) for column in COLUMNS}
    metrics["robust_error/test"] = Metric.over_seeds(test)
    return RemedyRecord(
        remedy=name,
        width=None,
        options={"objective": HOSTILE},
        epochs=4,
        own_epochs=name == "own",
        passes=1200,
        metrics=metrics,
        differences={} if name == "plain" else {"robust_error/test": Metric(mean=-0.05, interval=(-0.06, -0.04))},
        effect=VerdictRecord(label="helps", reason=f"{HOSTILE} the robust test error falls"),
        outcomes=[OutcomeRecord(kind=kind, reason=reason) for _ in test],
    )


def summary(*remedies: RemedyRecord, n_open: int = 0) -> CompareSummary:
    return CompareSummary(
        command="compare",
        seed=3,
        threat=ThreatRecord(p="inf", radius=0.1, box=(0.0, 1.0)),
        outcome=OutcomeRecord(kind="completed", reason="done"),
        verdict=None,
        metrics={},
        data=None,
        model=ModelRecord(name=HOSTILE, width=4),
        attack="ensemble",
        n=100,
        seeds=2,
        reference="plain",
        remedies={one.remedy: one for one in remedies},
        n_open=n_open,
        failed={"training/x/seed-0": HOSTILE},
    )


FOUND = summary(
    remedy("plain", [0.5, 0.6]),
    remedy("own", [0.45, None], kind="non_finite", reason="the loss was NaN"),
)


def test_cells_are_means_with_their_spread() -> None:
    plain, own = rows_of(FOUND)
    assert plain[:2] == ["plain", "55.0 (7.1)"]
    assert own[:2] == ["own *", "45.0"]
    assert COLUMNS[0].cell(Metric.over_seeds([None, None])) == "none"
    assert COLUMNS[0].cell(None) == "none"
    assert differences_of(FOUND) == [["own", "-5.0 [-6.0, -4.0]", "none", "none", "none", "none", "helps"]]


def test_what_did_not_end_well_is_told_with_its_seed() -> None:
    lines = sentences_of(FOUND)
    assert lines[1:] == ["own, seed 3: non_finite: the loss was NaN", "own, seed 4: non_finite: the loss was NaN"]
    assert "3 jobs are not made yet" in text(msgspec.structs.replace(FOUND, n_open=3))


def test_a_page_runs_nothing_that_a_plan_could_bring_in(tmp_path: Path) -> None:
    write(tmp_path, FOUND)
    page = (tmp_path / "index.html").read_text()
    assert "<script" not in page
    assert "\x1b" not in page
    assert "default-src 'none'" in page
    assert page.count("data:image/svg+xml") == 1
    assert (tmp_path / "tables" / "compare.csv").read_text().startswith("remedy,")
    svg = (tmp_path / "figures" / "pareto.svg").read_text()
    assert "plain" in svg


def test_what_is_not_made_yet_is_drawn_and_told(tmp_path: Path) -> None:
    empty = summary(remedy("plain", [None, None]), n_open=4)
    write(tmp_path, empty)
    assert "4 jobs are not made yet" in (tmp_path / "index.html").read_text()
    assert "nothing measured yet" in (tmp_path / "figures" / "pareto.svg").read_text()
    assert "Nothing to compare with plain yet" in html(summary(remedy("plain", [0.1])), b"<svg/>")


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_no_other_point_is_better_than(seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 6, (7, 2))  # small integers: ties occur
    points = [(float(x), float(y)) for x, y in values]
    expected = set()
    for p in points:
        if not any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in points):
            expected.add(p)
    assert pareto(points) == sorted(expected)


def test_names_with_mathtext_are_drawn(tmp_path: Path) -> None:
    draw(tmp_path / "figure", {HOSTILE: remedy("plain", [0.5, 0.6])})
    assert (tmp_path / "figure.png").stat().st_size
