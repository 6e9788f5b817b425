"""The parts of summaries: frozen values that are written to and read from JSON by their types.

A field that a command may leave out is `Unset` unless given, and then not written. `Real` is a number that may be
infinite, which JSON spells "inf" or "-inf".
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field, structs

from cgro.results.measured import Measured
from cgro.results.rates import Bound, ErrorRate
from cgro.writing import plain

SPELLED = {"inf": math.inf, "-inf": -math.inf}


if TYPE_CHECKING:
    Real = float
else:

    class Real(float):
        """A finite or infinite number, never NaN; in JSON an infinite one is "inf" or "-inf"."""

        @classmethod
        def read(cls, value: object) -> Self:
            """The number that JSON holds.

            Args:
                value: as parsed.

            Returns:
                The number.

            Raises:
                ValueError: no number; the caller knows the place.
            """
            if isinstance(value, str) and value in SPELLED:
                return cls(SPELLED[value])
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f'Expected `a number, "inf" or "-inf"`, got `{type(value).__name__}`')
            try:
                return cls(value)
            except OverflowError:
                raise ValueError("Expected `a number of double precision`, got `a larger integer`") from None


Interval = tuple[Real, Real]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
"""A fraction; one that was written in percent is refused."""
Whole = Annotated[int, Meta(ge=-(1 << 53), le=1 << 53)]
"""An integer that is the same as a floating-point number, such as an epoch."""
Json = Any
"""A JSON value that is only kept and printed: `object` is no type that msgspec reads."""


class Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a summary: unknown names are refused, so that nothing is dropped when it is written again."""

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Self:
        """The record with these values.

        Args:
            values: by the names that JSON has; NaN becomes None.

        Returns:
            The record.

        Raises:
            msgspec.ValidationError: a name or a type that the record does not have.
        """
        return msgspec.convert(plain(values), cls, dec_hook=read_special)

    def plain(self) -> dict[str, Any]:
        """Strict JSON values.

        Returns:
            Name in JSON -> value; see `cgro.writing.plain`.
        """
        return plain(msgspec.to_builtins(self, enc_hook=_write_special))

    def values(self) -> dict[str, Any]:
        """The fields by name, without those that are left out.

        Returns:
            Name in Python -> value.
        """
        return {name: value for name, value in structs.asdict(self).items() if value is not UNSET}


def _write_special(value: object) -> object:
    if isinstance(value, float):
        return float(value)
    raise NotImplementedError(type(value))


def read_special(kind: type, value: object) -> object:
    """What msgspec asks for a type that it does not know.

    Args:
        kind: `Real`; `object`, of which every value is kept as it is.
        value: as parsed.

    Returns:
        A value of that type.

    Raises:
        ValueError: no number.
    """
    if kind is Real:
        return Real.read(value)  # type: ignore[attr-defined]  # see `Real`
    if kind is object:
        return value
    raise NotImplementedError(kind)


class ThreatRecord(Record, frozen=True, kw_only=True):
    """Norm, radius and box of an attack; see `cgro.definitions.ThreatModel`.

    Attributes:
        p: 1, 2, "inf", or "any" where a statement holds for every norm.
        radius: in units of the input.
        box: the range of inputs; None where there is none.
        adversary: of the simulator, such as "signal".
    """

    p: int | Literal["inf", "any"]
    radius: Real
    box: tuple[Real, Real] | None
    adversary: str | UnsetType = UNSET


class OutcomeRecord(Record, frozen=True, kw_only=True):
    """Why a computation ended; see `cgro.trajectory.Outcome`.

    Attributes:
        kind: such as completed or non_finite.
        reason: one sentence.
        step: step or epoch at which it ended.
        per_seed: the kind of each seed.
    """

    kind: str
    reason: str
    step: int | UnsetType = UNSET
    per_seed: Sequence[str] | UnsetType = UNSET


class RuleRecord(Record, frozen=True, kw_only=True):
    """Thresholds of a verdict; see `cgro.definitions.VerdictRule`."""

    collapse_share: float
    min_gap: float
    gap_ratio: float
    chance_fraction: float
    n_classes: int
    min_n: int


class Evidence(Record, frozen=True, kw_only=True):
    """The numbers behind the verdict on one point of training."""

    clean_error_train: Real | UnsetType = field(name="clean_error/train", default=UNSET)
    clean_error_test: Real | UnsetType = field(name="clean_error/test", default=UNSET)
    robust_error_train: Real | UnsetType = field(name="robust_error/train", default=UNSET)
    robust_error_test: Real | UnsetType = field(name="robust_error/test", default=UNSET)
    prediction_share: float | UnsetType | None = UNSET
    rule: RuleRecord | UnsetType = UNSET
    robust_gap: float | UnsetType = UNSET
    robust_gap_interval: tuple[float, float] | UnsetType = UNSET
    clean_gap: float | UnsetType = UNSET
    errors: Mapping[str, "Metric"] | UnsetType = UNSET


