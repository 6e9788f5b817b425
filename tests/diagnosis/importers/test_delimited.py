"""Tables with fields between delimiters: blanks, quotation marks, repeated headers."""

import numpy as np
import pytest
from tests.cases import refused

from cgro.diagnosis import Curves, read_curves
from cgro.diagnosis.importers import Told
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.delimited import Delimited

HEAD = "epoch,test_acc,test_robust_acc"


def read(text: str) -> Curves:
    (found,) = Delimited().read(Text(text, "x"), Told({}))
    return found


def test_blank_lines_quotation_marks_and_delimiters_at_the_end() -> None:
    found = read('\n"epoch"\t"Test Acc"\t"Test, PGD Acc"\n\n1\t0.5\t0.4\t\n2\t0.5\t0.3\t\t\n')
    assert found["robust_error/test"].tolist() == [0.6, 0.7]


def test_a_repeated_header_is_no_row_and_is_said() -> None:
    rows = [f"{e},0.6,0.{e}" for e in range(1, 7)]
    found = read("\n".join([HEAD, *rows[:3], HEAD, *rows[3:]]))
    assert np.allclose(found["robust_error/test"], 1 - np.arange(1, 7) / 10)
    assert found.remarks == ("the header is repeated 1 time",)


def test_two_trainings_under_two_headers_are_the_last_one_with_a_caveat() -> None:
    first, second = ([f"{e},0.6,0.{k}{e}" for e in range(10, 30)] for k in (3, 4))
    found = read("\n".join([HEAD, *first, HEAD, *second]))
    assert np.allclose(found["robust_error/test"], [1 - float(f"0.4{e}") for e in range(10, 30)])
    assert "2 trainings" in found.caveats[0]


def test_two_columns_of_one_name_are_refused() -> None:
    refused(lambda: read("epoch,test_pgd_acc,test_pgd_acc\n1,0.5,0.4\n"), "2 columns are called test_pgd_acc")


def test_sentences_with_commas_are_no_table() -> None:
    for text in ("Epoch: 1, acc: 0.5\nEpoch: 2, acc: 0.6\n", "first = 1, second = 2\na, b\n"):
        assert Delimited().recognizes(Text(text, "x")) == 0


@pytest.mark.parametrize(
    ("delimiter", "epochs", "value"),
    [
        (";", [f"{25 * k:,}" for k in range(30, 50)], "45"),
        ("\t", [f"{100 * k:,}" for k in range(1, 21)], "45.5"),
        (";", [f"{9000 + 100 * k:,}" for k in range(20)], "45.5"),
        (",", [f'"{25 * k:,}"' for k in range(30, 50)], "45.5"),
    ],
)
def test_commas_between_the_thousands_of_epochs(delimiter: str, epochs: list[str], value: str) -> None:
    rows = [delimiter.join((epoch, "80", value)) for epoch in epochs]
    found = read("\n".join([HEAD.replace(",", delimiter), *rows]))
    assert found.epoch.tolist() == [float(epoch.strip('"').replace(",", "")) for epoch in epochs]
    assert any("between thousands" in remark for remark in found.remarks)


def test_epochs_with_decimal_commas_stay_decimal() -> None:
    for epochs in ([f"{k},000" for k in range(1, 20)], [f"{k // 2},{5 * (k % 2)}" for k in range(1, 20)]):
        found = read("\n".join([HEAD.replace(",", ";"), *(f"{epoch};80,5;45,5" for epoch in epochs)]))
        assert found.epoch.tolist() == [float(epoch.replace(",", ".")) for epoch in epochs]
        assert found.remarks[0] == "a comma in a number is taken for the decimal point"


def test_numbers_are_no_header(file) -> None:
    for first in ("0,60.1,40.2", "0;60.1;40.2", "1e0\t60.1\tnan"):
        refused(lambda first=first: read_curves(file(f"{first}\n{first}\n")), "expected a header", "write names above")
    (found,) = read_curves(file("0,test_robust_acc\n1,40\n2,50\n"), {"epoch": "0"})
    assert found.epoch.tolist() == [1, 2]


def test_comments_between_rows_are_passed_over(file) -> None:
    for comment in ("# lr drop", "#", "# resumed"):
        text = f"epoch,test_acc,test_robust_acc\n{comment}\n1,60,40\n{comment}\n2,70,50\n"
        (found,) = read_curves(file(text))
        assert found["robust_error/test"].tolist() == [0.6, 0.5]
    refused(lambda: read_curves(file("epoch,test_robust_acc\n1,60\nnote\n2,70\n")), "has fewer fields")


@pytest.mark.parametrize("head", ["Unnamed: 0,epoch,test_acc,test_adv_acc", "epoch,test_acc,test_adv_acc,Unnamed: 3",
                                  "Unnamed: 0,Unnamed: 1,epoch,test_acc,test_adv_acc"])  # fmt: skip
def test_columns_to_which_pandas_gave_a_name(file, head: str) -> None:
    cells = {"epoch": "{e}", "test_acc": "0.8", "test_adv_acc": "0.{e}"}
    rows = [",".join(cells.get(name, "") for name in head.split(",")).format(e=e) for e in range(1, 9)]
    (found,) = read_curves(file("\n".join([head, *rows])))
    assert np.allclose(found["robust_error/test"], 1 - np.arange(1, 9) / 10)


def test_lines_of_printed_values_are_no_header() -> None:
    for line in ("[train] loss 1.70, acc 34.5% [test] acc_clean 44.9%, acc_pgd 30.2%", "Unnamed: 0.5, test_acc: 0.4"):
        assert Delimited().recognizes(Text(f"{line}\n{line}\n", "x")) == 0
    assert Delimited().recognizes(Text("beta 0.5,test_acc\n1,2\n", "x")) > 0
