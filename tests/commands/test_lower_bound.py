"""`cgro lower-bound`, from settings to summary and exit code."""

import math

import pytest

from cgro import cli
from cgro.commands import lower_bound


def test_lower_bound_prints_floor_construction_toy_and_assumptions(tmp_path):
    run = lower_bound.run(lower_bound.Config(radius="0.2", dims="2:18", toy_points=60, out=str(tmp_path / "run")))
    result = run.summary
    assert result["crossing"] == 17
    assert [r["dim"] for r in run.rows()] == list(range(2, 19))
    assert all(b["certified"] for b in result["built"])
    assert all(t["exact"] for t in result["toy"])
    text = lower_bound.describe(run.read())
    assert "our derivation" in text
    assert "vacuous" in text
    assert (run.path / "figures" / "hierarchy.svg").exists()
    floors = [r["log2_floor"] for r in run.rows() if r["log2_floor"] is not None]
    assert all(math.isfinite(f) for f in floors)
    assert all(r["log2_floor"] is None or r["log2_floor"] < r["log2_construction"] for r in run.rows())


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["lower-bound", "--dims", "5"], ["first:last"]),
        (["lower-bound", "--radius", "0.6"], ["1/2"]),
        (["lower-bound", "--dims", "2:100001"], ["--dims: expected dimensions up to 100,000"]),
        (["lower-bound", "--dims", "5:1" + 300 * "0"], ["--dims: expected dimensions up to 100,000"]),
        (["lower-bound", "--dims", "100000000000:100000000001"], ["--dims: expected dimensions up to 100,000"]),
    ],
)
def test_bad_requests_exit_2_with_one_line(tmp_path, capsys, argv, words):
    assert cli.main([*argv, "--out", str(tmp_path / "run")]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert all(w in text for w in words), text


def test_labels_that_are_all_equal_are_a_draw_like_any_other(tmp_path):
    """D = 2 and a grid of two points: seed 1 gives both the same label."""
    config = lower_bound.Config(radius="0.3", dims="2:4", seed=1, out=str(tmp_path / "run"))
    rows = lower_bound.run(config).summary["toy"]
    assert [(row["dim"], row["m"], row["exact"], row["robust_test"]) for row in rows] == [
        (2, 2, True, 0.0),
        (3, 4, True, 0.0),
        (4, 8, True, 0.0),
    ]


def test_a_crossing_below_the_range_is_not_said_to_be_its_first_dimension(tmp_path):
    """At delta 0.1 the floor passes the memorizer at D = 12."""
    said = {}
    for dims in ("2:14", "12:14", "13:14", "2:5"):
        run = lower_bound.run(lower_bound.Config(radius="0.1", dims=dims, out=str(tmp_path / dims)))
        result = run.read()
        said[dims] = next(line for line in lower_bound.describe(result).splitlines() if "passes" in line)
        assert result.outcome.reason.endswith(said[dims].partition("points ")[2].removesuffix("."))
    assert said["2:14"].endswith("points from D = 12 on.")
    assert said["12:14"].endswith("points throughout, from a dimension of at most 12 on.")
    assert said["13:14"].endswith("points throughout, from a dimension of at most 13 on.")
    assert said["2:5"].endswith("points nowhere in this range.")
