"""The summary of every command: what `summary.json` holds, read strictly and written plainly.

A summary is read into the type of the command that wrote it. An unknown name, a missing one or a value of another type
is refused with its place, so that a reader never works on a number that means something else, and a command that adds
its numbers to a finished run never drops what it does not know.
"""

from collections.abc import Mapping, Sequence

from msgspec import UNSET, UnsetType

from cgro._check import bad
from cgro.results.artifact import ClaimRecord, FigureRecord, MachineRecord, TableRecord
from cgro.results.measurements import (
    CheckRecord,
    CorrelationRecord,
    DiagnosisRecord,
    EpochRecord,
    EvaluationRecord,
    FlatnessRecord,
    MemoryRecord,
    MonitorCost,
    RemedyRecord,
    SelectedEpoch,
)
from cgro.results.records import (
    DatasetRecord,
    Json,
    ListedDataset,
    Metric,
    ModelRecord,
    OutcomeRecord,
    Provenance,
    Real,
    Record,
    ThreatRecord,
    VerdictRecord,
)
from cgro.results.speed import PassesRecord, RecipeTime, SpeedRow
from cgro.results.theory import (
    BoundaryRecord,
    BuiltRow,
    CertificateRecord,
    ChecksRecord,
    FamilyRow,
    FloorRow,
    ParametersRecord,
    PredictionRecord,
    SeparationRow,
    ThresholdRecord,
)

SCHEMA = 1
"""Version of `summary.json`; a change of what its keys mean needs the next number."""


class Summary(Record, frozen=True, kw_only=True):
    """What every summary has.

    Attributes:
        schema: version of the format.
        command: that wrote it.
        seed: the first one.
        threat: norm, radius and box; None where nothing is attacked.
        outcome: why the computation ended.
        verdict: None where none is given.
        metrics: numbers by name, such as robust_error/test or robust_error/test@pgd20.
        provenance: digests; text of whoever took the result over; None for one that was edited by hand.
    """

    command: str
    seed: int
    threat: ThreatRecord | None
    outcome: OutcomeRecord
    verdict: VerdictRecord | None
    metrics: Mapping[str, Metric]
    schema: int = SCHEMA
    provenance: Provenance | str | UnsetType | None = UNSET

    def number(self, key: str) -> float:
        """A metric that the result must have; over seeds the mean.

        Args:
            key: its name.

        Returns:
            Its value.

        Raises:
            BadRequest: there is none, or it is not known.
        """
        metric = self.metrics.get(key)
        found = None if metric is None else metric.typical
        if found is None:
            raise bad(f"cgro {self.command}", expected=f"a run with {key}", got="none")
        return found


class SeedsSummary(Summary, frozen=True, kw_only=True):
    """Several seeds of a command: metrics as mean and spread."""

    n_seeds: int


class TrainSummary(Summary, frozen=True, kw_only=True):
    """One training; `cgro evaluate` and `cgro flatness` add their results to it.

    Attributes:
        data: trained on.
        model: that was trained.
        selected: the epoch that validation selected; None without validation.
        evaluations: attack -> part -> what broke how many.
        curves: attack -> part -> one row per kept checkpoint.
        flatness: of the network.
    """

    data: DatasetRecord
    model: ModelRecord
    selected: SelectedEpoch | None
    evaluations: Mapping[str, Mapping[str, EvaluationRecord]] | UnsetType = UNSET
    curves: Mapping[str, Mapping[str, Sequence[EpochRecord]]] | UnsetType = UNSET
    flatness: FlatnessRecord | UnsetType = UNSET


class MonitorSummary(TrainSummary, frozen=True, kw_only=True):
    """One training that `cgro.Monitor` watched in a loop of others; read like one of `cgro train`.

    Attributes:
        cost: of its evaluations.
    """

    cost: MonitorCost


class EvaluateSummary(Summary, frozen=True, kw_only=True):
    """One evaluation of a network; `curves` by --per-epoch instead."""

    data: DatasetRecord
    model: ModelRecord
    evaluations: Mapping[str, Mapping[str, EvaluationRecord]]


class FlatnessSummary(Summary, frozen=True, kw_only=True):
    """Flatness of one network, or of several with the rank correlation of gap and flatness."""

    data: DatasetRecord
    flatness: FlatnessRecord | Sequence[FlatnessRecord]
    correlation: CorrelationRecord | UnsetType | None = UNSET


class MemorySummary(Summary, frozen=True, kw_only=True):
    """Who is memorized."""

    data: DatasetRecord
    memory: MemoryRecord
    model: ModelRecord


class DynamicsSummary(Summary, frozen=True, kw_only=True):
    """Simulated training: one setting, or a sweep over one or two parameters.

    Attributes:
        preset: its name.
        calibrated: whether settings were fitted to the paper's numbers.
        statement: what the preset can and cannot show.
        n_seeds: simulated.
        stages: boundary -> steps; None for a sweep, or where too few records were kept.
        signal_learned: max_r <w_r, w*> at the end.
        signal_margin: alpha^q U.
        noise_learned: mean V_i.
        theory: name -> predicted and measured.
        setting: every value of it.
        radius_ratio: delta / alpha.
        backend: that computed it.
        sweep: axis -> values.
        sample_threshold: number of training examples above which the noise is not memorized, predicted; None where the
            prediction does not apply, such as standard training.
    """

    preset: str
    calibrated: bool
    statement: str
    n_seeds: int
    stages: Mapping[str, BoundaryRecord] | None
    signal_learned: Metric | None
    noise_learned: Metric | None
    theory: Mapping[str, PredictionRecord]
    signal_margin: Metric | UnsetType = UNSET
    setting: Mapping[str, Json] | UnsetType = UNSET
    radius_ratio: float | UnsetType = UNSET
    backend: str | UnsetType = UNSET
    sweep: Mapping[str, Sequence[float]] | UnsetType = UNSET
    sample_threshold: ThresholdRecord | UnsetType | None = UNSET


