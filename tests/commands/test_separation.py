"""`cgro separation`, from settings to summary and exit code."""

import json

import pytest

from cgro import cli
from cgro.commands import separation


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
