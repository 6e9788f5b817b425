"""The windows of Square: their area and sides."""

from cgro.definitions.attacks.windows import window_area, window_sides


def test_areas_and_sides() -> None:
    assert [window_area(query, 0.8) for query in (10, 11, 8001)] == [0.8, 0.4, 0.8 / 2**9]
    assert window_sides(1e-9, 28, 28) == (1, 1)
    assert window_sides(0.25, 28, 28) == (14, 14)
