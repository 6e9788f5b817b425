"""Remedies against robust overfitting that have an equivalent in the simulator of Section 5."""

from dataclasses import dataclass, fields
from typing import Literal, NamedTuple

from cgro._check import bad, number, number_field, one_of
from cgro.dynamics.rule import Array
from cgro.dynamics.setting import Setting

Inner = Literal["margin", "kl"]
INNERS: tuple[Inner, ...] = ("margin", "kl")


@dataclass(frozen=True)
class Remedy:
    """What is changed in training. Every default changes nothing; several may be combined.

    With a_i the clean and b_i the attacked margin of an example, the training loss is that of `Setting`,
    (1-lambda) l(a_i) + lambda l(b_i), unless `trades` is positive.

    Args:
        fresh: probability, per example and step, that its noise patches are drawn anew for this step; it has its own
            again at the next. 1 is infinite data at the same labels, the ideal of augmentation.
        mixed: probability, per example and step, that a box of its noise is that of another example of its class for
            this step.
        share: of the coordinates of a noise patch that the box covers, in (0, 1]; rounded to whole coordinates.
        weight_decay: mu >= 0, of (mu/2) |W|^2 in the loss.
        ema: decay in [0, 1) of the running average of the filters, which is what is evaluated; 0 for none.
        half_life: steps in which the robust weight lambda halves; 0 for a constant one.
        smoothing_clean: eps in [0, 1): a label is 1 with probability 1 - eps/2 in the clean half of the loss.
        smoothing_attacked: the same in the attacked half. The attack maximizes the loss without it.
        trades: beta > 0 replaces the loss by l(a) + beta KL( sigmoid(a) || sigmoid(b) ), eq. (5) of Zhang et al. (ICML
            2019), differentiated through a as well.
        inner: which attacked signal TRADES uses: the one of the least margin ("margin"), or the one of the largest
            divergence ("kl", as published).

    Raises:
        BadRequest: a value out of its range, TRADES with smoothed labels or a robust weight that decays, `share`
            without `mixed`, `mixed` with a share of 0 or `inner` without `trades`, which would change nothing.

    Example:
        >>> Remedy(weight_decay=1e-3).words
        'weight_decay=0.001'
    """

    fresh: float = 0.0
    mixed: float = 0.0
    share: float = 0.5
    weight_decay: float = 0.0
    ema: float = 0.0
    half_life: float = 0.0
    smoothing_clean: float = 0.0
    smoothing_attacked: float = 0.0
    trades: float = 0.0
    inner: Inner = "kl"

    def __post_init__(self) -> None:
        for name in ("fresh", "mixed", "share"):
            number_field(self, name, low=0.0, high=1.0)
        for name in ("ema", "smoothing_clean", "smoothing_attacked"):
            number_field(self, name)
            if not 0 <= getattr(self, name) < 1:
                raise bad(name, expected="a number in [0, 1)", got=getattr(self, name))
        for name in ("weight_decay", "half_life", "trades"):
            number_field(self, name, low=0.0)
        one_of(self.inner, "inner", INNERS)
        if self.fresh + self.mixed > 1:
            raise bad("fresh + mixed", expected="at most 1: an example is one or the other in a step", got=self.words)
        for name, needed in (("share", "mixed"), ("inner", "trades")):
            default = type(self).__dataclass_fields__[name].default
            if getattr(self, name) != default and not getattr(self, needed):
                remedy = "leave it out: alone it changes nothing"
                raise bad(name, expected=f"{needed} above 0 beside it", got=f"{needed}=0", remedy=remedy)
        if self.mixed > 0 and self.share == 0:
            raise bad("share", expected="above 0 beside mixed", got=0, remedy="an empty box changes nothing")
        if self.trades > 0 and (self.smoothing_clean or self.smoothing_attacked or self.half_life):
            raise bad("trades", expected="no smoothed labels and no decaying robust weight beside it", got=self.words)

    @property
    def words(self) -> str:
        """What differs from plain training, as `parse_remedy` reads it; empty for plain training."""
        found = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                found.append(f"{field.name}={value}")
        return ",".join(found)

    @property
    def moves_noise(self) -> bool:
        """Whether the noise of a step is not that of the training set, so that vectors are needed."""
        return self.fresh > 0 or self.mixed > 0


PLAIN = Remedy()
"""Adversarial training as it is."""


