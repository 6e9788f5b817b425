"""What comments and constant columns say of an attack."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.cases import refused

from cgro.diagnosis import Curves, read_curves
from cgro.diagnosis.importers import parse_map
from cgro.diagnosis.importers.table.comments import said_in

File = Callable[[str], Path]
ROWS = "".join(f"{e},{40 + e}.25\n" for e in range(12))
PAIRS = "".join(f"{e},{60 + e}.1,{40 + e}.25\n" for e in range(12))


def read(path: Path, columns: str = "") -> Curves:
    (found,) = read_curves(path, parse_map(columns))
    return found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"# evaluated under PGD-20\nepoch,test_acc\n{ROWS}", "a comment says 'evaluated under PGD-20'"),
        (f"epoch,test_acc\n# robust accuracy\n{ROWS}", "a comment says 'robust accuracy'"),
        (f"# run 3\n# AutoAttack, eps 8/255\nepoch;test_err\n{ROWS.replace(',', ';')}", "'AutoAttack, eps 8/255'"),
        ("epoch,attack,test_acc\n" + ROWS.replace(",", ",pgd20,"), "column 'attack' is 'pgd20' in every row"),
        ("epoch,test_acc,eps\n" + ROWS.replace("\n", ",0.031\n"), "column 'eps' is '0.031' in every row"),
    ],
)
def test_a_plain_error_where_something_speaks_of_an_attack_is_asked_for(file: File, text: str, says: str) -> None:
    path = file(text)
    line = refused(lambda: read(path), says, "does not say whether it is clean", "--map clean_")
    option = line.rpartition("--map ")[2]
    found = read(path, option)
    assert option.startswith("robust_")
    assert found.has("robust_error/test")
    assert not found.has("clean_error/test")


def test_a_comment_on_an_attack_is_shown(file: File) -> None:
    found = read(file(f"# evaluated under PGD-20\nepoch,test_acc,test_robust_acc\n{PAIRS}"))
    assert np.allclose(found["robust_error/test"], 0.5975 - np.arange(12) / 100)
    assert "the file says 'evaluated under PGD-20'; no number rests on it" in found.remarks


@pytest.mark.parametrize(
    "text",
    [
        f"# seed 3, batch 128\nepoch,test_acc\n{ROWS}",
        "epoch,test_acc,attack\n" + ROWS.replace("\n", ",none\n"),
        "epoch,test_acc,eps\n" + ROWS.replace("\n", ",1e-8\n"),
        "epoch,test_acc,grad_eps\n" + ROWS.replace("\n", ",0.1\n"),
    ],
)
def test_what_speaks_of_no_attack_asks_for_nothing(file: File, text: str) -> None:
    found = read(file(text))
    assert np.allclose(found["clean_error/test"], 0.5975 - np.arange(12) / 100)


def test_a_header_behind_a_sign_is_no_comment() -> None:
    assert said_in(["# epoch test_acc test_pgd_acc"], ["test_acc", "test_pgd_acc"]) == []
    assert said_in(["# PGD", "  # PGD", "PGD"]) == ["PGD"]


def test_weights_that_a_column_names_are_said(file: File) -> None:
    text = "epoch,test_acc,test_robust_acc,weights\n" + PAIRS.replace("\n", ",ema\n")
    assert "column 'weights' is 'ema' in every row" in read(file(text)).remarks
    assert read(file(text.replace("ema", "raw"))).remarks == ()
