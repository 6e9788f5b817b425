"""The simulator of docs/interactive in headless Chromium: its numbers are those of Python on the same seeds."""

import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.docs.interactive import DYNAMICS, chromium, with_scripts
from tools import interactive

from cgro.commands import dynamics as command
from cgro.commands._parser import parse
from cgro.data.patches import PatchData
from cgro.dynamics import (
    PRESETS,
    Setting,
    Simulation,
    detect_stages,
    extinction_ratio,
    final_signal,
    growth_end,
    plateau,
    sample_threshold,
    simulate,
    unseen_errors,
)
from cgro.dynamics.remedied import simulate_remedied
from cgro.dynamics.remedies import Remedy

CLOSE = 1e-9
RUN = """choice => {
  const run = new cgro.simulator.Run(cgro.setting.settingOf({...cgro.setting.DEFAULT, ...choice}));
  for (const _ of run.train()) ;
  const of = f => run.readings.map(f), found = cgro.stages.detect(run.readings);
  return {
    state: run.state, steps: of(r => r.step), U: of(r => r.signalLearned), u: of(r => r.signalComponent),
    margin: of(r => r.signalMargin), V: of(r => Array.from(r.noiseLearned)), loss: of(r => r.loss),
    errors: of(r => [r.cleanTrain, r.cleanTest, r.robustTrain, r.robustTest]),
    signal: of(r => Array.from(r.filterSignal)), noise: of(r => Array.from(r.filterNoise)), end: run.end,
    stages: [found.signalGrowthEnd.step, found.memorizationStart.step, found.memorizationEnd.step],
  };
}"""
ERRORS = ("clean_error/train", "clean_error/test", "robust_error/train", "robust_error/test")
COLUMNS = {"U": "signal_learned", "u": "signal_component", "margin": "signal_margin", "V": "noise_learned",
           "loss": "loss", "signal": "filter_signal", "noise": "filter_noise"}  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def tab(browser: Any) -> Any:
    return with_scripts(browser, DYNAMICS)


def difference(found: dict, run: Simulation) -> float:
    """The largest difference of any number of two runs, and of the steps at which stages end by their size."""
    assert found["steps"] == run.steps.tolist()
    worst = np.abs(np.array(found["errors"]) - np.stack([run[key][:, 0] for key in ERRORS], 1)).max()
    for key, name in COLUMNS.items():
        worst = max(worst, np.abs(np.array(found[key]) - run[name][:, 0]).max())
    (stages,) = detect_stages(run)
    for step, ended in zip(
        found["stages"], (stages.signal_growth_end, stages.memorization_start, stages.memorization_end), strict=True
    ):
        assert (step is None) == (ended.step is None), (step, ended)
        if ended.step is not None:
            worst = max(worst, abs(step - ended.step) / ended.step)
    end = unseen_errors(run)
    return max(worst, abs(found["end"]["clean"] - end["clean"][0]), abs(found["end"]["robust"] - end["robust"][0]))


# Random numbers


def test_the_tables_of_the_ziggurat_are_those_of_python() -> None:
    assert interactive.TARGET.read_text() == interactive.text()


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_the_numbers_of_torch(tab: Any, seed: int) -> None:
    script = """seed => {
      const g = new cgro.random.MersenneTwister(seed);
      const bits = [...g.integers(2, 700)], one = [...g.integers(1, 5)], normals = [...g.normals(1007)];
      return {bits, one, normals, after: [...g.integers(1000, 9)], uniform: Array.from({length: 9}, () => g.uniform())};
    }"""
    found = tab.evaluate(script, seed)
    generator = torch.Generator().manual_seed(seed)
    assert torch.randint(2, (700,), generator=generator).tolist() == found["bits"]
    assert torch.randint(1, (5,), generator=generator).tolist() == found["one"]
    normals = torch.randn(1007, generator=generator, dtype=torch.float64).numpy()
    # Logarithm, cosine and sine of two libraries: equal but for the last bits.
    np.testing.assert_allclose(found["normals"], normals, rtol=0, atol=2e-15)
    assert (found["normals"] == normals).mean() > 0.8
    assert torch.randint(1000, (9,), generator=generator).tolist() == found["after"]
    assert torch.rand(9, generator=generator, dtype=torch.float64).tolist() == found["uniform"]