class MemorizeSummary(Summary, frozen=True, kw_only=True):
    """The robust memorizer of Theorem 4.4: certificate, parameters, bracket on the robust error."""

    data: DatasetRecord
    certificate: CertificateRecord
    parameters: ParametersRecord
    separation: Real
    max_radius: Real
    separation_pair: Sequence[int]
    variant: str
    checks: ChecksRecord
    notes: Sequence[str]


class SeparationSummary(Summary, frozen=True, kw_only=True):
    """Separation of the classes of a data set."""

    data: DatasetRecord
    separation: Mapping[str, Real]
    max_radius: Mapping[str, Real]
    admissible: bool | None
    norms: Sequence[SeparationRow]


class LowerBoundSummary(Summary, frozen=True, kw_only=True):
    """The floor of Theorem 4.7 against the memorizer of Theorem 4.4."""

    grid_side: int
    n_layers: int
    error: float
    n_points: int
    crossing: int | None
    assumptions: Sequence[str]
    built: Sequence[BuiltRow]
    toy: Sequence[FamilyRow]
    table: Sequence[FloorRow]


class DataSummary(Summary, frozen=True, kw_only=True):
    """Data sets by name: what each holds, or why it is missing."""

    data: Mapping[str, ListedDataset]


class QuickstartSummary(Summary, frozen=True, kw_only=True):
    """The tour: a sentence per part."""

    parts: Mapping[str, str]


class DiagnoseSummary(Summary, frozen=True, kw_only=True):
    """Diagnoses, one per training."""

    diagnoses: Sequence[DiagnosisRecord]


class LintSummary(Summary, frozen=True, kw_only=True):
    """The evaluation lint of one network."""

    data: DatasetRecord
    model: ModelRecord
    checks: Sequence[CheckRecord]


class BenchSummary(Summary, frozen=True, kw_only=True):
    """How fast one network is attacked, trained and evaluated on one machine.

    Attributes:
        data: whose first examples are taken.
        model: with its initial weights.
        attack: of training, with every parameter.
        eval_attack: of the evaluation, with every parameter.
        batch_size: examples in an attack and in a step.
        repeats: repetitions that are counted.
        device: its kind and model.
        threads: of torch.
        flags: name -> value, of what decides the speed beside them.
        passes: the bare passes.
        rows: one per work and way.
        left_out: way -> why it was not measured.
        recipe: the estimate that was asked for.
    """

    data: DatasetRecord
    model: ModelRecord
    attack: str
    eval_attack: str
    batch_size: int
    repeats: int
    device: str
    threads: int
    flags: Mapping[str, str]
    passes: PassesRecord
    rows: Sequence[SpeedRow]
    left_out: Mapping[str, str]
    recipe: RecipeTime | None


class ArtifactSummary(Summary, frozen=True, kw_only=True):
    """One artifact of the paper, reproduced."""

    artifact: str
    title: str
    scale: str
    claims: Sequence[ClaimRecord]
    tables: Sequence[TableRecord]
    figures: Sequence[FigureRecord]
    seconds: float | None
    provenance: Sequence[MachineRecord] | Provenance | UnsetType | None = UNSET


class ReproduceSummary(Summary, frozen=True, kw_only=True):
    """What there is so far of a reproduction: claim -> verdict."""

    scale: str
    claims: Mapping[str, str]
    seconds: float | None


class CompareSummary(Summary, frozen=True, kw_only=True):
    """Remedies side by side, as far as they are made.

    Attributes:
        data: that all networks are trained on; None before the first is.
        model: of the base.
        attack: the strong one, of the errors.
        n: examples of each part, at most.
        seeds: per remedy and width.
        reference: the remedy that the others are compared with.
        remedies: name, with the width behind it where there are several -> what was measured.
        n_open: jobs that are not made yet.
        failed: job -> why it failed.
        remarks: what must be known of the trainings as a whole, such as that the caller's code changed between them;
            not written where there is nothing.
    """

    data: DatasetRecord | None
    model: ModelRecord
    attack: str
    n: int
    seeds: int
    reference: str
    remedies: Mapping[str, RemedyRecord]
    n_open: int
    failed: Mapping[str, str]
    remarks: Sequence[str] | UnsetType = UNSET


BY_COMMAND: Mapping[str, type[Summary]] = {
    "train": TrainSummary,
    "monitor": MonitorSummary,
    "evaluate": EvaluateSummary,
    "flatness": FlatnessSummary,
    "memory": MemorySummary,
    "dynamics": DynamicsSummary,
    "memorize": MemorizeSummary,
    "separation": SeparationSummary,
    "lower-bound": LowerBoundSummary,
    "data": DataSummary,
    "quickstart": QuickstartSummary,
    "diagnose": DiagnoseSummary,
    "lint": LintSummary,
    "bench": BenchSummary,
    "reproduce": ReproduceSummary,
    "compare": CompareSummary,
}
"""Command -> the summary of one seed."""
