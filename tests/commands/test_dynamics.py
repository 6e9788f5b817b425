"""`cgro dynamics` from its configuration to the summary and the figures."""

import json

import pytest

from cgro.cli import main
from cgro.commands.dynamics import Config, parse_sweep, run
from cgro.report.dynamics import filters_gif
from cgro.runs import Run

FAST = {"patch_dim": 20, "n_train": 5, "n_filters": 6, "n_steps": 200, "n_test": 100, "threads": 1}


def test_summary_has_the_schema_and_what_the_issue_adds(tmp_path):
    result = run(Config(**FAST, seeds=3, seed=4, out=str(tmp_path / "r"))).summary
    assert result["command"] == "dynamics"
    assert result["preset"] == "theorem"
    assert result["calibrated"] is False
    for name in ("signal_growth_end", "memorization_start", "memorization_end"):
        assert set(result["stages"][name]) == {"mean", "sd", "per_seed", "n_found", "reason"}
        assert len(result["stages"][name]["per_seed"]) == 3
    for name in ("clean_error/train", "clean_error/test", "robust_error/train", "robust_error/test"):
        assert len(result["metrics"][name]["per_seed"]) == 3
        assert 0 <= result["metrics"][name]["mean"] <= 1
    assert {"signal_learned", "noise_learned", "theory"} <= set(result)
    assert set(result["theory"]["signal_growth_end"]) >= {"predicted", "measured"}
    drawn = {p.name for p in (tmp_path / "r" / "figures").iterdir()}
    assert drawn == {"stages.png", "stages.svg", "filters.png", "filters.svg"}
    assert filters_gif(tmp_path / "r", n_frames=3).read_bytes()[:6] == b"GIF89a"
    assert len(Run.open(tmp_path / "r").rows()) > 50


def test_one_seed_writes_values(tmp_path):
    result = run(Config(**FAST, out=str(tmp_path / "r"))).summary
    assert 0 <= result["metrics"]["robust_error/test"]["value"] <= 1
    assert result["metrics"]["robust_error/test"]["bound"] == "exact"


def test_a_seed_alone_equals_the_seed_in_a_batch(tmp_path):
    many = run(Config(**FAST, seeds=3, out=str(tmp_path / "many"))).summary
    one = run(Config(**FAST, seed=2, out=str(tmp_path / "one"))).summary
    assert many["signal_learned"]["per_seed"][2] == one["signal_learned"]["mean"]


def test_table2_says_that_it_is_calibrated(tmp_path, capsys):
    assert (
        main(["dynamics", "--preset", "table2", "--n-steps", "50", "--threads", "1", "--out", str(tmp_path / "r")]) == 0
    )
    shown = capsys.readouterr().out
    assert "CALIBRATED" in shown
    assert "no evidence" in shown
    assert Run.open(tmp_path / "r").summary["calibrated"] is True


def test_full_ball_is_marked_as_a_lower_bound(tmp_path):
    result = run(Config(**FAST, full_ball="l2", out=str(tmp_path / "r"))).summary
    assert result["metrics"]["robust_error/test@l2"]["bound"] == "lower"
    result = run(Config(**{**FAST, "n_steps": 20, "lr": 1e-3}, adversary="linf", out=str(tmp_path / "s"))).summary
    assert result["metrics"]["robust_error/test"]["bound"] == "lower"
    assert result["metrics"]["robust_error/test@signal"]["bound"] == "exact"
    assert result["metrics"]["robust_error/test"]["value"] >= result["metrics"]["robust_error/test@signal"]["value"]
    # The theorem's 1/2 is about the adversary along w*: it is no statement about this run.
    assert result["statement"].startswith("full ball:")
    assert "coin flip" not in result["statement"]


def test_a_prediction_that_never_comes_is_printed_as_infinite(tmp_path, capsys):
    """The attacked pull on the signal wins from the start: strict JSON has no infinity, so it is stored as text."""
    options = "--radius-ratio 2.4 --robust-weight 0.6 --lr 0.003 --n-train 8 --n-filters 8 --n-steps 60 --n-test 50"
    assert main(["dynamics", *options.split(), "--threads", "1", "--out", str(tmp_path / "r")]) == 0
    assert "theory: signal_growth_end" in (shown := capsys.readouterr().out)
    assert "predicted inf" in shown