@pytest.mark.parametrize("entropy", [(0, 0x7E57), (1, 0xF17A1), (2**32 - 1, 0xF5)])
def test_the_numbers_of_numpy(tab: Any, entropy: tuple[int, int]) -> None:
    script = """entropy => {
      const g = new cgro.random.Pcg64(entropy);
      const normals = [...g.normals(40000)], bits = [...g.bits(333)], uniform = Array.from({length: 9}, () => g.uniform());
      return {normals, bits, uniform, after: [...g.normals(5)]};
    }"""
    found = tab.evaluate(script, list(entropy))
    rng = np.random.default_rng(list(entropy))
    normals = rng.standard_normal(40_000)
    # Three in ten thousand are from the tail, by a logarithm.
    np.testing.assert_allclose(found["normals"], normals, rtol=4e-16, atol=0)
    assert (found["normals"] == normals).mean() > 0.999
    assert rng.integers(0, 2, 333).tolist() == found["bits"]
    assert rng.random(9).tolist() == found["uniform"]
    assert rng.standard_normal(5).tolist() == found["after"]


# Runs


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("seed", [0, 1])
def test_presets_step_by_step(tab: Any, preset: str, seed: int) -> None:
    found = tab.evaluate(RUN, {"preset": preset, "seed": seed, "nSteps": 600})
    run = simulate(PRESETS[preset], seeds=[seed], n_steps=600)
    assert len(run.steps) > 140
    assert difference(found, run) < CLOSE


@pytest.mark.parametrize("preset", ["theorem", "table2"])
def test_through_memorization(tab: Any, preset: str) -> None:
    """All three stages are found, at the same steps, and the end is what `cgro dynamics` reports."""
    setting = replace(PRESETS[preset], n_train=12, n_filters=16)
    found = tab.evaluate(RUN, {"preset": preset, "seed": 0, "nTrain": 12, "nFilters": 16})
    assert found["state"] == "done"
    assert None not in found["stages"]
    assert difference(found, simulate(setting, seeds=[0], n_steps=50_000)) < CLOSE


@pytest.mark.parametrize(
    ("choice", "changes"),
    [
        ({"power": 2, "nTrain": 9, "nFilters": 5}, {"activation_power": 2.0, "n_train": 9, "n_filters": 5}),
        ({"power": 2.5, "nTrain": 1, "nFilters": 7}, {"activation_power": 2.5, "n_train": 1, "n_filters": 7}),
        ({"power": 4, "lr": 0.005, "nFilters": 4}, {"activation_power": 4.0, "lr": 0.005, "n_filters": 4}),
        ({"nTrain": 61, "nFilters": 3, "patchDim": 30},  # more patches than twice the dimension: vectors
         {"n_train": 61, "n_filters": 3, "data": PatchData(30), "init_std": None, "lr": None,
          "radius_ratio": 1 - 1 / (30**0.5 * np.log(30))}),
        ({"radiusRatio": 0.5, "robustWeight": 1}, {"radius_ratio": 0.5, "robust_weight": 1.0}),
    ],
)  # fmt: skip
def test_other_settings(tab: Any, choice: dict, changes: dict) -> None:
    found = tab.evaluate(RUN, {**choice, "nSteps": 400, "seed": 5})
    assert difference(found, simulate(replace(PRESETS["theorem"], **changes), seeds=[5], n_steps=400)) < CLOSE


@pytest.mark.parametrize(
    ("choice", "changes"),
    [
        ({"radiusRatio": 2.4, "nFilters": 4}, {"radius_ratio": 2.4, "n_filters": 4}),
        ({"radiusRatio": 2.4, "nFilters": 96, "power": 2}, {"radius_ratio": 2.4, "n_filters": 96,
                                                            "activation_power": 2.0}),
        ({"radiusRatio": 1.95, "nFilters": 4}, {"radius_ratio": 1.95, "n_filters": 4}),
        ({"power": 2.5, "nFilters": 96}, {"activation_power": 2.5, "n_filters": 96}),  # a transient first
    ],
)  # fmt: skip
def test_whether_the_signal_is_learned_is_read_alike(tab: Any, choice: dict, changes: dict) -> None:
    found = tab.evaluate(RUN, {**choice, "nTrain": 4, "nSteps": 300})
    run = simulate(replace(PRESETS["theorem"], n_train=4, **changes), seeds=[0], n_steps=300)
    assert difference(found, run) < CLOSE
    assert (found["stages"][0] is None) == ("radius_ratio" in changes)


