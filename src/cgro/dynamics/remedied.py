"""Training of the patch network under a remedy: `simulate` with one thing changed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cgro._check import bad
from cgro.dynamics.backends import Backend, place
from cgro.dynamics.batch import Batch, Direct, Gram
from cgro.dynamics.remedies import Change, Classes, Remedy, State, box_of, check_covered
from cgro.dynamics.rule import Array
from cgro.dynamics.setting import Setting
from cgro.dynamics.simulate import Schedule, Simulation, train
from cgro.dynamics.stopping import StopName, StopRule

NOISE_STREAM = 0xF5
"""Of fresh noise and boxes, apart from other streams of the same seed."""


@dataclass(frozen=True)
class _Trained:
    """A batch of seeds, its state under the remedy, and the noise of its steps.

    Args:
        batch: whose arrays the states change in place.
        states: one per seed, of `remedy_steps`.
        classes: one per seed.
        rngs: one per seed.
        change: the remedy as a step takes it.
    """

    batch: Gram | Direct
    states: list[State]
    classes: list[Classes]
    rngs: list[np.random.Generator]
    change: Change

    def advance(self, n_steps: int) -> None:
        """Steps of every seed."""
        from cgro.dynamics.remedy_steps import remedied_direct_steps, remedied_gram_steps

        batch = self.batch
        for s, state in enumerate(self.states):
            if isinstance(batch, Gram):
                start, gram = batch.start[s], batch.gram[s]
                remedied_gram_steps(n_steps, state, start, gram, self.classes[s], batch.rule, self.change)
            else:
                rows, rng = batch.noise[s], self.rngs[s]
                remedied_direct_steps(n_steps, state, rows, self.classes[s], rng, batch.rule, self.change)

    def evaluated(self) -> Batch:
        """The filters that are evaluated, as a batch that owes nothing to the remedy."""
        parts = [(state.u, state.w, state.scalars[1]) for state in self.states]
        if self.change.ema > 0:
            parts = [(state.mean_u, state.mean_w, state.mean_kept[0]) for state in self.states]
        u = np.stack([part[0] for part in parts])[:, None]
        w = np.stack([part[1] for part in parts])
        if isinstance(self.batch, Direct):
            return replace(self.batch, u=u, filters=w)
        kept = np.array([part[2] for part in parts])[:, None, None]
        start = kept * self.batch.start
        return replace(self.batch, u=u, coefficients=w, start=start, start_cov=kept**2 * self.batch.start_cov)


def simulate_remedied(
    setting: Setting,
    remedy: Remedy,
    *,
    seeds: Sequence[int] = (0,),
    n_steps: int = 50_000,
    n_records: int = 240,
    n_test: int = 2_000,
    stop_when: StopName | StopRule = "never",
    progress: Callable[[int, str], object] | None = None,
) -> Simulation:
    """Gradient descent under a remedy, in float64; see `simulate`, which is the same without one.

    Losses of the records, and a stop rule on them, are those of the setting, whatever loss is trained. Training errors
    and noise learned speak of the examples' own noise.

    Args:
        setting: data, network, adversary, step size.
        remedy: what is changed.
        seeds: one run each; seed s gives the same run in every batch, and starts as in `simulate`.
        n_steps: steps of gradient descent.
        n_records: records, evenly in the logarithm of the step.
        n_test: unseen examples per seed for the test errors along the way.
        stop_when: as in `simulate`.
        progress: called after each record with the steps done and a short note.

    Returns:
        As `simulate`.

    Raises:
        BadRequest: a setting that the remedies do not cover, no seeds, counts out of range, a decay of 1 and more.

    Example:
        >>> run = simulate_remedied(Setting(n_train=4, n_filters=4), Remedy(fresh=1.0), n_steps=100, n_test=10)
        >>> run.backend  # fresh noise needs vectors
        'direct'
    """
    check_covered(setting)
    schedule = Schedule(seeds, n_steps=n_steps, n_records=n_records, n_test=n_test, stop_when=stop_when)
    trained, backend = _start(setting, remedy, schedule.seeds)
    return train(setting, schedule, trained, backend=backend, progress=progress)


def _start(setting: Setting, remedy: Remedy, seeds: Sequence[int]) -> tuple[_Trained, str]:
    """The batch before the first step, in the space that the remedy needs."""
    space: Backend = "auto"
    if remedy.moves_noise:
        space = "direct"
    batch, backend = place(setting, seeds, space)
    assert isinstance(batch, Gram | Direct), "the adversary is the one along w*"
    states, classes = [], []
    for s in range(len(seeds)):
        u = batch.u[s, 0]
        w = batch.filters[s] if isinstance(batch, Direct) else batch.coefficients[s]
        scalars = np.array([setting.robust_weight, 1.0])
        states.append(State(u, w, scalars, u.copy(), w.copy(), np.ones(1)))
        classes.append(classes_of(batch.y[s]))
    rngs = [np.random.default_rng([seed, NOISE_STREAM]) for seed in seeds]
    return _Trained(batch, states, classes, rngs, change_of(setting, remedy)), backend


def change_of(setting: Setting, remedy: Remedy) -> Change:
    """A remedy as a step takes it.

    Args:
        setting: its step size and its data.
        remedy: what is changed.

    Returns:
        The constants.

    Raises:
        BadRequest: a weight decay of 1 and more in a step; a box without a coordinate.
    """
    decay = setting.lr * remedy.weight_decay
    if decay >= 1:
        raise bad("weight_decay", expected=f"below 1/lr = {1 / setting.lr:g}", got=remedy.weight_decay)
    halving = 1.0
    if remedy.half_life > 0:
        halving = 0.5 ** (1 / remedy.half_life)
    return Change(
        fresh=float(remedy.fresh),
        mixed=float(remedy.mixed),
        box=box_of(setting, remedy),
        noise_std=float(setting.data.noise_std),
        decay=float(decay),
        ema=float(remedy.ema),
        halving=halving,
        smoothing_clean=float(remedy.smoothing_clean),
        smoothing_attacked=float(remedy.smoothing_attacked),
        trades=float(remedy.trades),
        by_divergence=remedy.inner == "kl",
    )


def classes_of(y: Array) -> Classes:
    """Who is of whose class.

    Args:
        y: (N,) labels -1 and +1.

    Returns:
        Members, counts and places.
    """
    members = np.zeros((2, len(y)), dtype=np.int64)
    counts = np.zeros(2, dtype=np.int64)
    places = np.zeros(len(y), dtype=np.int64)
    for i, label in enumerate(y):
        row = int(label <= 0)
        places[i] = counts[row]
        members[row, counts[row]] = i
        counts[row] += 1
    return Classes(np.ascontiguousarray(y), members, counts, places)