class VerdictRecord(Record, frozen=True, kw_only=True):
    """A label and one sentence; see `cgro.definitions.cgro_verdict`.

    Attributes:
        label: such as cgro.
        reason: one sentence.
        evidence: of a verdict on one point of training.
        scope: "curve" or "point", of `cgro diagnose`.
        per_seed: the label of each seed.
    """

    label: str
    reason: str
    evidence: Evidence | UnsetType = UNSET
    scope: str | UnsetType = UNSET
    per_seed: Sequence[str] | UnsetType = UNSET


class Metric(Record, frozen=True, kw_only=True):
    """One named number: an error, an average, a bare value, or the same over seeds.

    Attributes:
        value: of one seed; None where it is not known.
        wrong: number of wrong examples.
        n: number of examples.
        bound: what an error proves.
        interval: 95%.
        attack: what found the wrong examples.
        mean: over seeds.
        sd: standard deviation, over seeds or, of an average, over examples.
        per_seed: the values of the seeds.
        epoch: at which it was measured; None for a mean over epochs.
        p_value: of a rise.
    """

    value: Real | UnsetType | None = UNSET
    mean: Real | UnsetType | None = UNSET
    sd: Real | UnsetType | None = UNSET
    wrong: int | UnsetType = UNSET
    n: int | UnsetType = UNSET
    bound: Bound | UnsetType | None = UNSET
    interval: Interval | UnsetType | None = UNSET
    per_seed: Sequence[Real | None] | UnsetType = UNSET
    attack: str | UnsetType | None = UNSET
    epoch: float | UnsetType | None = UNSET
    p_value: float | UnsetType = UNSET

    @classmethod
    def of_error(cls, error: ErrorRate, attack: object | None = None) -> Self:
        """The entry of an error.

        Args:
            error: counted on examples.
            attack: what found the wrong ones; its `repr` is recorded. None for a clean error.

        Returns:
            The metric.
        """
        low, high = error.interval
        named = None if attack is None else repr(attack)
        return cls(
            value=error.value,
            wrong=error.wrong,
            n=error.n,
            bound=error.bound,
            interval=(low, high),
            attack=named,
        )

    @classmethod
    def over_seeds(cls, values: list[float | None]) -> Self:
        """The entry of a number over seeds.

        Args:
            values: one per seed; None where a seed has none.

        Returns:
            The metric with mean and standard deviation, None where there is none.
        """
        known = Measured.of(values)
        return cls(
            mean=known.mean if known.n else None,
            sd=known.sd if known.n > 1 else None,
            per_seed=list(values),
        )

    @property
    def typical(self) -> float | None:
        """The mean over seeds, or the value of the only one; None where it is not known."""
        found = self.value if self.mean is UNSET else self.mean
        return None if found is UNSET else found

    @property
    def by_seed(self) -> list[float | None]:
        """The numbers of the seeds; one where there is one seed."""
        if self.per_seed is not UNSET:
            return list(self.per_seed)
        return [self.typical]

    @property
    def error(self) -> ErrorRate | None:
        """The error, where the metric is one that was counted."""
        if self.wrong is UNSET or self.n is UNSET or self.bound is UNSET or self.bound is None:
            return None
        return ErrorRate(self.wrong, self.n, self.bound)


class DatasetRecord(Record, frozen=True, kw_only=True):
    """A data set as it was used; see `cgro.data.Dataset.describe`."""

    name: str
    note: str
    classes: Sequence[str]
    n_train: int
    n_validation: int
    n_test: int
    sha256: str | UnsetType = UNSET


class ListedDataset(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A data set as `cgro data` lists it: what it holds, or only why it is missing.

    Attributes:
        name: see `DatasetRecord`, as the next six.
        shape: of one image, (C, H, W).
        stored_as: type of its numbers.
        n_by_class: part -> class -> examples.
        missing: why it is not there.
    """

    name: str = ""
    note: str = ""
    classes: Sequence[str] = ()
    n_train: int = 0
    n_validation: int = 0
    n_test: int = 0
    sha256: str = ""
    shape: Sequence[int] = ()
    stored_as: str = ""
    n_by_class: Mapping[str, Mapping[str, int]] | UnsetType = UNSET
    missing: str | UnsetType = UNSET


class ModelRecord(Record, frozen=True, kw_only=True):
    """A network: its name on the command line, width, and number of parameters."""

    name: str
    width: int | None
    n_parameters: int | UnsetType = UNSET


class Provenance(Record, frozen=True, kw_only=True):
    """Where a result came from, and SHA-256 digests of the files beside it and of the summary itself."""

    source: str | None
    files: Mapping[str, str]
    checkpoints: Mapping[str, str]
    summary: str