@pytest.mark.parametrize("fresh", [0.5, 1.0])
def test_fresh_noise(tab: Any, fresh: float) -> None:
    setting = replace(PRESETS["theorem"], n_train=8, n_filters=6)
    found = tab.evaluate(RUN, {"nTrain": 8, "nFilters": 6, "nSteps": 400, "fresh": fresh})
    assert difference(found, simulate_remedied(setting, Remedy(fresh=fresh), n_steps=400)) < CLOSE


def test_the_full_ball(tab: Any) -> None:
    """Every step runs an attack of ten gradient steps from four starts, through memorization."""
    data = PatchData(40, noise_std=1.0)
    setting = replace(PRESETS["theorem"], data=data, n_train=6, n_filters=6, adversary="l2", radius_ratio=0.9,
                      init_std=None, lr=0.0077)  # fmt: skip
    choice = {"patchDim": 40, "noiseStd": 1, "nTrain": 6, "nFilters": 6, "adversary": "l2", "radiusRatio": 0.9,
              "lr": 0.0077, "nSteps": 600}  # fmt: skip
    run = simulate(setting, n_steps=600)
    assert run.final("noise_learned").mean() > 1
    assert difference(tab.evaluate(RUN, choice), run) < CLOSE


def test_a_step_that_is_too_long_is_seen(tab: Any) -> None:
    found = tab.evaluate(RUN, {"nTrain": 5, "nFilters": 6, "lr": 0.9, "nSteps": 300})
    run = simulate(replace(PRESETS["theorem"], n_train=5, n_filters=6, lr=0.9), n_steps=300)
    assert found["state"] == run.outcomes[0].kind == "diverged"
    assert found["steps"][-1] == run.outcomes[0].step


@pytest.mark.parametrize(
    "fault",
    [
        ("simulator.js", "(1 - robustWeight) * sigmoidOfMinus(this.whole", "(1.000001 - robustWeight) * sigmoidOfMinus(this.whole"),
        ("simulator.js", "const ALONG_THE_WAY = 0x7e57", "const ALONG_THE_WAY = 0x7e58"),
        ("random.js", "Math.imul(1812433253, before) + i", "Math.imul(1812433255, before) + i"),
        ("setting.js", "const REFERENCE_LR = 0.3", "const REFERENCE_LR = 0.3000001"),
        ("stages.js", "below < rate.length && rate[below] >= rate[peak] / 2", "below < rate.length && rate[below] >= rate[peak] / 3"),
    ],
    ids=lambda fault: f"{fault[0]}: {fault[2][:24]}",
)  # fmt: skip
def test_one_changed_constant_is_found(browser: Any, fault: tuple[str, str, str]) -> None:
    tab = with_scripts(browser, DYNAMICS, fault)
    found = tab.evaluate(RUN, {"nTrain": 10, "nFilters": 8, "nSteps": 300})
    tab.close()
    run = simulate(replace(PRESETS["theorem"], n_train=10, n_filters=8), n_steps=300)
    assert difference(found, run) > 100 * CLOSE


# Predictions


def test_predictions(tab: Any) -> None:
    script = """choices => choices.map(choice => {
      const s = cgro.setting.settingOf({...cgro.setting.DEFAULT, ...choice}), t = cgro.theory;
      return [t.sampleThreshold(s), t.plateau(s), t.finalSignal(s), t.growthEnd(s, 0.05), t.extinctionRatio(s.robustWeight, s.power)];
    })"""
    choices, expected = [], []
    for ratio in (0.3, 0.9, 0.9783, 1.2, 1.6):
        for weight in (0.1, 0.5, 0.9):
            for power, filters in ((2.0, 8), (2.5, 48), (3.0, 8), (3.0, 48), (4.0, 8)):
                choices.append({"radiusRatio": ratio, "robustWeight": weight, "power": power, "nFilters": filters})
                setting = replace(PRESETS["theorem"], radius_ratio=ratio, robust_weight=weight, activation_power=power,
                                  n_filters=filters)  # fmt: skip
                expected.append(predictions(setting))
    for found, wanted in zip(tab.evaluate(script, choices), expected, strict=True):
        for k, (value, number) in enumerate(zip(found, wanted, strict=True)):
            if number is None:
                assert value is None
                continue
            # scipy's quadrature stops at 1.5e-8.
            assert value == pytest.approx(number, rel=3e-8 if k == 0 else CLOSE, abs=CLOSE)


