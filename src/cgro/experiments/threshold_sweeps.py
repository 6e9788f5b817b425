"""Which simulations show the sample threshold: sweeps over N at several rho, dimensions and powers."""

import math
from collections.abc import Mapping

from cgro.jobs.plan import Job, Scale

RHOS = (0.06, 0.05, 0.042, 0.035, 0.03, 0.025)
"""Shares of the signal that the attack leaves, q = 3."""
DIM = 400
DIMS = (100, 1600, 6400, 25600)
"""Patch dimensions beside `DIM`, at the same alpha and |xi|, where only the overlap of noise patches differs."""
STRENGTH = DIM**0.249
SQUARED_PATCH = (DIM - 1) * (DIM**-0.509) ** 2
RHO_OF_DIMS = 0.03
HALF_OF_DIMS = 23
"""Predicted at this rho, for the grids of N only."""
FAR_RHOS = (0.05, 0.042, 0.035, 0.03, 0.025)
"""At the largest dimension, for the power of rho without overlap."""
POWERS: Mapping[float, tuple[float, ...]] = {
    2.0: (0.055, 0.045, 0.035),
    2.5: (0.055, 0.045, 0.035),
    4.0: (0.07, 0.06),
}
"""Power -> rho."""
STEPS_OF_POWER: Mapping[float, float] = {2.0: 60.0, 2.5: 15.0, 4.0: 9.0}
"""Steps times rho^q that suffice, twice the time of the race and more."""
FOURTH: Mapping[str, object] = {"init_std": 0.3 / STRENGTH, "lr": 0.06 / STRENGTH**2}
"""q = 4: a step below its stability limit, and a larger start, as N_c falls with v_0^(q-2)."""
STEPS = 6.0
"""The same for q = 3: the noise blows up before 2.2 / rho^3 (measured: 2 to 4.5)."""
LEARNED = 0.02
"""Training loss at which a run ends: all but 3% of the examples have been decided."""


def _sweep(scale: Scale, name: str, sizes: str, n_steps: float, **more: object) -> Job:
    """A sweep over N with eight filters: few, so that the largest N are affordable."""
    seeds = 2 if scale == "smoke" else 5
    settings: dict[str, object] = {
        "preset": "theorem",
        "n_filters": 8,
        "seeds": seeds,
        "n_steps": int(n_steps),
        "n_test": 2000,
        "loss_below": LEARNED,
        "sweep": f"n_train={sizes}:log",
        **more,
    }
    return Job(f"threshold-{name}", "dynamics", settings, 30.0)


def over_rho(scale: Scale) -> list[Job]:
    """Several rho, q = 3, d = 400.

    Args:
        scale: of the reproduction.

    Returns:
        Simulations, one per line of the artifact.
    """
    rhos = RHOS[:2] if scale == "smoke" else RHOS
    n_sizes = 4 if scale == "smoke" else 14
    found = []
    for rho in rhos:
        largest = round(3.3 * HALF_OF_DIMS * (RHO_OF_DIMS / rho) ** 3)
        settings = {"patch_dim": DIM, "radius_ratio": 1 - rho}
        found.append(_sweep(scale, f"rho-{rho:g}", f"1:{largest}:{n_sizes}", STEPS / rho**3, **settings))
    return found


def over_dim(scale: Scale) -> list[Job]:
    """Several dimensions at one rho.

    Args:
        scale: of the reproduction.

    Returns:
        Simulations, one per line of the artifact.
    """
    if scale == "smoke":
        return [_at_dim(scale, DIMS[0], 0.06, "2:10:3")]
    return [_at_dim(scale, dim, RHO_OF_DIMS, "9:80:9") for dim in DIMS]


def over_far_rho(scale: Scale) -> list[Job]:
    """Several rho at the largest dimension; the one at the rho of the dimensions is the same run.

    Args:
        scale: of the reproduction.

    Returns:
        Simulations, one per line of the artifact.
    """
    if scale == "smoke":
        return over_dim(scale)
    found = []
    for rho in FAR_RHOS:
        if rho == RHO_OF_DIMS:
            found.append(over_dim(scale)[-1])
            continue
        half = HALF_OF_DIMS * (RHO_OF_DIMS / rho) ** 3
        found.append(_at_dim(scale, DIMS[-1], rho, f"{half / 2.5:.0f}:{3 * half:.0f}:8"))
    return found


def _at_dim(scale: Scale, dim: int, rho: float, sizes: str) -> Job:
    """With alpha and |xi| of the other dimensions."""
    noise = math.sqrt(SQUARED_PATCH / (dim - 1))
    settings = {"patch_dim": dim, "signal_strength": STRENGTH, "noise_std": noise, "radius_ratio": 1 - rho}
    name = f"dim-{dim}" if rho == RHO_OF_DIMS else f"dim-{dim}-rho-{rho:g}"
    return _sweep(scale, name, sizes, STEPS / rho**3, **settings)


def over_power(scale: Scale) -> list[Job]:
    """Several powers and rho, d = 400.

    Args:
        scale: of the reproduction.

    Returns:
        Simulations, one per line of the artifact.
    """
    found = []
    for power, rhos in POWERS.items():
        if scale == "smoke":
            rhos = rhos[:1] if power == 2.5 else ()
        sizes = "2:12:3" if scale == "smoke" else "3:60:8"
        for rho in rhos:
            settings: dict[str, object] = {"patch_dim": DIM, "activation_power": power, "radius_ratio": 1 - rho}
            if power == 4:
                settings |= FOURTH
                sizes = "3:36:7"
            n_steps = STEPS_OF_POWER[power] / rho**power
            found.append(_sweep(scale, f"power-{power:g}-rho-{rho:g}", sizes, n_steps, **settings))
    return found


def theorem(scale: Scale) -> Job:
    """The preset, whose noise patches are dependent for N > d.

    Args:
        scale: of the reproduction.

    Returns:
        A simulation.
    """
    if scale == "smoke":
        return _sweep(scale, "theorem", "20:40:2", 2000)
    # Three seeds, as a step costs 4 N d m.
    return _sweep(scale, "theorem", "150:1200:4", 500_000, seeds=3)


def standard(scale: Scale) -> Job:
    """Standard training at the scales of the theorem, over many more steps than it needs.

    Args:
        scale: of the reproduction.

    Returns:
        A simulation.
    """
    steps = 2000 if scale == "smoke" else 100_000
    return _sweep(scale, "standard", "2:128:4", steps, patch_dim=DIM, robust_weight=0.0, loss_below=0.0)


def noisy(scale: Scale) -> Job:
    """Standard training with noise patches 20 times as long as the signal.

    Args:
        scale: of the reproduction.

    Returns:
        A simulation.
    """
    settings = {"patch_dim": DIM, "signal_strength": 1.0, "noise_std": 1.0, "init_std": 0.005, "lr": 0.001}
    return _sweep(scale, "noisy", "2:32:3", 30_000, robust_weight=0.0, **settings)
