"""Settings: what is refused, defaults, plain values, and that every parameter has an effect."""

import math
from dataclasses import replace

import pytest
from tests.dynamics.cases import EASY

from cgro._check import BadRequest
from cgro.data.patches import PatchData
from cgro.dynamics import CALIBRATED, PRESETS, Setting, simulate, theorem_radius_ratio
from cgro.dynamics.spaces import gram


@pytest.mark.parametrize(
    "change",
    [
        {"data": PatchData(30, 3)}, {"data": PatchData(30, n_signals=2)}, {"data": PatchData(30, balanced=True)},
        {"data": PatchData(30, noise_std=0.5)}, {"data": PatchData(30, signal_strength=2.0)}, {"n_train": 7},
        {"n_filters": 10}, {"activation_power": 2.0}, {"activation": "halves"}, {"init_std": 0.11}, {"radius_ratio":
        0.9}, {"robust_weight": 0.4}, {"lr": 0.05}, {"adversary": "l2"}, {"batch_size": 3},
    ],
)  # fmt: skip
def test_every_parameter_has_an_effect(change):
    runs = [simulate(s, seeds=[0], n_steps=60, n_test=5, n_records=4) for s in (EASY, replace(EASY, **change))]
    assert runs[0].final("loss")[0] != runs[1].final("loss")[0]


def test_transfer_differs_only_where_the_signal_is_negative():
    runs = {}
    for adversary in ("restricted", "transfer"):
        setting = replace(EASY, adversary=adversary)
        batch = gram(setting, range(40))
        negative = batch.rule.class_signal(batch.u)[:, 0, 0] < 0
        batch.advance(1, compiled=False)
        runs[adversary] = batch.u
    same = (runs["restricted"] == runs["transfer"]).all((1, 2))
    assert negative.any()
    assert (same == ~negative).all()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"n_train": 0}, "n_train"),
        ({"activation_power": 1.9}, "activation_power"),
        ({"radius_ratio": -0.1}, "radius_ratio"),
        ({"robust_weight": 1.1}, "robust_weight"),
        ({"robust_weight": float("nan")}, "robust_weight"),
        ({"lr": 0.0}, "lr"),
        ({"lr": -1.0}, "lr"),
        ({"init_std": 0.0}, "saddle"),
        ({"batch_size": 31}, "batch_size"),
        ({"adversary": "nobody"}, "adversary"),
        ({"activation": "halves", "n_filters": 5}, "even"),
    ],
)
def test_bad_input_is_one_line(change, word):
    with pytest.raises(BadRequest, match=word) as caught:
        Setting(**change)
    assert "\n" not in str(caught.value)


def test_scales_follow_the_signal():
    """init_std alpha and eta alpha^2 are the same for every alpha unless they are given."""
    weak, strong = (Setting(PatchData(100, signal_strength=a)) for a in (1.0, 4.0))
    assert weak.init_std == pytest.approx(4 * strong.init_std)
    assert weak.lr == pytest.approx(16 * strong.lr)
    assert Setting(lr=0.02, init_std=0.1).lr == 0.02
    assert Setting(radius_ratio=0.5).radius == pytest.approx(0.5 * 100**0.249)
    assert Setting(PatchData(100, 4), n_train=5).n_noise == 15


def test_only_table2_is_calibrated_and_it_alone_lies_outside_the_theorem():
    assert {"table2"} == CALIBRATED
    assert PRESETS["theorem"].radius_ratio == theorem_radius_ratio(100) == 1 - 1 / (10 * math.log(100))
    assert PRESETS["control"] == replace(PRESETS["theorem"], robust_weight=0.0)
    assert [name for name, setting in PRESETS.items() if setting.radius_ratio > 1] == ["table2"]


def test_numbers_of_another_type_are_kept_as_numbers():
    """A float that is a whole number and text such as 9/10 are taken, and stored as what the code computes with."""
    given = Setting(
        PatchData(10.0, 3.0, n_signals=2.0, signal_position=1.0), n_train=3.0, n_filters=4.0, activation_power="3",
        radius_ratio="9/10", robust_weight="0.5", batch_size=2.0, attack_steps=5.0,
    )  # fmt: skip
    meant = Setting(
        PatchData(10, 3, n_signals=2, signal_position=1), n_train=3, n_filters=4, activation_power=3.0,
        radius_ratio=0.9, robust_weight=0.5, batch_size=2, attack_steps=5,
    )  # fmt: skip
    assert given.to_dict() == meant.to_dict()
    assert type(given.data.patch_dim) is type(given.n_train) is type(given.batch_size) is int
    short = {"n_steps": 3.0, "n_test": 5.0, "n_records": 2.0, "threads": 1.0}
    runs = [simulate(setting, **short) for setting in (given, meant)]
    assert runs[0].final("loss") == runs[1].final("loss")


def test_the_radius_of_the_theorem_needs_two_coordinates():
    assert theorem_radius_ratio(2) < 0 < theorem_radius_ratio(3)
    with pytest.raises(BadRequest, match="patch_dim: expected an integer >= 2, got 1"):
        theorem_radius_ratio(1)
