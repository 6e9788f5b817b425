"""What is told of diagnoses."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from tests.diagnosis.writers import four

from cgro.cli import main
from cgro.commands._diagnosed import INCOMPLETE, trusted_again
from cgro.runs import Run
from cgro.trust import CommandLine, Received, Trust


def test_the_terminal_says_what_was_read_as_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = four(80)["robust_error/test"].copy()
    test[3] = np.nan
    path = tmp_path / "x.csv"
    path.write_text("epoch,Adv Test Acc,gpu\n" + "".join(f"{t},{100 - 100 * v},1\n" for t, v in enumerate(test)))
    assert main(["diagnose", str(path), "--out", str(tmp_path / "o")]) == 0
    said = "- robust error, test: 1 - column 'Adv Test Acc', an accuracy in percent; 1 of 80 epochs without a value (1 NaN)"
    assert said in capsys.readouterr().out.splitlines()
    stored = Run(tmp_path / "o").summary["diagnoses"][0]["evidence"]["columns"][0]
    assert (stored["curve"], stored["unit"], stored["n_nan"]) == ("robust_error/test", "percent", 1)


@pytest.mark.parametrize(
    ("settings", "trust", "words"),
    [
        ({"data": "mine:data", "model": "mine:Net"}, True, " --data mine:data --model mine:Net"),
        ({"data": "mine:data", "model": "mine:Net"}, CommandLine(names=frozenset({"mine:Net"})), " --model mine:Net"),
        ({"data": "my arrays.npz", "model": "mlp"}, True, " --data 'my arrays.npz'"),
        ({"data": "mine:data", "model": "mine:Net"}, False, ""),  # nothing that was not trusted is advised
        ({"data": "mine:data", "objective": "kd:standard=runs/a", "extension": []}, True, " --trust"),
        ({"data": "mine:data", "objective": "trades", "extension": ["ema", "mine:Own:at=2"]}, True, " --trust"),
        ({"data": "digits", "model": "mlp", "objective": "trades", "extension": ["ema"]}, True, ""),
    ],
)
def test_a_further_command_names_what_this_one_may_use(settings: dict, trust: Trust, words: str) -> None:
    assert trusted_again(Received("runs/a", trust), settings) == words


def test_a_command_for_a_run_of_own_code_can_be_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was refused, since the run names code; and of standard training it asked for a radius that the run has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "pasted_net.py").write_text(
        "from torch import nn\n\n\n"
        "def net(shape, n_outputs):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, n_outputs))\n"
    )
    options = ["--model", "pasted_net:net", "--data", "digits", "--n-train", "60", "--n-test", "60", "--lr", "0.05"]
    quick = ["--attack", "none", "--eval-attack", "pgd2", "--radius", "0.3", "--epochs", "12", "--threads", "1"]
    assert main(["train", *options, *quick, "--out", "a run"]) == 0
    assert main(["diagnose", "a run", "--model", "pasted_net:net", "--lint-n", "0", "--out", "d"]) == 0
    capsys.readouterr()
    texts = Run(tmp_path / "d").summary["diagnoses"][0]["remedies"]
    (command,) = [match.group() for text in texts for match in re.finditer(r"cgro train --config [^;)]*", text)]
    assert command == "cgro train --config 'a run/config.yaml' --model pasted_net:net --attack pgd10"
    assert main([*shlex.split(command)[1:], "--out", "again"]) == 0
    assert Run(tmp_path / "again").config["radius"] == "0.3"


def test_commands_for_a_log_say_what_they_lack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{e},{max(0.1, 0.8 - 0.03 * e)},{0.43 + 0.012 * max(0, e - 12)}\n" for e in range(1, 31))
    (tmp_path / "log.csv").write_text("epoch,train_robust_error,test_robust_error\n" + rows)
    assert main(["diagnose", str(tmp_path / "log.csv"), "--out", str(tmp_path / "d")]) == 0
    said = capsys.readouterr().out
    assert "Run: cgro train --extension awp:gamma=0.01" in said
    assert INCOMPLETE in said
