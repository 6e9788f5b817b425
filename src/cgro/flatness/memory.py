"""Does a trained network act like f_S, from memory inside the training balls? Probes for any network."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cgro._check import bad, count
from cgro.definitions import Attack, Draws, Model, margin
from cgro.definitions.attacks import judge, preserve_state, require_attack
from cgro.definitions.inputs import ordinary_tensors
from cgro.definitions.losses import is_wrong
from cgro.definitions.metrics import check_set, judged
from cgro.results import Z95


@dataclass(frozen=True)
class Attacked:
    """One part under attack.

    Args:
        margin: (N,), the lowest found in the ball of the attack. flip: (N,), smallest t >= 0 found at which
            x + t v is wrong, v the attack's direction with ‖v‖_p = 1; inf if none up to `reach`. Upper bounds both.
    """

    margin: Tensor
    flip: Tensor
    reach: float


@ordinary_tensors
def attacked(
    model: Model, x: Tensor, y: Tensor, attack: Attack, *, reach: float | None = None, n_points: int = 32,
    n_halvings: int = 12, batch: int = 256, seed: int = 0,
) -> Attacked:  # fmt: skip
    """Margins at the attack's radius, and the radius at which the prediction flips along the attack's direction.

    f_S of Lemma 4.5 would flip training points beyond the radius only, and test points like f_clean. The ray
    from X through the attacked point is tried at `n_points` equal steps up to `reach`, clipped into the box, and the
    first wrong step is bisected. It is one direction: the distance to the boundary may be smaller.

    Args:
        model: in eval mode. x: (N, *S). y: (N,). attack: at the training radius. reach: default 4 radii.

    Example:
        A score that is negative left of 0.3 flips the point 0.5 at 0.2.

        >>> from cgro.definitions import PGD, ThreatModel
        >>> a = attacked(lambda v: v[:, 0] - 0.3, torch.tensor([[0.5]]), torch.tensor([1]),
        ...              PGD(ThreatModel("inf", 0.1), n_steps=3))
        >>> round(float(a.margin), 4), round(float(a.flip), 4)
        (0.1, 0.2)
    """
    require_attack(attack)
    x, y = check_set(model, x, y, batch)
    radius = attack.threat.radius
    if not radius > 0:
        raise bad("attack", expected="a radius above 0", got=radius)
    reach = 4 * radius if reach is None else reach
    margins, flips = [], []
    with preserve_state(model, x.device):
        for rows in torch.arange(len(x), device=x.device).split(batch):
            u, label = x[rows], y[rows]
            judged(model, u, label)
            found = attack(model, u, label, generator=Draws.of(seed, attack.name, rows))
            margins.append(margin(judge(model, found), label))
            length = attack.threat.distance(found, u).clamp_min(1e-12).to(u).view(-1, *[1] * (u.ndim - 1))
            flips.append(_flip(model, u, label, (found - u) / length, attack, reach, n_points, n_halvings))
    return Attacked(torch.cat(margins).double().cpu(), torch.cat(flips).double().cpu(), reach)


def _flip(
    model: Model, x: Tensor, y: Tensor, v: Tensor, attack: Attack, reach: float, n_points: int, n_halvings: int
) -> Tensor:
    box = attack.threat.box

    def wrong(t: Tensor) -> Tensor:
        point = x + t.view(-1, *[1] * (x.ndim - 1)) * v
        return is_wrong(judge(model, point if box is None else point.clamp(*box)), y)

    low, high = x.new_zeros(len(x)), x.new_full((len(x),), math.inf)
    high = torch.where(wrong(low), 0.0, high)
    for t in torch.linspace(0, reach, n_points + 1)[1:].tolist():
        crossed = high.isinf() & wrong(x.new_full((len(x),), t))
        high = torch.where(crossed, t, high)
        low = torch.where(high.isinf(), t, low)
    bracketed = high.isfinite() & (high > 0)
    for _ in range(n_halvings):
        middle = torch.where(bracketed, (low + high) / 2, 0.0)
        crossed = wrong(middle)
        high = torch.where(bracketed & crossed, middle, high)
        low = torch.where(bracketed & ~crossed, middle, low)
    return high


@dataclass(frozen=True)
class MemoryScore:
    """Mean attacked margin on training examples minus that on test examples, with its 95% normal interval.

    `ranking` is the chance that a training example has the larger margin (ties half): 0.5 for no memory, 1 for all.
    """

    value: float
    interval: tuple[float, float]
    ranking: float


def memory_score(train: Attacked, test: Attacked) -> MemoryScore:
    """The memory score at the attack's radius. It compares parts; it does not say which examples are remembered.

    >>> one = torch.ones(50, dtype=torch.float64)
    >>> a, b = Attacked(2 * one, one, 1.0), Attacked(0.5 * one, one, 1.0)
    >>> memory_score(a, b)
    MemoryScore(value=1.5, interval=(1.5, 1.5), ranking=1.0)
    """
    a, b = train.margin, test.margin
    value = float(a.mean() - b.mean())
    half = Z95 * math.sqrt(float(a.var() / len(a) + b.var() / len(b))) if min(len(a), len(b)) > 1 else 0.0
    above = (a[:, None] > b[None]).double() + 0.5 * (a[:, None] == b[None])
    return MemoryScore(value, (value - half, value + half), float(above.mean()))


def memorized_by_margin(clean: Mapping[str, Tensor], margins: Mapping[str, Tensor], radius: float) -> dict[str, float]:
    """Who is memorized: the share that stands under attack among points near to and far from the clean boundary.

    mu is the share of training points whose flip radius under the clean network is at most `radius`; flip radii are
    upper bounds of distances, so mu is a lower bound (v1: only these need memorizing). If the robust network
    remembers, near training points stand and near test points do not: `memory_near` is that difference.

    Args:
        clean: {"train", "test"} -> (N,) flip radii under the clean network.
        margins: {"train", "test"} -> (N,) attacked margins of the robust network.

    Example:
        >>> flips = {k: torch.tensor([0.05, 0.5]) for k in ("train", "test")}
        >>> found = memorized_by_margin(flips, {"train": torch.tensor([1.0, 1.0]), "test": torch.tensor([-1.0, 1.0])}, 0.1)
        >>> found["mu"], found["memory_near"], found["memory_far"]
        (0.5, 1.0, 0.0)
    """
    near = {part: flips <= radius for part, flips in clean.items()}
    result = {"mu": float(near["train"].double().mean())}
    for part, flags in near.items():
        stands = (margins[part] > 0).double()
        for group, chosen in (("near", flags), ("far", ~flags)):
            result[f"stands/{part}/{group}"] = float(stands[chosen].mean()) if bool(chosen.any()) else math.nan
    for group in ("near", "far"):
        result[f"memory_{group}"] = result[f"stands/train/{group}"] - result[f"stands/test/{group}"]
    return result


def by_quarter(indicator: Mapping[str, Tensor], margins: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Who is memorized, without a threshold: the share that stands, train minus test, by quarters of an indicator.

    Quarters are cut within each part, lowest values first: a network that has learnt the training images gives them other
    values than test images, but hardly another order. Use this where `memorized_by_margin` finds mu = 1, as the margins
    of standard networks on images are smaller than any radius of interest.

    Args:
        indicator: {"train", "test"} -> (N,), such as flip radii under the clean network; inf is largest.
        margins: {"train", "test"} -> (N,) attacked margins of the robust network.

    Returns:
        Four entries {train, test, memory, interval}: shares, their difference, its 95% normal interval.

    Example:
        >>> flips = {k: torch.arange(8.0) for k in ("train", "test")}
        >>> found = by_quarter(flips, {"train": torch.ones(8), "test": torch.arange(8.0) - 3.5})
        >>> [row["memory"] for row in found]
        [1.0, 1.0, 0.0, 0.0]
    """
    stands = {}
    for part, values in indicator.items():
        if len(values) != len(margins[part]) or len(values) < 4:
            raise bad("indicator", expected="4 examples or more, one value for each margin", got=len(values))
        order = torch.argsort(values, stable=True)
        stands[part] = [(margins[part][rows] > 0).double() for rows in torch.tensor_split(order, 4)]
    rows = []
    for train, test in zip(stands["train"], stands["test"], strict=True):
        a, b = float(train.mean()), float(test.mean())
        half = Z95 * math.sqrt(a * (1 - a) / len(train) + b * (1 - b) / len(test))
        rows.append({"train": a, "test": b, "memory": a - b, "interval": [a - b - half, a - b + half]})
    return rows


