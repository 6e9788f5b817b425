"""Table 1: adversarial training at several widths, MNIST and CIFAR-10, and why narrow LeNets are constant."""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import field

from cgro.experiments import evaluations, findings, networks
from cgro.experiments.claims import Claim, Statement, below, untested, value
from cgro.experiments.evaluations import Twice
from cgro.experiments.findings import Part
from cgro.experiments.metrics import accuracies, n_examples
from cgro.experiments.seeds import rises
from cgro.experiments.tables import Cell, Table
from cgro.experiments.widths import (
    ACCURACIES,
    CONSTANT,
    FAMILIES,
    Beside,
    Family,
    Network,
    evaluated_widths,
    gains,
    orders,
    readings,
    with_start,
)
from cgro.jobs.plan import Job, Scale
from cgro.jobs.workspace import Workspace
from cgro.report.markdown import cell
from cgro.results import EvaluateSummary, Measured, TrainSummary
from cgro.results.keys import CLEAN_TEST, ROBUST_TEST, ROBUST_TRAIN

NAME = "table1"
TITLE = "Table 1: adversarial training at several widths"
NEEDS_TRAINING = True


class Printed(NamedTuple):
    """A row of the table: accuracies in percent."""

    clean_test: float
    robust_test: float
    robust_train: float


class Paper(Part, frozen=True, kw_only=True):
    """The table: width -> row."""

    mnist: dict[int, Printed]
    cifar10: dict[int, Printed]

    def of(self, family: Family) -> dict[int, Printed]:
        """The rows of one family.

        Args:
            family: its name.

        Returns:
            Width -> row.
        """
        return self.mnist if family == "mnist" else self.cifar10


PAPER = Paper(
    mnist={
        1: Printed(11.35, 11.35, 11.70),
        8: Printed(11.35, 11.35, 11.70),
        12: Printed(95.06, 77.96, 99.30),
        16: Printed(94.85, 83.43, 99.50),
    },
    cifar10={1: Printed(82.56, 43.39, 64.19), 5: Printed(85.83, 46.25, 97.37), 10: Printed(86.05, 50.08, 99.57)},
)
CAPTIONS: dict[str, str] = {}
"""None: the curves are those of Figure 2 (a) and (b)."""
PAPERS_TEST_SET = 10_000
"""Test images of MNIST, on which that percentage is exact."""
LARGEST_CONSTANT = 12.0
"""Percent: printed accuracies above are of networks that learned; the others have a claim of their own."""
BUDGET = (
    "the paper's recipe is unpublished and its networks and training sets are larger than this scale's: the numbers "
    "are not comparable, the orders are judged below"
)
COMPRESSED = (
    "the paper's network on its images (JPEG mirror), by Rice et al.'s recipe in as many epochs as a slice of one GPU "
    "carries; the paper's recipe is unpublished"
)
PLATEAU = (
    "which networks are constant depends on the start: compare those whose radius was warmed up in the table of starts"
)
DEAR = 600
"""Seconds of training, as jobs estimate them, above which the ensemble judges the first seed only."""
STARTS: dict[int, tuple[str, ...]] = {
    1: ("-warm", "-sgd", "-sgd-warm", "-long"),
    2: ("", "-warm", "-sgd", "-sgd-warm"),
    4: ("-warm", "-sgd-warm"),
    8: ("-warm", "-sgd-warm"),
    16: ("-warm", "-sgd-warm"),
}
"""Starts beside the table's own. At x1 and x2: is the constant solution capacity, or optimization? Wider: does what
width buys depend on the optimizer?"""
WARMED_UP = {
    "warm": ("width_with_adam", "LeNets by Adam, radius warmed up"),
    "sgd-warm": ("width_with_sgd", "LeNets by SGD, radius warmed up"),
    "warm-6000": ("width_with_adam_6000", "the same by Adam on 6,000 images"),
    "sgd-warm-6000": ("width_with_sgd_6000", "the same by SGD on 6,000 images"),
}
"""Starts at which what width gains is judged -> key of the claim, words."""
MORE_IMAGES = (2, 8)
"""Widths that are also trained on six times as many images: does what width buys depend on the number of images?

Predicted before the runs: with SGD robust test accuracy 82 to 87% at x2 and 84 to 90% at x8, gaps 3 to 8 and 6 to 11
points, so that width buys 1 to 5 points of robust test accuracy; with Adam x8 is 10 points and more above x2.
"""


