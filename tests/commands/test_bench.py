"""`cgro bench`: the run that it leaves, the terminal, the estimate, and --check by stored ratios. No time is asserted."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from msgspec import UNSET
from tests.report.runs import bench_summary, make_run, speed_row

from cgro._check import BadRequest, CheckFailed
from cgro.cli import main
from cgro.commands import bench
from cgro.results import BenchSummary, RecipeTime, SpeedRow, Spread
from cgro.runs import Run
from cgro.speed import Measurement, Subject, Way, measured

SMALL = ["bench", "--data", "digits", "--model", "mlp", "--width", "4", "--n", "16", "--batch-size", "8",
         "--repeats", "1", "--attack", "pgd2", "--eval-attack", "pgd2", "--device", "cpu"]  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "run"
    assert main([*SMALL, "--recipe", "small-cifar10", "--out", str(folder), "-q"]) == 0
    return folder


def test_the_run_has_everything_that_decides_the_numbers(kept: Path) -> None:
    found = Run(kept).read(BenchSummary)
    assert (found.device.partition(",")[0], found.repeats, found.batch_size) == ("cpu", 1, 8)
    assert found.threads >= 1
    assert found.flags["searches"] == "float32"
    assert [(row.work, row.way, row.n) for row in found.rows] == [
        ("attack", "eager", 8),
        ("attack", "common loop", 8),
        ("epoch", "eager", 16),
        ("epoch", "common loop", 16),
        ("evaluation", "eager", 16),
    ]
    assert all(row.seconds.low > 0 for row in found.rows)
    assert (kept / "figures" / "speed.png").exists()


def test_the_estimate_takes_epochs_and_attack_of_the_recipe_and_network_and_data_of_the_call(kept: Path) -> None:
    found = Run(kept).read(BenchSummary)
    assert found.recipe is not None
    assert (found.recipe.recipe, found.recipe.epochs, found.recipe.n_train) == ("small-cifar10", 30, 5000)
    per_example = 2 * found.passes.forward.median + 7 * found.passes.gradient.median + found.passes.update.median
    assert found.recipe.floor_seconds == pytest.approx(30 * 5000 * per_example)


def test_an_earlier_run_that_was_much_faster_is_told(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Planted: a baseline whose ways took a thousandth of the bare passes."""
    before = Run(kept).read(BenchSummary)
    rows = []
    for row in before.rows:
        over = Spread(low=0.001, median=0.001, high=0.001)
        rows.append(msgspec.structs.replace(row, over_floor=over))
    summary = msgspec.structs.replace(before, rows=rows, provenance=UNSET)
    fast = make_run(tmp_path / "fast", config={"command": "bench"}, summary=summary)
    assert main([*SMALL, "--out", str(tmp_path / "now"), "--check", str(fast), "-q"]) == 1
    line = capsys.readouterr().err
    assert line.startswith(f"cgro bench: slower than {fast}: attack, eager, share of the floor: ")
    assert line.count("\n") == 1


