"""Does a trained network act like f_S of Lemma 4.5, from memory inside the training balls? Probes for any network."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from cgro._check import bad, count, count_field, number_field, seed_number
from cgro.definitions import Attack, Draws, Model, margin
from cgro.definitions.attacks import evaluated_outputs, per_example, preserve_state, require_attack
from cgro.definitions.attacks.dropping import dropping_on, rows_to_keep
from cgro.definitions.inputs import ordinary_tensors
from cgro.definitions.losses import is_wrong
from cgro.definitions.metrics import check_set, checked_outputs
from cgro.definitions.rounds import alike, require_same_task, rounds, stopping_alike
from cgro.ranks import ALONE, Ranks
from cgro.results import Z95, ErrorRate, difference_interval

DEFAULT_REACH = 4.0
"""Radii of training up to which a flip is looked for. A choice: f_S flips shortly beyond one radius."""


@dataclass(frozen=True)
class FlipSearch:
    """How the radius at which a prediction flips is looked for along a ray.

    Args:
        reach: largest distance, in units of the input; None means four radii of the attack.
        n_points: equal steps up to there; a flip between two of them that flips back is missed.
        n_halvings: bisections of the first step that ends in a wrong prediction.

    Raises:
        BadRequest: a count below its least value, a reach that is not positive.
    """

    reach: float | None = None
    n_points: int = 32
    n_halvings: int = 12

    def __post_init__(self) -> None:
        count_field(self, "n_points")
        count_field(self, "n_halvings", low=0)
        if self.reach is not None:
            number_field(self, "reach", low=0.0)
            if self.reach == 0:
                raise bad("reach", expected="> 0", got=0)


@dataclass(frozen=True)
class Attacked:
    """One part under attack. Both numbers are upper bounds of what a perfect search would find.

    Args:
        margin: (N,), the lowest found in the ball of the attack.
        flip: (N,), smallest t >= 0 found at which x + t v is wrong, v the attack's direction with ‖v‖_p = 1; inf if
            none up to `reach`.
        reach: largest t tried.
    """

    margin: Tensor
    flip: Tensor
    reach: float


@ordinary_tensors
def attacked(
    model: Model,
    x: Tensor,
    y: Tensor,
    attack: Attack,
    *,
    flips: FlipSearch | None = None,
    batch: int = 256,
    seed: int = 0,
    index: Tensor | None = None,
    ranks: Ranks = ALONE,
) -> Attacked:
    """Margins at the attack's radius, and the radius at which the prediction flips along the attack's direction.

    f_S of Lemma 4.5 would flip training points beyond the radius only, and test points like f_clean. The ray
    from X through the attacked point is tried at equal steps up to the reach, clipped into the box, and the
    first wrong step is bisected. It is one direction: the distance to the boundary may be smaller.

    Args:
        model: in eval mode.
        x: (N, *S) in the box.
        y: (N,) labels.
        attack: at the training radius.
        flips: how the flip is looked for.
        batch: examples at a time; affects speed and memory only.
        seed: of the attack's random starts.
        index: (N,) int64, whose starts an example takes: its position in a larger set, of which this is a piece. None
            means 0 to N - 1.
        ranks: the processes that attack together, each called with the same arguments; they have a batch each.

    Returns:
        Margins and flip radii, on the CPU in float64.

    Raises:
        BadRequest: an attack of radius 0, inputs that do not fit the model.

    Example:
        A score that is negative left of 0.3 flips the point 0.5 at 0.2.

        >>> from cgro.definitions import PGD, ThreatModel
        >>> a = attacked(lambda v: v[:, 0] - 0.3, torch.tensor([[0.5]]), torch.tensor([1]),
        ...              PGD(ThreatModel("inf", 0.1), n_steps=3))
        >>> round(float(a.margin), 4), round(float(a.flip), 4)
        (0.1, 0.2)
    """
    with alike(ranks):
        require_attack(attack)
        batch = count(batch, "batch")
        seed = seed_number(seed)
        model, x, y = check_set(model, x, y)
        radius = attack.threat.radius
        if not radius > 0:
            raise bad("attack", expected="a radius above 0", got=radius)
    search = flips or FlipSearch()
    reach = search.reach
    if reach is None:
        reach = DEFAULT_REACH * radius
    if index is None:
        index = torch.arange(len(x), device="cpu")
    index = index.to("cpu")
    require_same_task(ranks, model, repr((attack.threat, attack.name, search, batch, seed)), y, index)

    def find(chunk: Tensor) -> list[Tensor]:
        rows = chunk.to(x.device)
        u, label = x[rows], y[rows]
        checked_outputs(model, u, label)
        found = attack(model, u, label, generator=Draws.of(seed, attack.name, index[chunk].to(x.device)))
        margins = margin(evaluated_outputs(model, found), label)
        length = per_example(attack.threat.distance(found, u).clamp_min(1e-12).to(u), u)
        ray = _Ray(model, u, label, (found - u) / length, attack.threat.box)
        return [margins.double(), ray.flip_radius(reach, search).double()]

    parts: list[list[Tensor]] = []
    with preserve_state(model, x.device), stopping_alike(ranks):
        for some in rounds(torch.arange(len(x), device="cpu"), batch, ranks):
            parts.append(some.found(find))
    margins, radii = (torch.cat(values) for values in zip(*parts, strict=True))
    return Attacked(margins, radii, reach)


@dataclass(frozen=True)
class _Ray:
    """Points x + t v of a batch, clipped into the box."""

    model: Model
    x: Tensor
    y: Tensor
    v: Tensor
    box: tuple[float, float] | None

    def wrong(self, t: Tensor) -> Tensor:
        """Whether the prediction at distance t (B,) is wrong."""
        point = self.x + per_example(t, self.x) * self.v
        if self.box is not None:
            point = point.clamp(*self.box)
        return is_wrong(evaluated_outputs(self.model, point), self.y)

    def crosses(self, t: Tensor, among: Tensor) -> Tensor:
        """Whether the prediction at distance t (B,) is wrong, of the examples `among` (B,); False for the others.

        Where it pays, the others are not passed through the network: most flips are found within a few steps.
        """
        rows = rows_to_keep(among, dropping_on(self.x.device))
        if rows is None:
            return among & self.wrong(t)
        found = torch.zeros_like(among)
        if len(rows):
            part = _Ray(self.model, self.x[rows], self.y[rows], self.v[rows], self.box)
            found[rows] = part.wrong(t[rows])
        return among & found

    def flip_radius(self, reach: float, flips: FlipSearch) -> Tensor:
        """The smallest t found, (B,): 0 where x itself is wrong, inf where no step up to `reach` is."""
        low = self.x.new_zeros(len(self.x))
        high = self.x.new_full((len(self.x),), math.inf)
        high = torch.where(self.wrong(low), 0.0, high)
        # Steps outwards: `high` is the first wrong one, `low` the last right one before it.
        for t in torch.linspace(0, reach, flips.n_points + 1, device="cpu")[1:].tolist():
            crossed = self.crosses(self.x.new_full((len(self.x),), t), high.isinf())
            high = torch.where(crossed, t, high)
            low = torch.where(high.isinf(), t, low)
        bracketed = high.isfinite() & (high > 0)
        for _ in range(flips.n_halvings):
            middle = torch.where(bracketed, (low + high) / 2, 0.0)
            crossed = self.crosses(middle, bracketed)
            high = torch.where(crossed, middle, high)
            low = torch.where(bracketed & ~crossed, middle, low)
        return high


@dataclass(frozen=True)
class MemoryScore:
    """How much larger attacked margins are on training examples than on test examples.

    Args:
        value: difference of the means.
        interval: its 95% normal interval.
        auc: the chance that a training example has the larger margin (ties half): 0.5 for no memory, 1 for all.
    """

    value: float
    interval: tuple[float, float]
    auc: float


def memory_score(train: Attacked, test: Attacked) -> MemoryScore:
    """The memory score at the attack's radius. It compares parts; it does not say which examples are remembered.

    Args:
        train: training examples under attack.
        test: test examples under the same attack.

    Returns:
        The difference of the margins, and the area under the ROC curve of telling the parts apart by them.

    Raises:
        BadRequest: fewer than two examples of a part, of whose spread nothing is known.

    Example:
        >>> one = torch.ones(50, dtype=torch.float64)
        >>> a, b = Attacked(2 * one, one, 1.0), Attacked(0.5 * one, one, 1.0)
        >>> memory_score(a, b)
        MemoryScore(value=1.5, interval=(1.5, 1.5), auc=1.0)
    """
    a = train.margin
    b = test.margin
    for part, margins in (("training", a), ("test", b)):
        if len(margins) < 2:
            raise bad(f"{part} margins", expected="those of 2 examples or more", got=len(margins))
    value = float(a.mean() - b.mean())
    half = Z95 * math.sqrt(float(a.var() / len(a) + b.var() / len(b)))
    return MemoryScore(value, (value - half, value + half), _auc(a, b))


def _auc(a: Tensor, b: Tensor) -> float:
    """P[ a > b ] + P[ a = b ] / 2 over all pairs: Mann and Whitney's U over the number of pairs."""
    from scipy.stats import rankdata  # here, as the import takes over a second and few commands need it

    ranks = rankdata(torch.cat([a, b]).numpy())
    u = ranks[: len(a)].sum() - len(a) * (len(a) + 1) / 2
    return float(u / (len(a) * len(b)))


