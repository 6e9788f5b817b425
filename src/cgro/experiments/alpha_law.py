"""The finite-size law of the signal learned: what U = Theta(alpha^-q) of Theorem 5.9 hides in runs of finite length."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from cgro.data.patches import PatchData
from cgro.dynamics import Setting, sample_threshold, signal_exponent
from cgro.experiments import findings
from cgro.experiments.claims import Claim, Statement, value
from cgro.experiments.findings import Part
from cgro.experiments.tables import Table
from cgro.jobs.plan import Job, Scale
from cgro.jobs.workspace import Workspace
from cgro.report.alpha_law import Growth, alpha_law_figure
from cgro.report.markdown import cell
from cgro.results import Measured

NAME = "alpha-law"
TITLE = "The finite-size law of the signal learned (Theorem 5.9, made exact)"
NEEDS_TRAINING = False
CAPTIONS = {
    "alpha_law": "alpha^q U against alpha at radius = alpha. Points: mean over seeds. Lines: the slope predicted from "
    "the mean alone, by activation power q, for filters that start as 1/alpha and for fixed ones.",
}
OURS = (
    "not in the paper, which says Theta(alpha^-q): our derivation, stated before it was measured, asymptotic in M = "
    "alpha^q U; the only number that it takes from the runs is M"
)
Start = Literal["scaled", "fixed"]
STARTS: dict[Start, str] = {"scaled": "init_std = 0.094 / alpha", "fixed": "init_std fixed"}
POWERS = (2.0, 3.0, 4.0)
FIXED_STD = {2.0: 0.03, 3.0: 0.03, 4.0: 0.06}
"""Per power: the time to memorization grows like v_0^-2 for q = 4."""
N_STEPS = {2.0: 200_000, 3.0: 1_000_000, 4.0: 3_000_000}
"""More than are needed: a run ends once its noise is memorized."""
N_TRAIN = 20
N_FILTERS = 16
LARGEST = {2.0: 6.0, 3.0: 6.0, 4.0: 3.0}
"""Of alpha; the time to memorization grows like alpha^4 for q = 4 and filters that start as 1/alpha."""
LARGEST_BEYOND = 4.0
"""Of alpha above the signal strength, where all noise must be memorized before the signal settles."""
LR_OF_FOURTH = 0.00375
"""q = 4: below the stability limit at every alpha. Gradient flow does not depend on it."""
RESOLUTION = 0.02
"""Terms of order 1/M^2, which the slope leaves out, at M = 9 to 18. A choice."""


class Paper(Part, frozen=True, kw_only=True):
    """What the derivation says.

    Attributes:
        scaled: e in init_std ~ alpha^-e of filters that start as 1/alpha.
        fixed: of filters with a fixed start.
        beyond: slope over -q above the signal strength.
    """

    scaled: float = 1.0
    fixed: float = 0.0
    beyond: float = 1.0

    def exponent(self, start: Start) -> float:
        """One of the two.

        Args:
            start: of the filters.

        Returns:
            e.
        """
        if start == "scaled":
            return self.scaled
        return self.fixed


PAPER = Paper()


class Sweep(Part, frozen=True, kw_only=True):
    """Runs that differ in alpha, and in the start of the filters if that follows it.

    Attributes:
        power: q.
        start: of the filters.
        beyond: whether the radius is above the signal strength (preset table2), not at it.
        strengths: alpha, increasing.
        learned: U at the end, per alpha one number per seed.
        noise_start: v_0, median over examples, at the geometric mean of alpha.
    """

    power: float
    start: Start
    beyond: bool
    strengths: list[float]
    learned: list[list[float]]
    noise_start: float

    @property
    def slopes(self) -> list[float]:
        """Slope of log U on log alpha, per seed."""
        return np.polyfit(np.log(self.strengths), np.log(self.learned), 1)[0].tolist()

    @property
    def margins(self) -> np.ndarray:
        """(alphas, seeds) alpha^q U."""
        return np.array(self.strengths)[:, None] ** self.power * np.array(self.learned)

    def predicted(self, paper: Paper) -> float:
        """The slope by the derivation.

        Args:
            paper: with e.

        Returns:
            It.
        """
        if self.beyond:
            return -self.power * paper.beyond
        mean = float(self.margins.mean())
        exponent = paper.exponent(self.start)
        return signal_exponent(self.power, mean, init_exponent=exponent, noise_start=self.noise_start)

    @property
    def key(self) -> str:
        """Of its claim."""
        place = "beyond" if self.beyond else f"q{self.power:g}"
        return f"{place}_{self.start}"


class Findings(findings.Findings, frozen=True, kw_only=True):
    """A sweep per power and start at radius = alpha, and two above it."""

    sweeps: list[Sweep]


def _job(scale: Scale, power: float, start: Start, *, beyond: bool = False) -> Job:
    """Alphas in one sweep, until noise is memorized; above the signal strength until the signal has settled."""
    n_alphas, seeds = (2, 2) if scale == "smoke" else (4, 5)
    largest = LARGEST[power]
    if beyond:
        largest = LARGEST_BEYOND
    if scale == "smoke":
        largest = 2.5
    settings: dict[str, object] = {
        "preset": "table2" if beyond else "theorem",
        "n_train": N_TRAIN,
        "n_filters": N_FILTERS,
        "activation_power": power,
        "seeds": seeds,
        "n_steps": N_STEPS[power],
        "n_test": 2,
        "loss_below": 0.02,
        "sweep": f"signal_strength=2:{largest:g}:{n_alphas}:log",
    }
    if beyond:
        settings |= {"n_steps": 40_000 if scale == "smoke" else 400_000, "loss_below": 0.0}
    else:
        settings |= {"radius_ratio": 1.0}
    if start == "fixed":
        settings |= {"init_std": FIXED_STD[power]}
    if power == 4:
        settings |= {"lr": LR_OF_FOURTH, "seeds": min(seeds, 3)}
    place = "beyond" if beyond else f"q{power:g}"
    return Job(f"alpha-law-{place}-{start}", "dynamics", settings, 30.0)


def _planned(scale: Scale) -> list[tuple[float, Start, bool]]:
    powers = POWERS[:2] if scale == "smoke" else POWERS
    planned: list[tuple[float, Start, bool]] = []
    for power in powers:
        for start in STARTS:
            planned.append((power, start, False))
    for start in STARTS:
        planned.append((3.0, start, True))
    return planned


def jobs(scale: Scale) -> list[Job]:
    """A sweep over alpha per power and start, and two above the signal strength.

    Args:
        scale: of the reproduction.

    Returns:
        Simulations.
    """
    return [_job(scale, power, start, beyond=beyond) for power, start, beyond in _planned(scale)]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row of metrics.jsonl of a sweep over alpha."""

    signal_strength: float
    signal_learned: list[float]


