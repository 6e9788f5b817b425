"""Networks that differ in their width, and what the paper reads off them: Table 1 and Figure 2(a, b)."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

from cgro.experiments.claims import Claim, Statement, above, untested
from cgro.experiments.findings import Part
from cgro.experiments.seeds import rises
from cgro.results import Measured

Family = Literal["mnist", "cifar10"]
FAMILIES: tuple[Family, ...] = ("mnist", "cifar10")
ACCURACIES = ("clean test", "robust test", "robust train")
CONSTANT = 11.35
"""Percent of MNIST's test images that are ones: the accuracy of answering 1 always."""
FIXED = 2.0
"""Points of clean test accuracy within which networks count as equally accurate: a choice."""
TOGETHER = "the two rise together: what is gained on training images is not gained on test images"


class Beside(Part, frozen=True, kw_only=True):
    """Robust test accuracy under PGD and under the ensemble, in percent, on the same n images; one number per seed."""

    pgd: list[float]
    ensemble: list[float]
    n: int


class Network(Part, frozen=True, kw_only=True):
    """Networks of one width and start: accuracies in percent, one number per seed.

    Attributes:
        clean_test: on test images.
        robust_test: on test images, under the recipe's PGD.
        robust_train: on training images, under the recipe's PGD.
        outcome: why training ended.
        n_test: test images.
        verdict: label of each seed; None where none is given.
        n_parameters: of one network.
        data: the data set.
        beside: PGD and the ensemble.
    """

    clean_test: list[float]
    robust_test: list[float]
    robust_train: list[float]
    outcome: list[str]
    n_test: int
    verdict: list[str | None]
    n_parameters: int
    data: str
    beside: Beside

    @property
    def gaps(self) -> list[float]:
        """Robust gaps in points."""
        return rises(self.robust_test, self.robust_train)

    @property
    def learned(self) -> list[bool]:
        """By seed: is it away from the constant solution?"""
        return [clean > 2 * CONSTANT for clean in self.clean_test]

    @property
    def accuracies(self) -> list[list[float]]:
        """In the order of `ACCURACIES`."""
        return [self.clean_test, self.robust_test, self.robust_train]


N = TypeVar("N")


def evaluated_widths(parts: Mapping[str, N]) -> dict[int, N]:
    """Networks that are alike but for their width: with the radius warmed up if all are there so, else as trained.

    A network that sits in the constant solution says nothing of capacity, and which of them does is a matter of its
    start.

    Args:
        parts: width and start -> networks.

    Returns:
        Width -> networks, narrowest first.
    """
    plain: dict[int, N] = {}
    warm: dict[int, N] = {}
    for name, networks_of_width in parts.items():
        width, _, start = name.partition("-")
        if start == "":
            plain[int(width)] = networks_of_width
        elif start == "warm":
            warm[int(width)] = networks_of_width
    found = warm if plain.keys() <= warm.keys() else plain
    return dict(sorted(found.items()))


def readings(artifact: str, family: Family, widths: Mapping[int, Network]) -> list[Claim]:
    """Robust training accuracy rises with width; the robust gap first opens, then closes.

    Args:
        artifact: that makes the claims, for their names.
        family: for their names and words.
        widths: networks that are alike but for their width, narrowest first.

    Returns:
        Three claims.
    """
    narrow = widths[min(widths)]
    wide = widths[max(widths)]
    mean_gap = {width: Measured.of(network.gaps).mean for width, network in widths.items()}
    top = max(mean_gap, key=lambda width: mean_gap[width])
    return [
        above(
            Statement(
                f"{artifact}/{family}_rises",
                f"{family}: robust training accuracy rises with width (widest minus narrowest, paired by seed)",
                paper="rises",
            ),
            Measured.of(rises(narrow.robust_train, wide.robust_train)),
        ),
        above(
            Statement(
                f"{artifact}/{family}_opens",
                f"{family}: the robust gap first opens with width (largest, at x{top}, minus narrowest)",
                paper="opens",
            ),
            Measured.of(rises(narrow.gaps, widths[top].gaps)),
        ),
        _closes(f"{artifact}/{family}_closes", family, widths, top),
    ]


def _closes(name: str, family: Family, widths: Mapping[int, Network], top: int) -> Claim:
    """Does the robust gap close beyond the width at which it is largest?"""
    words = f"{family}: and then slowly closes (largest minus widest)"
    if top == max(widths):
        why = f"the gap still opens at the widest network, x{top}: the turn, if any, lies beyond"
        return untested(Statement(name, words, paper="closes", why=why), ours=f"largest gap at x{top}")
    closed = rises(widths[max(widths)].gaps, widths[top].gaps)
    return above(Statement(name, words, paper="closes"), Measured.of(closed))


