"""Whom do adversarially trained networks memorize, and do the stages come in order?

Lemma 4.5 and Theorem 5.9 on images. No table of the paper: it proves that memory in the balls suffices, and leaves
open whether trained networks do so.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType, field

from cgro.experiments import findings, networks
from cgro.experiments.artifact import shown_data
from cgro.experiments.claims import Claim, Statement, above, holds, limited
from cgro.experiments.findings import Part
from cgro.experiments.seeds import percent
from cgro.experiments.tables import Table
from cgro.jobs.plan import HERE, Job, Scale
from cgro.jobs.workspace import Workspace
from cgro.report.markdown import cell
from cgro.report.memory import over_seeds
from cgro.results import Measured, MemoryRecord, MemorySummary, QuarterRecord, RealStagesRecord

NAME = "memory"
TITLE = "Memory: whom do trained networks remember?"
NEEDS_TRAINING = True
CAPTIONS = {
    "quarters": "Share of images that are robust (still classified correctly under attack), training and test, by "
    "quarters of the distance to the boundary of a standard network; the excess on training images is memory, which "
    "cannot exceed the robust test error of the quarter. Mean over seeds, bars one standard deviation."
}
N: dict[Scale, int] = {"smoke": 40, "cpu": 600, "gpu": 2000, "paper": 2000}
N_RETRAINED: dict[Scale, int] = {"smoke": 2, "cpu": 16, "gpu": 40, "paper": 40}
"""Networks on subsets for memorization values, first seed of the small MNIST networks."""
QUARTERS = ("nearest", "2nd", "3rd", "farthest")
PREFIX = "memory/"
"""Of the metrics of `cgro memory`."""
MEAN_INFLUENCE = "memory/influence"
RANK_WITH_FLIP = "memory/rank/influence_and_flip"
RANK_WITH_CLEAN_FLIP = "memory/rank/influence_and_clean_flip"
ONLY_A_CEILING = (
    "memory cannot exceed the robust test error, and of that the nearest quarter does not hold a larger share than the "
    "others: images near the boundary need memory, they are not preferred"
)
TIES = "in some seeds two stages end at the same evaluation: their order is not contradicted, and was not observed"
IN_REACH = (
    "{:.0f}% of the training images lie within the radius of the standard boundary: v1 has these memorized, whatever "
    "their quarter"
)


class Paper(Part, frozen=True, kw_only=True):
    """What the theory says, read for trained networks.

    Attributes:
        score: the memory score.
        who: which images are in the memory.
        ordered: whether the stages come in order.
    """

    score: Literal["above 0", "below 0"] = "above 0"
    who: Literal["near the boundary", "far from the boundary"] = "near the boundary"
    ordered: bool = True


PAPER = Paper()


class Quarters(Part, frozen=True, kw_only=True):
    """Shares of robust images by quarter of the distance to the standard boundary: one list of four per seed.

    Attributes:
        train: of training images.
        test: of test images.
        memory: the difference.
    """

    train: list[list[float]]
    test: list[list[float]]
    memory: list[list[float]]

    @property
    def of_robust_test_error(self) -> list[float | None]:
        """Memory as a share of the robust test error, which it cannot exceed, of the sums over seeds: four."""
        shares: list[float | None] = []
        for k in range(len(QUARTERS)):
            shares.append(_share_of(self.memory, self.test, [k]))
        return shares

    @property
    def preference(self) -> Measured:
        """Per seed, memory as a share of the robust test error, in the nearest quarter minus in the others.

        Of the others together: in the farthest alone the robust test error of some seeds is 0.
        """
        differences: list[float | None] = []
        for memory, test in zip(self.memory, self.test, strict=True):
            nearest = _share_of([memory], [test], [0])
            others = _share_of([memory], [test], [1, 2, 3])
            differences.append(None if nearest is None or others is None else nearest - others)
        return Measured.of(differences)


def _share_of(
    memory: Sequence[Sequence[float]], test: Sequence[Sequence[float]], quarters: Sequence[int]
) -> float | None:
    """Sum of memory over sum of robust test errors; None where these are 0. Quarters are of equal size."""
    held = error = 0.0
    for remembered, robust in zip(memory, test, strict=True):
        for k in quarters:
            held += remembered[k]
            error += 1 - robust[k]
    if error == 0:
        return None
    return held / error


class Stages(Part, frozen=True, kw_only=True):
    """Epochs by which 90% of the fall of a curve has happened; None where there is no such fall."""

    clean_learned: int | None
    generalized: int | None
    memorized: int | None
    parted: int | None
    ordered: bool

    @property
    def text(self) -> str:
        """One phrase."""
        return (
            f"clean {self.clean_learned}, generalizes {self.generalized}, memory {self.memorized}, parts {self.parted}"
        )

    @property
    def apart(self) -> bool:
        """Whether no two of the three stages end at the same evaluation."""
        return len({self.clean_learned, self.generalized, self.memorized}) == 3


class Probes(Part, frozen=True, kw_only=True):
    """The probes of one data set, one entry per seed.

    Attributes:
        metrics: name -> values.
        quarters: shares.
        stages: None where the curves are too short.
    """

    metrics: dict[str, list[float | None]]
    quarters: Quarters
    stages: list[Stages | None]

    @property
    def score(self) -> list[float | None]:
        """Attacked margin of training minus that of test images, in logits."""
        return self.metrics["score"]

    @property
    def in_reach(self) -> Measured:
        """Share of training images within the radius of the standard boundary."""
        return Measured.of(self.metrics["mu"])


class Influence(Part, frozen=True, kw_only=True):
    """What a training image does for itself: P[robust | trained on] - P[robust | left out], of one seed.

    Attributes:
        quarters: means by distance to the standard boundary; None where no image was both trained on and left out.
        n_networks: trained on subsets.
        data: the data set.
        mean: over all images.
        rank_with_flip: rank correlation with the distance to the network's own boundary.
        rank_with_clean_flip: rank correlation with the distance to the standard boundary.
    """

    quarters: list[float | None]
    n_networks: int
    data: str
    mean: float = field(name="influence")
    rank_with_flip: float | UnsetType = field(name="rank/influence_and_flip", default=UNSET)
    rank_with_clean_flip: float = field(name="rank/influence_and_clean_flip")


class Findings(findings.Findings, frozen=True, kw_only=True):
    """Data set -> probes, and the influence where networks were trained on subsets."""

    data: dict[str, Probes]
    influence: Influence | UnsetType = UNSET


def _robust(scale: Scale) -> dict[str, list[Job]]:
    return {"cifar10": networks.widest(scale), "mnist": networks.few(scale)}


def measured(scale: Scale) -> dict[str, list[Job]]:
    """One probe per network.

    Args:
        scale: of the reproduction.

    Returns:
        Data set -> probes, one per seed.
    """
    found = {}
    for data, trained in _robust(scale).items():
        pairs = zip(trained, networks.standard(trained), strict=True)
        found[data] = [_probe(scale, data, robust, clean) for robust, clean in pairs]
    return found


def _probe(scale: Scale, data: str, robust: Job, clean: Job) -> Job:
    seed = networks.configuration(robust).seed
    retrained = 0
    if data == "mnist" and seed == networks.SEEDS[scale][0]:
        retrained = N_RETRAINED[scale]
    settings = {"target": HERE + robust.name, "clean": HERE + clean.name, "n": N[scale], "influence": retrained}
    seconds = 10 * retrained + 200 if scale == "cpu" else 5
    return Job(f"memory-{data}/seed-{seed}", "memory", settings, seconds)


def jobs(scale: Scale) -> list[Job]:
    """Robust networks, standard ones on the same examples, probes.

    Args:
        scale: of the reproduction.

    Returns:
        Trainings and probes.
    """
    found: list[Job] = []
    for trained in _robust(scale).values():
        found += [*trained, *networks.standard(trained)]
    for probes in measured(scale).values():
        found += probes
    return found


def run(scale: Scale, workspace: Workspace) -> Findings:
    """Read score, ranking, flip radii, shares by quarter, influence and stages.

    Args:
        scale: of the reproduction.
        workspace: where the runs are found.

    Returns:
        The findings.
    """
    data = {}
    influence: Influence | UnsetType = UNSET
    for name, own in measured(scale).items():
        results = [run.read(MemorySummary) for run in workspace.read_all(own)]
        data[name] = _probes(results)
        if results[0].memory.influence is not UNSET:
            influence = _influence(results[0], name, N_RETRAINED[scale])
    return Findings(scale=scale, data=data, influence=influence)


def _probes(results: Sequence[MemorySummary]) -> Probes:
    """Of the metrics, those that every seed has."""
    common = set.intersection(*(set(result.metrics) for result in results))
    metrics = {}
    for key in sorted(common):
        metrics[key.removeprefix(PREFIX)] = [result.metrics[key].typical for result in results]
    rows = [_quarters(result.memory) for result in results]
    return Probes(
        metrics=metrics,
        quarters=Quarters(
            train=[[quarter.train for quarter in row] for row in rows],
            test=[[quarter.test for quarter in row] for row in rows],
            memory=[[quarter.memory for quarter in row] for row in rows],
        ),
        stages=[_stages(result.memory.stages) for result in results],
    )


def _quarters(memory: MemoryRecord) -> Sequence[QuarterRecord]:
    assert not isinstance(memory.quarters, UnsetType), "the probes are given standard networks"
    return memory.quarters


def _stages(found: RealStagesRecord | None) -> Stages | None:
    return None if found is None else Stages(**msgspec.structs.asdict(found))


def _influence(first: MemorySummary, data: str, n_networks: int) -> Influence:
    assert not isinstance(first.memory.influence, UnsetType), "the first seed's networks are trained on subsets"
    with_flip: float | UnsetType = UNSET
    if RANK_WITH_FLIP in first.metrics:
        with_flip = first.number(RANK_WITH_FLIP)
    return Influence(
        quarters=[None if quarter is None else float(quarter) for quarter in first.memory.influence],
        n_networks=n_networks,
        data=data,
        mean=first.number(MEAN_INFLUENCE),
        rank_with_flip=with_flip,
        rank_with_clean_flip=first.number(RANK_WITH_CLEAN_FLIP),
    )


def check(findings: Findings, paper: Paper = PAPER) -> list[Claim]:
    """Is there memory, is it where the theory puts it, and do the stages come in order?

    Args:
        findings: of `run`, or stored.
        paper: what the theory says.

    Returns:
        Three claims per data set.
    """
    claims = []
    for data, probes in findings.data.items():
        claims += [_score(data, probes, paper), _who(data, probes, paper), _in_order(data, probes, paper)]
    return claims


def _score(data: str, probes: Probes, paper: Paper) -> Claim:
    said = Statement(
        f"memory/{data}_score",
        f"{data}: attacked margins are larger around training than around test images (the memory score)",
        paper=paper.score,
    )
    score = Measured.of(probes.score)
    if paper.score == "below 0":
        score = Measured(tuple(-value for value in score.values))
    return above(said, score, unit=" logits")


def _who(data: str, probes: Probes, paper: Paper) -> Claim:
    said = Statement(
        f"memory/{data}_who",
        f"{data}: memory holds images near the boundary (read as: the robust share, training minus test, in the "
        "quarter nearest to the boundary of a standard network exceeds that in the farthest; and, since it cannot "
        "exceed the robust test error of a quarter, the same as a share of that error, nearest quarter against the "
        "others)",
        paper="only small margins need memory (v1)",
        why=IN_REACH.format(100 * probes.in_reach.mean),
    )
    sign = 1.0 if paper.who == "near the boundary" else -1.0
    quarters = probes.quarters
    apart = [sign * 100 * (row[0] - row[-1]) for row in quarters.memory]
    claim = above(said, Measured.of(apart))
    preference = quarters.preference
    if preference.n < len(quarters.memory) or sign * preference.mean <= 0:
        claim = limited(claim, ONLY_A_CEILING)
    shares = quarters.of_robust_test_error
    shown = " / ".join("none" if share is None else f"{100 * share:.0f}" for share in shares)
    return dataclasses.replace(
        claim,
        ours=f"{claim.ours}; {shown}% of the robust test error, nearest to farthest",
        numbers={**claim.numbers, "of_robust_test_error": shares, "preference": list(preference.values)},
    )


def _in_order(data: str, probes: Probes, paper: Paper) -> Claim:
    said = Statement(
        f"memory/{data}_stages",
        f"{data}: clean accuracy is learned first, then robustness that generalizes, memory last",
        paper="three stages in order (Theorem 5.9)",
    )
    right = {}
    for seed, stages in enumerate(probes.stages):
        ordered = stages is not None and stages.ordered
        right[f"seed {seed}"] = ordered == paper.ordered
    epochs = "; ".join(stages.text for stages in probes.stages if stages is not None)
    claim = holds(
        said,
        right,
        ours=f"epochs by seed: {epochs}",
        rule="90% of the fall of each curve, in this order in every seed; some, or two at one evaluation: partly",
    )
    if any(stages is not None and not stages.apart for stages in probes.stages):
        return limited(claim, TIES)
    return claim


def tables(findings: Findings) -> list[Table]:
    """By quarter; the other numbers of the probe; memorization values.

    Args:
        findings: of `run`, or stored.

    Returns:
        Two or three tables.
    """
    found = [_quarters_table(findings.data), _probe_table(findings.data)]
    if not isinstance(findings.influence, UnsetType):
        found.append(_influence_table(findings.influence))
    return found


def _quarters_table(data: Mapping[str, Probes]) -> Table:
    caption = (
        "Images robust to PGD-20, in %, by distance to the boundary of a standard network on the same examples. "
        "Mean (sd) over seeds. Memory, training minus test, cannot exceed the robust test error; its share of that "
        "error is of the sums over seeds."
    )
    columns = ["data", "quarter", "training", "test", "memory, points", "memory, % of the robust test error"]
    table = Table("quarters", caption, columns)
    for name, probes in data.items():
        shares = probes.quarters
        for k, quarter in enumerate(QUARTERS):
            held = shares.of_robust_test_error[k]
            share = "" if held is None else f"{100 * held:.0f}"
            points = [_share(shares.train, k), _share(shares.test, k), _share(shares.memory, k)]
            table.add(name, quarter, *points, share)
    return table


def _share(rows: Sequence[Sequence[float]], quarter: int) -> str:
    return cell(percent([row[quarter] for row in rows]))


def _probe_table(data: Mapping[str, Probes]) -> Table:
    table = Table("probe", "Mean (sd) over seeds.", ["data", "what", "value"])
    for name, probes in data.items():
        for key, values in probes.metrics.items():
            if not key.startswith("quarter"):
                table.add(name, key, cell(values, 3))
    return table


def _influence_table(influence: Influence) -> Table:
    caption = (
        "Memorization value of an image: chance to be robust when trained on minus when left out, in points, which "
        "cannot exceed the chance not to be robust when left out; "
        f"{influence.n_networks} networks on 70% each ({influence.data}, one seed); rank correlation with the distance "
        f"to the standard boundary {influence.rank_with_clean_flip:.2f}."
    )
    table = Table("influence", caption, ["quarter", "memorization value, points"])
    for quarter, value in zip(QUARTERS, influence.quarters, strict=True):
        shown = "" if value is None else f"{100 * value:.1f}"
        table.add(quarter, shown)
    table.add("all", f"{100 * influence.mean:.1f}")
    return table


def draw(findings: Findings, folder: Path, workspace: Workspace) -> None:
    """Quarters, both data sets.

    Args:
        findings: of `run`, or stored.
        folder: where the figure goes.
        workspace: not needed.
    """
    shown = {shown_data(name, findings.scale): probes.quarters for name, probes in findings.data.items()}
    over_seeds(folder / "quarters", shown)
