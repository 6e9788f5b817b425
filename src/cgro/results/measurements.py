"""What is measured on trained networks: evaluations, diagnoses, flatness, memory."""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import UNSET, UnsetType

from cgro.results.rates import Bound
from cgro.results.records import Json, Metric, OutcomeRecord, Real, Record, Share, VerdictRecord, Whole


class EvaluationRecord(Record, frozen=True, kw_only=True):
    """An evaluation of one part: what broke how many examples."""

    broken_by: Mapping[str, int]
    n: int
    complete: bool | UnsetType = UNSET
    rounded_to_8_bits: Mapping[str, int] | UnsetType = UNSET


class EpochRecord(Record, frozen=True, kw_only=True):
    """The evaluation of one kept checkpoint."""

    epoch: Whole
    clean_error: Share
    wrong: int
    n: int
    bound: Bound
    value: Share
    interval: tuple[Share, Share]
    attack: str | None
    broken_by: Mapping[str, int]
    complete: bool


class SelectedEpoch(Record, frozen=True, kw_only=True):
    """The epoch that validation selected, and its robust and clean validation error."""

    epoch: int
    score: tuple[float, float]


class MonitorCost(Record, frozen=True, kw_only=True):
    """What the evaluations of a monitor took, beside the training that it watched.

    Attributes:
        evaluations: number of them.
        seconds: of all of them together.
        training_seconds: between them.
        share: seconds over training_seconds; None where no training was timed.
        passes: forward passes of one example in an evaluation by the cheap attack, at most; a gradient counts as two.
    """

    evaluations: int
    seconds: float
    training_seconds: float
    share: float | None
    passes: int


class CheckRecord(Record, frozen=True, kw_only=True):
    """A finding of the evaluation lint; see `cgro.diagnosis.lint`."""

    name: str
    status: Literal["PASS", "WARN"]
    finding: str
    meaning: str
    remedy: str
    masking: bool


class RiseRecord(Record, frozen=True, kw_only=True):
    """How far an error rose after its lowest point; see `cgro.diagnosis.rise.Rise`."""

    size: float
    interval: tuple[float, float]
    naive: float
    bias: float
    p_value: float
    onset: float
    onset_interval: tuple[float, float]
    final: float
    lowest: float
    noise: float
    rho: float


class PhaseRecord(Record, frozen=True, kw_only=True):
    """The rise within one stretch of learning rate; see `cgro.diagnosis.rise.PhaseRise`."""

    rise: RiseRecord
    drop: float | None
    after: float | None


class SelectedRecord(Record, frozen=True, kw_only=True):
    """What one rule of selection reports."""

    rule: str
    epoch: float | None
    robust_error: float
    clean_error: float | None
    robust_error_train: float | None


class SelectionRecord(Record, frozen=True, kw_only=True):
    """One training reported by each rule of selection; see `cgro.diagnosis.selection.Selection`."""

    on_test: SelectedRecord
    on_validation: SelectedRecord | None
    last: SelectedRecord
    last_five: SelectedRecord
    gap: float
    bias: float | None


class DiagnosisRecord(Record, frozen=True, kw_only=True):
    """The verdict on one training; see `cgro.diagnosis.Diagnosis`."""

    label: str
    scope: str
    reason: str
    training: str
    findings: Sequence[str]
    remedies: Sequence[str]
    drops: Sequence[float]
    aligned: float | None
    opened: float | None
    evidence: Mapping[str, Json]
    lint: Sequence[CheckRecord]
    rise: RiseRecord | None
    clean_rise: RiseRecord | None
    selection: SelectionRecord | None
    point: VerdictRecord | None
    phase: PhaseRecord | UnsetType = UNSET

    @property
    def risen(self) -> RiseRecord | None:
        """The rise that a label of robust overfitting rests on."""
        if isinstance(self.phase, PhaseRecord):
            return self.phase.rise
        return self.rise


class FlatnessPart(Record, frozen=True, kw_only=True):
    """Averages over the examples of a part at one checkpoint, one entry per radius."""

    n: int
    loss: Real
    slope: Real
    gradient: Sequence[Metric]
    rise: Sequence[Metric]


class FlatnessCheckpoint(Record, frozen=True, kw_only=True):
    """One checkpoint; `epoch` is None for the last and the selected one."""

    label: str
    epoch: Whole | None
    parts: Mapping[str, FlatnessPart]


class BoundRecord(Record, frozen=True, kw_only=True):
    """The generalization bound of Theorem 6.2; see `cgro.flatness.bound`."""

    factor: Real
    bound: Real
    gap: Real
    robust_loss: Real
    n: int
    dim: int
    vacuous: bool


class FirstOrderRecord(Record, frozen=True, kw_only=True):
    """Both sides of Proposition 6.4."""

    product: Real
    rise: Real
    ratio: Real


class FlatnessRecord(Record, frozen=True, kw_only=True):
    """Flatness of the loss around the examples of one network."""

    data: str
    note: str
    model: str
    width: int | None
    p: str
    seed: int
    radii: Sequence[float]
    names: Sequence[str]
    training_radius: float
    training_name: str
    n_train: int
    dim: int
    search: str
    checkpoints: Sequence[FlatnessCheckpoint]
    bound: BoundRecord | UnsetType = UNSET
    first_order: FirstOrderRecord | UnsetType = UNSET


class CorrelationRecord(Record, frozen=True, kw_only=True):
    """Rank correlation over runs, with its bootstrap interval."""

    value: Real | None
    interval: tuple[float, float] | None
    n_seeds: int
    n_checkpoints: int
    block: int
    per_seed: Sequence[Real | None]


class RealStagesRecord(Record, frozen=True, kw_only=True):
    """Epochs at which the stages of training on real data end; None where they do not."""

    clean_learned: int | None
    generalized: int | None
    memorized: int | None
    parted: int | None
    ordered: bool


class QuarterRecord(Record, frozen=True, kw_only=True):
    """Robust share of a quarter of the examples by distance to the standard boundary."""

    train: float
    test: float
    memory: float
    interval: tuple[float, float]


class RemedyRecord(Record, frozen=True, kw_only=True):
    """One remedy at one width, over seeds; see `cgro.comparison.trials`.

    Attributes:
        remedy: its name in the plan.
        width: of the network; None where the plan has no widths.
        options: that differ from those of the base.
        epochs: of its training, set so that all remedies make as many gradient passes.
        own_epochs: whether the remedy sets its epochs itself, and so its passes.
        passes: gradient passes of one whole training.
        metrics: over seeds, None where a seed has none: errors by the strong attack, the gap, flatness, memory score,
            and of the training the passes that were made, seconds and the peak of its memory in bytes.
        differences: of errors to the reference, paired by seed.
        effect: what the differences say.
        outcomes: how the training of each seed ended; `failed` and `open` besides the outcomes of `cgro train`.
    """

    remedy: str
    width: int | None
    options: Mapping[str, Json]
    epochs: int
    own_epochs: bool
    passes: int
    metrics: Mapping[str, Metric]
    differences: Mapping[str, Metric]
    effect: VerdictRecord
    outcomes: Sequence[OutcomeRecord]


class MemoryRecord(Record, frozen=True, kw_only=True):
    """Who is memorized."""

    radius: float
    stages: RealStagesRecord | None
    quarters: Sequence[QuarterRecord] | UnsetType = UNSET
    influence: Sequence[Real | None] | UnsetType = UNSET
