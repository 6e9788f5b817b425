"""What remedies did in comparisons made with this program: the table that ships with it, read for advice.

`python -m cgro.comparison.what_now` writes the table, `measured_remedies.json`, from stored comparisons. Nothing here
needs torch.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from cgro.definitions import Label
from cgro.reading import read_json
from cgro.results.reading import read_value
from cgro.results.records import Record

FILE = Path(__file__).with_name("measured_remedies.json")
ANSWERED: tuple[Label, ...] = ("robust_overfitting", "cgro")
"""Labels to which such a comparison is an answer."""
HELPS = "helps"
N_NAMED = 3
"""Remedies that a sentence names, the best first. A choice: the page docs/what_now.md has all."""


class MeasuredRemedy(Record, frozen=True, kw_only=True):
    """One remedy beside the reference.

    Attributes:
        name: in the plan.
        command: the beginning of the call that trains with it.
        effect: label, such as helps.
        difference: of the robust test error at the last epoch, as a fraction; None where nothing was measured.
        interval: of the difference, 95% over seeds.
    """

    name: str
    command: str
    effect: str
    difference: float | None
    interval: tuple[float, float] | None


class MeasuredComparison(Record, frozen=True, kw_only=True):
    """One comparison.

    Attributes:
        title: of the data.
        setting: network, data, threat, attack and seeds in a sentence.
        remedies: without the reference.
    """

    title: str
    setting: str
    remedies: Sequence[MeasuredRemedy]


class MeasuredTable(Record, frozen=True, kw_only=True):
    """All that was measured.

    Attributes:
        comparisons: none if nothing was.
    """

    comparisons: Sequence[MeasuredComparison]


@cache
def measured_table() -> MeasuredTable:
    """The table of this version.

    Returns:
        It; without comparisons if none was made yet.
    """
    return read_value(read_json(FILE), str(FILE), MeasuredTable)


def measured_sentences(label: Label, table: MeasuredTable | None = None) -> tuple[str, ...]:
    """What was measured against a finding, to be said beside what the literature says.

    Args:
        label: of a diagnosis.
        table: None for that of this version.

    Returns:
        A sentence per setting with its best remedies of all comparisons, their numbers and the commands; nothing for
        other labels.

    Example:
        >>> awp = MeasuredRemedy(
        ...     name="awp",
        ...     command="cgro train --extension awp",
        ...     effect="helps",
        ...     difference=-0.02,
        ...     interval=(-0.03, -0.01),
        ... )
        >>> one = MeasuredComparison(title="MNIST", setting="lenet on MNIST; 3 seeds", remedies=[awp])
        >>> print(*measured_sentences("cgro", MeasuredTable(comparisons=[one])))
        Measured with this program (lenet on MNIST; 3 seeds), robust test error at the last epoch against plain \
adversarial training at equal gradient passes: awp -2.0 points [-3.0, -1.0]. Run: cgro train --extension awp
    """
    if label not in ANSWERED:
        return ()
    if table is None:
        table = measured_table()
    settings: dict[str, dict[str, MeasuredRemedy]] = {}
    for comparison in table.comparisons:
        remedies = settings.setdefault(comparison.setting, {})
        for one in comparison.remedies:
            remedies.setdefault(one.command, one)  # a remedy that a second comparison repeats is named once
    return tuple(_sentence(setting, list(remedies.values())) for setting, remedies in settings.items())


def _sentence(setting: str, remedies: Sequence[MeasuredRemedy]) -> str:
    beginning = (
        f"Measured with this program ({setting}), robust test error at the last epoch against plain "
        "adversarial training at equal gradient passes: "
    )
    helping = [one for one in remedies if one.effect == HELPS and one.difference is not None]
    helping.sort(key=lambda one: one.difference or 0.0)
    if not helping:
        return f"{beginning}no remedy of {len(remedies)} was shown to lower it."
    named = ", ".join(f"{one.name} {points(one)}" for one in helping[:N_NAMED])
    commands = "; ".join(one.command for one in helping[:N_NAMED])
    return f"{beginning}{named}. Run: {commands}"


def points(remedy: MeasuredRemedy) -> str:
    """A difference in points with its interval.

    Args:
        remedy: of a comparison.

    Returns:
        Such as "-2.0 points [-3.0, -1.0]", or "not measured".
    """
    if remedy.difference is None:
        return "not measured"
    text = f"{100 * remedy.difference:+.1f} points"
    if remedy.interval is None:
        return f"{text} (one seed)"
    low, high = remedy.interval
    return f"{text} [{100 * low:+.1f}, {100 * high:+.1f}]"