class Findings(findings.Findings, frozen=True, kw_only=True):
    """Networks of both families by width and start, such as 12 or 1-sgd-warm.

    Attributes:
        data: empty; stored findings have it.
        cifar10: PreActResNets; at scale paper WRN-34.
        mnist: LeNets.
        wrn: the paper's own networks, where a scale has them beside others; width -> networks.
        comparable: families whose network, data and recipe are such that printed accuracies are compared.
    """

    data: dict[str, str] = field(default_factory=dict)
    cifar10: dict[str, Network]
    mnist: dict[str, Network]
    wrn: dict[str, Network] = field(default_factory=dict)
    comparable: list[Family] = field(default_factory=list)

    def of(self, family: Family) -> dict[str, Network]:
        """The networks of one family.

        Args:
            family: its name.

        Returns:
            Width and start -> networks.
        """
        return self.mnist if family == "mnist" else self.cifar10


def _mnist(scale: Scale) -> dict[str, list[Job]]:
    """The table's widths; at `cpu` and `gpu` all of them with the radius warmed up as well; further starts at `cpu`."""
    widths = networks.MNIST_WIDTHS[scale]
    found = {f"{width}": networks.mnist(scale, width) for width in widths}
    starts: dict[int, tuple[str, ...]] = {1: ("-warm",)}
    if scale == "cpu":
        starts = {width: STARTS.get(width, ("-warm",)) for width in (*widths, 2)}
        for width in MORE_IMAGES:  # at the other scales all of them have more images
            starts[width] = (*starts[width], "-sgd-warm-6000", "-warm-6000")
    elif scale == "gpu":
        starts = dict.fromkeys(widths, ("-warm",))
    for width, variants in starts.items():
        for variant in variants:
            found[f"{width}{variant}"] = networks.mnist(scale, width, variant)
    return found


def _cifar(scale: Scale) -> dict[str, list[Job]]:
    return {f"{width}": networks.cifar(scale, width) for width in networks.CIFAR_WIDTHS[scale]}


def _wrn(scale: Scale) -> dict[str, list[Job]]:
    return {f"{width}": networks.wrn(scale, width) for width in networks.WRN_WIDTHS[scale]}


def _evaluated_twice(scale: Scale, trained: Sequence[Job]) -> list[Twice]:
    """By PGD and by the ensemble; the first seed only at `smoke`, and of `DEAR` networks."""
    if scale == "smoke" or trained[0].seconds > DEAR:
        trained = trained[:1]
    return [evaluations.evaluated_twice(scale, job) for job in trained]


def jobs(scale: Scale) -> list[Job]:
    """Both families and the starts of narrow LeNets.

    Each network is evaluated twice while its networks are there: none is stored.

    Args:
        scale: of the reproduction.

    Returns:
        Trainings and evaluations.
    """
    found: list[Job] = []
    for trained in (*_cifar(scale).values(), *_mnist(scale).values(), *_wrn(scale).values()):
        found += trained
        for pair in _evaluated_twice(scale, trained):
            found += pair
    return found


def run(scale: Scale, workspace: Workspace) -> Findings:
    """Read accuracies per width and seed.

    Args:
        scale: of the reproduction.
        workspace: where the runs are found.

    Returns:
        The findings.
    """
    return Findings(
        scale=scale,
        cifar10={name: _network(scale, workspace, trained) for name, trained in _cifar(scale).items()},
        mnist={name: _network(scale, workspace, trained) for name, trained in _mnist(scale).items()},
        wrn={name: _network(scale, workspace, trained) for name, trained in _wrn(scale).items()},
        comparable=_comparable(scale, workspace),
    )


def _comparable(scale: Scale, workspace: Workspace) -> list[Family]:
    """At `paper` both; at `gpu` MNIST, which has the settings of `paper`, if its networks had as many epochs."""
    if scale == "paper":
        return list(FAMILIES)
    if scale != "gpu":
        return []
    for trained in _mnist(scale).values():
        for job in trained:
            if workspace.settled(job) != job:
                return []
    return ["mnist"]


def _network(scale: Scale, workspace: Workspace, trained: Sequence[Job]) -> Network:
    results = [run.read(TrainSummary) for run in workspace.read_all(trained)]
    first = results[0]
    assert isinstance(first.model.n_parameters, int), "trainings count parameters"
    return Network(
        clean_test=accuracies(results, CLEAN_TEST),
        robust_test=accuracies(results, ROBUST_TEST),
        robust_train=accuracies(results, ROBUST_TRAIN),
        outcome=[result.outcome.kind for result in results],
        n_test=n_examples(first, ROBUST_TEST),
        verdict=[None if result.verdict is None else result.verdict.label for result in results],
        n_parameters=first.model.n_parameters,
        data=first.data.name,
        beside=_beside(workspace, _evaluated_twice(scale, trained)),
    )


def _beside(workspace: Workspace, pairs: Sequence[Twice]) -> Beside:
    weak = [workspace.read(pair.pgd).read(EvaluateSummary) for pair in pairs]
    strong = [workspace.read(pair.ensemble).read(EvaluateSummary) for pair in pairs]
    return Beside(
        pgd=accuracies(weak, ROBUST_TEST),
        ensemble=accuracies(strong, ROBUST_TEST),
        n=n_examples(strong[0], ROBUST_TEST),
    )


