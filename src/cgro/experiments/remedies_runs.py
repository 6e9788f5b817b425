"""Which simulations measure the remedies of Section 5, and what theory says of each before it is measured."""

import math
from dataclasses import dataclass

from cgro.data.patches import PatchData
from cgro.dynamics import Setting, theorem_radius_ratio
from cgro.dynamics.remedies import PLAIN, Remedy, parse_remedy
from cgro.dynamics.remedy_theory import remedied_threshold
from cgro.experiments.threshold_sweeps import SQUARED_PATCH, STRENGTH
from cgro.jobs.plan import Job, Scale

RHO = 0.035
"""Share of the signal that the attack leaves, in all sweeps over N."""
NEAR, FAR = 400, 25_600
"""Patch dimensions. Noise that moves needs vectors, and runs at the first; the second has hardly any overlap."""
LEARNED = 0.02
"""Training loss at which a run ends, as in `threshold`."""
SIZES = "1:100:12:log"
"""N over two decades, by a factor of about 1.5."""
FEWER = "1:66:11:log"
"""Where a run is long, or needs vectors."""
ABOUT = "1:43:10:log"
"""Up to three times the threshold of plain training: a step costs N^2 m."""
ABOUT_NEAR = "4:29:6:log"
"""The same with vectors, around the predicted threshold."""


@dataclass(frozen=True)
class Case:
    """A sweep over N under one remedy.

    Attributes:
        name: of its run.
        words: of tables and figures.
        remedy: as on the command line.
        patch_dim: d.
        n_steps: of training, at most.
        sizes: N.
    """

    name: str
    words: str
    remedy: str
    patch_dim: int = FAR
    n_steps: int = 200_000
    sizes: str = SIZES

    @property
    def setting(self) -> Setting:
        """What is trained, but for N."""
        return self.at(RHO)

    def at(self, rho: float) -> Setting:
        """The setting with another radius.

        Args:
            rho: 1 - delta / alpha.

        Returns:
            What would be trained, but for N.
        """
        noise = math.sqrt(SQUARED_PATCH / (self.patch_dim - 1))
        data = PatchData(self.patch_dim, signal_strength=STRENGTH, noise_std=noise)
        return Setting(data=data, n_filters=8, radius_ratio=1 - rho)

    @property
    def value(self) -> Remedy:
        """The remedy."""
        return parse_remedy(self.remedy)

    @property
    def predicted(self) -> float:
        """N_half under the remedy over N_half of plain training."""
        return remedied_threshold(self.setting, self.value) / remedied_threshold(self.setting, PLAIN)


PLAIN_FAR = Case("plain-far", "plain", "none")
PLAIN_NEAR = Case("plain-near", "plain", "none", NEAR, sizes=FEWER)
LONG = 300_000
"""Steps where the signal never wins: memorizing 66 examples takes about 200,000."""
SLOW = 2_000_000
"""Steps where the pull on the noise is a tenth of that of plain training."""
SMOOTH = "smoothing_clean=0.1,smoothing_attacked=0.1"
CASES = (
    Case("fresh-0.25", "fresh noise in 25% of the steps", "fresh=0.25", NEAR, sizes=FEWER),
    Case("fresh-0.5", "fresh noise in 50% of the steps", "fresh=0.5", NEAR, sizes=FEWER),
    Case("boxes-1-0.25", "same-class boxes, p = 1, share 1/4", "mixed=1,share=0.25", NEAR, sizes=ABOUT_NEAR),
    Case("boxes-0.7-0.5", "same-class boxes, p = 0.7, share 1/2", "mixed=0.7,share=0.5", NEAR, sizes=ABOUT_NEAR),
    Case("boxes-1-0.5", "same-class boxes, p = 1, share 1/2", "mixed=1,share=0.5", NEAR, sizes=FEWER),
    Case("decay-0.5", "weight decay, half the barrier", "weight_decay=0.0008", sizes=ABOUT),
    Case("decay-2", "weight decay, twice the barrier", "weight_decay=0.0032"),
    Case("decay-4", "weight decay, four times the barrier", "weight_decay=0.0064", sizes=ABOUT),
    Case("ema", "EMA, decay 0.999", "ema=0.999", sizes=ABOUT),
    Case("lambda-90000", "lambda halves in 90,000 steps", "half_life=90000", sizes=ABOUT),
    Case("lambda-22400", "lambda halves in 22,400 steps", "half_life=22400", sizes=ABOUT),
    Case("lambda-11200", "lambda halves in 11,200 steps", "half_life=11200", sizes=ABOUT),
    Case("smooth-attacked", "label smoothing 0.1, attacked half", "smoothing_attacked=0.1", sizes=ABOUT),
    Case("smooth-both", "label smoothing 0.1, both halves", SMOOTH, FAR, LONG, FEWER),
    Case("trades-0.05", "TRADES, beta 0.05", "trades=0.05", FAR, SLOW, ABOUT),
    Case("trades-1-margin", "TRADES, beta 1, least margin", "trades=1,inner=margin", FAR, LONG, "19:46:3:log"),
    Case("trades-1", "TRADES, beta 1", "trades=1", FAR, LONG, FEWER),
    Case("trades-6", "TRADES, beta 6", "trades=6", FAR, LONG, FEWER),
)
"""In the order of the page."""
BELOW = "4:19:4:log"
"""N that plain training memorizes at d = 400."""
BESIDE = (
    Case("decay-4-near", "weight decay, four times the barrier", "weight_decay=0.0064", NEAR, sizes=BELOW),
    Case("lambda-11200-near", "lambda halves in 11,200 steps", "half_life=11200", NEAR, sizes=BELOW),
    Case("smooth-both-near", "label smoothing 0.1, both halves", SMOOTH, NEAR, sizes=BELOW),
    Case("trades-1-near", "TRADES, beta 1", "trades=1", NEAR, sizes=BELOW),
)
"""At the dimension where memory is seen on test examples: at 25,600 rho sqrt(d) is 5.6, and the signal outweighs it."""
SMOKE = ("fresh-0.5", "decay-4", "trades-1")
"""Names of the cases at scale smoke."""


