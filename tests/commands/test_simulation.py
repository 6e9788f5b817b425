"""Options of the simulator, and the setting that they describe."""

import pytest

from cgro.commands._simulation import Config, setting_of
from cgro.dynamics import PRESETS, theorem_radius_ratio


def test_scales_follow_the_dimension_unless_given():
    setting = setting_of(Config(patch_dim=400))
    assert setting.strength == pytest.approx(400**0.249)
    assert setting.radius_ratio == pytest.approx(theorem_radius_ratio(400))
    assert setting.lr == pytest.approx(0.3 / setting.strength**2)
    assert setting_of(Config(signal_strength=2.0, radius=3.0)).radius_ratio == 1.5
    assert setting_of(Config(preset="table2", patch_dim=50)).radius_ratio == PRESETS["table2"].radius_ratio
    assert setting_of(Config(preset="table2", robust_weight=0)).robust_weight == 0
    for name, preset in PRESETS.items():
        assert setting_of(Config(preset=name)) == preset