def check(findings: Findings, paper: Paper = PAPER) -> list[Claim]:
    """The table's values where the recipe is the paper's, and its reading at every scale.

    Args:
        findings: of `run`, or stored.
        paper: the table.

    Returns:
        Claims on the constant solution, then on each family.
    """
    claims = _constant(findings.mnist, paper)
    for family in FAMILIES:
        widths = evaluated_widths(findings.of(family))
        if findings.scale == "paper" or family in findings.comparable:
            claims += _values(family, widths, paper.of(family))
        else:
            claims.append(_incomparable(family, widths, paper.of(family)))
        claims += readings(NAME, family, widths)
        claims += orders(NAME, family, widths, lacking=PLATEAU)
    for name, network in findings.wrn.items():
        claims.append(_own_network(int(name), network, paper))
    return claims + _gains(findings.mnist, paper)


def _gains(mnist: Mapping[str, Network], paper: Paper) -> list[Claim]:
    """What width gains on test images, by optimizer, and with six times the images."""
    narrow, wide = paper.mnist[12].robust_test, paper.mnist[16].robust_test
    printed = f"rises from {narrow:g}% at x12 to {wide:g}% at x16" if wide > narrow else "falls"
    claims = []
    for start, (key, words) in WARMED_UP.items():
        claims += gains(f"{NAME}/mnist_{key}", words, with_start(mnist, start), paper=printed)
    return claims


def _own_network(width: int, network: Network, paper: Paper) -> Claim:
    """The paper's own network by another recipe: both numbers, and no judgement."""
    said = Statement(
        f"table1/cifar10_wrn_{width}",
        f"cifar10: the accuracies of WRN-34-{width} ({' / '.join(ACCURACIES)})",
        paper=" / ".join(f"{number:g}%" for number in paper.cifar10[width]),
        why=COMPRESSED,
    )
    return untested(said, ours=" / ".join(cell(accuracies) for accuracies in network.accuracies) + "%")


def _constant(mnist: Mapping[str, Network], paper: Paper) -> list[Claim]:
    """Are narrow LeNets constant, and would they be with a warmed-up radius?"""
    claims = []
    for width in (1, 8):
        network = mnist.get(f"{width}")
        if network is not None:
            printed = paper.mnist[width].clean_test
            said = Statement(
                f"table1/mnist_x{width}_constant",
                f"LeNet x{width} ends in the constant solution ({printed}%)",
                why=PLATEAU,
            )
            claims.append(value(said, printed, Measured.of(network.clean_test), noise=_noise_of_constant(network)))
    warm = mnist.get("1-warm")
    if warm is not None:
        said = Statement(
            "table1/mnist_capacity",
            "the constant solution of LeNet x1 is a matter of capacity (read as: with the radius warmed up its clean "
            "accuracy stays below 50%)",
            paper="too narrow to fit",
            why=PLATEAU,
        )
        claims.append(below(said, Measured.of(warm.clean_test), limit=50.0, unit="%"))
    return claims


def _noise_of_constant(network: Network) -> float:
    """95% half-width, in points, of the share of ones among our test images; on all of MNIST's there is none."""
    if network.n_test == PAPERS_TEST_SET:
        return 0.0
    share = CONSTANT / 100
    return 196 * math.sqrt(share * (1 - share) / network.n_test)


def _values(family: Family, widths: Mapping[int, Network], paper: Mapping[int, Printed]) -> list[Claim]:
    """The printed accuracies of networks that learned, one by one: at the paper's scale."""
    claims = []
    for (width, printed), network in zip(paper.items(), _partners(family, widths, paper), strict=False):
        for name, number, ours in zip(ACCURACIES, printed, network.accuracies, strict=True):
            if number > LARGEST_CONSTANT:
                said = Statement(
                    f"table1/{family}_x{width}_{name.replace(' ', '_')}",
                    f"{family} x{width}: {name} accuracy is {number}%",
                )
                claims.append(value(said, number, Measured.of(ours), resolution=0.005))
    return claims


def _partners(family: Family, widths: Mapping[int, Network], paper: Mapping[int, Printed]) -> list[Network]:
    """Ours beside each of the paper's widths: the same number for LeNet, the same place for CIFAR-10."""
    if family == "cifar10":
        return list(widths.values())
    widest = widths[max(widths)]
    return [widths.get(width, widest) for width in paper]


