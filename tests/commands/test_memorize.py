"""`cgro memorize`, from settings to summary and exit code."""

import json
import subprocess
import sys

import numpy as np
import pytest

from cgro import cli
from cgro._check import CheckFailed
from cgro.commands import memorize
from cgro.runs import Run

SMALL = {"data": "digits", "classes": "3,8", "n_train": 24, "n_test": 20, "clean_epochs": 3}


def test_memorize_certifies_on_digits_and_writes_its_summary(tmp_path):
    run = memorize.run(memorize.Config(**SMALL, radius="0.1", out=str(tmp_path / "run")))
    result = run.summary
    c, q = result["certificate"], result["parameters"]
    layers = "4 of 24 balls by interval propagation, the others not checked"
    assert c == {"holds": True, "min_margin": 1.0, "n": 24, "n_memorized": 24, "method": c["method"], "layers": layers}
    assert q["total"] == q["formula"]
    assert q["generic"] == 6 * 24 * 64 + 24
    assert q["memorizer"] + q["clean"] == q["formula"]
    assert result["max_radius"] == result["separation"] / 2
    m = result["metrics"]
    assert m["robust_error/train@certified"]["value"] == 0
    assert m["clean_error/test"]["value"] == m["clean_error/test@clean_model"]["value"]
    assert m["robust_error/test"]["bound"] == "lower"
    assert m["robust_error/test@certified"]["bound"] == "upper"
    assert m["robust_error/test"]["value"] <= m["robust_error/test@certified"]["value"]
    assert result["checks"]["interval"] == {"n": 4, "least": 1.0, "agrees": True}
    assert (run.path / "figures" / "decision_regions.png").exists()
    assert "certificate holds" in memorize.describe(run.read())


@pytest.mark.parametrize(("change", "value"), [
    ("p", "2"), ("p", "1"), ("variant", "compact"), ("memorize", "small-margin"), ("clean_epochs", 9), ("eval_n", 5),
    ("n_train", 30), ("seed", 1),
])  # fmt: skip
def test_every_option_has_an_effect(tmp_path, change, value):
    def result(name: str, **more):
        run = memorize.run(memorize.Config(**{**SMALL, "radius": "0.02", **more}, out=str(tmp_path / name)))
        return {k: v for k, v in run.summary.items() if k != "seed"}, run.rows()

    assert result("a") != result("b", **{change: value})


def test_a_narrower_ramp_is_certified_too_and_changes_the_network_outside_the_balls_only(tmp_path):
    """Its effect is on the shells around the balls, where no test image lies: the answers on a plane show it."""
    slices, margins = [], []
    for name, ramp in (("wide", None), ("narrow", 0.01)):
        run = memorize.run(memorize.Config(**SMALL, radius="0.02", ramp=ramp, out=str(tmp_path / name)))
        margins.append(run.summary["certificate"]["min_margin"])
        with np.load(run.path / "slice.npz") as arrays:
            slices.append(dict(arrays))
    wide, narrow = slices
    assert margins == [1.0, 1.0]
    assert [key for key in wide if not np.array_equal(wide[key], narrow[key])] == ["network"]
    changed = wide["network"] != narrow["network"]
    assert not (changed & wide["ball"]).any()


def test_clean_radius_trains_another_network(tmp_path):
    answers = []
    for radius in ("0", "0.2"):
        settings = {**SMALL, "radius": "0.02", "clean_radius": radius, "out": str(tmp_path / radius)}
        run = memorize.run(memorize.Config(**settings))
        with np.load(run.path / "slice.npz") as arrays:
            answers.append((arrays["corners"], arrays["clean"]))
    assert any(not np.array_equal(a, b) for a, b in zip(*answers, strict=True))


def test_ten_classes_and_solver_and_files(tmp_path):
    pytest.importorskip("highspy")
    pytest.importorskip("onnxruntime")
    config = memorize.Config(data="digits", n_train=9, n_test=10, classes="0,1,2", radius="0.05", clean_epochs=2,
                             export=True, verify="milp", verify_n=2, out=str(tmp_path / "run"))  # fmt: skip
    run = memorize.run(config)
    checks = run.summary["checks"]
    assert checks["milp"]["agrees"]
    assert checks["milp"]["least"] == pytest.approx(1.0, abs=1e-6)
    assert checks["export"]["max_difference"] < 1e-4
    assert sorted(f.suffix for f in (run.path / "export").iterdir()) == [".onnx", ".vnnlib", ".vnnlib"]


def test_a_false_certificate_is_written_and_then_fails(tmp_path):
    config = memorize.Config(**SMALL, radius="0.2", ramp=30.0, out=str(tmp_path / "run"))
    with pytest.raises(CheckFailed, match="not certified"):
        memorize.run(config)
    assert not Run.open(tmp_path / "run").summary["certificate"]["holds"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["memorize", "--data", "digits", "--classes", "3,8", "--radius", "0.9"], ["separation", "points", "below"]),
        (["memorize", "--data", "digits", "--classes", "3,8", "--verify", "cplex"], ["milp"]),
        (["memorize", "--clean-model", "nowhere"], ["run directory"]),
        (["memorize", "--p", "2", "--verify", "milp"], ["--verify milp", "p = 1 or inf"]),
        (["memorize", "--p", "2", "--verify", "milp", "--seeds", "2"], ["--verify milp", "p = 1 or inf"]),
        (["memorize", "--radius", "8", "--seeds", "2"], ["8/255"]),
        (
            ["memorize", "--data", "digits", "--radius", "0.05", "--clean-epochs", "1", "--export"],
            ["export", "--n-train"],
        ),
    ],
)
def test_bad_requests_exit_2_with_one_line(tmp_path, capsys, argv, words):
    assert cli.main([*argv, "--out", str(tmp_path / "run")]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert all(w in text for w in words), text
    assert not (tmp_path / "run").exists()


def test_json_stays_clean_beside_the_solver(tmp_path):
    """HiGHS prints a greeting from C: it must not reach stdout."""
    command = [sys.executable, "-m", "cgro.cli", "memorize", "--data", "digits", "--classes", "3,8", "--n-train", "12",
               "--radius", "0.05", "--verify", "milp", "--verify-n", "1", "--out", str(tmp_path / "r"), "--json"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["checks"]["milp"]["agrees"] is True


@pytest.mark.parametrize(("package", "argv"), [("highspy", ["--verify", "milp"]), ("onnxruntime", ["--export"])])
def test_a_missing_package_is_told_before_any_work(tmp_path, monkeypatch, capsys, package, argv):
    monkeypatch.setitem(sys.modules, package, None)
    assert cli.main(["memorize", "--data", "digits", "--out", str(tmp_path / "run"), *argv]) == 2
    assert f"expected the package {package}, found none" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
