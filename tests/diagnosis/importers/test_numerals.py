"""Which numbers of a line are values, and which say more about a name."""

import pytest

from cgro.diagnosis.importers.lines import parse_line
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
    ],
)  # fmt: skip
def test_a_number_before_such_words_is_the_accuracy(text: str, value: str) -> None:
    assert told(f"test adv acc {text}") == [("robust_accuracy/test", value)]


def test_a_name_that_has_only_settings_has_no_value() -> None:
    assert told("test adv acc (eps 8) | 45.2") == []
    assert told("test adv acc eps 8") == []