def influence(
    fit: Callable[[Tensor, int], Model], x: Tensor, y: Tensor, attack: Attack, generator: torch.Generator, *,
    n_examples: int | None = None, n_models: int = 20, share: float = 0.7,
) -> Tensor:  # fmt: skip
    """Leave-out influence on oneself: P[i stands | i trained on] - P[i stands | i left out], estimated by subsets. (N,)

    Exact leave-one-out needs N trainings; random subsets of a fixed share need a few dozen for all examples at once
    (Feldman and Zhang, NeurIPS 2020). The standard error of each entry is about 1 / sqrt(n_models): read averages.

    Args:
        fit: (rows, k) -> the k-th network, in eval mode, trained on these rows of the training examples.
        x, y: the first of these examples, those that are judged. attack: at the training radius.
        generator: draws the subsets. n_examples: of which subsets are drawn; default len(x). n_models: trainings.
        share: of the examples in each subset, in (0, 1).

    Returns:
        (N,) in [-1, 1]; NaN for examples that were in all subsets, or in none.
    """
    count(n_models, "n_models", low=2)
    if not 0 < share < 1:
        raise bad("share", expected="a number in (0, 1)", got=share)
    n = count(len(x) if n_examples is None else n_examples, "n_examples", low=len(x))
    stands, inside = [], []
    for k in range(n_models):
        rows = torch.randperm(n, generator=generator)[: max(1, round(share * n))]
        model = fit(rows, k)
        found = attack(model, x, y)
        stands.append(~is_wrong(judge(model, found), y))
        inside.append(torch.zeros(n, dtype=torch.bool).index_fill(0, rows, True)[: len(x)])
    s, i = torch.stack(stands).double().cpu(), torch.stack(inside).double()
    return (s * i).sum(0) / i.sum(0) - (s * (1 - i)).sum(0) / (1 - i).sum(0)