def run(scale: Scale, workspace: Workspace) -> Findings:
    """Read what was learned of the signal.

    Args:
        scale: of the reproduction.
        workspace: where the runs are found.

    Returns:
        The findings.
    """
    sweeps = []
    for power, start, beyond in _planned(scale):
        rows = workspace.read(_job(scale, power, start, beyond=beyond)).rows_as(Row)
        strengths, learned = [], []
        for row in rows:
            strengths.append(row.signal_strength)
            learned.append(row.signal_learned)
        noise_start = _noise_start(power, start, strengths)
        found = Sweep(
            power=power, start=start, beyond=beyond, strengths=strengths, learned=learned, noise_start=noise_start
        )
        sweeps.append(found)
    return Findings(scale=scale, sweeps=sweeps)


def _noise_start(power: float, start: Start, strengths: Sequence[float]) -> float:
    """v_0 at the geometric mean of alpha."""
    mean = float(np.exp(np.mean(np.log(strengths))))
    setting = Setting(PatchData(100, signal_strength=mean), n_filters=N_FILTERS)
    if start == "fixed":
        setting = replace(setting, init_std=FIXED_STD[power])
    threshold = sample_threshold(setting)
    assert threshold is not None, "the odd form against the restricted adversary"
    return threshold.noise


def check(findings: Findings, paper: Paper = PAPER) -> list[Claim]:
    """Predicted beside measured slope of every sweep.

    Args:
        findings: of `run`, or stored.
        paper: what is predicted.

    Returns:
        A claim per sweep.
    """
    return [_judged(sweep, paper) for sweep in findings.sweeps]


def _judged(sweep: Sweep, paper: Paper) -> Claim:
    q = sweep.power
    words = f"slope of log U on log alpha at radius = alpha, q = {q:g}, {STARTS[sweep.start]}: -q + k / (M - 2 + 2/q)"
    if sweep.beyond:
        words = f"above the signal strength (preset table2) the slope is -q whatever the start: {STARTS[sweep.start]}"
    said = Statement(f"alpha-law/{sweep.key}", words, why=OURS)
    predicted = round(sweep.predicted(paper), 4)
    return value(said, predicted, Measured.of(sweep.slopes), unit="", resolution=RESOLUTION)


def tables(findings: Findings) -> list[Table]:
    """Predicted beside measured.

    Args:
        findings: of `run`, or stored.

    Returns:
        One table.
    """
    caption = f"Slope of log U on log alpha, d = 100, N = {N_TRAIN}; M is the mean of alpha^q U."
    columns = ["q", "radius", "start", "alpha", "seeds", "M", "predicted", "measured, mean (sd)"]
    table = Table("slopes", caption, columns)
    for sweep in findings.sweeps:
        table.add(
            f"{sweep.power:g}",
            "1.587 alpha" if sweep.beyond else "alpha",
            STARTS[sweep.start],
            f"{sweep.strengths[0]:g} to {sweep.strengths[-1]:g}",
            len(sweep.slopes),
            f"{sweep.margins.mean():.2f}",
            f"{sweep.predicted(PAPER):.3f}",
            cell(sweep.slopes, 3),
        )
    return [table]


def draw(findings: Findings, folder: Path, workspace: Workspace) -> None:
    """Margins against alpha, with the predicted slopes.

    Args:
        findings: of `run`, or stored.
        folder: where the figure goes.
        workspace: not needed.
    """
    growths = []
    for sweep in findings.sweeps:
        if not sweep.beyond:
            slope = sweep.power + sweep.predicted(PAPER)
            growths.append(Growth(sweep.power, STARTS[sweep.start], sweep.strengths, sweep.margins, slope))
    alpha_law_figure(folder / "alpha_law", growths)
