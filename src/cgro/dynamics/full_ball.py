"""Training against an adversary that moves every patch, and robust errors under it; the search is `ball_attack`'s."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cgro._check import bad, count
from cgro.definitions.draws import Draws
from cgro.dynamics.ball_attack import Carried, attack, ball_of, worst_margins
from cgro.dynamics.rule import Array, Rule, sigmoid
from cgro.dynamics.setting import Setting
from cgro.dynamics.spaces import Direct, direct, seeds_of

TEST_SEED = 2**31
"""Unseen examples of a seed are drawn from this much above it."""


@dataclass
class FullBall(Direct):
    """Filters as vectors, trained against an attack on all patches.

    The attack takes `attack_steps` steps from each of four starts (`ball_attack.attack`) and keeps the best point. None
    is random: the run would depend on more random numbers than the data and the initial filters.

    Args:
        x: (S, N, P, d) the training inputs.
        setting: adversary, radius and number of attack steps.
    """

    x: Array
    setting: Setting

    def __post_init__(self) -> None:
        super().__post_init__()
        self.carried = Carried(np.zeros_like(self.x))

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
                n_ascents = self.setting.attack_steps
                self.carried = attack(
                    threat, self.rule, bank, x=self.x, y=self.y, n_steps=n_ascents, carried=self.carried
                )
                change += pull(self.rule, bank, self.x + self.carried.moved, y=self.y, weights=share * w)
            self.u += change[:, :k]
            change[:, :k] = 0.0
            self.filters += change


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
    """Measure robust errors under the full ball: lower bounds by search, never the truth.

    Every structured start of `ball_attack.all_starts` and `n_restarts` random points, each followed by projected
    gradient descent. The random numbers of a seed's examples are their own: its errors do not depend on the other
    seeds.

    Args:
        batch: the trained filters as vectors.
        setting: whose radius is attacked; its adversary may be another.
        p: "l2" or "linf".
        n_test: unseen examples per seed, drawn from seed + 2^31.
        seeds: of the batch.
        n_steps: from each start.
        n_restarts: random starts, besides the structured ones.

    Returns:
        `train` and `test`, (S,) each.

    Raises:
        BadRequest: a norm that is neither, no random start, counts or seeds out of range.
    """
    if p not in ("l2", "linf"):
        raise bad("p", expected="l2 or linf", got=repr(p))
    n_restarts = count(n_restarts, "n_restarts")
    n_steps = count(n_steps, "n_steps", low=0)
    n_test = count(n_test, "n_test")
    seeds = seeds_of(seeds)
    threat = ball_of(p, setting.radius)
    drawn = [setting.data.sample(n_test, torch.Generator().manual_seed(seed + TEST_SEED)) for seed in seeds]
    test_x = torch.stack([sample.x for sample in drawn]).numpy()
    test_y = torch.stack([sample.y for sample in drawn]).numpy()
    parts = {"train": (training_inputs(batch, setting), batch.y), "test": (test_x, test_y)}
    bank = whole_filters(batch)
    errors: dict[str, Array] = {}
    for name, (x, y) in parts.items():
        found = []
        for s, seed in enumerate(seeds):
            streams = _streams(name, seed, y.shape[1], n_restarts)
            least = worst_margins(threat, batch.rule, bank[s], x=x[s], y=y[s], n_steps=n_steps, streams=streams)
            found.append(1.0 - (least > 0).mean())
        errors[name] = np.array(found)
    return errors


def _streams(part: str, seed: int, n: int, n_restarts: int) -> list[Draws]:
    """The random numbers of the random starts of a seed's examples."""
    streams = []
    for restart in range(n_restarts):
        streams.append(Draws.of(seed, f"full ball, {part}, start {restart}", torch.arange(n)))
    return streams
