"""Remedies are values that are checked, and read back what they say."""

from dataclasses import replace

import pytest

from cgro._check import BadRequest
from cgro.data.patches import PatchData
from cgro.dynamics import Setting
from cgro.dynamics.remedies import PLAIN, Remedy, box_of, check_covered, parse_remedy, require_weights


def test_words_and_text_are_inverse() -> None:
    for remedy in (Remedy(fresh=0.25, ema=0.99), Remedy(trades=2.0, inner="margin"), Remedy(mixed=0.7, share=0.25)):
        assert parse_remedy(remedy.words) == remedy
    assert parse_remedy("none") == PLAIN
    assert PLAIN.words == ""
    assert parse_remedy(" weight-decay=1e-3 ") == Remedy(weight_decay=1e-3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected one of fresh"),
        ("dropout=0.1", "expected one of fresh"),
        ("fresh", "name=value"),
        ("fresh=0.1,fresh=0.2", "each name once"),
        ("fresh=much", "fresh"),
        ("fresh=1.1", "fresh"),
        ("mixed=-0.1", "mixed"),
        ("fresh=0.6,mixed=0.6", "at most 1"),
        ("ema=1", "ema"),
        ("smoothing_clean=1", "smoothing_clean"),
        ("weight_decay=-1", "weight_decay"),
        ("half_life=nan", "half_life"),
        ("trades=1,inner=both", "inner"),
        ("trades=1,smoothing_clean=0.1", "beside it"),
        ("trades=1,half_life=10", "beside it"),
        ("share=0.3", "share: expected mixed above 0 beside it, got mixed=0; leave it out"),
        ("share=0.3,fresh=0.5", "share: expected mixed above 0"),
        ("mixed=0.7,share=0", "share: expected above 0 beside mixed, got 0; an empty box changes nothing"),
        ("inner=margin", "inner: expected trades above 0 beside it, got trades=0"),
        ("inner=margin,trades=0,weight_decay=1", "inner: expected trades above 0"),
    ],
)
def test_other_words_are_refused(text: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        parse_remedy(text)


def test_a_part_at_its_default_may_stand_alone() -> None:
    assert parse_remedy("share=0.5") == parse_remedy("inner=kl") == PLAIN


@pytest.mark.parametrize(
    ("text", "weight", "said"),
    [
        ("half_life=10", 0.0, "half_life in --remedy: expected a weight of the attacked loss, got robust weight 0"),
        ("smoothing_attacked=0.1", 0.0, "smoothing_attacked in --remedy: expected a weight of the attacked loss"),
        ("smoothing_clean=0.1", 1.0, "smoothing_clean in --remedy: expected a weight of the clean loss"),
        ("smoothing_clean=0.1,smoothing_attacked=0.1", 1.0, "smoothing_clean in --remedy"),
    ],
)
def test_a_part_that_acts_on_a_loss_without_weight_is_refused(text: str, weight: float, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        require_weights(parse_remedy(text), weight)


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("half_life=10", 1.0),
        ("smoothing_clean=0.1", 0.0),
        ("smoothing_attacked=0.1", 1.0),
        ("smoothing_clean=0.1,half_life=10", 1.0),
        ("smoothing_clean=0.1,smoothing_attacked=0.1", 0.5),
        ("trades=1", 0.0),
        ("weight_decay=1", 0.0),
    ],
)
def test_a_part_that_acts_is_taken(text: str, weight: float) -> None:
    require_weights(parse_remedy(text), weight)


def test_vectors_are_needed_where_noise_moves() -> None:
    assert Remedy(fresh=0.1).moves_noise
    assert Remedy(mixed=0.1).moves_noise
    assert not Remedy(weight_decay=1.0, trades=1.0, ema=0.9).moves_noise


@pytest.mark.parametrize(
    "setting",
    [
        Setting(activation="halves"),
        Setting(adversary="l2"),
        Setting(adversary="transfer"),
        Setting(PatchData(20, n_signals=2)),
        replace(Setting(), batch_size=5),
    ],
)
def test_settings_without_a_step_here_are_refused(setting: Setting) -> None:
    check_covered(Setting())
    with pytest.raises(BadRequest, match="with --remedy"):
        check_covered(setting)


def test_a_box_has_a_coordinate() -> None:
    """round(share d): below half of a coordinate it would change nothing."""
    setting = Setting()  # d = 100
    assert box_of(setting, Remedy(mixed=0.7, share=0.0051)) == 1
    assert box_of(setting, Remedy(mixed=0.7, share=1.0)) == 100
    for share in (0.004, 0.005):
        with pytest.raises(BadRequest, match=r"share: expected above 0.005, half of a coordinate of 100, got 0.00"):
            box_of(setting, Remedy(mixed=0.7, share=share))
    assert box_of(replace(setting, data=PatchData(400)), Remedy(mixed=0.7, share=0.004)) == 2


def test_numbers_of_another_type_are_kept_as_numbers() -> None:
    assert Remedy(fresh="1/4", ema="0.9") == Remedy(fresh=0.25, ema=0.9)  # type: ignore[arg-type]