@dataclass(frozen=True)
class MemorizedByMargin:
    """Who is memorized, by the distance to the clean boundary.

    Args:
        mu: share of training points near the clean boundary.
        robust_train: share that is robust among near and far training points.
        robust_test: share that is robust among near and far test points.
    """

    mu: float
    robust_train: tuple[float, float]
    robust_test: tuple[float, float]

    @property
    def memory_near(self) -> float:
        """Share of near points that is robust, training minus test; NaN where there are none."""
        return self.robust_train[0] - self.robust_test[0]

    @property
    def memory_far(self) -> float:
        """The same of far points."""
        return self.robust_train[1] - self.robust_test[1]


def memorized_by_margin(clean: Mapping[str, Tensor], margins: Mapping[str, Tensor], radius: float) -> MemorizedByMargin:
    """Who is memorized: the share that is robust among points near to and far from the clean boundary.

    mu is the share of training points whose flip radius under the clean network is at most `radius`; flip radii are
    upper bounds of distances, so mu is a lower bound (v1: only these need memorizing). If the robust network
    remembers, near training points are robust and near test points are not: `memory_near` is that difference.

    Args:
        clean: {"train", "test"} -> (N,) flip radii under the clean network.
        margins: {"train", "test"} -> (N,) attacked margins of the robust network.
        radius: up to which a point counts as near.

    Returns:
        Shares of both parts.

    Example:
        >>> flips = {k: torch.tensor([0.05, 0.5]) for k in ("train", "test")}
        >>> margins = {"train": torch.tensor([1.0, 1.0]), "test": torch.tensor([-1.0, 1.0])}
        >>> found = memorized_by_margin(flips, margins, 0.1)
        >>> found.mu, found.memory_near, found.memory_far
        (0.5, 1.0, 0.0)
    """
    near_train = clean["train"] <= radius
    near_test = clean["test"] <= radius
    return MemorizedByMargin(
        mu=float(near_train.double().mean()),
        robust_train=_robust_shares(margins["train"], near_train),
        robust_test=_robust_shares(margins["test"], near_test),
    )


