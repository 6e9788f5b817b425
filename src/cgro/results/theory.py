"""What is computed from the theory: stages of simulated training, certificates, counts of parameters."""

from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from cgro.results.records import Real, Record

UNKNOWN = "unknown"
"""In summaries of versions that did not say it."""


class BoundaryRecord(Record, frozen=True, kw_only=True):
    """The end of a stage over seeds, in steps; no mean unless every seed reached it."""

    mean: float | None
    sd: float | None
    per_seed: Sequence[float | None]
    n_found: int
    reason: str


class PredictionRecord(Record, frozen=True, kw_only=True):
    """A prediction beside its measurement; None where it was not measured."""

    predicted: Real | None
    measured: Real | None
    statement: str


class ThresholdRecord(Record, frozen=True, kw_only=True):
    """How many training examples are too many to memorize; see `cgro.dynamics.threshold.SampleThreshold`."""

    critical: Real
    half: Real
    signal: float | None
    noise: float


class CertificateRecord(Record, frozen=True, kw_only=True):
    """The certificate on the training balls; see `cgro.representation.certificate`.

    Attributes:
        holds: whether every ball is certified.
        min_margin: the least certified y F.
        n: balls.
        n_memorized: points that the network remembers.
        method: certificates and arithmetic.
        layers: how far the written-out layers were checked, which the certificate itself does not read.
    """

    holds: bool
    min_margin: Real
    n: int
    n_memorized: int
    method: str
    layers: str = UNKNOWN


class ParametersRecord(Record, frozen=True, kw_only=True):
    """Non-zero parameters of the memorizer; `measured` says whether the network was written out and counted."""

    total: int | None
    memorizer: int
    clean: int | None
    formula: int | None
    generic: int
    dense: int | None
    measured: bool


class IntervalCheck(Record, frozen=True, kw_only=True):
    """Interval propagation through the written-out network on some balls: the least y F."""

    n: int
    least: Real
    agrees: bool


class SolverCheck(Record, frozen=True, kw_only=True):
    """What a solver found on some training balls; see `cgro.representation.verify`.

    Attributes:
        n: balls.
        least: the least y F over all of them.
        n_counterexamples: balls with y F <= 0.
        n_replayed: counterexamples that are wrong when the exported network answers.
        agrees: whether every optimum is positive and reaches the margin that the certificate claims, up to
            `cgro.representation.verify.SOLVER_ROUNDING`; without `n_below`, whether it is positive.
        n_binaries: of the largest program.
        solver: its name.
        n_below: balls whose optimum is below the claimed margin; None in summaries of versions that asked for y F > 0.
        claimed: the margin claimed where an optimum falls shortest of it.
    """

    n: int
    least: Real
    n_counterexamples: int
    n_replayed: int
    agrees: bool
    n_binaries: int
    solver: str = "HiGHS"
    n_below: int | None = None
    claimed: Real | None = None


class SphereCheck(Record, frozen=True, kw_only=True):
    """A written-out network at points of some training balls: finds faults, proves nothing.

    Attributes:
        n: balls.
        n_points: over all balls.
        least: the least y F.
        claimed: the margin claimed where y F falls shortest of it.
        found: y F there.
        agrees: whether y F reaches its claim at every point, up to `cgro.representation.spheres.REPLAY_ROUNDING`.
        max_difference: between F and the network that was asked.
    """

    n: int
    n_points: int
    least: Real
    claimed: Real
    found: Real
    agrees: bool
    max_difference: Real


class ExportRecord(Record, frozen=True, kw_only=True):
    """The network as ONNX; see `cgro.representation.export`.

    Attributes:
        onnx: the network, relative to the run directory.
        opset: of the ONNX model.
        n_properties: VNN-LIB files beside it.
        max_difference: between F and the exported network in ONNX Runtime, on the points of `replay`; without it, on
            the centers of the exported balls.
        precision: of the weights, float64 or float32.
        replay: the file in ONNX Runtime on the spheres of the exported balls.
        interval: the least y F by interval propagation of the weights in the file over the exported balls; None where
            intervals are too wide to say anything.
    """

    onnx: str
    opset: int
    n_properties: int
    max_difference: Real
    precision: str = UNKNOWN
    replay: SphereCheck | UnsetType = UNSET
    interval: Real | None = None


class ChecksRecord(Record, frozen=True, kw_only=True):
    """Independent checks of a certificate; those that were not asked for are left out."""

    interval: IntervalCheck | UnsetType = UNSET
    export: ExportRecord | UnsetType = UNSET
    milp: SolverCheck | UnsetType = UNSET
    spheres: SphereCheck | UnsetType = UNSET


class SeparationRow(Record, frozen=True, kw_only=True):
    """Exact separation in one norm."""

    p: int | str
    separation: Real
    max_radius: Real
    pair: Sequence[int]
    pair_index: Sequence[int]
    pair_labels: Sequence[int]
    quantiles: Sequence[Real]


class BuiltRecord(Record, frozen=True, kw_only=True):
    """A robust network that was built and certified on one labeling."""

    m: int
    parameters: int
    least_margin: float


class BuiltRow(Record, frozen=True, kw_only=True):
    """The networks of one dimension."""

    dim: int
    certified: bool
    random: BuiltRecord
    checkerboard: BuiltRecord


class FamilyRow(Record, frozen=True, kw_only=True):
    """Errors of the memorizer over all points of the worst-case family; see `cgro.representation.worst_case`.

    Attributes:
        dim: D.
        m: points of the family.
        n: N draws, with replacement.
        p: norm, as text.
        radius: delta.
        seen: distinct points that were drawn.
        clean_test: clean error.
        robust_train: robust training error, certified.
        robust_test: robust error.
        expected: (1 - 1/m)^N, the expectation of `robust_test` over draws.
        exact: whether attack and certificate agree on every point.
    """

    dim: int
    m: int
    n: int
    p: str
    radius: float
    seen: int
    clean_test: float
    robust_train: float
    robust_test: float
    expected: float
    exact: bool


class FloorRow(Record, frozen=True, kw_only=True):
    """Parameter counts of one dimension, as log2; the floor is None where it says nothing."""

    dim: int
    log2_floor: float | None
    log2_construction: float
    log2_memorizer: float
    log2_clean: float
