"""Seeds, the settings that are kept, and a summary on the terminal."""

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest
import torch

from cgro._check import BadRequest
from cgro.commands._common import (
    WORST_FIRST,
    Computing,
    Output,
    Seeded,
    begin,
    for_seeds,
    lines_of,
    metrics_over,
    set_up,
    stored,
)
from cgro.results import ErrorRate, Metric, OutcomeRecord, QuickstartSummary, SeedsSummary, Summary, VerdictRecord
from cgro.runs import Run
from cgro.trajectory import OutcomeKind


@dataclass(kw_only=True)
class Options(Output, Seeded):
    """Options of a command that only writes down its seed."""

    n: int = 3


LABELS = {0: "cgro", 1: "robust", 2: "cgro"}


def one(config: Options, path: Path | str | None) -> Run:
    with begin("quickstart", config, path) as run:
        calls.append(config.seed)
        verdict = VerdictRecord(label=LABELS[config.seed], reason="")
        kind = "diverged" if config.seed == 1 else "completed"
        run.finish(
            QuickstartSummary(
                command="quickstart",
                parts={},
                seed=config.seed,
                threat=None,
                outcome=OutcomeRecord(kind=kind, reason=""),
                verdict=verdict,
                metrics={"e": Metric(value=0.1 * (config.seed + 1)), f"only-{config.seed}": Metric(value=1.0)},
            )
        )
    return run


calls: list[int] = []


def test_several_seeds_make_one_summary_and_finished_ones_are_kept(tmp_path: Path) -> None:
    calls.clear()
    config = Options(seeds=3, out=str(tmp_path / "all"))
    drawn: list[Path] = []
    result = for_seeds("quickstart", config, one, drawn.append).read(SeedsSummary)
    assert (calls, result.n_seeds, drawn) == ([0, 1, 2], 3, [tmp_path / "all"])
    assert (result.outcome.kind, result.outcome.per_seed) == ("diverged", ["completed", "diverged", "completed"])
    assert result.verdict is not None
    assert (result.verdict.label, result.verdict.reason) == ("cgro", "2 of 3 seeds: cgro")
    assert list(result.metrics) == ["e", "only-0", "only-1", "only-2"]
    assert result.metrics["only-1"].per_seed == [None, 1.0, None]
    assert "only-1 1.0000 sd n/a (1 of 3 seeds)" in " ".join(lines_of(result).split())
    assert result.metrics["e"].mean == pytest.approx(0.2)
    (tmp_path / "all" / "summary.json").unlink()
    for_seeds("quickstart", config, one)
    assert calls == [0, 1, 2], "no seed is run again"
    with pytest.raises(BadRequest, match="--seeds"):
        for_seeds("quickstart", Options(seeds=0), one)


def test_where_a_result_goes_is_no_setting_that_makes_it() -> None:
    assert stored(Options(out="x", overwrite=True, json=True, n=4)) == {"seed": 0, "seeds": 1, "n": 4}


def test_lines_of_a_summary() -> None:
    metrics = {
        "robust_error/test": Metric.of_error(ErrorRate(10, 100, "lower"), "pgd"),
        "bare": Metric(value=0.25),
        "digits": Metric(value=0.1659088134765625),
        "robust_error/test@selected_on_validation": Metric(value=0.5),
        "of no bound": Metric(value=0.5, interval=(0.4, 0.6), n=10),
        "unknown": Metric(value=None),
        "seeds": Metric.over_seeds([0.1, 0.3]),
        "one": Metric.over_seeds([0.1]),
    }
    result = Summary(
        command="data",
        seed=0,
        threat=None,
        outcome=OutcomeRecord(kind="completed", reason=""),
        verdict=VerdictRecord(label="cgro", reason="so it is"),
        metrics=metrics,
    )
    text = lines_of(result).splitlines()
    assert {line[2 + len("robust_error/test@selected_on_validation")] for line in text[2:]} == {" "}, (
        "no column of its own"
    )
    lines = [" ".join(line.split()) for line in text]
    assert lines == [
        "cgro: so it is",
        "",
        "robust_error/test 0.1000 [0.0552, 0.1744] n=100 lower",
        "bare 0.25",
        "digits 0.165909",
        "robust_error/test@selected_on_validation 0.5",
        "of no bound 0.5000 [0.4000, 0.6000] n=10",
        "unknown None",
        "seeds 0.2000 sd 0.1414 (2 seeds)",
        "one 0.1000 sd n/a (1 seeds)",
    ]
    assert metrics_over([result, result])["bare"].mean == 0.25


def test_every_kind_of_outcome_has_its_place_and_the_worst_is_told() -> None:
    """A seed that stopped early once stood before one whose loss was not finite."""
    assert sorted(WORST_FIRST) == sorted(get_args(OutcomeKind))
    assert min(("stopped", "non_finite", "completed"), key=WORST_FIRST.index) == "non_finite"
    assert min(("completed", "interrupted"), key=WORST_FIRST.index) == "interrupted"


@pytest.mark.parametrize("n", [100_000, 2**40])
def test_threads_beyond_what_torch_takes_are_refused(n: int) -> None:
    """Of a hundred thousand torch ended in a segmentation fault."""
    before = torch.get_num_threads()
    with pytest.raises(BadRequest, match="--threads: expected an integer in"):
        set_up(Computing(threads=n))
    set_up(Computing(threads=1))
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)