def plain_of(case: Case) -> Case:
    """The sweep without a remedy at the same dimension.

    Args:
        case: any.

    Returns:
        The sweep that its factor is relative to.
    """
    if case.patch_dim == NEAR:
        return PLAIN_NEAR
    return PLAIN_FAR


def cases(scale: Scale) -> tuple[Case, ...]:
    """The remedies that are measured by a sweep over N.

    Args:
        scale: of the reproduction.

    Returns:
        All of them; a few at scale smoke.
    """
    if scale == "smoke":
        return tuple(case for case in CASES if case.name in SMOKE)
    return CASES


def beside(scale: Scale) -> tuple[Case, ...]:
    """The sweeps in which test errors are read.

    Args:
        scale: of the reproduction.

    Returns:
        Those without noise that moves, at the smaller dimension.
    """
    if scale == "smoke":
        return ()
    return BESIDE


def sweep(scale: Scale, case: Case) -> Job:
    """Runs that differ in N.

    Args:
        scale: of the reproduction.
        case: remedy and dimension.

    Returns:
        A simulation.
    """
    setting = case.setting
    settings: dict[str, object] = {
        "preset": "theorem",
        "n_filters": setting.n_filters,
        "patch_dim": case.patch_dim,
        "signal_strength": STRENGTH,
        "noise_std": setting.data.noise_std,
        "radius_ratio": 1 - RHO,
        "remedy": case.remedy,
        "seeds": 2 if scale == "smoke" else 5,
        "n_steps": 1500 if scale == "smoke" else case.n_steps,
        "n_test": 2000,
        "loss_below": LEARNED,
        "sweep": f"n_train={'2:6:2:log' if scale == 'smoke' else case.sizes}",
    }
    return Job(f"remedies-{case.name}", "dynamics", settings, 60.0)


THEOREM_FILTERS = 16
"""Of the preset `theorem` in runs of one setting."""
STOPPED = (5, 10, 30, 90, 150, 300)
"""N of the runs in which the best step is looked for."""
BEFORE_LONG = 90
"""N from which on 100,000 steps do not show the end: the time to memorize one example grows with N."""
N_FRESH = 30
EMAS = (0.999, 0.9999)
STALLED = ("trades=1,inner=margin", "trades=1", SMOOTH, "weight_decay=0.0008")
"""Remedies under which the signal of the preset `theorem` stops on its way; the last is above its barrier there."""


def course(scale: Scale, n_train: int, remedy: str = "none") -> Job:
    """A run of the preset `theorem` along its way, at the theorem's own radius.

    Args:
        scale: of the reproduction.
        n_train: N.
        remedy: as on the command line.

    Returns:
        A simulation of all seeds.
    """
    settings: dict[str, object] = {
        "preset": "theorem",
        "n_filters": THEOREM_FILTERS,
        "n_train": n_train,
        "remedy": remedy,
        "seeds": 2 if scale == "smoke" else 5,
        "n_steps": 1000 if scale == "smoke" else _steps(n_train, remedy),
        "n_test": 2000,
    }
    name = f"remedies-theorem-{n_train}"
    if remedy != "none":
        name += "-" + remedy.replace("=", "-").replace(",", "-")
    return Job(name, "dynamics", settings, 30.0)


def _steps(n_train: int, remedy: str) -> int:
    """Of a course: to the end of memorization, until fresh noise has won, or until a stall has been seen."""
    if remedy in STALLED:
        return 30_000
    if n_train == N_FRESH:
        return 200_000
    if n_train > BEFORE_LONG:
        return 300_000
    return 100_000


def stopped_sizes(scale: Scale) -> tuple[int, ...]:
    """N of the runs in which the best step is looked for.

    Args:
        scale: of the reproduction.

    Returns:
        Several N.
    """
    if scale == "smoke":
        return (5, N_FRESH)
    return STOPPED


def theorem_setting(n_train: int) -> Setting:
    """The setting of `course`.

    Args:
        n_train: N.

    Returns:
        Preset `theorem` with 16 filters.
    """
    ratio = theorem_radius_ratio(Setting().data.patch_dim)
    return Setting(radius_ratio=ratio, n_filters=THEOREM_FILTERS, n_train=n_train)
