"""Values from files of a run: what is refused beside their types."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cgro._check import BadRequest
from cgro.report.values import DEEPEST, LARGEST, Number, damaged, drawable, radius_text, read_arrays, require_shallow
from cgro.results import read_value


@pytest.mark.parametrize("wrong", [True, "1", None, [], float("nan"), float("inf"), 2 * LARGEST, 10**400])
def test_a_number_is_finite_and_leaves_room_for_the_arithmetic_of_axes(wrong: object) -> None:
    assert read_value([1, -2.5], "f", list[Number]) == [1.0, -2.5]
    with pytest.raises(BadRequest, match=r"^f: expected .* at \[1\]"):
        read_value([1, wrong], "f", list[Number])


def test_what_cannot_be_drawn_is_no_number() -> None:
    found = drawable([[1, None], [-LARGEST, 2 * LARGEST], [float("-inf"), 3]])
    assert found.tolist()[0][0] == 1
    assert np.isnan(found).tolist() == [[False, True], [False, True], [True, False]]


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {"a": v}, lambda v: (v, 1)])
def test_values_that_are_printed_are_not_deep(wrap) -> None:
    value: object = 1
    for _ in range(DEEPEST):
        value = wrap(value)
    require_shallow(value, "f")
    with pytest.raises(BadRequest, match="^f: expected values nested at most 20 deep"):
        require_shallow(wrap(value), "f")


@dataclass(frozen=True)
class Two:
    a: np.ndarray
    b: np.ndarray


@pytest.mark.parametrize(
    ("radius", "text"),
    [(0.0, "0"), (1 / 255, "1/255"), (1.0, "1"), (300 / 255, "300/255"), (1e308, "1e+308"), (float("nan"), "nan")],
)
def test_a_radius_of_steps_of_8_bits_is_said_as_such_and_any_other_number_as_a_number(radius: float, text: str) -> None:
    assert radius_text(radius) == text


def test_arrays_are_read_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.ones(2), b=np.zeros(3), c=np.ones(1))
    found = read_arrays(tmp_path / "x.npz", Two, writer="us")
    assert found.a.tolist() == [1, 1]
    assert found.b.tolist() == [0, 0, 0]
    np.savez(tmp_path / "x.npz", a=np.ones(2))
    with pytest.raises(BadRequest, match="expected the arrays of us, got none called b"):
        read_arrays(tmp_path / "x.npz", Two, writer="us")


def test_damage_is_said_with_the_file() -> None:
    assert str(damaged("f", expected="x", got=3)) == "f: expected x, got 3; damaged, or not written by cgro"
