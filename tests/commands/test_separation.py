"""`cgro separation`, from settings to summary and exit code."""

import json

import pytest

from cgro import cli
from cgro.commands import separation
from cgro.runs import Run


def test_separation_warns_of_the_impossible(tmp_path, capsys):
    out = str(tmp_path / "run")
    assert (
        cli.main(["separation", "--data", "digits", "--classes", "3,8", "--radius", "0.6", "--out", out, "--json"]) == 0
    )
    captured = capsys.readouterr()
    assert "warning" in captured.err
    result = json.loads(captured.out)
    assert result["admissible"] is False
    both = separation.run(separation.Config(data="digits", classes="3,8", p="1,2,inf", out=str(tmp_path / "all")))
    assert list(both.summary["separation"]) == ["1", "2", "inf"]
    assert "l_inf" in separation.describe(both.read())


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["memorize", "--data", "digits", "--classes", "3,8", "--radius", "0.9"], ["separation", "points", "below"]),
        (["separation", "--p", "3"], ["1, 2 or inf"]),
    ],
)
def test_bad_requests_exit_2_with_one_line(tmp_path, capsys, argv, words):
    assert cli.main([*argv, "--out", str(tmp_path / "run")]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert all(w in text for w in words), text


def test_a_norm_that_is_asked_for_twice_is_measured_once(tmp_path):
    config = separation.Config(data="digits", classes="3,8", p="2, 1,2", out=str(tmp_path / "run"))
    run = separation.run(config)
    assert [row["p"] for row in run.rows()] == [2, 1]
    assert list(run.summary["separation"]) == ["2", "1"]


def test_the_next_command_memorizes_the_same_points(tmp_path, capsys):
    argv = ["separation", "--data", "digits", "--classes", "3,8", "--n-train", "40", "--seed", "2", "--p", "2"]
    assert cli.main([*argv, "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said == "next: cgro memorize --data digits --classes 3,8 --n-train 40 --seed 2 --p 2"
    following = [*said.removeprefix("next: cgro ").split(), "--radius", "0.1", "--clean-epochs", "1", "--n-test", "5"]
    assert cli.main([*following, "--out", str(tmp_path / "next"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["separation"] == Run(tmp_path / "run").summary["separation"]["2"]
