"""Which back end is taken, and which is refused."""

from dataclasses import replace

import pytest
from tests.dynamics.cases import EASY

from cgro._check import BadRequest
from cgro.data.patches import PatchData
from cgro.dynamics.backends import place
from cgro.dynamics.full_ball import FullBall
from cgro.dynamics.spaces import Direct, Gram


def test_the_space_is_the_one_asked_for():
    assert isinstance(place(EASY, [0], "direct")[0], Direct)
    assert isinstance(place(EASY, [0], "gram")[0], Gram)
    assert place(EASY, [0], "law")[1] == "law"
    assert place(EASY, [0], "auto")[1] == "gram"
    assert place(replace(EASY, data=PatchData(10_000_000), n_train=20), [0], "auto")[1] == "law"


def test_a_full_ball_is_carried_as_vectors():
    batch, name = place(replace(EASY, adversary="l2"), [0], "auto")
    assert isinstance(batch, FullBall)
    assert name == "direct"


def test_what_cannot_be_carried_is_refused():
    for setting, backend, words in (
        (EASY, "magic", "backend"),
        (replace(EASY, adversary="linf"), "gram", "auto or direct"),
        (replace(EASY, n_train=60), "law", "at most 29"),
    ):
        with pytest.raises(BadRequest, match=words):
            place(setting, [0], backend)
