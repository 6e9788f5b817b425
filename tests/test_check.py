"""Checks of numbers and names, and the line that refuses."""

import math
import random
import re
import string
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from cgro._check import (
    BadRequest,
    apart,
    bad,
    count,
    count_field,
    listed,
    number,
    number_field,
    one_line,
    one_of,
    printable,
)
from cgro.data import load
from cgro.definitions import PGD, Square, ThreatModel, robust_error, survey
from cgro.training import Adversarial, Evaluation, Recipe, fit


def test_values_in_messages_are_short_and_printable() -> None:
    line = str(bad("--radius", expected="a number", got="\x1b[2J" + "9" * 10_000))
    assert line.isprintable()
    assert len(line) < 300
    assert one_line("\ud800 \x7f\u202e") == r"\ud800 \x7f\u202e"


def test_listed_counts_those_that_were_not_made() -> None:
    assert listed(iter("abc"), 2) == "a, b and 1 more"
    assert listed("ab", 2, n=10) == "a, b and 8 more"


@pytest.mark.parametrize(
    ("value", "expected"), [("8/255", 8 / 255), (" 1e-3 ", 1e-3), (3, 3.0), ("-1/4", -0.25), ("1", 1.0)]
)
def test_numbers_are_read_also_as_fractions(value: float | str, expected: float) -> None:
    assert number(value, "radius") == expected


@pytest.mark.parametrize("value", ["a", "1/0", "1/2/3", "inf", "nan", math.inf, None, [], "", 10**400, "9" * 5000])
def test_what_is_no_finite_number_is_one_line(value: object) -> None:
    with pytest.raises(BadRequest, match="radius: expected a") as caught:
        number(value, "radius")
    assert str(caught.value).isprintable()


def test_numbers_have_both_limits() -> None:
    assert [number(v, "x", low=0, high=1) for v in (0, 1)] == [0, 1]
    for value in (-1e-9, 1.1):
        with pytest.raises(BadRequest, match=r"in \[0, 1\]"):
            number(value, "x", low=0, high=1)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3", None, math.nan, math.inf, [1], 10**400])
def test_counts_are_integers_in_their_range(value: object) -> None:
    with pytest.raises(BadRequest, match=r"n: expected an integer in \[1, 9\]"):
        count(value, "n", high=9)
    assert (count(9, "n", high=9), count(1.0, "n"), count(0, "n", low=0)) == (9, 1, 0)


def test_counts_end_where_double_precision_no_longer_holds_integers() -> None:
    assert count(2**53, "n") == 2**53
    with pytest.raises(BadRequest, match=r"in \[1, 9007199254740992\]"):
        count(2**53 + 1, "n")
    with pytest.raises(BadRequest, match=r"an integer >= 1, got 0"):
        count(0, "n")
    for text in ("10", "ten"):  # without quotes the first one would look like what is expected
        with pytest.raises(BadRequest, match=f"an integer >= 1, got '{text}'"):
            count(text, "n")  # type: ignore[arg-type]


def test_names_are_those_of_a_list() -> None:
    assert one_of("b", "x", (name for name in "abc")) == "b"
    with pytest.raises(BadRequest, match=r"x: expected one of a, b, c, got 'd'"):
        one_of("d", "x", "abc")


def test_one_line_of_any_text_is_short_printable_and_stays_as_it_is() -> None:
    rng = random.Random(0)
    letters = string.printable + "\x00\x1b\x7f\u202e\ud800é\U0001f600"
    for _ in range(200):
        text = "".join(rng.choices(letters, k=rng.randrange(200)))
        line = one_line(text, limit=40)
        assert len(line) <= 40
        assert line.isprintable()
        assert one_line(line, limit=40) == line
        assert all(c.isprintable() or c == "\n" for c in printable(text))


