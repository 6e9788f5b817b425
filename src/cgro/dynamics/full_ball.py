"""Adversaries that move every patch: projected gradient on the current network. A search, so a lower bound."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from cgro._check import bad, count
from cgro.dynamics.rule import Array, Rule, sigmoid
from cgro.dynamics.setting import Setting
from cgro.dynamics.spaces import Direct, direct


@dataclass
class FullBall(Direct):
    """Filters as vectors, trained against PGD over all patches; x: (S, N, P d) the training inputs.

    The attack starts at X, takes `attack_steps` steps and keeps the end: with a random start the run would depend on
    more random numbers than the data and the initial filters.
    """

    x: Array
    setting: Setting

    def bank(self) -> Array:
        """The whole filters, (S, d, m)."""
        whole = self.filters.copy()
        whole[:, : self.u.shape[1]] = self.u
        return whole

    def advance(self, n_steps: int, *, compiled: bool, pool: object = None) -> None:
        """n steps of every seed. There is no compiled form: `compiled` and `pool` change nothing."""
        k = self.u.shape[1]
        weights = [self.weights(n_steps, s) for s in range(len(self.y))]
        stacked = np.stack(weights)
        for t in range(n_steps):
            w = stacked[:, t if stacked.shape[1] > 1 else 0] * self.rule.lr / self.y.shape[1]
            bank, share = self.bank(), self.rule.robust_weight
            change = pull(self.rule, bank, self.x, self.y, (1 - share) * w)
            if share:
                x_adv = attack(self.setting, self.rule, bank, self.x, self.y, self.setting.attack_steps)
                change += pull(self.rule, bank, x_adv, self.y, share * w)
            self.u += change[:, :k]
            change[:, :k] = 0.0
            self.filters += change


def full_ball(setting: Setting, seeds: Sequence[int]) -> FullBall:
    """The batch of seeds for a full-ball adversary, from the same draws as every other back end."""
    base = direct(setting, seeds)
    s, n, p, d = len(seeds), setting.n_train, setting.data.n_patches, setting.data.patch_dim
    x = np.zeros((s, n, p, d))
    x[:, :, 1:] = base.noise.reshape(s, n, p - 1, d)
    rows = np.arange(s)[:, None], np.arange(n)
    x[(*rows, 0, base.group)] = setting.strength * base.y
    return FullBall(
        base.y, base.group, base.u, base.rule, base.batch_rng, base.batch_size, base.filters, base.noise,
        x=x, setting=setting,
    )  # fmt: skip


def scores(rule: Rule, bank: Array, x: Array) -> Array:
    """f(X), (S, N), for filters (S, d, m) and inputs (S, N, P, d)."""
    s, n, p, d = x.shape
    z = x.reshape(s, n * p, d) @ bank
    return (z * rule.slope(z)).sum(-1).reshape(s, n, p).sum(-1)


def pull(rule: Rule, bank: Array, x: Array, y: Array, weights: Array) -> Array:
    """-sum_i weights_i grad_W loss(X_i), (S, d, m), in closed form."""
    s, n, p, d = x.shape
    flat = x.reshape(s, n * p, d)
    z = flat @ bank
    slope = rule.slope(z)
    margin = y * (z * slope).sum(-1).reshape(s, n, p).sum(-1)
    factor = np.repeat(y * weights * sigmoid(-margin), p, axis=1)
    return flat.transpose(0, 2, 1) @ (rule.power * factor[..., None] * slope)


def attack(
    setting: Setting, rule: Rule, bank: Array, x: Array, y: Array, n_steps: int, start: Array | None = None
) -> Array:
    """Projected gradient descent on the margin over ‖X' - X‖_p <= delta, all patches as one vector.

    Args:
        bank: (S, d, m). x: (S, N, P, d). y: (S, N).
        n_steps: of size 2.5 delta / n_steps.
        start: where to begin; None means X.

    Returns:
        (S, N, P, d), the last point, or X where that is no worse for the network.
    """
    s, n, p, d = x.shape
    radius, bank_t = setting.radius, bank.transpose(0, 2, 1)
    moved = np.zeros_like(x) if start is None else start - x
    for _ in range(n_steps):
        z = (x + moved).reshape(s, n * p, d) @ bank
        gradient = ((rule.slope(z) @ bank_t).reshape(s, n, p, d)) * -y[..., None, None]
        if setting.adversary == "linf":
            moved = np.clip(moved + 2.5 * radius / n_steps * np.sign(gradient), -radius, radius)
        else:
            size = np.sqrt((gradient**2).sum((2, 3), keepdims=True))
            moved = moved + 2.5 * radius / n_steps * gradient / np.maximum(size, 1e-300)
            moved *= np.minimum(1.0, radius / np.maximum(np.sqrt((moved**2).sum((2, 3), keepdims=True)), 1e-300))
    better = y * scores(rule, bank, x + moved) < y * scores(rule, bank, x)
    return x + moved * better[..., None, None]


def full_ball_errors(
    batch: FullBall | Direct, setting: Setting, *, p: str, n_test: int, seeds: Sequence[int], n_steps: int = 40,
    n_restarts: int = 6,
) -> dict[str, Array]:  # fmt: skip
    """Robust errors under the full ball, by PGD with restarts: lower bounds, never the truth.

    On this polynomial network single starts mislead (more restarts keep finding more), so the first start is X, the
    second the point with the signal removed along w*, and the rest are random points of the ball.

    Args:
        batch: the trained filters as vectors.
        setting: whose radius is attacked; its adversary may be another.
        p: "l2" or "linf".
        n_test: unseen examples per seed, drawn from seed + 2^31.
        seeds: of the batch.
        n_steps: of each restart. n_restarts: in all.

    Returns:
        `train` and `test`, (S,) each.

    Raises:
        BadRequest: a norm that is neither.
    """
    if p not in ("l2", "linf"):
        raise bad("p", expected="l2 or linf", got=repr(p))
    count(n_restarts, "n_restarts")
    attacked = replace(setting, adversary=p)
    k = batch.u.shape[1]
    bank = batch.filters.copy()
    bank[:, :k] = batch.u
    drawn = [setting.data.sample(n_test, torch.Generator().manual_seed(s + 2**31)) for s in seeds]
    test = np.stack([sample.x.numpy() for sample in drawn]), np.stack([sample.y.numpy() for sample in drawn])
    n, patches, d = setting.n_train, setting.data.n_patches, setting.data.patch_dim
    x = np.zeros((len(seeds), n, patches, d))
    x[:, :, 1:] = batch.noise.reshape(len(seeds), n, patches - 1, d)
    x[(np.arange(len(seeds))[:, None], np.arange(n), 0, batch.group)] = setting.strength * batch.y
    rng = np.random.default_rng([*seeds, 0xBA11])
    errors = {}
    for name, (inputs, y) in {"train": (x, batch.y), "test": test}.items():
        standing = np.ones(y.shape, bool)
        for start in _starts(attacked, inputs, y, k, n_restarts, rng):
            x_adv = attack(attacked, batch.rule, bank, inputs, y, n_steps, start)
            standing &= y * scores(batch.rule, bank, x_adv) > 0
        errors[name] = 1.0 - standing.mean(1)
    return errors


def _starts(setting: Setting, x: Array, y: Array, k: int, n: int, rng: np.random.Generator):
    """X, X with its signal lowered by delta, then random points of the ball."""
    yield x
    if n > 1:
        lowered = x.copy()
        lowered[..., :k] -= setting.radius * np.sign(x[..., :k])
        yield lowered
    for _ in range(n - 2):
        noise = rng.standard_normal(x.shape)
        if setting.adversary == "linf":
            yield x + setting.radius * rng.uniform(-1.0, 1.0, x.shape)
            continue
        length = setting.radius * rng.random((*y.shape, 1, 1)) ** (1.0 / x[0, 0].size)
        yield x + length * noise / np.sqrt((noise**2).sum((2, 3), keepdims=True))
