"""Errors (Definitions 3.1-3.3), what each number proves, the distance to the boundary, and the CGRO verdict (3.4)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from cgro._check import BadRequest, bad, count, one_of
from cgro.definitions.attacks import Attack, NoAttack, judge, preserve_state, require_attack
from cgro.definitions.inputs import as_inputs, as_labels, ordinary_tensors
from cgro.definitions.losses import Model, check_labels, is_wrong, predict
from cgro.definitions.threat import require_radius_fits

Bound = Literal["lower", "upper", "exact"]
Z95 = 1.959963984540054


@dataclass(frozen=True)
class ErrorRate:
    """A share of wrong examples and what it proves.

    Args:
        wrong: number of wrong examples.
        n: number of examples.
        bound: `lower` (an attack found these; there may be more), `upper` (all others are certified), `exact`.

    Example:
        >>> e = ErrorRate(10, 100, "lower")
        >>> e.value, tuple(round(v, 4) for v in e.interval)
        (0.1, (0.0552, 0.1744))
    """

    wrong: int
    n: int
    bound: Bound = "exact"

    def __post_init__(self) -> None:
        count(self.n, "n")
        count(self.wrong, "wrong", low=0, high=self.n)
        one_of(self.bound, "bound", ("lower", "upper", "exact"))

    def __float__(self) -> float:
        """The error as a fraction, so that `float(error)` and arrays of errors work."""
        return self.value

    @property
    def value(self) -> float:
        """The error as a fraction in [0, 1]."""
        return self.wrong / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """95% Wilson score interval for the sampling of examples; it knows nothing of the attack's strength."""
        p, n = self.value, self.n
        center = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
        half = Z95 / (1 + Z95**2 / n) * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2))
        return max(0.0, min(p, center - half)), min(1.0, max(p, center + half))

    def to_dict(self, attack: Attack | None = None) -> dict[str, Any]:
        """Plain values for `summary.json`."""
        named = None if attack is None else repr(attack)
        return {**asdict(self), "value": self.value, "interval": list(self.interval), "attack": named}


def difference_interval(a: ErrorRate, b: ErrorRate) -> tuple[float, float]:
    """95% interval for a - b of two independent shares (Newcombe's hybrid score method, Statistics in Medicine 1998).

    >>> low, high = difference_interval(ErrorRate(56, 70), ErrorRate(48, 80))   # Newcombe's Table II, case (a)
    >>> round(low, 4), round(high, 4)
    (0.0524, 0.3339)
    """
    (la, ua), (lb, ub), d = a.interval, b.interval, a.value - b.value
    low = d - math.sqrt((a.value - la) ** 2 + (ub - b.value) ** 2)
    high = d + math.sqrt((ua - a.value) ** 2 + (b.value - lb) ** 2)
    return low, high


def require_eval(model: Model) -> None:
    """Refuse a module of which any part is in train mode: BatchNorm and dropout would falsify every number.

    Raises:
        BadRequest: call `model.eval()` first.
    """
    if isinstance(model, torch.nn.Module) and any(m.training for m in model.modules()):
        raise bad("model", expected="eval mode", got="train mode", remedy="call model.eval() first")


def judged(model: Model, x: Tensor, y: Tensor) -> Tensor:
    """The outputs that count, checked: labels that fit, finite values."""
    outputs = judge(model, x)
    check_outputs(outputs, y)
    return outputs


def check_outputs(outputs: Tensor, y: Tensor) -> None:
    """Check what a network returned.

    Args:
        outputs: (B, C) or (B,).
        y: (B,) labels.

    Raises:
        BadRequest: labels that do not fit, outputs that are not finite.
    """
    check_labels(outputs, y)
    if not bool(torch.isfinite(outputs).all()):
        raise bad("model output", expected="finite values", got="NaN or inf", remedy="check the weights")