def _incomparable(family: Family, widths: Mapping[int, Network], paper: Mapping[int, Printed]) -> Claim:
    widest = max(widths)
    printed = " / ".join(f"{number:g}%" for number in paper[max(paper)])
    ours = " / ".join(cell(accuracies) for accuracies in widths[widest].accuracies)
    said = Statement(
        f"table1/{family}_values",
        f"{family}: the accuracies of the table ({' / '.join(ACCURACIES)} at x{max(paper)}; all of them in the table "
        "below)",
        paper=printed,
        why=BUDGET,
    )
    return untested(said, ours=f"{ours}% at x{widest}")


def tables(findings: Findings) -> list[Table]:
    """The paper's rows and ours; LeNets from every start; the ensemble.

    Args:
        findings: of `run`, or stored.

    Returns:
        Three tables.
    """
    cifar10 = _by_width(findings.cifar10)
    for name, network in findings.wrn.items():
        cifar10.append(Named(f"WRN-34-{name}", "", network))
    mnist = _by_width(findings.mnist)
    return [_main_table([*cifar10, *mnist]), _starts_table(mnist), _ensemble_table([*cifar10, *mnist])]


class Named(NamedTuple):
    """Networks with what tables call them."""

    width: str
    start: str
    network: Network


def _by_width(parts: Mapping[str, Network]) -> list[Named]:
    rows = []
    for name in sorted(parts, key=lambda name: int(name.partition("-")[0])):
        width, start = words_of(name)
        rows.append(Named(width, start, parts[name]))
    return rows


def words_of(name: str) -> tuple[str, str]:
    """What tables call a width and a start.

    Args:
        name: as in findings.

    Returns:
        Width and start.

    Example:
        >>> words_of("1-sgd-warm")
        ('x1', 'SGD, warm')
    """
    width, _, start = name.partition("-")
    return f"x{width}", start.replace("-", ", ").replace("sgd", "SGD")


def _main_table(rows: Sequence[Named]) -> Table:
    caption = (
        "Mean (sd) over seeds; robust accuracies under PGD, so upper bounds on the true ones. Warm: the radius was "
        "warmed up; orders by width are judged on these where all widths have them."
    )
    percents = [f"{name} %" for name in ACCURACIES]
    table = Table("table1", caption, ["data", "width", "whose", *percents, "seeds", "test images", "parameters"])
    for family in FAMILIES:
        for width, printed in PAPER.of(family).items():
            table.add(family, f"x{width}", "paper", *(f"{number:.2f}" for number in printed), "", "", "")
    for width, start, network in rows:
        if start in ("", "warm"):
            whose = "ours, warm" if start else "ours"
            cells = [cell(accuracies) for accuracies in network.accuracies]
            n_seeds = len(network.outcome)
            table.add(network.data, width, whose, *cells, n_seeds, network.n_test, f"{network.n_parameters:,}")
    return table


def _starts_table(rows: Sequence[Named]) -> Table:
    caption = (
        "LeNets from every start: Adam unless SGD is said; the radius warmed up (warm) or not; three times as many "
        "epochs (long); 6,000 images in the place of 1,000, 12 epochs (6000). How many seeds left the constant "
        "solution, and the accuracies of those, least to largest."
    )
    percents = [f"{name} %" for name in ACCURACIES]
    table = Table("starts", caption, ["width", "parameters", "start", "left it", *percents])
    for width, start, network in rows:
        learned = network.learned
        reached = [_range(list(itertools.compress(values, learned))) for values in network.accuracies]
        n_left = f"{sum(learned)} of {len(learned)}"
        table.add(width, f"{network.n_parameters:,}", start or "plain", n_left, *reached)
    return table


def _range(values: Sequence[float]) -> str:
    """Least to largest: a mean over seeds that learned and seeds that did not would be of neither."""
    if not values:
        return ""
    low = f"{min(values):.1f}"
    high = f"{max(values):.1f}"
    if min(values) == max(values):
        return low
    return f"{low} to {high}"


def _ensemble_table(rows: Sequence[Named]) -> Table:
    caption = (
        "Robust test accuracy (%) under PGD and under the strong ensemble, on the same first test images of every seed "
        "judged twice: what PGD flatters each network by."
    )
    columns = ["data", "width", "start", "PGD", "ensemble", "difference", "seeds", "images"]
    table = Table("ensemble", caption, columns)
    for width, start, network in rows:
        beside = network.beside
        flattery = rises(beside.ensemble, beside.pgd)
        shown: list[Cell] = [cell(beside.pgd), cell(beside.ensemble), cell(flattery), len(beside.pgd), beside.n]
        table.add(network.data, width, start, *shown)
    return table


def draw(findings: Findings, folder: Path, workspace: Workspace) -> None:
    """Nothing: Figure 2 (a) and (b) are this table as curves (`cgro.experiments.figure2ab`), and drawn there.

    Args:
        findings: not needed.
        folder: not needed.
        workspace: not needed.
    """