def orders(artifact: str, family: Family, widths: Mapping[int, Network], *, lacking: str) -> list[Claim]:
    """Robust training error falls before the gap opens: over the first step of width, and at fixed clean accuracy.

    Args:
        artifact: that makes the claims, for their names.
        family: for their names and words.
        widths: networks that are alike but for their width, narrowest first.
        lacking: why fewer than two widths may have learned.

    Returns:
        Two claims.
    """
    learned = [width for width, network in widths.items() if all(network.learned)]
    clean = {width: Measured.of(network.clean_test).mean for width, network in widths.items()}
    of_widest = clean[max(widths)]
    alike = [width for width in learned if abs(clean[width] - of_widest) <= FIXED]
    ends = [alike[0], alike[-1]] if len(alike) > 1 else alike
    return [
        _order(
            f"{artifact}/{family}_order",
            f"{family}: robust training accuracy rises before the robust gap opens (its rise over the first step of "
            "width between networks that learned exceeds the rise of the gap)",
            widths,
            learned[:2],
            lacking=lacking,
        ),
        _order(
            f"{artifact}/{family}_order_at_fixed_clean",
            f"{family}: and at fixed clean accuracy (from the narrowest network within {FIXED:g} points of the widest)",
            widths,
            ends,
            lacking="no narrower network is as accurate",
        ),
    ]


def with_start(parts: Mapping[str, N], start: str) -> dict[int, N]:
    """The networks of one start.

    Args:
        parts: width and start -> networks.
        start: such as sgd-warm.

    Returns:
        Width -> networks, narrowest first.

    Example:
        >>> with_start({"16-warm": "b", "2-warm": "a", "2-sgd-warm": "c", "2": "d"}, "warm")
        {2: 'a', 16: 'b'}
    """
    found: dict[int, N] = {}
    for name, networks_of_width in parts.items():
        width, _, of_network = name.partition("-")
        if of_network == start:
            found[int(width)] = networks_of_width
    return dict(sorted(found.items()))


def gains(name: str, words: str, widths: Mapping[int, Network], *, paper: str) -> list[Claim]:
    """Does width gain robust TEST accuracy: under the recipe's PGD, and under the ensemble on fewer images?

    From the narrowest network whose clean accuracy is within `FIXED` points of the widest's: what is gained before
    that is clean accuracy first.

    Args:
        name: of the claims, artifact/claim; the second is NAME_under_ensemble.
        words: which networks they are of.
        widths: networks that are alike but for their width, narrowest first.
        paper: its side, as it stands in tables.

    Returns:
        Two claims; none where there is no narrower network.
    """
    clean = {width: Measured.of(network.clean_test).mean for width, network in widths.items()}
    alike = [width for width in widths if all(widths[width].learned) and clean[max(widths)] - clean[width] <= FIXED]
    if len(alike) < 2:
        return []
    narrow, wide = widths[alike[0]], widths[alike[-1]]
    gap = Measured.of(rises(narrow.gaps, wide.gaps)).mean
    text = f"{words}: robust test accuracy rises with width, from x{alike[0]} to x{alike[-1]}"
    pgd = Statement(name, f"{text} (PGD; meanwhile the robust gap rises by {gap:.1f} points)", paper=paper)
    strong = Statement(f"{name}_under_ensemble", f"{text} (ensemble, {wide.beside.n} images per seed)", paper=paper)
    return [
        above(pgd, Measured.of(rises(narrow.robust_test, wide.robust_test))),
        above(strong, Measured.of(rises(narrow.beside.ensemble, wide.beside.ensemble))),
    ]


def _order(name: str, words: str, widths: Mapping[int, Network], compared: Sequence[int], *, lacking: str) -> Claim:
    paper = "first the one, then the other"
    if len(compared) < 2:
        return untested(Statement(name, words, paper=paper, why=lacking), ours="fewer than two widths")
    narrow, wide = (widths[width] for width in compared)
    rise = rises(narrow.robust_train, wide.robust_train)
    gap = rises(narrow.gaps, wide.gaps)
    clean = rises(narrow.clean_test, wide.clean_test)
    text = (
        f"{words}; from x{compared[0]} to x{compared[1]} it rises by {Measured.of(rise).mean:.1f} points, the gap by "
        f"{Measured.of(gap).mean:.1f}, clean accuracy by {Measured.of(clean).mean:.1f}"
    )
    return above(Statement(name, text, paper=paper, why=TOGETHER), Measured.of(rises(gap, rise)))