def predictions(setting: Setting) -> list[float | None]:
    threshold = sample_threshold(setting)
    assert threshold is not None
    return [threshold.half, plateau(setting), final_signal(setting), growth_end(setting, 0.05),
            extinction_ratio(setting.robust_weight, setting.activation_power)]  # fmt: skip


def test_standard_training_and_the_full_ball_have_no_threshold(tab: Any) -> None:
    script = "choice => cgro.theory.sampleThreshold(cgro.setting.settingOf({...cgro.setting.DEFAULT, ...choice}))"
    assert tab.evaluate(script, {"preset": "control"}) is None
    assert tab.evaluate(script, {"adversary": "l2"}) is None


# Command and address


@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"preset": "table2", "seed": 7},
        {"preset": "control", "nSteps": 2000},
        {"patchDim": 400, "nTrain": 60, "nFilters": 8, "power": 2.5},
        {"radiusRatio": 0.25, "robustWeight": 0.03, "fresh": 0.5, "lr": 0.012},
        {"adversary": "l2", "radiusRatio": 0.9, "noiseStd": 0.626, "nFilters": 16, "lr": 0.0077, "nSteps": 4000},
    ],
)
def test_the_command_is_the_setting(tab: Any, choice: dict) -> None:
    script = """choice => {
      const whole = {...cgro.setting.DEFAULT, ...choice};
      const {choice: again, refused} = cgro.setting.read(cgro.setting.addressOf(whole));
      return [cgro.setting.settingOf(whole), cgro.setting.commandOf(whole), JSON.stringify(again) === JSON.stringify(whole) && !refused.length];
    }"""
    found, line, same = tab.evaluate(script, choice)
    assert same
    words = shlex.split(line)
    assert words[:2] == ["cgro", "dynamics"]
    config = parse("dynamics", command.__doc__ or "", command.Config, words[2:])
    setting = command.setting_of(config)
    assert (config.seed, config.n_steps) == (found["seed"], found["nSteps"])
    assert config.remedy == (f"fresh={choice['fresh']}" if "fresh" in choice else "")
    assert (setting.n_train, setting.n_filters, setting.adversary) == (
        found["nTrain"],
        found["nFilters"],
        found["adversary"],
    )
    names = {"strength": setting.strength, "noiseStd": setting.data.noise_std, "power": setting.activation_power,
             "initStd": setting.init_std, "radiusRatio": setting.radius_ratio, "robustWeight": setting.robust_weight,
             "lr": setting.lr, "patchDim": setting.data.patch_dim}  # fmt: skip
    for name, value in names.items():
        assert found[name] == pytest.approx(value, rel=1e-15), name


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", []),
        ("preset=<script>", ["preset"]),
        ("n-train=5000", ["n-train"]),
        ("n-train=1e99&seed=-1&lr=NaN&d=", ["n-train", "seed", "lr", "d"]),
        ("adversary=l2&fresh=1", ["fresh"]),
        ("n-steps=&n-filters=4.5&radius-ratio=3.5", ["n-steps", "n-filters", "radius-ratio"]),
        ("%%%&=&&", ["%%%", ""]),
    ],
)
def test_an_address_of_others_gives_the_default_and_what_was_not_taken_is_named(
    tab: Any, text: str, named: list[str]
) -> None:
    choice, refused = tab.evaluate("text => (r => [r.choice, r.refused])(cgro.setting.read(text))", text)
    assert {**choice, "adversary": "restricted"} == tab.evaluate("() => cgro.setting.DEFAULT")
    assert [sentence.partition(" (")[0].partition("=")[0] for sentence in refused] == named
    assert all("expects" in sentence or "unknown" in sentence or "along w*" in sentence for sentence in refused)