def parse_remedy(text: str) -> Remedy:
    """Read name=value pairs joined by commas.

    Args:
        text: of --remedy.

    Returns:
        The remedy; of the word none, plain training.

    Raises:
        BadRequest: an unknown name, no number, a value out of range.

    Example:
        >>> parse_remedy("mixed=0.7, share=0.5").mixed
        0.7
    """
    if text.strip() == "none":
        return PLAIN
    names = [field.name for field in fields(Remedy)]
    values: dict[str, float | str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        name = one_of(name.strip().replace("-", "_"), "--remedy", names)
        if not equals or name in values:
            raise bad("--remedy", expected="name=value pairs joined by commas, each name once", got=repr(text))
        if name == "inner":
            values[name] = value.strip()
        else:
            values[name] = number(value.strip(), name)
    return Remedy(**values)  # type: ignore[arg-type]  # checked there


def alone(remedy: Remedy, n_train: int) -> str:
    """A remark where no example has another of its class to take a box from.

    Args:
        remedy: of a training.
        n_train: N. With two and more it depends on the labels that a seed draws.

    Returns:
        A sentence with a space behind it; "" where there is nothing to say.

    Example:
        >>> alone(Remedy(mixed=0.7), 1)
        'The only example has no other of its class: boxes change nothing. '
    """
    if remedy.mixed > 0 and n_train == 1:
        return "The only example has no other of its class: boxes change nothing. "
    return ""


def require_weights(remedy: Remedy, robust_weight: float) -> None:
    """Refuse parts of a remedy that act on a half of the loss that has no weight.

    Args:
        remedy: of a training; that of TRADES has weights of its own.
        robust_weight: lambda of the setting.

    Raises:
        BadRequest: a part that would change nothing.

    Example:
        >>> require_weights(Remedy(smoothing_clean=0.1), 0.5)
    """
    if remedy.trades:
        return
    in_clean = remedy.smoothing_clean and not remedy.half_life  # with which the clean half has a weight soon
    for name, half, acts, weight in (
        ("half_life", "attacked", remedy.half_life, robust_weight),
        ("smoothing_attacked", "attacked", remedy.smoothing_attacked, robust_weight),
        ("smoothing_clean", "clean", in_clean, 1 - robust_weight),
    ):
        if acts and not weight:
            raise bad(
                f"{name} in --remedy",
                expected=f"a weight of the {half} loss",
                got=f"robust weight {robust_weight:g}",
                remedy="leave it out: it would change nothing",
            )


def check_covered(setting: Setting) -> None:
    """Refuse settings for which the remedies have no step here.

    Args:
        setting: to be trained.

    Raises:
        BadRequest: the halves, several signal directions, mini-batches, an adversary that is not the paper's.
    """
    covered = (
        ("activation", setting.activation, "odd"),
        ("adversary", setting.adversary, "restricted"),
        ("n_signals", setting.data.n_signals, 1),
        ("batch_size", setting.batch_size, None),
    )
    for name, got, expected in covered:
        if got != expected:
            raise bad(f"{name} with --remedy", expected=repr(expected), got=repr(got), remedy="leave one of them out")


def box_of(setting: Setting, remedy: Remedy) -> int:
    """Coordinates of a noise patch that the box of `mixed` covers.

    Args:
        setting: d.
        remedy: the share.

    Returns:
        round(share d).

    Raises:
        BadRequest: `mixed` with a share that rounds to no coordinate.

    Example:
        >>> box_of(Setting(), Remedy(mixed=0.5, share=0.25))  # of d = 100
        25
    """
    dim = setting.data.patch_dim
    box = round(remedy.share * dim)
    if remedy.mixed > 0 and box == 0:
        expected = f"above {0.5 / dim:g}, half of a coordinate of {dim}"
        raise bad("share", expected=expected, got=remedy.share, remedy="an empty box changes nothing")
    return box


class Change(NamedTuple):
    """A remedy as a step takes it. A named tuple, as numba compiles loops over one.

    Args:
        fresh: probability of fresh noise, per example.
        mixed: probability of a box.
        box: coordinates in it.
        noise_std: sigma of fresh noise.
        decay: eta mu.
        ema: of the running average; 0 for none.
        halving: factor on lambda per step.
        smoothing_clean: eps of the clean half.
        smoothing_attacked: eps of the attacked half.
        trades: beta; 0 for the loss of Section 5.
        by_divergence: whether TRADES attacks by the largest divergence.
    """

    fresh: float
    mixed: float
    box: int
    noise_std: float
    decay: float
    ema: float
    halving: float
    smoothing_clean: float
    smoothing_attacked: float
    trades: float
    by_divergence: bool


class Classes(NamedTuple):
    """Who is of whose class.

    Args:
        y: (N,) labels -1 and +1.
        members: (2, N) the examples of either class, those of label +1 in the first row.
        counts: (2,) how many.
        places: (N,) of an example among the members of its class.
    """

    y: Array
    members: Array
    counts: Array
    places: Array


class State(NamedTuple):
    """What a step of one seed changes, and its running average.

    Args:
        u: (m,) signal components.
        w: (n, m) coefficients of the noise patches, or (d, m) filters without their signal components.
        scalars: (2,) lambda, and the share of its start that a filter has kept.
        mean_u: (m,).
        mean_w: as w.
        mean_kept: (1,) average of the share.
    """

    u: Array
    w: Array
    scalars: Array
    mean_u: Array
    mean_w: Array
    mean_kept: Array