def test_divergence_is_a_result_and_explains_itself(tmp_path, capsys):
    args = [
        "dynamics",
        "--patch-dim",
        "20",
        "--lr",
        "50",
        "--n-steps",
        "100",
        "--threads",
        "1",
        "--out",
        str(tmp_path / "r"),
        "--json",
    ]
    assert main(args) == 0
    result = json.loads(capsys.readouterr().out)
    outcome = result["outcome"]
    assert result["statement"].startswith("Nothing is shown: the training ended as diverged in 1 of 1 seeds")
    assert outcome["kind"] == "diverged"
    assert "largest stable lr" in outcome["reason"]


@pytest.mark.parametrize("sweep", ["radius_ratio=0.9:1.6:3", "radius_ratio=0.9:2.2:3,robust_weight=0.3:0.6:2"])
def test_sweep_writes_a_row_a_cell_and_resumes(tmp_path, sweep):
    config = Config(**FAST, sweep=sweep, seeds=2, out=str(tmp_path / "r"))
    done = run(config)
    rows = done.rows()
    assert (tmp_path / "r" / "figures" / "phase.png").exists()
    assert all(row["onset_ratio"] <= 1 < row["extinction_ratio"] for row in rows)
    (tmp_path / "r" / "summary.json").unlink()  # as if interrupted after the first cell
    done.write_rows([{**rows[0], "signal_margin": [99.0, 99.0]}])
    again = run(config).rows()
    assert again[0]["signal_margin"] == [99.0, 99.0]
    assert again[1:] == rows[1:]


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["--preset", "best"], "--preset"), (["--n-patches", "1"], "--n-patches:"), (["--patch-dim", "0"], "--patch-dim:"),
        (["--n-train", "0"], "--n-train:"), (["--noise-std", "-1"], "--noise-std:"),
        (["--activation-power", "1"], "--activation-power:"),
        (["--radius", "-1"], "--radius"), (["--radius", "1", "--radius-ratio", "1"], "both"),
        (["--robust-weight", "2"], "--robust-weight:"), (["--robust-weight", "nan"], "robust-weight"),
        (["--sweep", "radius_ratio"], "low:high:count"), (["--sweep", "color=1:2:3"], "--sweep"),
        (["--sweep", "n_train=0:5:2"], " n_train:"), (["--backend", "fast"], "--backend"), (["--seeds", "0"], "--seeds"),
        (["--full-ball", "l2", "--backend", "gram"], "--backend with --full-ball"),
        (["--remedy", "dropout=1"], "--remedy"), (["--remedy", "ema=2"], "ema"),
        (["--remedy", "ema=0.9", "--adversary", "l2"], "adversary with --remedy"),
        (["--remedy", "ema=0.9", "--backend", "gram"], "--backend with --remedy"),
        (["--remedy", "ema=0.9", "--full-ball", "l2"], "no --full-ball"),
        (["--remedy", "weight_decay=1e9"], "weight_decay"),
        (["--remedy", "mixed=0.7,share=0.004"], "share: expected above 0.005"),
        (["--remedy", "mixed=0.7,share=0.02", "--sweep", "patch_dim=20:40:2"], "half of a coordinate of 20"),
        (["--remedy", "ema=0.9", "--sweep", "n_signals=1:2:2"], "n_signals with --remedy"),
        (["--patch-dim", "2"], "--patch-dim: expected an integer >= 3 where the radius follows from it, got 2"),
        (["--patch-dim", "1"], "--patch-dim: expected an integer >= 2"),
        (["--sweep", "patch_dim=2:4:3"], "--patch-dim: expected an integer >= 3"),
        (["--sweep", "n_train=4:-3:3:log"], "positive ends"), (["--sweep", "radius_ratio=0.5:2:1e9"], "100,000"),
        (["--seed", "-1"], "--seed:"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_2(args, word, tmp_path, capsys):
    assert main(["dynamics", *args, "--out", str(tmp_path / "r")]) == 2
    error = capsys.readouterr().err
    assert word in error
    assert error.count("\n") == 1
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--noise-std", "2"],  # noise that is memorized at the start
        ["--n-filters", "1"],
        ["--radius-ratio", "1e20"],
        ["--n-signals", "3"],
        ["--patch-dim", "2", "--radius-ratio", "0.9"],
        ["--patch-dim", "2", "--sweep", "radius_ratio=0.5:0.9:2"],
        ["--sweep", "radius_ratio=0.8:0.8:3"],
        ["--sweep", "n_filters=1:2:2"],
        ["--sweep", "n_signals=1:3:3"],
    ],
)
def test_nothing_is_refused_once_the_training_is_over(words, tmp_path):
    small = ["--n-steps", "50", "--n-test", "20", "--threads", "1", "--quiet"]
    assert main(["dynamics", *words, *small, "--out", str(tmp_path / "r")]) == 0
    assert Run.open(tmp_path / "r").finished


