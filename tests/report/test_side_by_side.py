"""Several runs side by side: differences are paired where they can be, and the pairing is said."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from scipy import stats
from tests.report.runs import COMPLETED, make_run, settings, train_summary, training_rows

from cgro.report.curves import Epoch
from cgro.report.side_by_side import differences, robust_curves
from cgro.results import ErrorRate, Metric, SeedsSummary, Summary, difference_interval
from cgro.runs import Run

KEY = "robust_error/test"


def run_with(folder: Path, summary: Summary) -> Run:
    return Run(make_run(folder, config=settings("digits"), summary=summary, rows=training_rows()))


def seeds(values: list[float | None], first: int = 0) -> SeedsSummary:
    metrics = {KEY: Metric.over_seeds(values)}
    return SeedsSummary(
        command="train", seed=first, threat=None, outcome=COMPLETED, verdict=None, metrics=metrics, n_seeds=len(values)
    )


def counted(wrong: int, n: int = 100) -> Summary:
    return train_summary(metrics={KEY: Metric.of_error(ErrorRate(wrong, n, "lower"))})


def test_the_same_seeds_are_paired(tmp_path: Path) -> None:
    a, b = [0.50, 0.60, 0.40], [0.48, 0.57, 0.39]
    runs = [run_with(tmp_path / "a", seeds([*a])), run_with(tmp_path / "b", seeds([*b]))]
    (found,) = differences(runs)
    expected = stats.ttest_rel(b, a).confidence_interval(0.95)
    assert found.value == pytest.approx(-0.02)
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert found.how == "paired by seed (3 seeds)"


@pytest.mark.parametrize("other", [seeds([0.5, 0.6]), seeds([0.5, 0.6, 0.4], first=1), seeds([0.5, None, None])])
def test_other_seeds_are_not_paired(other: SeedsSummary, tmp_path: Path) -> None:
    runs = [run_with(tmp_path / "a", seeds([0.5, 0.6, 0.4])), run_with(tmp_path / "b", other)]
    assert not any("paired by" in one.how for one in differences(runs))


def write_evaluation(run: Run, wrong: np.ndarray, first: int = 0) -> None:
    folder = run.path / "evaluations" / "pgd20"
    folder.mkdir(parents=True)
    np.savez(folder / "test.npz", index=first + np.arange(len(wrong)), wrong=wrong)


def test_the_same_examples_are_paired_and_others_are_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wrong = rng.random(400) < 0.5
    more = wrong | (rng.random(400) < 0.02)
    runs = [run_with(tmp_path / name, counted(50)) for name in "abc"]
    write_evaluation(runs[0], wrong)
    write_evaluation(runs[1], more)
    write_evaluation(runs[2], more, first=7)
    paired, unpaired = differences(runs)
    gained = more.astype(float) - wrong
    assert paired.how == "paired by example (400 examples, pgd20)"
    assert paired.value == pytest.approx(gained.mean())
    assert paired.interval == pytest.approx(stats.norm.interval(0.95, gained.mean(), stats.sem(gained)))
    assert unpaired.how == "not paired (n = 100 and 100)"
    assert paired.interval is not None
    assert unpaired.interval is not None
    assert np.ptp(paired.interval) < 0.3 * np.ptp(unpaired.interval)


def test_counted_errors_of_other_examples_are_independent_shares(tmp_path: Path) -> None:
    runs = [run_with(tmp_path / "a", counted(20)), run_with(tmp_path / "b", counted(30))]
    (found,) = differences(runs)
    assert (found.run, found.value) == (2, pytest.approx(0.1))
    assert found.interval == difference_interval(ErrorRate(30, 100), ErrorRate(20, 100))


def test_bare_numbers_have_no_interval_and_missing_ones_no_difference(tmp_path: Path) -> None:
    bare = train_summary(metrics={KEY: Metric(value=0.5)})
    none = msgspec.structs.replace(bare, metrics={KEY: Metric(value=None)})
    runs = [run_with(tmp_path / "a", bare), run_with(tmp_path / "b", bare), run_with(tmp_path / "c", none)]
    (found,) = differences(runs)
    assert (found.run, found.value, found.interval, found.how) == (2, 0.0, None, "no interval: one number each")


def test_a_damaged_evaluation_is_not_paired(tmp_path: Path) -> None:
    runs = [run_with(tmp_path / name, counted(50)) for name in "ab"]
    write_evaluation(runs[0], np.zeros(5, bool))
    write_evaluation(runs[1], np.zeros(5))  # no booleans
    (found,) = differences(runs)
    assert found.how.startswith("not paired")


def test_all_robust_curves_lie_on_one_axis() -> None:
    early = [Epoch(e, None, {KEY: 0.1 * e, "clean_error/test": 0.9}) for e in (1, 2, 3)]
    late = [Epoch(e, None, {KEY: 0.2, "robust_error/train": 0.1}) for e in (3, 5)]
    chart = robust_curves({"a": early, "b": late, "c": []})
    assert chart is not None
    assert chart.at == [1, 2, 3, 5]
    assert [drawn.line.label for drawn in chart.lines] == ["1. a, test", "2. b, test", "2. b, train"]
    assert chart.lines[0].values == [10.0, 20.0, 30.0, None]
    assert chart.lines[1].values == [None, None, 20.0, 20.0]
    assert [drawn.line.dash for drawn in chart.lines] == ["", "", "7 4"]
    colors = [drawn.line.color for drawn in chart.lines]
    assert colors[0] != colors[1] == colors[2]
    assert robust_curves({"a": early, "c": []}) is None