def check_set(model: Model, x: Tensor, y: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """Refuse train mode, no examples, and labels that do not match.

    Args:
        model: to be evaluated.
        x: (N, *S) inputs.
        y: (N,) labels.
        batch: examples at a time.

    Returns:
        Inputs and labels to compute with, see `as_inputs` and `as_labels`.

    Raises:
        BadRequest: one of these, or no tensors.
    """
    require_eval(model)
    count(batch, "batch")
    x = as_inputs(x)
    y = as_labels(y, x.device)
    if not len(x):
        raise bad("examples", expected="at least one", got=0)
    if len(x) != len(y):
        raise bad("labels", expected=f"{len(x)}, one per example", got=len(y))
    return x, y


@ordinary_tensors
def wrong_under(
    model: Model,
    x: Tensor,
    y: Tensor,
    attack: Attack,
    *,
    batch: int = 256,
    generator: torch.Generator | None = None,
    progress: Callable[[int], object] | None = None,
) -> Tensor:
    """Which examples are wrong when clean or after the attack, (N,) bool. Only those that stand are attacked.

    The attack's output is not trusted: a point outside the threat model is an error of the attack.

    Args:
        progress: called with the number of examples done after each batch.

    Raises:
        BadRequest: see `robust_error`.
    """
    require_attack(attack)
    x, y = check_set(model, x, y, batch)
    attack.threat.check_input(x)
    require_radius_fits(attack.threat, x.shape[1:])
    generator = generator if generator is not None else torch.Generator(x.device).manual_seed(0)
    wrong = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    with preserve_state(model, x.device):
        for first in range(0, len(x), batch):
            part = slice(first, first + batch)
            wrong[part] = is_wrong(judged(model, x[part], y[part]), y[part])
            rows = first + torch.nonzero(~wrong[part]).squeeze(1)
            if len(rows) and attack.threat.radius > 0:
                x_adv = attack(model, x[rows], y[rows], generator=generator)
                if not bool(attack.threat.contains(x_adv, x[rows]).all()):
                    raise BadRequest(f"{attack!r} returned points outside its own threat model; project them first")
                wrong[rows] = is_wrong(judged(model, x_adv, y[rows]), y[rows])
            if progress:
                progress(min(first + batch, len(x)))
    return wrong


def robust_error(
    model: Model, x: Tensor, y: Tensor, attack: Attack, *, batch: int = 256, generator: torch.Generator | None = None
) -> ErrorRate:
    """Robust error on a set (Definitions 3.2 and 3.3): the mean of max over X' of 1{sgn f(X') != y}.

    On the training set it is the robust training error, on fresh examples it estimates the robust test error. An
    example that is wrong when clean counts as wrong. Unless the attack is exact the result is a LOWER bound: it
    says that these examples can be broken, and nothing about the others.

    Args:
        model: in eval mode if it is a module. x: (N, *S) in the box. y: (N,) labels.
        attack: any `Attack`. batch: examples at a time; affects speed and memory only.

    Raises:
        BadRequest: train mode, empty set, labels out of range, inputs outside the box, outputs not finite.

    Example:
        A linear score w.x errs exactly when its margin is at most radius * ‖w‖_1.

        >>> from cgro.definitions import PGD, ThreatModel
        >>> x, y = torch.tensor([[0.30], [0.45], [0.60], [0.80]]), torch.tensor([-1, -1, 1, 1])
        >>> robust_error(lambda v: v[:, 0] - 0.5, x, y, PGD(ThreatModel("inf", 0.11), n_steps=5)).value
        0.5
    """
    wrong = wrong_under(model, x, y, attack, batch=batch, generator=generator)
    bound: Bound = "exact" if attack.exact else "lower"
    return ErrorRate(int(wrong.sum()), len(x), bound)


def clean_error(model: Model, x: Tensor, y: Tensor, *, batch: int = 1024) -> ErrorRate:
    """Clean error (Definition 3.1): the share with sgn f(X) != y. Same code path as the robust error."""
    return replace(robust_error(model, x, y, NoAttack(), batch=batch), bound="exact")


@ordinary_tensors
def predicted_shares(model: Model, x: Tensor, *, batch: int = 1024) -> list[float]:
    """The share of predictions that each class takes, in the order of the classes."""
    require_eval(model)
    count(batch, "batch")
    x = as_inputs(x)
    with preserve_state(model, x.device):
        outputs = torch.cat([judge(model, x[i : i + batch]) for i in range(0, len(x), batch)])
    labels = predict(outputs)
    classes = range(outputs.shape[1]) if outputs.ndim == 2 else (-1, 1)
    return [float((labels == c).double().mean()) for c in classes]


@dataclass(frozen=True)
class DistanceBracket:
    """Bounds on each point's distance to the decision boundary: lower from a certificate, upper from an attack."""

    lower: Tensor
    upper: Tensor


@ordinary_tensors
def boundary_distance(
    model: Model,
    x: Tensor,
    y: Tensor,
    attack: Attack,
    *,
    n_radii: int = 8,
    n_bisections: int = 20,
    certified: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> DistanceBracket:
    """Bracket the distance to the boundary, min ‖X' - X‖_p over wrong X' (v1, Proposition 3.1).

    A correctly classified X is robust at a radius iff that radius is at most this distance (up to equality). The
    attack is run at growing radii, up to its own, on the points that still stand; the segment from X to each wrong
    point found is bisected. So `upper` is the distance of a wrong point that is known, inf if none was found; a
    misclassified X has distance 0.

    Args:
        attack: its radius is the largest that is searched.
        n_radii: radii tried, equally spaced. n_bisections: halvings of the segment.
        certified: (N,) certified radii; None means 0.

    Example:
        For a linear score the l_2 distance is |f| / ‖w‖_2.

        >>> from cgro.definitions import PGD, ThreatModel
        >>> w = torch.tensor([3.0, 4.0])
        >>> d = boundary_distance(lambda v: v @ w, torch.tensor([[0.5, 0.5]]), torch.tensor([1]),
        ...                       PGD(ThreatModel(2, 2.0, None), n_steps=50))
        >>> round(float(d.upper), 2)
        0.7
    """
    require_eval(model)
    require_attack(attack)
    x = as_inputs(x)
    y = as_labels(y, x.device)
    generator = generator if generator is not None else torch.Generator(x.device).manual_seed(0)
    with preserve_state(model, x.device):
        upper = _known_distance(model, x, y, attack, n_radii, n_bisections, generator)
    lower = torch.zeros_like(upper) if certified is None else certified.double()
    if bool((lower > upper + 1e-6).any()):
        raise BadRequest("certified: expected radii below every attack that succeeds, got a larger one; it is false")
    return DistanceBracket(lower, upper)


def _known_distance(
    model: Model, x: Tensor, y: Tensor, attack: Attack, n_radii: int, n_bisections: int, generator: torch.Generator
) -> Tensor:
    """The distance of the nearest wrong point that is found, (N,) float64; inf where none is."""
    upper = torch.full((len(x),), math.inf, dtype=torch.float64, device=x.device)
    upper[is_wrong(judged(model, x, y), y)] = 0.0
    for k in range(1, n_radii + 1):
        rows = torch.nonzero(upper.isinf()).squeeze(1)
        if not len(rows):
            break
        x_adv = attack.at(attack.threat.radius * k / n_radii)(model, x[rows], y[rows], generator=generator)
        broken = is_wrong(judge(model, x_adv), y[rows])
        rows, right, wrong = rows[broken], x[rows[broken]], x_adv[broken]
        for _ in range(n_bisections if len(rows) else 0):
            middle = (right + wrong) / 2
            crossed = is_wrong(judge(model, middle), y[rows]).view(-1, *[1] * (x.ndim - 1))
            right, wrong = torch.where(crossed, right, middle), torch.where(crossed, middle, wrong)
        upper[rows] = attack.threat.distance(wrong, x[rows])
    return upper


Label = Literal[
    "robust", "cgro", "robust_overfitting", "catastrophic_overfitting", "clean_overfitting", "underfitting",
    "collapsed", "gradient_masking", "standard_training", "too_little_evidence",
]  # fmt: skip


@dataclass(frozen=True)
class VerdictRule:
    """Thresholds of `cgro_verdict`: a finite-sample reading of o(1) and Omega(1). Ours, not the paper's.

    Args:
        collapse_share: a class with at least this share of the predictions means a collapsed model.
        min_gap: the lower 95% end of robust test minus robust training error must exceed this for `cgro`.
        gap_ratio: and the robust gap must exceed this many clean gaps.
        chance_fraction: and the clean test error must be below this fraction of the error of guessing.
        n_classes: sets the error of guessing, 1 - 1/n_classes; 2 is the strictest.
        min_n: fewer examples than this in any set is too little evidence.
    """

    collapse_share: float = 0.99
    min_gap: float = 0.10
    gap_ratio: float = 3.0
    chance_fraction: float = 0.5
    n_classes: int = 2
    min_n: int = 50

    @property
    def good_enough(self) -> float:
        """Errors below this count as learned."""
        return self.chance_fraction * (1 - 1 / self.n_classes)


DEFAULT_RULE = VerdictRule()
UNPROTECTED = 0.9
"""Robust errors of at least this much on both sets, where the clean ones are learned, are those of a network that was
never attacked in training, unless it is known that it was. A choice; no field, as summaries store the fields."""


@dataclass(frozen=True)
class Verdict:
    """A label, one sentence for a person, and the numbers and thresholds behind it."""

    label: Label
    reason: str
    evidence: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `summary.json`."""
        return {"label": self.label, "reason": self.reason, "evidence": dict(self.evidence)}


FOUR = ("clean_error/train", "clean_error/test", "robust_error/train", "robust_error/test")


def cgro_verdict(
    errors: Mapping[str, ErrorRate],
    *,
    prediction_share: float | Sequence[float] | None = None,
    rule: VerdictRule = DEFAULT_RULE,
    attacked: bool | None = None,
) -> Verdict:
    """Read Definition 3.4 on finite samples: which label does ONE point of training deserve?

    `cgro`: the robust gap's lower 95% end exceeds `min_gap`, the gap exceeds `gap_ratio` clean gaps, and the clean
    test error is below `chance_fraction` of guessing. It judges one point; `robust_overfitting` judges a curve and
    is never returned here. Robust errors found by an attack are lower bounds, so the gap is that of the attack.

    Args:
        errors: the four errors under the keys of `summary.json`.
        prediction_share: the largest share of predictions that one class takes, or the share of each class.
        rule: the thresholds.
        attacked: whether anything was attacked in training; None where that is not known.

    Example:
        >>> e = {"clean_error/train": ErrorRate(0, 1000), "clean_error/test": ErrorRate(20, 1000),
        ...      "robust_error/train": ErrorRate(5, 1000), "robust_error/test": ErrorRate(300, 1000)}
        >>> cgro_verdict(e).label
        'cgro'
    """
    missing = [k for k in FOUR if k not in errors]
    share = (
        None
        if prediction_share is None
        else (float(prediction_share) if isinstance(prediction_share, int | float) else max(prediction_share))
    )
    if isinstance(prediction_share, Sequence) and rule.n_classes == 2 and len(prediction_share) > 2:
        rule = replace(rule, n_classes=len(prediction_share))
    evidence: dict[str, Any] = {k: e.value for k, e in errors.items()} | {
        "prediction_share": share,
        "rule": asdict(rule),
    }
    if share is not None and share >= rule.collapse_share:
        return Verdict(
            "collapsed", f"One class takes {share:.0%} of the predictions: the model answers a constant.", evidence
        )
    if missing or min(errors[k].n for k in FOUR) < rule.min_n:
        lack = f"missing {', '.join(missing)}" if missing else f"fewer than {rule.min_n} examples in a set"
        return Verdict("too_little_evidence", f"Too little evidence: {lack}.", evidence)
    clean_train, clean_test, robust_train, robust_test = (errors[k] for k in FOUR)
    gap, clean_gap = robust_test.value - robust_train.value, clean_test.value - clean_train.value
    low, high = difference_interval(robust_test, robust_train)
    evidence |= {"robust_gap": gap, "robust_gap_interval": [low, high], "clean_gap": clean_gap}
    label = _label(errors, low, gap, clean_gap, rule, attacked)
    return Verdict(label, _sentence(label, errors, gap, (low, high), rule), evidence)


def _label(
    errors: Mapping[str, ErrorRate], low: float, gap: float, clean_gap: float, rule: VerdictRule, attacked: bool | None
) -> Label:
    clean_train, clean_test, robust_train, robust_test = (errors[k].value for k in FOUR)
    clean_low, _ = difference_interval(errors[FOUR[1]], errors[FOUR[0]])
    learned = clean_test < rule.good_enough
    if learned and clean_low <= rule.min_gap and _never_attacked(robust_train, robust_test, rule, attacked):
        return "standard_training"
    if low > rule.min_gap and gap > rule.gap_ratio * clean_gap and learned:
        return "cgro"
    if clean_low > rule.min_gap:
        return "clean_overfitting"
    if clean_train >= rule.good_enough or robust_train >= rule.good_enough:
        return "underfitting"
    if learned and robust_test < rule.good_enough and gap <= rule.min_gap:
        return "robust"
    return "too_little_evidence"


def _never_attacked(robust_train: float, robust_test: float, rule: VerdictRule, attacked: bool | None) -> bool:
    """Whether robust errors are those of standard training: it is known, or nearly every example can be broken."""
    if attacked is None:
        return min(robust_train, robust_test) >= UNPROTECTED
    return not attacked and robust_test >= rule.good_enough


def _sentence(
    label: Label, errors: Mapping[str, ErrorRate], gap: float, interval: tuple[float, float], rule: VerdictRule
) -> str:
    c_train, c_test, r_train, r_test = (f"{errors[k].value:.1%}" for k in FOUR)
    width = f"{gap:.1%} [{interval[0]:.1%}, {interval[1]:.1%}]"
    if label == "cgro":
        return (
            f"Clean generalization and robust overfitting: the robust error is {r_train} on the training set and "
            f"{r_test} on the test set, a gap of {width}, while the clean test error is {c_test}."
        )
    if label == "clean_overfitting":
        return f"Ordinary overfitting: the clean error is {c_train} on the training set and {c_test} on the test set."
    if label == "underfitting":
        return (
            f"Underfitting: on its own training set the model errs on {c_train} of clean and {r_train} of attacked "
            "examples, so there is nothing memorized to overfit."
        )
    if label == "robust":
        points = f"{100 * gap:.1f} points [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
        return f"No robust gap: the robust test error, {r_test}, is {points} above the training set's {r_train}."
    if label == "standard_training":
        return (
            f"Standard training: it fits clean data (clean test error {c_test}) and has no defense at this radius "
            f"(robust error {r_train} on the training set, {r_test} on the test set)."
        )
    return (
        f"Undecided: the robust gap is {width} and the clean test error {c_test}; the rule asks for a gap whose "
        f"interval lies above {rule.min_gap:.0%}, or below it with all errors under {rule.good_enough:.0%}."
    )
