"""The row of a cell of `cgro dynamics --sweep`, and the stop at a loss."""

import json

import numpy as np
import pytest

from cgro._check import BadRequest
from cgro.cli import main
from cgro.commands._sweep import course_of, parse_sweep, row_of_cell, rows_by_cell
from cgro.commands.dynamics import Config, run, setting_of
from cgro.dynamics import noise_limit, sample_threshold, simulate
from cgro.runs import Run

SMALL = {"patch_dim": 30, "n_train": 4, "n_filters": 6}


def test_a_row_says_who_is_memorized_and_up_to_which_n() -> None:
    setting = setting_of(Config(**SMALL))
    trained = simulate(setting, seeds=[0, 1], n_steps=2000, n_records=10, n_test=20)
    row = row_of_cell(setting, trained, {"n_train": 4})
    noise = trained.final("noise_learned")
    assert row["memorized"].tolist() == [float(np.mean(noise[s] > 1)) for s in range(2)]
    assert row["noise_component"].tolist() == trained.final("noise_component").reshape(2, -1).max(1).tolist()
    threshold = sample_threshold(setting)
    assert threshold is not None
    assert row["sample_threshold"] == threshold.half
    assert row["noise_limit"] is None  # of standard training only
    assert row["steps"] == 2000


def test_standard_training_has_a_limit_and_no_threshold() -> None:
    setting = setting_of(Config(preset="control", **SMALL))
    trained = simulate(setting, seeds=[3], n_steps=500, n_records=5, n_test=20)
    row = row_of_cell(setting, trained, {"n_train": 4})
    assert row["sample_threshold"] is None
    assert row["noise_limit"] == pytest.approx(noise_limit(setting, [3]))
    assert row["noise_component"][0] <= row["noise_limit"][0]


def test_of_patches_that_were_never_formed_no_limit_is_known() -> None:
    setting = setting_of(Config(preset="control", patch_dim=2_000_000, n_train=3, n_filters=2))
    trained = simulate(setting, n_steps=5, n_records=2, n_test=2)
    assert trained.backend == "law"
    assert row_of_cell(setting, trained, {"n_train": 3})["noise_limit"] is None


def test_a_run_ends_where_its_loss_is_low_and_else_at_its_last_step(tmp_path) -> None:
    short = {**SMALL, "preset": "control", "n_steps": 3000, "n_test": 20, "threads": 1}
    ended = run(Config(**short, loss_below=0.1, out=str(tmp_path / "a"))).rows()[-1]
    whole = run(Config(**short, out=str(tmp_path / "b"))).rows()[-1]
    assert ended["loss"][0] < 0.1
    assert ended["step"] < whole["step"] == 3000


def test_the_threshold_stands_beside_n(tmp_path, capsys) -> None:
    options = ["--n-steps", "60", "--n-test", "50", "--threads", "1", "--n-filters", "6"]
    assert main(["dynamics", *options, "--out", str(tmp_path / "a")]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "theory: sample threshold" in line]
    threshold = sample_threshold(setting_of(Config(n_filters=6)))
    assert threshold is not None
    assert f"N_c {threshold.critical:.4g}, half memorized up to {threshold.half:.4g}; here N = 30" in line
    assert main(["dynamics", *options, "--preset", "control", "--json", "--out", str(tmp_path / "b")]) == 0
    assert json.loads(capsys.readouterr().out)["sample_threshold"] is None


def test_axes_are_read_on_either_scale() -> None:
    assert parse_sweep("n_train=1:64:4:log") == {"n_train": [1, 4, 16, 64]}
    assert parse_sweep("radius-ratio=0.5:1:3") == {"radius_ratio": [0.5, 0.75, 1.0]}


def test_an_axis_has_the_values_that_were_asked_for() -> None:
    assert parse_sweep("lr=1e-9:1e-6:4:log")["lr"] == pytest.approx([1e-9, 1e-8, 1e-7, 1e-6], rel=1e-12)
    assert parse_sweep("lr=1e-16:1:17:log")["lr"] == pytest.approx([10.0**k for k in range(-16, 1)], rel=1e-12)
    assert parse_sweep("lr=3e-11:9e-11:3")["lr"] == pytest.approx([3e-11, 6e-11, 9e-11], rel=1e-12)
    assert parse_sweep("noise_std=0.1:0.7:4")["noise_std"] == [0.1, 0.3, 0.5, 0.7]
    assert parse_sweep("init_std=-0.1:0.2:4")["init_std"] == [-0.1, 0.0, 0.1, 0.2]


@pytest.mark.parametrize("n", ["2.7", "1", "0", "-3", "1e-3", "5/2"])
def test_a_number_of_values_is_an_integer_above_one(n: str) -> None:
    with pytest.raises(BadRequest, match="--sweep: count: expected an integer >= 2"):
        parse_sweep(f"lr=0.1:0.2:{n}")