@dataclass(frozen=True)
class RealStages:
    """Theorem 5.9's order looked for on learning curves of a real network.

    Args:
        clean_learned: first epoch with 90% of the whole fall of the clean test error.
        generalized: first epoch with 90% of the whole fall of the robust test error.
        memorized: first epoch with 90% of the whole fall of the robust training error.
        parted: first epoch from which robust test - robust train error stays above `min_gap`; None if it never does.
    """

    clean_learned: int
    generalized: int
    memorized: int
    parted: int | None

    @property
    def ordered(self) -> bool:
        """Clean accuracy first, then what generalizes of robustness, and memory last."""
        return self.parted is not None and self.clean_learned <= self.memorized and self.generalized < self.memorized


def real_stages(
    epochs: Sequence[int], clean_test: Sequence[float], robust_train: Sequence[float], robust_test: Sequence[float],
    *, min_gap: float = 0.1,
) -> RealStages:  # fmt: skip
    """Look for the three stages on curves. 90% and `min_gap` are choices, without a source.

    Example:
        >>> real_stages([1, 2, 3, 4], [0.5, 0.2, 0.2, 0.2], [0.8, 0.6, 0.3, 0.0], [0.8, 0.6, 0.6, 0.6])
        RealStages(clean_learned=2, generalized=2, memorized=4, parted=3)
    """
    t = [int(e) for e in epochs]
    if len(t) < 2 or any(len(c) != len(t) for c in (clean_test, robust_train, robust_test)):
        raise bad("curves", expected="two epochs or more, and curves of one length", got=len(t))
    gap = np.asarray(robust_test, dtype=float) - np.asarray(robust_train, dtype=float)
    below = np.nonzero(~(gap > min_gap))[0]
    first = 0 if not len(below) else int(below[-1]) + 1
    fallen = (t[_fallen(np.asarray(c, dtype=float))] for c in (clean_test, robust_test, robust_train))
    return RealStages(*fallen, parted=t[first] if first < len(t) else None)


def _fallen(curve: np.ndarray) -> int:
    """The first position with 90% of the fall from the start to the lowest value."""
    return int(np.nonzero(curve <= curve[0] - 0.9 * (curve[0] - curve.min()) + 1e-12)[0][0])