def _robust_shares(margins: Tensor, near: Tensor) -> tuple[float, float]:
    """Of near and of far points; NaN where there are none."""
    robust = (margins > 0).double()
    return float(robust[near].mean()), float(robust[~near].mean())


@dataclass(frozen=True)
class QuarterMemory:
    """What memory holds of one quarter of the examples.

    Args:
        train: share of its training examples that is robust.
        test: share of its test examples that is robust.
        memory: train - test.
        interval: 95% interval of the difference (Newcombe), which is no point where both shares are 0 or 1.
    """

    train: float
    test: float
    memory: float
    interval: tuple[float, float]

    def to_dict(self) -> dict[str, object]:
        """Plain values for `summary.json`.

        Returns:
            field -> value, the interval as a list.
        """
        return {**asdict(self), "interval": list(self.interval)}


def by_quarter(indicator: Mapping[str, Tensor], margins: Mapping[str, Tensor]) -> list[QuarterMemory]:
    """Who is memorized, without a threshold: the share that is robust, train minus test, by quarters of an indicator.

    Quarters are cut within each part, lowest values first: a network that has learned the training images gives them
    other values than test images, but hardly another order. Use this where `memorized_by_margin` finds mu = 1, as the
    margins of standard networks on images are smaller than any radius of interest.

    Args:
        indicator: {"train", "test"} -> (N,), such as flip radii under the clean network; inf is largest.
        margins: {"train", "test"} -> (N,) attacked margins of the robust network.

    Returns:
        Four entries.

    Raises:
        BadRequest: fewer than four examples of a part, or not one value per margin.

    Example:
        >>> flips = {k: torch.arange(8.0) for k in ("train", "test")}
        >>> found = by_quarter(flips, {"train": torch.ones(8), "test": torch.arange(8.0) - 3.5})
        >>> [row.memory for row in found]
        [1.0, 1.0, 0.0, 0.0]
    """
    rows = []
    train, test = (_robust_by_quarter(indicator[part], margins[part]) for part in ("train", "test"))
    for of_train, of_test in zip(train, test, strict=True):
        a, b = _share(of_train), _share(of_test)
        rows.append(QuarterMemory(a.value, b.value, a.value - b.value, difference_interval(a, b)))
    return rows


def _share(robust: Tensor) -> ErrorRate:
    return ErrorRate(int(robust.sum()), len(robust))


def _robust_by_quarter(values: Tensor, margins: Tensor) -> list[Tensor]:
    """1 where robust and 0 elsewhere, of each quarter by `values`."""
    if len(values) != len(margins) or len(values) < 4:
        raise bad("indicator", expected="4 examples or more, one value for each margin", got=len(values))
    order = torch.argsort(values, stable=True)
    return list(torch.tensor_split((margins > 0).double()[order], 4))
