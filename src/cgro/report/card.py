"""What a page shows of a run, as typed values: the card, which `cgro report --json` prints as it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from msgspec import UNSET

from cgro.reading import read_json_object
from cgro.report.curves import CURVES, Epoch, mean_over_seeds, read_epochs, read_valley, seeds_of
from cgro.report.facts import Fact, facts_of, name_of
from cgro.report.published import Comparison, compare
from cgro.report.values import damaged, require_shallow
from cgro.results import (
    DiagnoseSummary,
    DiagnosisRecord,
    EpochRecord,
    FlatnessRecord,
    FlatnessSummary,
    Measured,
    Metric,
    OutcomeRecord,
    Summary,
    ThreatRecord,
    TrainSummary,
)
from cgro.runs import Run, plain

BOUNDS = {
    "lower": "at least this: an attack found these examples",
    "upper": "at most this: all others are certified",
    "exact": "exactly this, on these examples",
}
"""What an error proves, in words."""
RADII = {
    "lower": "at least this far: no nearer point is misclassified, as is proved",
    "upper": "at most this far: an attack found a misclassified point there",
    "exact": "exactly this far",
}
"""What a distance to the boundary proves. An attack bounds it from above where it bounds an error from below."""

SHARES = ("clean_error/", "robust_error/", "rise/", "memory/quarter_", "memory/mu", "memory/influence")
"""How the names of numbers begin that are shares of examples, or differences of such."""
DISTANCES = ("memory/flip_radius/",)
"""How the names of numbers begin that are distances to the boundary."""


@dataclass(frozen=True)
class Verdict:
    """A label and one sentence."""

    label: str
    reason: str


@dataclass(frozen=True)
class Row:
    """One row of the table of numbers.

    Attributes:
        key: the name of the number.
        value: of one seed, or the mean over seeds; None where it is not known.
        interval: 95%; None where there is none.
        n: how many examples or seeds; empty where it is not known.
        proves: what the number says.
        attack: what found the wrong examples; empty if nothing did.
    """

    key: str
    value: float | None
    interval: tuple[float, float] | None
    n: int | str
    proves: str
    attack: str


@dataclass(frozen=True)
class FlatnessRow:
    """One row of the table of flatness.

    Attributes:
        kind: the measure.
        place: part of the data and radius.
        value: None where it is not known.
    """

    kind: str
    place: str
    value: float | None


@dataclass(frozen=True)
class RadiusCurves:
    """Flatness of the last checkpoint against the radius.

    Attributes:
        radii: increasing, in units of the input.
        training_radius: at which the network was trained.
        gradient: part -> largest gradient in the ball, for each radius.
        rise: part -> largest rise of the loss in the ball, for each radius.
    """

    radii: Sequence[float]
    training_radius: float
    gradient: Mapping[str, Sequence[float | None]]
    rise: Mapping[str, Sequence[float | None]]


@dataclass(frozen=True)
class Valley:
    """What the diagnosis fitted to the robust error that it judged: a fall, then a rise.

    Attributes:
        epochs: increasing.
        values: fractions, one per epoch.
    """

    epochs: Sequence[float] = ()
    values: Sequence[float] = ()


@dataclass(frozen=True)
class Card:
    """Everything about one run that the page shows. Texts are as the run has them.

    Attributes:
        name: of its directory, and of the log or the weights that it judged.
        command: that wrote it.
        verdict: of the diagnosis, else of the run; the label is "none" where there is none.
        diagnosis: where there is one.
        facts: data, network, threat, attack and number of examples, as far as they are known.
        threat: norm, radius and box.
        outcome: why the computation ended.
        metrics: the table of numbers.
        epochs: what it recorded; of several seeds the mean.
        references: published numbers beside ours.
        config: its settings.
        environment: versions and machine.
        flatness: the table of flatness.
        strong: attack -> part -> robust error of each kept checkpoint.
        flatness_curves: None where flatness was not measured, or of several runs.
        valley: empty where nothing was fitted.
    """

    name: str
    command: str
    verdict: Verdict
    diagnosis: DiagnosisRecord | None
    facts: Sequence[Fact]
    threat: ThreatRecord | None
    outcome: OutcomeRecord
    metrics: Sequence[Row]
    epochs: Sequence[Epoch]
    references: Sequence[Comparison]
    config: Mapping[str, object]
    environment: Mapping[str, object]
    flatness: Sequence[FlatnessRow]
    strong: Mapping[str, Mapping[str, Sequence[EpochRecord]]]
    flatness_curves: RadiusCurves | None
    valley: Valley

    def curve(self, key: str) -> list[float | None]:
        """Look up one error after each epoch.

        Args:
            key: its name.

        Returns:
            One fraction per epoch; None where it was not measured.
        """
        return [one.errors.get(key) for one in self.epochs]

    def has(self, key: str) -> bool:
        """Ask for one error.

        Args:
            key: its name.

        Returns:
            Whether it was measured after any epoch.
        """
        return any(key in one.errors for one in self.epochs)

    def to_dict(self) -> dict[str, object]:
        """The machine-readable card.

        Returns:
            Strict JSON values.
        """
        curves: dict[str, object] = {}
        measured = [curve.key for curve in CURVES if self.has(curve.key)]
        if measured:
            curves = {
                "epoch": [one.epoch for one in self.epochs],
                **{key: self.curve(key) for key in measured},
                "lr": [one.lr for one in self.epochs],
            }
        # Its infinite numbers are of a type of their own, which JSON's encoder asks about.
        values = msgspec.to_builtins(self, enc_hook=float)
        del values["epochs"]
        return plain({**values, "curves": curves, "flatness_curves": values["flatness_curves"] or {}})


def read_card(run: Run, diagnosis: DiagnosisRecord | None = None, valley: Valley | None = None) -> Card:
    """Read everything about one run that the page shows.

    Args:
        run: finished; others may have made it.
        diagnosis: where there is one.
        valley: that the diagnosis fitted; by default the one that the run recorded.

    Returns:
        The card.

    Raises:
        BadRequest: a file of the run is damaged or of another shape; names the file.
    """
    summary = read_summary_of(run)
    config = run.config
    require_shallow(config, str(run.path / "config.yaml"))
    environment = read_json_object(run.path / "environment.json", follow=False)
    require_shallow(environment, str(run.path / "environment.json"))
    seeds = seeds_of(run)
    epochs = mean_over_seeds([read_epochs(seed) for seed in seeds])
    strong = {}
    if isinstance(summary, TrainSummary) and summary.curves:
        strong = summary.curves
    return Card(
        name=name_of(run.path.name, summary.command, config),
        command=summary.command,
        verdict=_verdict(summary, diagnosis),
        diagnosis=diagnosis,
        facts=facts_of(summary, config, _first_of(seeds, summary)),
        threat=summary.threat,
        outcome=summary.outcome,
        metrics=[_row(key, metric) for key, metric in summary.metrics.items()],
        epochs=epochs,
        references=compare(config, epochs),
        config=config,
        environment=environment,
        flatness=_flatness_rows(summary.metrics),
        strong=strong,
        flatness_curves=_radius_curves(summary, str(run.path / "summary.json")),
        valley=valley or Valley(*read_valley(run)),
    )


def read_summary_of(run: Run) -> Summary:
    """Read the result of a run, of any command.

    Args:
        run: finished; others may have made it.

    Returns:
        Its summary; one of `cgro diagnose` has a diagnosis.

    Raises:
        BadRequest: the run is unfinished, or its summary is damaged or of another shape.
    """
    summary = run.read()
    if isinstance(summary, DiagnoseSummary) and not summary.diagnoses:
        raise damaged(str(run.path / "summary.json"), expected="one or more diagnoses at diagnoses", got="none")
    return summary


def _verdict(summary: Summary, diagnosis: DiagnosisRecord | None) -> Verdict:
    if diagnosis is not None:
        return Verdict(diagnosis.label, diagnosis.reason)
    if summary.verdict is not None:
        return Verdict(summary.verdict.label, summary.verdict.reason)
    return Verdict("none", summary.outcome.reason)


def _first_of(seeds: Sequence[Run], summary: Summary) -> Summary:
    """The summary of the first seed, where that is a run of its own that ended."""
    if (seeds[0].path / "summary.json").exists():
        return seeds[0].read()
    return summary


def _row(key: str, metric: Metric) -> Row:
    if metric.mean is not UNSET:
        return _row_over_seeds(key, metric)
    proves = ""
    if metric.bound:
        proves = BOUNDS[metric.bound]
        if key.startswith(DISTANCES):
            proves = RADII[metric.bound]
    elif metric.p_value is not UNSET:
        proves = f"p = {metric.p_value:.2g}"
    return Row(key, metric.typical, metric.interval or None, metric.n or "", proves, metric.attack or "")


def _row_over_seeds(key: str, metric: Metric) -> Row:
    """The mean with its t interval; a run of one seed has none."""
    known = Measured.of(metric.by_seed)
    proves = "mean over seeds"
    if isinstance(metric.sd, float):
        sd = f"{metric.sd:.4f}"
        if is_share(key):
            sd = f"{100 * metric.sd:.2f} points"
        proves += f", sd {sd}"
    interval = None
    if known.n > 1 and metric.mean is not None:
        low, high = known.interval
        if is_share(key):
            low, high = max(0.0, low), min(1.0, high)
        interval = (low, high)
    return Row(key, metric.typical, interval, f"{len(metric.by_seed)} seeds", proves, "")


def is_share(key: str) -> bool:
    """Say whether a number is a share of examples, which is shown in percent.

    Args:
        key: the name of the number.

    Returns:
        True of errors, of differences of errors, and of what is memorized.

    Example:
        >>> is_share("robust_error/test@pgd20"), is_share("flatness/gradient/test@0.1"), is_share("memory/quarter_1")
        (True, False, True)
    """
    return key.startswith(SHARES)


def _flatness_rows(metrics: Mapping[str, Metric]) -> list[FlatnessRow]:
    """Flatness by part, kind and radius, where the run has it."""
    rows = []
    for key, metric in metrics.items():
        if key.startswith("flatness/"):
            kind, _, place = key.removeprefix("flatness/").partition("/")
            rows.append(FlatnessRow(kind, place, metric.typical))
    return rows


def _radius_curves(summary: Summary, what: str) -> RadiusCurves | None:
    """Of one run; of several, `cgro flatness` draws figures of its own."""
    if not isinstance(summary, TrainSummary | FlatnessSummary) or not isinstance(summary.flatness, FlatnessRecord):
        return None
    record = summary.flatness
    if not record.checkpoints:
        raise damaged(what, expected="one or more checkpoints at flatness", got="none")
    gradient = {}
    rise = {}
    for name, part in record.checkpoints[-1].parts.items():
        gradient[name] = [average.typical for average in part.gradient]
        rise[name] = [average.typical for average in part.rise]
        if len(part.gradient) != len(record.radii) or len(part.rise) != len(record.radii):
            raise damaged(what, expected=f"a value for each of {len(record.radii)} radii", got=f"others of {name}")
    return RadiusCurves(record.radii, record.training_radius, gradient, rise)
