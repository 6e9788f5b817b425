"""Which numbers of a line are values, and which say more about a name."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cases import refused

from cgro.diagnosis import read_curves
from cgro.diagnosis.importers.line.lines import parse_line
from cgro.diagnosis.importers.line.numerals import percentage_of, unwrapped
from cgro.diagnosis.words import Meaning, meaning_of


def told(line: str) -> list[tuple[str, str]]:
    """What the numbers of a line are taken for, and their texts."""
    found: list[tuple[str, str]] = []
    for name, value in parse_line(line).values:
        meaning = meaning_of(name)
        if isinstance(meaning, Meaning):
            found.append((meaning.told, value))
    return found


@pytest.mark.parametrize(
    "text",
    [
        "(eps=8/255) 45.2", "(20 steps) 45.2", "(eps 8): 45.2", "(eps=8): 45.2", "(PGD 20): 45.2", "with eps 8/255: 45.2",
        "under PGD 20: 45.2", "@ 20 steps = 45.2", "[10 restarts] 45.2", "(PGD-20) 45.2",
        "(eps=8/255, 20 steps): 45.2", "[pgd,8/255,20] 45.2", "(linf, 0.031)=45.2", "(PGD, eps: 8/255, 10 restarts) = 45.2",
        "20-step PGD: 45.2", "eps 8 45.2", "steps=20: 45.2", "{linf 8} 45.2", "(radius 0.1): 45.2", "PGD (20 iterations) 45.2",
        "10-step: 45.2", "20-steps=45.2", "20 it: 45.2", "2-norm: 45.2", "PGD 50-10: 45.2", "50-10 45.2", "20-step 45.2",
        "100-iterations = 45.2", "7-iter 45.2", "(5-restarts): 45.2", ": 20-step 45.2",
    ],
)  # fmt: skip
def test_what_says_more_about_an_attack_is_not_its_accuracy(text: str) -> None:
    line = f"test acc 80.1 | test adv acc {text} | loss 1.5"
    assert told(line) == [("clean_accuracy/test", "80.1"), ("robust_accuracy/test", "45.2")]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("45.2 (20 steps)", "45.2"), ("45 steps 20", "45"), (": 45 steps: 20", "45"), ("8000/10000 = 80.0%", "80%"),
        (": 45.2, eps 8", "45.2"), ("45 12:34:56", "45"), ("45.2 [44.0, 46.0]", "45.2"), ("45.2 +/- 0.3", "45.2"),
        ("45-47", "45"), ("45.2 (10-step)", "45.2"), ("45.2 eps=8", "45.2"), ("45.2 l2 1.5", "45.2"),
        ("45.2, eps=8/255, steps=20, restarts=1", "45.2"), (": 45.2 l2: 1.5", "45.2"), ("45.2 | AA: 43.1", "45.2"),
        ("45.2 it 300", "45.2"), ("45 norm 2", "45"),
    ],
)  # fmt: skip
def test_a_number_before_such_words_is_the_accuracy(text: str, value: str) -> None:
    assert told(f"test adv acc {text}") == [("robust_accuracy/test", value)]


def test_a_name_that_has_only_settings_has_no_value() -> None:
    assert told("test adv acc (eps 8) | 45.2") == []
    assert told("test adv acc eps 8") == []


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("test adv acc eps=2/255: 45.3, eps=4/255: 37.3, eps=8/255: 30.3", ["45.3", "37.3", "30.3"]),
        ("robust test acc: eps 2: 45.3 eps 4: 37.3", ["45.3", "37.3"]),
        ("robust test acc PGD-10: 33.3 PGD-50: 32.3 AA: 30.3", ["33.3", "32.3", "30.3"]),
        ("test robust acc 10-step: 45.2 20-step: 44.0", ["45.2", "44.0"]),
        ("test pgd acc 10-step 45.2, 20-step 44.1", ["45.2", "44.1"]),
        ("robust test acc Linf 30.1 L2 35.1 L1 20.1", ["30.1", "35.1", "20.1"]),
        ("test adv err radius=0.1: 20.5; radius=0.2: 30.5", ["20.5", "30.5"]),
        ("val FGSM acc 40.1 / PGD-7 38.2", ["40.1", "38.2"]),
        ("test robust acc (eps 4) 45.2 (eps 8) 30.2", ["45.2", "30.2"]),
    ],
)
def test_each_of_a_list_of_attacks_is_a_robust_value(text: str, values: list[str]) -> None:
    """Only the first was read, the weakest in most lists."""
    found = told(text)
    assert [value for _, value in found] == values
    assert {curve.partition("_")[0] for curve, _ in found} == {"robust"}
    clean = told(f"{text}, clean 80.1")
    assert clean[-1][0].startswith("clean_")


def test_of_a_list_of_attacks_one_is_asked_for(file: Callable[[str], Path]) -> None:
    for write, chosen in (
        ("test adv acc eps=2/255: 4{e}.3, eps=8/255: 3{e}.3", "test adv acc eps 8/255"),
        ("test PGD-10 acc 4{e}.1, PGD-50 4{e}.0, AA 3{e}.1", "test acc AA"),
        ("test robust acc 10-step: 4{e}.1 20-step: 4{e}.0", "test robust acc 20-step"),
    ):
        path = file("".join(f"Epoch {e}: test acc 8{e}.1, {write.format(e=e)}\n" for e in range(5)))
        refused(lambda path=path: read_curves(path), f"choose with --map 'robust_accuracy/test={chosen}'")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("test acc 4032 / 10000 = 40.32%", ["40.32%"]),
        ("test acc 4032 of 10000 (40.32%), test adv acc 2792 of 10000 (27.92%)", ["40.32%", "27.92%"]),
        ("test acc: 4032 out of 10000", ["40.32%"]),
        ("test acc 4032/10000 (40%)", ["40.32%"]),
        ("test adv acc (eps 8 / 255): 45.2", ["45.2"]),
        ("train acc 45.2 of 300 batches", ["45.2"]),
    ],
)
def test_counts_with_blanks_or_words(text: str, values: list[str]) -> None:
    assert [value for _, value in told(text)] == values


@pytest.mark.parametrize("text", ["test acc 80 / 45", "test acc 45 / 47", "test acc 45 / 100"])
def test_pairs_with_blanks_stay_two_values(text: str) -> None:
    assert [name for name, _ in parse_line(text).values] == [
        "test acc (first of several)",
        "test acc (second of several)",
    ]


def test_cells_may_be_counts() -> None:
    for cell, percentage in (("4032/10000", "40.32%"), ("4032 of 10000", "40.32%"), ("4032 / 10000 = 40.3%", "40.32%")):
        assert percentage_of(cell) == percentage
    for cell in ("45/47", "80/45", "17/200 (45%)", "40.32%", "4032/10000 of x", "2024/01/02"):
        assert percentage_of(cell) == "", cell


@pytest.mark.parametrize(
    "text", ["np.float64({})", "tensor({}, device='cuda:0')", "np.float32({})", "Array({}, dtype=float32)", "array({})"]
)
def test_what_is_printed_around_a_number_is_left_out(text: str) -> None:
    line = f"test_acc {text.format(0.8)} test_adv_acc {text.format(0.45)}"
    assert told(line) == [("clean_accuracy/test", "0.8"), ("robust_accuracy/test", "0.45")]
    assert unwrapped("test_float64(0.45)") == "test_float64(0.45)"