def test_several_directions_have_no_predicted_end_of_stage_one(tmp_path):
    options = {**FAST, "patch_dim": None, "n_train": 12, "n_steps": 500}
    theory = []
    for n in (1, 2):
        result = run(Config(**options, preset="table2", n_signals=n, out=str(tmp_path / str(n))))
        theory.append(result.summary["theory"])
    assert set(theory[0]) == {"signal_growth_end", "plateau", "final_signal"}
    assert set(theory[1]) == {"plateau", "final_signal"}
    assert theory[0]["final_signal"]["predicted"] == theory[1]["final_signal"]["predicted"]


def test_sweep_of_three_parameters_is_refused():
    with pytest.raises(ValueError, match="one or two"):
        parse_sweep("n_train=1:2:2,lr=1:2:2,n_filters=1:2:2")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--radius-ratio", "0.7"], "--radius-ratio: expected none beside --sweep radius_ratio=..., got 0.7"),
        (["--full-ball", "l2"], "--sweep: expected neither --full-ball nor --gif beside it, got --full-ball l2"),
        (["--gif"], "got --gif"),
        (["--sweep", "radius_ratio=0.5:2:2,radius-ratio=1:2:2"], "radius_ratio twice"),  # of two sweeps the last counts
    ],
)
def test_what_no_cell_of_a_sweep_would_follow_is_refused(words, said, tmp_path, capsys):
    out = tmp_path / "r"
    assert main(["dynamics", "--sweep", "radius_ratio=0.5:2:2", *words, "--out", str(out)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "which is written last" not in line]
    assert len(lines) == 1
    assert said in lines[0]
    assert not out.exists()


@pytest.mark.parametrize("words", [["--loss-below", "0.7"], ["--loss-below", "1e9", "--gif"], ["--n-steps", "1"]])
def test_a_training_that_stops_before_its_first_step_is_drawn(words, tmp_path):
    """The loss of filters that know nothing is log 2, so a first record may be the only one."""
    small = ["--patch-dim", "20", "--n-train", "5", "--n-filters", "4", "--n-test", "50", "--n-steps", "50", "--quiet"]
    assert main(["dynamics", *small, *words, "--out", str(tmp_path / "r")]) == 0
    assert (tmp_path / "r" / "figures" / "stages.png").exists()


def test_a_remedy_is_trained_and_said(tmp_path):
    plain = run(Config(**FAST, remedy="none", out=str(tmp_path / "a")))
    other = run(Config(**FAST, remedy="weight_decay=0.5", out=str(tmp_path / "b")))
    assert other.summary["statement"].startswith("Trained under a remedy: weight_decay=0.5.")
    assert not plain.summary["statement"].startswith("Trained under")
    lone = run(Config(**{**FAST, "n_train": 1}, remedy="mixed=0.7", out=str(tmp_path / "d")))
    assert "no other of its class: boxes change nothing" in lone.summary["statement"]
    assert plain.rows()[-1]["signal_margin"] != other.rows()[-1]["signal_margin"]
    untold = run(Config(**FAST, out=str(tmp_path / "c")))
    assert untold.rows()[-1]["signal_margin"] == pytest.approx(plain.rows()[-1]["signal_margin"], rel=1e-9)