@pytest.mark.parametrize(("slow_times", "code", "n_measured"), [(0, 0, 1), (1, 0, 2), (2, 0, 3), (3, 1, 3)])
def test_a_fall_that_does_not_last_is_measured_again(
    slow_times: int,
    code: int,
    n_measured: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """Planted: on a busy machine two of six checks of unchanged code said that it had become slower."""
    calls: list[int] = []

    def measured_as_planned(subject: Subject, ways: Sequence[Way], repeats: int, **given: object) -> Measurement:
        calls.append(repeats)
        found = measured(subject, ways, repeats, **given)  # type: ignore[arg-type]
        over = 9.0 if 0 < len(calls) - 1 <= slow_times else 1.25
        rows: list[SpeedRow] = []
        for row in found.rows:
            spread = Spread(low=over, median=over, high=over)
            rows.append(msgspec.structs.replace(row, over_floor=spread, faster_than={}))
        return Measurement(found.per_pass, rows)

    monkeypatch.setattr(bench, "measured", measured_as_planned)
    assert main([*SMALL, "--out", str(tmp_path / "base"), "-q"]) == 0
    assert main([*SMALL, "--out", str(tmp_path / "now"), "--check", str(tmp_path / "base")]) == code
    assert len(calls) == 1 + n_measured
    error = capsys.readouterr().err
    assert error.count("measured again") == n_measured - 1
    assert ("cgro bench: slower than" in error) == bool(code)


def test_a_baseline_that_is_none_is_refused_before_any_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--check", "nowhere"]) == 2
    expected = "--check: expected the folder of an earlier cgro bench, or its summary.json, got nowhere"
    assert expected in capsys.readouterr().err


WRONG_BASELINES = {
    "no JSON": ("rows: 3", "expected JSON"),
    "a list": ("[1, 2]", "expected"),
    "of another command": ('{"command": "train", "schema": 1}', "expected"),
    "a number that is text": (None, "expected"),
}


@pytest.mark.parametrize("name", WRONG_BASELINES)
def test_a_file_that_is_no_baseline_is_refused_in_one_line(
    name: str, kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, message = WRONG_BASELINES[name]
    if text is None:
        text = (kept / "summary.json").read_text().replace('"batch_size": 8', '"batch_size": "eight"')
    file = tmp_path / "base.json"
    file.write_text(text)
    assert main([*SMALL, "--check", str(file)]) == 2
    line = capsys.readouterr().err
    assert str(file) in line
    assert message in line
    assert line.count("\n") == 1
    assert not (tmp_path / "now").exists()


def test_a_baseline_may_be_a_file_under_any_name(tmp_path: Path) -> None:
    summary = bench_summary([speed_row(over=1.25)])
    run = make_run(tmp_path / "base", config={"command": "bench"}, summary=summary)
    file = (run / "summary.json").rename(tmp_path / "workstation.json")
    config = bench.Config(check=str(file))
    bench.check(config, summary)
    with pytest.raises(CheckFailed, match=r"slower than .*workstation.json: attack, eager, share of the floor"):
        bench.check(config, bench_summary([speed_row(over=9.0)]))


def test_check_compares_ratios(tmp_path: Path) -> None:
    summary = bench_summary([speed_row(over=1.25)])
    run = make_run(tmp_path / "base", config={"command": "bench"}, summary=summary)
    config = bench.Config(check=str(run))
    bench.check(config, summary)
    bench.check(bench.Config(), bench_summary([speed_row(over=9.0)]))
    with pytest.raises(CheckFailed, match=r"share of the floor: 0.111, was 0.8"):
        bench.check(config, bench_summary([speed_row(over=9.0)]))
    with pytest.raises(BadRequest, match="expected threads 2, got 1"):
        bench.check(config, bench_summary([speed_row()], threads=2))


def test_the_terminal_says_quartiles_threads_device_and_flags() -> None:
    time = RecipeTime(
        recipe="fast", epochs=2, n_train=1000, floor_seconds=60.0, seconds=Spread(low=90.0, median=120.0, high=180.0)
    )
    rows = [msgspec.structs.replace(speed_row(over=1.25, peer=2.0)), speed_row("common loop", 2.5, ours=False)]
    text = bench.describe(bench_summary(rows, left_out={"attack, torchattacks": "not installed"}, recipe=time))
    for part in (
        "1 threads; searches float32",
        "1.25 [1.12, 1.38]   2.00 [2.00, 2.00] x common loop",
        "not measured: attack, torchattacks (not installed)",
        "fast: 2 epochs of 1,000 examples take about 2 minutes [1.5, 3] without evaluations; its bare passes 1",
    ):
        assert part in text


def test_an_unknown_recipe_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--recipe", "rice"]) == 2
    assert "--recipe: expected one of rice2020" in capsys.readouterr().err


def test_a_baseline_of_other_settings_is_refused_before_any_measurement(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(bench, "measured", never)
    changed = [*SMALL, "--out", str(tmp_path / "now"), "--check", str(kept), "--batch-size", "4"]
    assert main(changed) == 2
    assert f"{kept}: expected batch_size 4, got 8; measure with the same settings" in capsys.readouterr().err
    assert main([*SMALL, "--out", str(tmp_path / "now"), "--check", str(kept), "--attack", "pgd3"]) == 2
    assert "expected attack PGD" in capsys.readouterr().err
    assert not (tmp_path / "now").exists()
