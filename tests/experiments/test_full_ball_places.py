"""The places of the artifact `full-ball`: predicted phases as they were written down, and what is too near to judge."""

import pytest
from msgspec.structs import replace

from cgro.experiments import full_ball
from cgro.experiments.full_ball_places import CONTROLS, MAP, SHORT, SIZES, SMOKE, Place, places


def test_the_predictions_are_those_of_the_docstring() -> None:
    text = full_ball.__doc__ or ""
    for ratio, fit, clean in ((0.8, 1.36, 3.88), (0.9, 1.70, 3.45), (0.98, 1.85, 3.17)):
        place = Place(radius_ratio=ratio, noise_ratio=1.0)
        assert (round(place.fit, 2), round(place.clean, 2)) == (fit, clean)
        assert f"{fit:.2f}" in text
        assert f"{clean:.2f}" in text
    predicted = [place.predicted() for place in SIZES]
    at_100 = ["cgro", "clean_overfitting", "unfitted", "cgro", "cgro"]
    assert predicted == [*at_100, "unfitted", "cgro", "clean_overfitting"]
    assert {place.predicted() for place in MAP} == {"robust", "unfitted", "cgro", "clean_overfitting"}
    assert not [place for place in (*SIZES, *CONTROLS) if place.is_near]


@pytest.mark.parametrize("boundary", ["fit", "clean"])
def test_a_place_within_a_tenth_of_a_boundary_is_near(boundary: str) -> None:
    place = Place(radius_ratio=0.9, noise_ratio=1.0)
    limit = getattr(place, boundary)
    assert replace(place, noise_ratio=1.09 * limit).is_near
    assert replace(place, noise_ratio=0.91 * limit).is_near
    assert not replace(place, noise_ratio=1.11 * limit).is_near
    assert not replace(place, noise_ratio=0.89 * limit).is_near
    assert not replace(place, noise_ratio=limit, robust_weight=0.0).is_near
    below = replace(place, noise_ratio=0.99 * limit).predicted()
    above = replace(place, noise_ratio=1.01 * limit).predicted()
    assert (below, above) == {"fit": ("unfitted", "cgro"), "clean": ("cgro", "clean_overfitting")}[boundary]


def test_below_the_threshold_no_memory_is_needed_and_smoke_is_three_places() -> None:
    place = Place(radius_ratio=0.7, noise_ratio=0.2)
    assert (place.fit, place.predicted()) == (0.0, "robust")
    assert replace(place, radius_ratio=0.72).predicted() == "unfitted"
    assert [place.predicted() for place in SMOKE] == ["robust", "cgro", "unfitted"]
    assert places("smoke") == SMOKE
    assert places("cpu") == (*MAP, *SIZES, *CONTROLS, *SHORT)
    assert Place(radius_ratio=0.9, noise_ratio=3.0, n_train=60).words == "delta 0.9 alpha, noise 3 delta, N 60"
