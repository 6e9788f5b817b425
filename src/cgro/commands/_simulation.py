"""Options of `cgro dynamics`, and the setting of Section 5 that they describe."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from cgro._check import bad, number, one_of
from cgro.commands._common import Output, Seeded, Spreading, option
from cgro.commands._effect import Effects, Only
from cgro.commands._sweep import DATA, MOST_TESTED, NUMBERS
from cgro.data.patches import PatchData
from cgro.dynamics import (
    CALIBRATED,
    PRESETS,
    LossBelow,
    Setting,
    StopRule,
    theorem_radius_ratio,
)
from cgro.dynamics.remedies import parse_remedy

TRAINING = (*NUMBERS, "activation", "adversary")


@dataclass(kw_only=True)
class Config(Output, Seeded, Spreading):
    """Options of `cgro dynamics`. A parameter left out is the preset's."""

    preset: str = option("theorem", "theorem, table2 (calibrated) or control")
    patch_dim: int | None = option(
        None, "d, coordinates of a patch; moves signal_strength, noise_std and lr along", low=1
    )
    n_patches: int | None = option(None, "P, patches of an example", low=1)
    signal_strength: float | None = option(None, "alpha; default d^0.249")
    noise_std: float | None = option(None, "sigma; default d^-0.509")
    n_signals: int | None = option(None, "K, orthogonal signal directions", low=1)
    n_train: int | None = option(None, "N, training examples", low=1)
    n_filters: int | None = option(None, "m, filters", low=1)
    activation_power: float | None = option(None, "q >= 2, power of the activation")
    activation: str | None = option(None, "odd: sign(z)|z|^q; halves: signed ReLU^q")
    init_std: float | None = option(None, "standard deviation of the initial filters; default 0.094 / alpha")
    radius: float | None = option(None, "delta, in units of the input")
    radius_ratio: float | None = option(None, "delta / alpha, instead of --radius")
    robust_weight: float | None = option(None, "lambda in [0, 1]; 0 is standard training")
    lr: float | None = option(None, "eta; default 0.3 / alpha^2")
    adversary: str | None = option(None, "restricted (along w*), transfer, l2 or linf (every patch, PGD)")
    batch_size: int | None = option(None, "examples per step; default all", low=1)
    full_ball: str | None = option(None, "also attack the final network on every patch: l2 or linf")
    remedy: str = option(
        "",
        "name=value pairs joined by commas: fresh, mixed, share, weight_decay, ema, half_life, smoothing_clean, "
        "smoothing_attacked, trades, inner; none: plain training with the columns of a remedy",
    )
    n_steps: int = option(50_000, "steps of gradient descent", low=1)
    loss_below: float = option(0.0, "stop when the training loss of all seeds is below this; 0: train to the last step")
    n_test: int = option(20_000, "unseen examples per seed for the final test errors", low=1)
    backend: str = option("auto", "direct, gram, law, or auto for the cheapest exact one")
    threads: int | None = option(None, "seeds at once; default: all cores", low=1)
    gif: bool = option(False, "also write the filters over time as figures/filters.gif")
    sweep: str = option("", "name=low:high:count[:log], one or two of them joined by a comma: a phase diagram")
    cells: str = option("", "of a sweep only these, counted from 0, such as 0:8; a part of a diagram, not drawn")

    HAS_EFFECT: ClassVar[Effects] = {
        "n_test": Only(
            f"at most {MOST_TESTED:,} beside --sweep, in a cell of which no more are measured",
            lambda c: not c.sweep or c.n_test <= MOST_TESTED,
            remedy="lower it, or leave it out",
        ),
        "robust_weight": Only(
            "no trades in --remedy, which has a weight of its own", lambda c: not _has_trades(c.remedy)
        ),
    }


def _has_trades(remedy: str) -> bool:
    return bool(remedy) and parse_remedy(remedy).trades > 0


def setting_of(config: Config) -> Setting:
    """The preset with the parameters that were given; scales that follow from d follow it.

    Args:
        config: the options; one that is None is the preset's.

    Returns:
        The setting.

    Raises:
        BadRequest: an unknown preset, both radii, a value out of range.
    """
    base = PRESETS[one_of(config.preset, "--preset", PRESETS)]
    data = PatchData(**{"patch_dim": base.data.patch_dim, **_given(config, DATA)})
    training = _given(config, TRAINING)
    if config.radius is not None:
        if "radius_ratio" in training:
            raise bad("--radius", expected="one of --radius and --radius-ratio", got="both")
        training["radius_ratio"] = number(config.radius, "--radius", low=0.0) / data.signal_strength
    elif config.patch_dim is not None and config.preset not in CALIBRATED:
        training.setdefault("radius_ratio", theorem_radius_ratio(data.patch_dim))
    training = {"lr": None, "init_std": None, **training}
    return replace(base, data=data, **training)


def _given(config: Config, names: Sequence[str]) -> dict[str, Any]:
    """The options that have a value."""
    values = {name: getattr(config, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def stop_rule(config: Config) -> StopRule:
    """When a simulation ends before its last step.

    Args:
        config: the options.

    Returns:
        No loss is below 0, so that the default trains to the last step.
    """
    return LossBelow(config.loss_below)
