"""The sample threshold of CGRO in Section 5, not in the paper: with more data the noise is not memorized."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

from cgro.data.patches import PatchData
from cgro.dynamics import Setting, lone_example_error
from cgro.experiments import findings
from cgro.experiments import threshold_sweeps as sweeps
from cgro.experiments.claims import MIN_SEEDS, Claim, Statement, above, holds, untested, value
from cgro.experiments.findings import Part
from cgro.experiments.seeds import percent, rises
from cgro.experiments.tables import Table
from cgro.experiments.transitions import Line, line_of, lines_of
from cgro.jobs.plan import Job, Scale, unique
from cgro.jobs.workspace import Workspace
from cgro.report.markdown import cell as cell_of
from cgro.report.threshold import Transition, threshold_figure
from cgro.results import Measured

NAME = "threshold"
TITLE = "The sample threshold of CGRO (beyond the paper)"
NEEDS_TRAINING = False
CAPTIONS = {
    "threshold": "Left: robust test error over the number of training examples N and the share rho of the signal that "
    "the attack leaves; above the predicted line the network does not memorize and is robust. Middle: share of the "
    "examples that are memorized against N over its predicted half, by dimension d; bands: range of seeds. Right: "
    "measured over predicted half against the overlap of noise patches, which the prediction leaves out.",
}
OURS = "not in the paper: our derivation, predicted before it was measured; nothing is fitted"
BEYOND = 3.0
"""N over the predicted half from which on nothing should be memorized. A choice."""
MIN_RHOS = 3
"""Points of a line that a slope is fitted to, at least."""


class Paper(Part, frozen=True, kw_only=True):
    """What the derivation predicts; see `cgro.dynamics.threshold`.

    Attributes:
        slope: of log N_half on log rho, q = 3: -q up to the logarithm in s_I.
        ratio: measured over predicted N_half where noise patches hardly overlap, d = 25,600.
        largest_ratio: the same at d = 400, where the overlap helps memorization; a prototype had 1.2 to 1.5.
        half: robust test error of the preset `theorem` below the threshold, in percent.
        robust: and above it.
        lone: robust test error at N = 1 minus its formula, in points.
    """

    slope: float = -3.0
    ratio: float = 1.0
    largest_ratio: float = 1.7
    half: float = 50.0
    robust: float = 0.0
    lone: float = 0.0


PAPER = Paper()
SLOPE_RESOLUTION = 0.2
"""The power -q leaves out s_I ~ (ln rho^-q)^(1/q) and the overlap; a choice."""
LONE_RESOLUTION = 1.5
"""Points: 2,000 unseen examples per seed, and the start of the filters; a choice."""
RATIO_RESOLUTION = 0.1
"""A grid of N with a factor of 1.3, and filters beyond the largest; a choice."""


class Findings(findings.Findings, frozen=True, kw_only=True):
    """All lines.

    Attributes:
        rhos: over rho, q = 3, d = 400.
        far: over rho, q = 3, d = 25,600.
        dims: over d.
        powers: over q and rho, d = 400.
        theorem: preset `theorem` with eight filters.
        standard: lambda = 0 at the scales of the theorem.
        noisy: lambda = 0 with noise patches 20 times as long as the signal, outside the bound.
    """

    rhos: list[Line]
    far: list[Line]
    dims: list[Line]
    powers: list[Line]
    theorem: Line
    standard: Line
    noisy: Line


def jobs(scale: Scale) -> list[Job]:
    """Sweeps over N, one per rho, dimension and power; the preset; standard training.

    Args:
        scale: of the reproduction.

    Returns:
        Simulations.
    """
    lines = [
        *sweeps.over_rho(scale),
        *unique([*sweeps.over_dim(scale), *sweeps.over_far_rho(scale)]),
        *sweeps.over_power(scale),
    ]
    return [*lines, sweeps.theorem(scale), sweeps.standard(scale), sweeps.noisy(scale)]


def run(scale: Scale, workspace: Workspace) -> Findings:
    """Read what was memorized by N.

    Args:
        scale: of the reproduction.
        workspace: where the runs are found.

    Returns:
        The findings.
    """
    return Findings(
        scale=scale,
        rhos=lines_of(sweeps.over_rho(scale), workspace),
        far=lines_of(sweeps.over_far_rho(scale), workspace),
        dims=lines_of(sweeps.over_dim(scale), workspace),
        powers=lines_of(sweeps.over_power(scale), workspace),
        theorem=line_of(sweeps.theorem(scale), workspace),
        standard=line_of(sweeps.standard(scale), workspace),
        noisy=line_of(sweeps.noisy(scale), workspace),
    )


def check(findings: Findings, paper: Paper = PAPER) -> list[Claim]:
    """Power of rho, place, its limit without overlap, both sides of the threshold, and standard training.

    Args:
        findings: of `run`, or stored.
        paper: what is predicted.

    Returns:
        Ten claims.
    """
    return [
        value(
            _said(
                "slope",
                "N_half, the N at which half is memorized, falls like rho^-q (q = 3, d = 25,600)",
            ),
            paper.slope,
            Measured.of(_slopes(findings.far)),
            unit="",
            resolution=SLOPE_RESOLUTION,
        ),
        value(
            _said("place", "where noise patches hardly overlap (d = 25,600), N_half is the predicted one: their ratio"),
            paper.ratio,
            Measured.of(findings.dims[-1].ratios),
            unit="",
            resolution=RATIO_RESOLUTION,
        ),
        _of_all([*findings.rhos, *findings.powers], paper),
        above(
            _said("overlap", "overlap of noise patches helps memorization: ratio at the least d minus at the largest"),
            Measured.of(_differences(findings.dims[-1], findings.dims[0])),
            unit="",
        ),
        *_sides(findings.theorem, paper),
        _beyond(findings.rhos),
        _lower_end(findings.rhos[-1]),
        value(
            _said("lone", "robust test error at N = 1, any rho, minus Phi(-rho sqrt(d) (M / V)^(1/q))"),
            paper.lone,
            Measured.of(_beside_lone(findings.rhos)),
            unit=" points",
            resolution=LONE_RESOLUTION,
        ),
        _standard_training(findings.standard, findings.noisy),
    ]


def _said(key: str, words: str, paper: str = "predicted") -> Statement:
    return Statement(f"threshold/{key}", words, paper=paper, why=OURS)


def _slopes(lines: Sequence[Line]) -> list[float]:
    """Slope of log N_half on log rho, one per seed that shows N_half at three rho or more."""
    found = []
    for halves in zip(*(line.halves for line in lines), strict=True):
        known = [(line.rho, half) for line, half in zip(lines, halves, strict=True) if half is not None]
        if len(known) >= MIN_RHOS:
            rhos, sizes = np.log(known).T
            found.append(float(np.polyfit(rhos, sizes, 1)[0]))
    return found


def _differences(first: Line, last: Line) -> list[float | None]:
    """By how much the ratio of measured to predicted is larger on the second, per seed that shows both."""
    assert first.half is not None, "lines with a threshold"
    assert last.half is not None, "lines with a threshold"
    found: list[float | None] = []
    for one, other in zip(first.halves, last.halves, strict=True):
        if one is not None and other is not None:
            found.append(other / last.half - one / first.half)
    return found


def _of_all(lines: Sequence[Line], paper: Paper) -> Claim:
    low, high = paper.ratio - RATIO_RESOLUTION, paper.largest_ratio
    said = _said("everywhere", f"measured over predicted N_half at d = 400, any q and rho: {low:g} to {high:g}")
    means, checks = [], {}
    for line in lines:
        ratio = Measured.of(line.ratios)
        if ratio.n < MIN_SEEDS:
            return untested(said, ours="too few seeds")
        means.append(ratio.mean)
        checks[f"q = {line.power:g}, rho = {line.rho:g}"] = low <= ratio.mean <= high
    ours = f"{min(means):.2f} to {max(means):.2f} in {len(means)} settings"
    return holds(said, checks, ours=ours, rule="mean over seeds of each setting")


def _sides(theorem: Line, paper: Paper) -> list[Claim]:
    below_it, above_it = theorem.cells[0], theorem.cells[-1]
    return [
        value(
            _said("theorem_below", f"the preset theorem with N = {below_it.n}: robust test error"),
            paper.half,
            Measured.of(percent(below_it.robust_test)),
            resolution=2.0,
        ),
        value(
            _said("theorem_above", f"the same with N = {above_it.n}, above the threshold: robust test error"),
            paper.robust,
            Measured.of(percent(above_it.robust_test)),
            resolution=1.0,
        ),
    ]


def _beyond(lines: Sequence[Line]) -> Claim:
    robust = {}
    for line in lines:
        for cell in line.cells:
            if line.half is not None and cell.n >= BEYOND * line.half:
                robust[f"rho = {line.rho:g}, N = {cell.n}"] = median(cell.robust_test) < 0.01
    return holds(
        _said("beyond", f"at {BEYOND:g} times the predicted N_half and above adversarial training is robust"),
        robust,
        ours=f"{sum(robust.values())} of {len(robust)} settings",
        rule="robust test error of the median seed below 1% in each",
    )


def _lower_end(line: Line) -> Claim:
    """At the least rho: the error at N = 2 against that at half of N_half."""
    assert line.half is not None, "a line with a threshold"
    few = min(line.cells, key=lambda cell: abs(cell.n - 2))
    many = min(line.cells, key=lambda cell: abs(cell.n - 0.5 * (line.half or 0)))
    return above(
        _said(
            "lower_end",
            f"the window has a lower end: robust test error at N = {many.n} minus that at N = {few.n} "
            f"(rho = {line.rho:g}), since few memorized examples add less noise than the attacked signal",
        ),
        Measured.of(rises(percent(few.robust_test), percent(many.robust_test))),
    )


def _beside_lone(lines: Sequence[Line]) -> list[float]:
    """Measured minus predicted robust test error at N = 1 in points, per seed the mean over lines."""
    differences = []
    for line in lines:
        cell = line.cells[0]
        setting = Setting(PatchData(line.patch_dim), activation_power=line.power, radius_ratio=1 - line.rho)
        of_line = []
        for error, margin, noise in zip(cell.robust_test, cell.signal_margin, cell.noise_learned, strict=True):
            of_line.append(100 * (error - lone_example_error(setting, margin, noise)))
        differences.append(of_line)
    return np.mean(differences, axis=0).tolist()


def _standard_training(standard: Line, noisy: Line) -> Claim:
    checks = {}
    for cell in standard.cells:
        within = [
            limit is not None and noise <= limit for noise, limit in zip(cell.noise, cell.noise_limit, strict=True)
        ]
        checks[f"N = {cell.n}: within the bound"] = all(within) and not any(cell.memorized)
    for cell in noisy.cells:
        outside = all(limit is None for limit in cell.noise_limit)
        checks[f"N = {cell.n}, noise 20 times the signal: no bound, memorized"] = outside and min(cell.memorized) > 0.5
    largest = max(max(cell.noise) for cell in standard.cells)
    return holds(
        _said("standard", "standard training never memorizes where the bound on noise holds, and may elsewhere"),
        checks,
        ours=f"largest noise activation {largest:.3f} at the scales of the theorem, 1 is memorized",
        rule="every seed below its bound of all times; without a bound more than half memorized",
    )


def tables(findings: Findings) -> list[Table]:
    """Predicted beside measured N_half, and the preset theorem by N.

    Args:
        findings: of `run`, or stored.

    Returns:
        Two tables.
    """
    caption = "N at which half of the examples are memorized; alpha = 400^0.249 and |xi|^2 = 0.90 in all rows."
    columns = ["q", "d", "rho", "overlap", "predicted", "measured, mean (sd)", "measured / predicted", "seeds"]
    table = Table("halves", caption, columns)
    for line in [*findings.rhos, *findings.dims[:-1], *findings.far, *findings.powers]:
        halves = Measured.of(line.halves)
        measured = (cell_of(halves.values, 1), cell_of(line.ratios))
        predicted = f"{line.half:.1f}"
        counted = f"{halves.n} of {len(line.halves)}"
        overlap = f"{line.overlap:.2f}"
        table.add(f"{line.power:g}", line.patch_dim, line.rho, overlap, predicted, *measured, counted)
    by_size = Table(
        "theorem",
        f"Preset theorem (d = 100, eight filters), predicted N_half {findings.theorem.half:.0f}.",
        ["N", "robust test error %", "clean test error %", "memorized %"],
    )
    for cell in findings.theorem.cells:
        shares = (cell.robust_test, cell.clean_test, cell.memorized)
        by_size.add(cell.n, *(cell_of(percent(share)) for share in shares))
    return [table, by_size]


def draw(findings: Findings, folder: Path, workspace: Workspace) -> None:
    """Phase diagram and collapse.

    Args:
        findings: of `run`, or stored.
        folder: where the figure goes.
        workspace: not needed.
    """
    by_dim = sorted([*findings.dims, *_same_rho(findings)], key=lambda line: line.patch_dim)
    others = [*findings.far, *findings.powers]
    threshold_figure(folder / "threshold", _shown(findings.rhos), _shown(by_dim), _shown(others))


def _shown(lines: Sequence[Line]) -> list[Transition]:
    return [line.transition for line in lines]


def _same_rho(findings: Findings) -> list[Line]:
    """The lines over rho at the rho of the dimensions."""
    return [line for line in findings.rhos if line.rho == findings.dims[0].rho]
