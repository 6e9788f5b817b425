"""A last line that was cut off is left out and said; a whole one stays, also without an end."""

from pathlib import Path

import pytest

from cgro.diagnosis import read_curves
from cgro.diagnosis.importers.cut import cut_line

N = 15
FORMS = {
    "printed": ("", "Epoch {e}: test acc {clean:.2f} test adv acc {robust:.2f}"),
    "percent": ("", "Epoch {e} | Test Acc: {clean:.2f}% | Test Robust Acc: {robust:.2f}%"),
    "csv": ("epoch,test_acc,test_robust_acc\n", "{e},{clean:.2f},{robust:.2f}"),
    "log": ("Epoch \t Test Acc \t Test Robust Acc\n", "{e} \t {clean:.4f} \t {robust:.4f}"),
}


def text_of(form: str, epochs: range = range(1, N + 1)) -> str:
    head, line = FORMS[form]
    scale = 0.01 if form == "log" else 1.0
    rows = [line.format(e=e, clean=scale * (60.11 + e), robust=scale * (40.13 + e)) for e in epochs]
    return head + "\n".join(rows)


@pytest.mark.parametrize("lost", range(1, 12))
@pytest.mark.parametrize("form", FORMS)
def test_a_line_that_lost_its_end_is_left_out_and_said(tmp_path: Path, form: str, lost: int) -> None:
    """Cut within the last number, before it, or within a name: 4 of 43.39 was an accuracy of 4%."""
    path = tmp_path / "log.txt"
    path.write_text(text_of(form)[:-lost])
    (found,) = read_curves(path)
    assert found.epoch.tolist() == list(range(1, N))
    assert found["robust_error/test"][-1] == pytest.approx(1 - (40.13 + N - 1) / 100)
    assert "was cut off" in " ".join(found.remarks)


@pytest.mark.parametrize("form", FORMS)
def test_a_whole_line_without_an_end_stays(tmp_path: Path, form: str) -> None:
    path = tmp_path / "log.txt"
    path.write_text(text_of(form))
    (found,) = read_curves(path)
    assert len(found.epoch) == N
    assert "was cut off" not in " ".join(found.remarks)


@pytest.mark.parametrize(
    "last",
    [
        "epoch 12, acc 5",  # numbers are written with as few digits as they need
        "done in 3 h",
        "epoch 12, acc 51.25, best",
        "best acc 51.25",
    ],
)
def test_lines_that_may_be_whole(last: str) -> None:
    decimals = ["25", "5", "125"]
    rows = "".join(f"epoch {e}, acc {40 + e}.{decimals[e % 3]}\n" for e in range(12))
    assert cut_line(rows + last) == ""


def test_few_lines_say_nothing() -> None:
    assert cut_line("epoch 1, acc 40.25\nepoch 2, acc 41.25\nepoch 3, acc 4") == ""
    assert cut_line("") == cut_line("acc 4") == ""
