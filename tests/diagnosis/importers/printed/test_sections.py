"""Headings such as `Test:` say of which part of the data the lines below them are; what only looks like one does not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.cases import refused

from cgro.diagnosis import Curves, read_curves
from cgro.diagnosis.importers.printed.sections import heading_of

N = 12
CURVES = {
    "clean_error/train": 0.5 - np.arange(N) / 50,
    "robust_error/train": 0.8 - np.arange(N) / 50,
    "clean_error/test": 0.6 - np.arange(N) / 100,
    "robust_error/test": 0.7 - np.arange(N) / 100,
}


def values(e: int, part: str) -> tuple[str, str]:
    """Clean and robust accuracy as printed, in percent."""
    clean, robust = (100 - 100 * CURVES[f"{kind}_error/{part}"][e] for kind in ("clean", "robust"))
    return f"clean acc {clean:.2f}", f"robust acc {robust:.2f}"


def below(train: str, test: str, *, apart: str = "\n", more: str = "") -> Callable[[int], str]:
    """Writes an epoch with both headings."""

    def write(e: int) -> str:
        return (
            f"Epoch {e}\n{train}\n{apart.join(values(e, 'train'))}\n{test}\n{apart.join(values(e, 'test'))}\n"
            f"{more.replace('<e>', str(e))}"
        )

    return write


def read(file: Callable[[str], Path], write: Callable[[int], str]) -> Curves:
    (found,) = read_curves(file("".join(map(write, range(N)))))
    return found


def is_right(found: Curves) -> bool:
    return set(CURVES) <= set(found.values) and all(np.allclose(found[name], CURVES[name]) for name in CURVES)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Train:", "Test:"),
        ("[Train]", "[Test]"),
        ("--- training ---", "--- testing ---"),
        ("  Train", "  Test"),
        ("=== Results on the training set ===", "=== Results on the test set ==="),
        ("Epoch E / Train:", "Epoch E / Test:"),
    ],
)
@pytest.mark.parametrize("apart", ["\n", ", ", "\nloss: 1.25\n"])
def test_values_are_of_the_heading_above_them(train: str, test: str, apart: str, file) -> None:
    def write(e: int) -> str:
        return below(train.replace("E ", f"{e} "), test.replace("E ", f"{e} "), apart=apart)(e)

    found = read(file, write)
    assert is_right(found)
    assert any("values below lines such as" in remark for remark in found.remarks)


def test_what_says_its_own_part_needs_no_heading_and_ends_it(file) -> None:
    def write(e: int) -> str:
        (a, b), (c, d) = values(e, "train"), values(e, "test")
        return f"Epoch {e}\nTrain {a}\nTrain {b}\nTest:\n{c} {d}\nTrain loss 0.{e + 10}\nspeed 12 clean acc 99.0\n"

    found = read(file, write)
    assert np.allclose(found["robust_error/test"], CURVES["robust_error/test"])
    assert np.allclose(found["clean_error/test"], CURVES["clean_error/test"])
    assert np.allclose(found["clean_error/train"], CURVES["clean_error/train"])


@pytest.mark.parametrize(
    "more",
    [
        "EMA:\nclean acc 99.0\nrobust acc 98.0\n",
        "--- WA ---\nclean acc 99.0 robust acc 98.0\n",
        "\nclean acc 99.0\nrobust acc 98.0\n",
        "Epoch <e> done\nclean acc 99.0\nrobust acc 98.0\n",
    ],
)
def test_another_heading_a_blank_line_or_an_epoch_ends_it(more: str, file) -> None:
    """Planted: values of averaged weights below the test set's were its own, with a part that the heading gave them."""
    assert is_right(read(file, below("Train:", "Test:", more=more)))


def test_where_only_training_has_a_heading_it_says_nothing(file) -> None:
    """What is printed behind the training may be of the test set, which no heading begins."""

    def write(e: int) -> str:
        return f"Epoch {e}\nTraining:\nloss 0.{e + 10}\n" + "\n".join(values(e, "test")) + "\n"

    refused(lambda: read(file, write), "its name does not say train, validation or test")


def test_what_announces_is_no_heading(file) -> None:
    refused(lambda: read(file, below("Training...", "Testing...")), "is not understood")


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("Validation:", "validation"),
        ("*** TEST ***", "test"),
        ("Evaluation on test:", "test"),
        ("Epoch 3 | Train", "train"),
        ("Training", ""),
        ("Testing...", ""),
        ("Train/Test:", ""),
        ("Test Loss", ""),
        ("Loading test set:", ""),
        ("Test: " + "x" * 70, ""),
    ],
)
def test_which_lines_are_headings(line: str, part: str) -> None:
    assert heading_of(line) == part


EVALUATION = [
    "Test: [40/79] Time 0.1 ( 0.2) Acc@1 48.44 (38.82) Acc@5 90.0 (89.0)\n *   Acc@1 {clean} Acc@5 98.1",
    "Adv Test: [40/79] Time 0.1 ( 0.2) Acc@1 38.44 (28.82) Acc@5 90.0 (89.0)\n *   {kind}Acc@1 {robust} Acc@5 88.1",
]


@pytest.mark.parametrize(("n", "kind"), [("40", "Adv "), ("40", ""), ("78", "")])
def test_the_result_below_batches_of_an_evaluation_is_of_its_part(file, kind: str, n: str) -> None:
    """The count of batches was proposed as the robust accuracy, and the mean over some of them read as the clean one."""
    text = ""
    for e in range(N):
        (clean, robust) = (f"{100 - 100 * CURVES[f'{one}_error/test'][e]:.3f}" for one in ("clean", "robust"))
        lines = "\n".join(EVALUATION).format(clean=clean, robust=robust, kind=kind).replace("[40/", f"[{n}/")
        if n == "78":
            lines = lines.replace("38.82", clean[:-1]).replace("28.82", robust[:-1])
        text += f"Epoch: [{e}][390/391] Acc@1 45.31 (44.10)\n{lines}\n"
    (found,) = read_curves(file(text))
    assert np.allclose(found["clean_error/test"], CURVES["clean_error/test"])
    assert np.allclose(found["robust_error/test"], CURVES["robust_error/test"])


def test_the_mean_over_some_batches_is_no_value(file) -> None:
    lines = "".join(f"Epoch {e}\nPGD Test: [70/79] Prec@1 50.0 (4{e}.10)\n" for e in range(9))
    refused(lambda: read_curves(file(lines)), "'partial pgd test Prec@1' is no curve", "not over all of them")
    (found,) = read_curves(file(lines.replace("[70/79]", "[79/79]")))
    assert np.allclose(found["robust_error/test"], 0.599 - np.arange(9) / 100)
    final = "".join(f"Epoch {e}\nPGD Test: [70/79] Prec@1 50 (49)\n PGD Final Prec@1 4{e}.10\n" for e in range(9))
    refused(lambda: read_curves(file(final)), "add --map 'robust_accuracy/test=test PGD Final Prec@1'")