def test_a_limit_and_a_value_beyond_it_are_never_printed_alike() -> None:
    assert apart(0.3, 0.25) == ["0.3", "0.25"]
    assert apart(1.0, 1.0) == ["1", "1"], "equal ones are"
    rng = random.Random(1)
    for _ in range(200):
        limit = 10 ** rng.uniform(-6, 6)
        beyond = limit * (1 + 10 ** rng.uniform(-15, 0))
        low, high = apart(limit, beyond, digits=3)
        assert low != high
        assert float(low) <= float(high)
    assert apart(1.0, math.nextafter(1.0, 2.0))[1] == "1.0000000000000002"


def test_the_range_of_a_number_is_told_apart_from_a_number_just_outside_it() -> None:
    with pytest.raises(BadRequest, match=r"in \[0, 0.4999999\], got 0.49999995"):
        number(0.49999995, "error", low=0.0, high=0.4999999)


@pytest.mark.parametrize(("low", "words"), [(0.0, "a finite number >= 0"), (-math.inf, "a finite number")])
def test_a_range_without_an_end_has_no_infinity_in_its_message(low: float, words: str) -> None:
    with pytest.raises(BadRequest, match=rf"lr: expected {words}, got"):
        number(math.nan, "lr", low=low)


def test_a_range_may_be_half_open() -> None:
    assert number(0.0, "share", low=0.0, below=1.0) == 0.0
    assert number(1 - 2**-53, "share", low=0.0, below=1.0) < 1
    assert number(2**-1074, "scale", above=0.0) > 0
    for words, high in (("> 0", math.inf), ("in (0, 1]", 1.0)):
        with pytest.raises(BadRequest, match=re.escape(f"scale: expected a finite number {words}, got 0")):
            number(0.0, "scale", above=0.0, high=high)
    for value in (1.0, "3/2", -0.1, float("inf")):
        with pytest.raises(BadRequest, match=r"share: expected a finite number in \[0, 1\), got"):
            number(value, "share", low=0.0, below=1.0)


def test_errors_say_what_was_expected_what_came_and_what_to_do() -> None:
    assert str(bad("a", expected="b", got=3)) == "a: expected b, got 3"
    assert str(bad("a", expected="b", got="x", remedy="do c")) == "a: expected b, got x; do c"
    assert isinstance(bad("a", expected="b", got=10**5000), ValueError)


@dataclass(frozen=True)
class Fields:
    n: int = 1
    step: float = 0.5

    def __post_init__(self) -> None:
        count_field(self, "n")
        number_field(self, "step", "length", low=0.0)


@pytest.mark.parametrize("n", [3, 3.0, np.int64(3), torch.tensor(3)])
@pytest.mark.parametrize("step", ["2/8", "0.25", np.float32(0.25), 0.25])
def test_what_is_taken_for_a_number_is_stored_as_one(n: int, step: float) -> None:
    found = Fields(n, step)
    assert (type(found.n), type(found.step)) == (int, float)
    assert found == Fields(3, 0.25)


def test_a_number_stays_as_it_was_written() -> None:
    """A stored text of the value, as a recipe's, is the same as before."""
    assert repr(Fields(3, 1)) == "Fields(n=3, step=1)"
    for n, step, words in ((0, 1, "n: expected"), (2.5, 1, "n: expected"), (1, -1, "length: expected")):
        with pytest.raises(BadRequest, match=words):
            Fields(n, step)


def test_attacks_and_recipes_work_with_what_they_take() -> None:
    x, y = torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 3])
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    threat = ThreatModel("inf", "8/255")
    for attack in (PGD(threat, n_steps=3.0, n_restarts=2.0, step_size="2/255"), Square(threat, n_queries=3.0)):
        assert robust_error(network, x, y, attack, batch=2.0).n == survey(network, x, y, attack, batch=2.0).error().n
    recipe = Recipe(epochs=2.0, batch_size=np.int64(20), lr="1/100")
    data = load("digits", n_train=40, n_test=20)
    evaluation = Evaluation(PGD(threat, n_steps=1), n=10.0, every=1.0)
    assert fit(network, data, Adversarial(attack), recipe, evaluation=evaluation).end.kind == "completed"
