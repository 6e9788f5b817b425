"""Adversaries that move every patch: projected gradient on the current network. A search, so a lower bound."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cgro._check import bad, count
from cgro.definitions import ThreatModel
from cgro.definitions.draws import Draws
from cgro.dynamics.rule import Array, Rule, sigmoid
from cgro.dynamics.setting import Setting
from cgro.dynamics.spaces import Direct, direct

STEP = 2.5
"""Of the radius over the number of steps, as in Madry et al. (2018): the steps can cross the ball."""

TEST_SEED = 2**31
"""Unseen examples of a seed are drawn from this much above it."""


@dataclass
class FullBall(Direct):
    """Filters as vectors, trained against PGD over all patches.

    The attack starts at X, takes `attack_steps` steps and keeps the end: with a random start the run would depend on
    more random numbers than the data and the initial filters.

    Args:
        x: (S, N, P, d) the training inputs.
        setting: adversary, radius and number of attack steps.
    """

    x: Array
    setting: Setting

    def advance(self, n_steps: int, *, compiled: bool, pool: object = None) -> None:
        """Take n steps of every seed.

        Args:
            n_steps: of gradient descent.
            compiled: there is no compiled form; it changes nothing.
            pool: it changes nothing either.
        """
        k = self.u.shape[1]
        n_examples = self.y.shape[1]
        threat = ball_of(self.setting.adversary, self.setting.radius)
        share = self.rule.robust_weight
        stacked = np.stack([self.weights(n_steps, s) for s in range(len(self.y))])
        for t in range(n_steps):
            step = t if stacked.shape[1] > 1 else 0  # full-batch weights are the same in every step
            w = stacked[:, step] * self.rule.lr / n_examples
            bank = whole_filters(self)
            change = pull(self.rule, bank, self.x, y=self.y, weights=(1 - share) * w)
            if share:
                x_adv = attack(threat, self.rule, bank, x=self.x, y=self.y, n_steps=self.setting.attack_steps)
                change += pull(self.rule, bank, x_adv, y=self.y, weights=share * w)
            self.u += change[:, :k]
            change[:, :k] = 0.0
            self.filters += change


def ball_of(adversary: str, radius: float) -> ThreatModel:
    """Read the ball of a full-ball adversary; inputs have no box.

    Args:
        adversary: "l2" or "linf".
        radius: delta, in units of the input.

    Returns:
        The set ‖X' - X‖_p <= delta, all patches as one vector.
    """
    return ThreatModel(adversary.removeprefix("l"), radius, None)


def whole_filters(batch: Direct) -> Array:
    """Put signal components and the rest of the filters together.

    Args:
        batch: filters as vectors.

    Returns:
        (S, d, m).
    """
    whole = batch.filters.copy()
    whole[:, : batch.u.shape[1]] = batch.u
    return whole


def training_inputs(batch: Direct, setting: Setting) -> Array:
    """Write the training examples out: the signal alpha y w* in the first patch, noise in the others.

    Args:
        batch: labels, signal directions and noise.
        setting: the data.

    Returns:
        (S, N, P, d).
    """
    n_seeds, n = batch.y.shape
    patches = setting.data.n_patches
    d = setting.data.patch_dim
    x = np.zeros((n_seeds, n, patches, d))
    x[:, :, 1:] = batch.noise.reshape(n_seeds, n, patches - 1, d)
    x[np.arange(n_seeds)[:, None], np.arange(n), 0, batch.group] = setting.strength * batch.y
    return x


def full_ball(setting: Setting, seeds: Sequence[int]) -> FullBall:
    """Make the batch of seeds for a full-ball adversary, from the same draws as every other back end.

    Args:
        setting: its adversary is "l2" or "linf".
        seeds: one run each.

    Returns:
        The batch before its first step.
    """
    base = direct(setting, seeds)
    return FullBall(
        base.y,
        base.group,
        base.u,
        base.rule,
        base.batch_rng,
        base.batch_size,
        base.filters,
        base.noise,
        x=training_inputs(base, setting),
        setting=setting,
    )


def scores(rule: Rule, bank: Array, x: Array) -> Array:
    """Evaluate f(X) = sum_j sum_r phi(<w_r, X[j]>), with phi(z) = z * slope(z).

    Args:
        rule: activation and second layer.
        bank: (S, d, m) filters.
        x: (S, N, P, d) inputs.

    Returns:
        (S, N).
    """
    s, n, p, d = x.shape
    z = x.reshape(s, n * p, d) @ bank
    return (z * rule.slope(z)).sum(-1).reshape(s, n, p).sum(-1)


def pull(rule: Rule, bank: Array, x: Array, *, y: Array, weights: Array) -> Array:
    """Evaluate -sum_i weights_i grad_W loss(X_i) in closed form, for the logistic loss.

    Args:
        rule: activation and second layer.
        bank: (S, d, m) filters.
        x: (S, N, P, d) inputs.
        y: (S, N) labels.
        weights: (S, N) of the examples.

    Returns:
        (S, d, m).
    """
    s, n, p, d = x.shape
    flat = x.reshape(s, n * p, d)
    z = flat @ bank
    slope = rule.slope(z)
    margin = y * (z * slope).sum(-1).reshape(s, n, p).sum(-1)
    factor = np.repeat(y * weights * sigmoid(-margin), p, axis=1)
    return flat.transpose(0, 2, 1) @ (rule.power * factor[..., None] * slope)


def attack(
    threat: ThreatModel, rule: Rule, bank: Array, *, x: Array, y: Array, n_steps: int, start: Array | None = None
) -> Array:
    """Lower the margin y f(X') by projected gradient descent over ‖X' - X‖_p <= delta, all patches as one vector.

    Args:
        threat: the ball, without a box.
        rule: activation and second layer.
        bank: (S, d, m) filters.
        x: (S, N, P, d) inputs.
        y: (S, N) labels.
        n_steps: of size 2.5 delta / n_steps.
        start: (S, N, P, d) where to begin; None means X.

    Returns:
        (S, N, P, d), the last point, or X where that is no worse for the network.
    """
    s, n, p, d = x.shape
    bank_t = bank.transpose(0, 2, 1)
    moved = np.zeros_like(x) if start is None else start - x
    for _ in range(n_steps):
        z = (x + moved).reshape(s, n * p, d) @ bank
        gradient = ((rule.slope(z) @ bank_t).reshape(s, n, p, d)) * -y[..., None, None]
        moved = ascend(threat, moved, gradient, size=STEP * threat.radius / n_steps)
    better = y * scores(rule, bank, x + moved) < y * scores(rule, bank, x)
    return x + moved * better[..., None, None]


def ascend(threat: ThreatModel, moved: Array, gradient: Array, *, size: float) -> Array:
    """Take one step of projected gradient ascent from a displacement within the ball.

    p = inf: clip(moved + size sign(g)). p = 2: moved + size g / ‖g‖, scaled back to the sphere if it is outside.

    Args:
        threat: the ball, without a box.
        moved: (S, N, P, d) X' - X.
        gradient: (S, N, P, d).
        size: of the step.

    Returns:
        (S, N, P, d) the next X' - X, within the ball.
    """
    # `ThreatModel.direction` and `project` compute the same, up to rounding, and a test holds them together. They are
    # not called here because they are made for large batches of images with a box: at 48 examples of 200 numbers they
    # made training a third to a half slower for p = inf; for p = 2 `project` sorts, and takes 20 times the scaling.
    radius = threat.radius
    if threat.p == np.inf:
        return np.clip(moved + size * np.sign(gradient), -radius, radius)
    moved = moved + size * gradient / np.maximum(_lengths(gradient), 1e-300)
    return moved * np.minimum(1.0, radius / np.maximum(_lengths(moved), 1e-300))


def _lengths(v: Array) -> Array:
    """‖v‖_2 over all patches, (S, N, 1, 1)."""
    return np.sqrt((v**2).sum((2, 3), keepdims=True))


def full_ball_errors(
    batch: FullBall | Direct,
    setting: Setting,
    *,
    p: str,
    n_test: int,
    seeds: Sequence[int],
    n_steps: int = 40,
    n_restarts: int = 6,
) -> dict[str, Array]:
    """Measure robust errors under the full ball, by PGD with restarts: lower bounds, never the truth.

    On this polynomial network single starts mislead (more restarts keep finding more), so the first start is X, the
    second the point with the signal removed along w*, and the rest are random points of the ball. The random numbers of
    a seed's examples are their own: its errors do not depend on the other seeds.

    Args:
        batch: the trained filters as vectors.
        setting: whose radius is attacked; its adversary may be another.
        p: "l2" or "linf".
        n_test: unseen examples per seed, drawn from seed + 2^31.
        seeds: of the batch.
        n_steps: of each restart.
        n_restarts: in all.

    Returns:
        `train` and `test`, (S,) each.

    Raises:
        BadRequest: a norm that is neither, no restart.
    """
    if p not in ("l2", "linf"):
        raise bad("p", expected="l2 or linf", got=repr(p))
    count(n_restarts, "n_restarts")
    threat = ball_of(p, setting.radius)
    drawn = [setting.data.sample(n_test, torch.Generator().manual_seed(seed + TEST_SEED)) for seed in seeds]
    test_x = torch.stack([sample.x for sample in drawn]).numpy()
    test_y = torch.stack([sample.y for sample in drawn]).numpy()
    parts = {"train": (training_inputs(batch, setting), batch.y), "test": (test_x, test_y)}
    bank = whole_filters(batch)
    n_signals = batch.u.shape[1]
    errors: dict[str, Array] = {}
    for name, (x, y) in parts.items():
        robust = np.ones(y.shape, bool)
        for start in _starts(threat, x, n_signals, _streams(name, seeds, y.shape[1], n_restarts)):
            x_adv = attack(threat, batch.rule, bank, x=x, y=y, n_steps=n_steps, start=start)
            robust &= y * scores(batch.rule, bank, x_adv) > 0
        errors[name] = 1.0 - robust.mean(1)
    return errors


def _streams(part: str, seeds: Sequence[int], n: int, n_restarts: int) -> list[Draws | None]:
    """The random numbers of each start; the first two need none."""
    streams: list[Draws | None] = [None, None]
    for restart in range(2, n_restarts):
        purpose = f"full ball, {part}, start {restart}"
        keys = [Draws.of(seed, purpose, torch.arange(n)).keys for seed in seeds]
        streams.append(Draws(torch.cat(keys)))
    return streams[:n_restarts]


def _starts(threat: ThreatModel, x: Array, n_signals: int, streams: Sequence[Draws | None]) -> Iterator[Array]:
    """X, X with its signal lowered by delta, then random points of the ball."""
    for number, draws in enumerate(streams):
        if draws is not None:
            examples = torch.from_numpy(x).flatten(0, 1)
            yield threat.sample(examples, draws).numpy().reshape(x.shape)
        elif number == 0:
            yield x
        else:
            lowered = x.copy()
            lowered[..., :n_signals] -= threat.radius * np.sign(x[..., :n_signals])
            yield lowered