def test_the_course_of_a_remedy_is_read_along_the_way(tmp_path) -> None:
    setting = setting_of(Config(**{**SMALL, "radius_ratio": 0.99}))
    trained = simulate(setting, seeds=[0, 1], n_steps=30_000, n_records=60, n_test=100)
    course = course_of(trained)
    memorized = (trained["noise_learned"] > 1).mean(2)
    for s, step in enumerate(course["half_memorized_at"]):
        at = trained.steps.tolist().index(step)
        assert memorized[at, s] >= 0.5
        assert memorized[at - 1, s] < 0.5
        assert course["best_robust_test"][s] == trained["robust_error/test"][:, s].min()
    short = simulate(setting, n_steps=10, n_records=5, n_test=10)
    assert course_of(short)["half_memorized_at"] == [None]
    options = {**SMALL, "n_train": None, "n_steps": 20, "n_test": 10, "threads": 1, "sweep": "n_train=2:4:2"}
    with_it = run(Config(**options, remedy="fresh=0.5", out=str(tmp_path / "a"))).rows()
    without = run(Config(**options, out=str(tmp_path / "b"))).rows()
    assert with_it[0].keys() - without[0].keys() == {"half_memorized_at", "best_robust_test", "best_step"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("n_train=4:-3:3:log", "positive ends with :log"),
        ("lr=-4:3:3:log", "positive ends with :log"),
        ("radius_ratio=0.5:2:1e9", "at most 100,000 cells, got 'radius_ratio=0.5:2:1e9'"),
        ("radius_ratio=0.5:2:1000,lr=0.1:0.2:101", "at most 100,000 cells, got 101,000"),
    ],
)
def test_axes_that_cannot_be_made_are_refused(text: str, said: str) -> None:
    with pytest.raises(BadRequest, match=f"--sweep: expected {said}"):
        parse_sweep(text)


def test_a_value_that_is_met_twice_is_one_cell() -> None:
    assert parse_sweep("radius_ratio=0.8:0.8:3") == {"radius_ratio": [0.8]}
    assert parse_sweep("n_train=1:3:9") == {"n_train": [1, 2, 3]}
    assert parse_sweep("lr=0.3:0.1:3") == {"lr": [0.3, 0.2, 0.1]}  # as asked for, downward
    assert len(parse_sweep("lr=0.1:0.2:100000")["lr"]) == 100_000


def test_a_row_belongs_to_the_cell_of_its_values() -> None:
    cells = [{"lr": 0.1, "n_train": 2}, {"lr": 0.1, "n_train": 3}, {"lr": 0.2, "n_train": 2}]
    rows = [{"n_train": 2, "lr": 0.2, "steps": 5}, {"n_train": 2, "lr": 0.1, "steps": 6}, {"n_train": 2, "lr": 0.2}]
    assert rows_by_cell(rows, cells, "rows") == {2: rows[0], 0: rows[1]}
    for damaged in ({"lr": 0.1}, {"lr": 0.1, "n_train": 4}, {"lr": [0.1], "n_train": 2}, {"lr": "0.1", "n_train": 2}):
        with pytest.raises(BadRequest, match="rows: expected rows of the cells of --sweep"):
            rows_by_cell([rows[0], damaged], cells, "rows")


def test_an_interrupted_sweep_makes_the_cells_that_are_missing(tmp_path) -> None:
    options = {**SMALL, "n_train": None, "n_steps": 20, "n_test": 10, "threads": 1}
    config = Config(**options, sweep="n_train=2:5:4", out=str(tmp_path / "r"))
    done = run(config)
    rows = done.rows()
    (tmp_path / "r" / "summary.json").unlink()
    marked = {**rows[3], "steps": 99}
    done.write_rows([marked, rows[0], rows[0]])  # the second and third are lost, in another order, and one is doubled
    again = run(config).rows()
    assert [row["n_train"] for row in again] == [2, 3, 4, 5]
    assert again == [*rows[:3], marked]


def test_rows_of_another_sweep_are_refused(tmp_path, capsys) -> None:
    options = "--patch-dim 30 --n-filters 6 --n-steps 20 --n-test 10 --threads 1 --sweep n_train=2:5:4"
    arguments = ["dynamics", *options.split(), "--out", str(tmp_path / "r")]
    assert main(arguments) == 0
    done = Run.open(tmp_path / "r")
    (tmp_path / "r" / "summary.json").unlink()
    done.write_rows([{**done.rows()[0], "n_train": 7}])
    capsys.readouterr()
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "metrics.jsonl: expected rows of the cells of --sweep, got one of {'n_train': 7}; choose another" in error
