"""What is told of diagnoses."""

from pathlib import Path

import numpy as np
import pytest
from tests.diagnosis.writers import four

from cgro.cli import main
from cgro.runs import Run


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
