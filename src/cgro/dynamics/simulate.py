"""Adversarial training of the patch network, simulated exactly: Setting in, Trajectory out."""

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Literal

import numpy as np

from cgro._check import bad, count, one_of
from cgro._progress import progress
from cgro.dynamics.full_ball import full_ball
from cgro.dynamics.rule import Array
from cgro.dynamics.setting import Setting
from cgro.dynamics.spaces import SPACES, Batch, cheapest, rule_of
from cgro.dynamics.unseen import unseen_margins
from cgro.trajectory import Outcome, Trajectory

Backend = Literal["auto", "direct", "gram", "law"]
# A step below 2 / curvature moves the margin of a correct example by at most 2 / (1 - p) <= 4, p = sigmoid(-margin):
# five times that in one step is an overshoot. The margin itself may grow large: near delta = alpha only a part rho^q
# of it counts.
OVERSHOOT = 20.0


def record_steps(n_steps: int, n_records: int) -> Array:
    """0, then steps 1 .. n_steps spaced evenly in the logarithm, without repetition.

    >>> record_steps(100, 5).tolist()
    [0, 1, 3, 10, 32, 100]
    """
    return np.unique(np.r_[0, np.geomspace(1, n_steps, n_records).round().astype(int)])


def simulate(
    setting: Setting,
    *,
    seeds: Sequence[int] = (0,),
    n_steps: int = 50_000,
    backend: Backend = "auto",
    compiled: bool = True,
    threads: int = 1,
    n_records: int = 240,
    n_test: int = 2_000,
    stop_when: Literal["never", "memorized"] = "never",
    loss_below: float = 0.0,
    label: str = "dynamics",
) -> Trajectory:
    """Gradient descent on the clean and robust logistic loss, all seeds as one batch, in float64.

    w_r <- w_r - eta grad (1/N) sum_i [ (1-lambda) loss(X_i) + lambda max_{X'} loss(X') ]; the inner maximum is a closed
    form for the adversary along w*, projected gradient for the full balls. What the numbers do not say: test errors
    along the way are means over `n_test` unseen examples per seed (the same ones at every record), not exact
    probabilities (`probability_correct` gives those); under "l2" and "linf" `robust_error/*` still speaks of the
    adversary along w*, exactly, and the full ball is judged by `full_ball_errors`.

    Args:
        setting: data, network, adversary, step size.
        seeds: one run each; seed s gives the same run in every batch, and "direct" and "gram" the same up to rounding.
        n_steps: steps of gradient descent.
        backend: "direct" (vectors), "gram" (coefficients; cost independent of d), "law" (the Gram matrix drawn from
            its law; no vector of length d), or "auto" for the cheapest exact one.
        compiled: take steps in compiled loops; False for the slower numpy form of the same step, their oracle.
        threads: seeds run at once (compiled loops only).
        n_records: records, evenly in the logarithm of the step.
        n_test: unseen examples per seed for the test errors along the way.
        stop_when: "memorized" ends when, in all seeds, every training example resists the attack and noise learning
            has fallen below half of its highest rate.
        loss_below: end when the loss of all seeds is below this.
        label: beside the progress bar.

    Returns:
        Records R over seeds S: `signal_component` u (R, S), `signal_learned` U, `signal_margin` alpha^q U,
        `noise_component` v_ij (R, S, N, P-1), `noise_learned` V_i (R, S, N), `clean_margin`, `robust_margin` (R, S, N),
        `loss`, `clean_error/train|test`, `robust_error/train|test` (R, S), `filter_signal`, `filter_noise` (R, S, m).
        One Outcome a seed; a run that diverges is an outcome that names the largest stable step. `meta` holds the
        setting, the seeds, the back end, and the final `signal` (S, K, m) and `covariance` (S, m, m) of the filters.

    Raises:
        BadRequest: a back end that cannot do this, no seeds, counts out of range.

    Example:
        >>> from cgro.dynamics import PRESETS
        >>> run = simulate(PRESETS["theorem"], n_steps=100, n_test=10)
        >>> bool(run.final("signal_margin")[0] > 1 > run.final("noise_learned").mean())  # stage I is over, III is not
        True
    """
    one_of(backend, "backend", ("auto", *SPACES))
    if not len(seeds):
        raise bad("seeds", expected="at least one", got=0)
    for value, what in ((n_steps, "n_steps"), (n_records, "n_records"), (n_test, "n_test"), (threads, "threads")):
        count(value, what)
    batch, placed = _place(setting, seeds, backend)
    grid = record_steps(n_steps, n_records)
    rows, done = [], 0
    normals = _test_normals(setting, seeds, n_test)
    with progress(n_steps, label) as update, _pool(threads) as pool, np.errstate(all="ignore"):
        for step in grid:
            if step > done:
                batch.advance(int(step - done), compiled=compiled and not setting.full_ball, pool=pool)
            done = int(step)
            rows.append(observe(batch, normals))
            update(done, f"signal margin {rows[-1]['signal_margin'].mean():.2f}")
            if ended := _ended(rows, grid, stop_when, loss_below):
                break
    steps = grid[: len(rows)]
    values = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    meta = {
        "setting": setting.to_dict(), "seeds": list(seeds), "n_test": n_test, "backend": placed, "compiled": compiled,
        "signal": batch.u, "covariance": batch.covariance(), "batch": batch,
    }  # fmt: skip
    return Trajectory(steps, values, _outcomes(setting, seeds, steps, values, ended), meta)


def _place(setting: Setting, seeds: Sequence[int], backend: Backend) -> tuple[Batch, str]:
    """The batch of seeds in the space that was asked for."""
    if setting.full_ball:
        if backend not in ("auto", "direct"):
            raise bad("backend", expected="auto or direct with a full-ball adversary", got=backend)
        return full_ball(setting, seeds), "direct"
    chosen = cheapest(setting) if backend == "auto" else backend
    return SPACES[chosen](setting, seeds), chosen


@contextlib.contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor | None]:
    if threads == 1:
        yield None
        return
    with ThreadPoolExecutor(threads) as pool:
        yield pool


def unseen_errors(run: Trajectory, n_test: int = 20_000) -> dict[str, Array]:
    """Clean and robust test error at the end of a run, adversary along w*, on fresh examples.

    Args:
        run: from `simulate`.
        n_test: examples per seed; the standard error of one seed's rate is below 0.5 / sqrt(n_test).

    Returns:
        `clean` and `robust`, (S,) each. The robust error counts a clean mistake as one.
    """
    setting, seeds = Setting.from_dict(run.meta["setting"]), run.meta["seeds"]
    rule, errors = rule_of(setting), {"clean": [], "robust": []}
    for seed, u, covariance in zip(seeds, run.meta["signal"], run.meta["covariance"], strict=True):
        (draws,) = _test_normals(setting, [seed], n_test, stream=0xF17A1)
        wrong = ~(unseen_margins(rule, u, covariance, *draws) > 0)
        errors["clean"].append(wrong[0].mean())
        errors["robust"].append(wrong.any(0).mean())
    return {key: np.array(value) for key, value in errors.items()}


def _test_normals(
    setting: Setting, seeds: Sequence[int], n_test: int, stream: int = 0x7E57
) -> list[tuple[Array, Array, Array]]:
    """Per seed: the noise coordinates seen by the filters' square root, (n_test, P-1, m), labels, signal indices."""
    drawn = []
    for seed in seeds:
        rng = np.random.default_rng([seed, stream])
        z = rng.standard_normal((n_test, setting.data.n_patches - 1, setting.n_filters))
        y = 2 * rng.integers(0, 2, n_test) - 1
        drawn.append((setting.data.noise_std * z, y, rng.integers(0, setting.data.n_signals, n_test)))
    return drawn


def observe(batch: Batch, normals: Sequence[tuple[Array, Array, Array]]) -> dict[str, Array]:
    """Everything that is recorded at one step. Pure: the batch is not changed."""
    rule, z, u, y = batch.rule, batch.activations(), batch.u, batch.y
    clean, robust = rule.margins(u, z, y, batch.group)
    signal = rule.class_signal(u)
    by_example = (y[:, :, None, None] * z.reshape(*y.shape, -1, z.shape[-1])).max(-1)
    by_filter = (np.repeat(y, z.shape[1] // y.shape[1], 1)[..., None] * z).max(1)
    test = np.array([unseen_margins(rule, w, k, *draws) for w, k, draws in zip(u, batch.covariance(), normals)])
    wrong = ~(test > 0)
    learned = signal.mean((1, 2))
    return {
        "signal_component": u.max((1, 2)),
        "signal_learned": learned,
        "signal_margin": rule.strength**rule.power * learned,
        "noise_component": by_example,
        "noise_learned": rule.noise_margin(z, y),
        "clean_margin": clean,
        "robust_margin": robust,
        "loss": rule.loss(clean, robust),
        "clean_error/train": (~(clean > 0)).mean(1),
        "robust_error/train": (~(robust > 0) | ~(clean > 0)).mean(1),
        "clean_error/test": wrong[:, 0].mean(1),
        "robust_error/test": wrong.any(1).mean(1),
        "filter_signal": u[:, 0].copy(),
        "filter_noise": by_filter,
    }


def _ended(rows: list[dict[str, Array]], grid: Array, stop_when: str, loss_below: float) -> str:
    """Why to stop here, or nothing."""
    last, n = rows[-1], len(rows)
    if not np.isfinite(last["clean_margin"]).all(1).any():
        return "all seeds diverged"
    if n > 1 and overshoots(np.stack([r["clean_margin"] for r in rows[-2:]]), grid[n - 2 : n])[1].all():
        return "all seeds diverged"
    if (last["loss"] < loss_below).all():
        return f"the loss is below {loss_below:g} in all seeds"
    if stop_when == "memorized" and len(rows) > 3 and not last["robust_error/train"].any():
        rates = np.diff(np.stack([row["noise_learned"].mean(1) for row in rows[-40:]]), axis=0)
        if (last["noise_learned"].mean(1) > 0.5).all() and (2 * rates[-1] < rates.max(0)).all():
            return "every training example resists the attack and noise learning has slowed down in all seeds"
    return ""


def overshoots(clean_margin: Array, steps: Array) -> Array:
    """Whether a margin moved, on average since the record before, further than a stable step can. (R, S, N), (R, S)"""
    moved = np.abs(np.diff(clean_margin, axis=0)) / np.diff(steps)[:, None, None]
    return np.concatenate([np.zeros((1, clean_margin.shape[1]), bool), ~(moved < OVERSHOOT).all(2)])


def _outcomes(setting: Setting, seeds: Sequence[int], steps: Array, values: dict[str, Array], ended: str):
    bad_at = overshoots(values["clean_margin"], steps)
    result, stable = [], None
    for s, seed in enumerate(seeds):
        if not bad_at[:, s].any():
            kind, reason = ("stopped", ended) if ended else ("completed", f"{steps[-1]} steps")
            result.append(Outcome(kind, reason, int(steps[-1])))
            continue
        at = int(steps[bad_at[:, s].argmax()])
        if stable is None:
            stable = largest_stable_lr(setting, seed, at)
        result.append(Outcome(
            "diverged",
            f"lr {setting.lr:g} overshoots: a margin moved by over {OVERSHOOT:g} in a step by step {at}; the "
            f"largest stable lr is about {stable:.3g}", at,
        ))  # fmt: skip
    return tuple(result)


def largest_stable_lr(setting: Setting, seed: int, n_steps: int, *, accuracy: float = 1.05) -> float:
    """The largest step size that does not diverge for one seed, by bisection over the same time eta * t.

    Measured, not derived: it holds for this seed and this stretch of training, at least as long as stage I takes.
    Stable means that no step overshoots; to follow the gradient flow closely takes smaller steps.

    Args:
        setting: one that diverges by step `n_steps`.
        seed: whose run.
        n_steps: when the divergence was seen.
        accuracy: ratio of the two ends at which the bisection stops.

    Returns:
        A step size that does not overshoot.
    """
    # Divergence strikes while the signal first reaches order 1/alpha; this much time holds stage I for usual starts.
    time = max(setting.lr * n_steps, 400 * 0.3 / setting.strength**2)

    def holds(lr: float) -> bool:
        batch, _ = _place(replace(setting, lr=lr), [seed], "auto")
        steps = record_steps(min(int(np.ceil(time / lr)), 500 if setting.full_ball else 20_000), 100)
        margins = [batch.rule.margins(batch.u, batch.activations(), batch.y, batch.group)[0]]
        for n in np.diff(steps):
            batch.advance(int(n), compiled=not setting.full_ball)
            margins.append(batch.rule.margins(batch.u, batch.activations(), batch.y, batch.group)[0])
        return not overshoots(np.stack(margins), steps).any()

    with np.errstate(all="ignore"):
        high = setting.lr
        low = high / 2
        while not holds(low):
            high, low = low, low / 2
        while high > accuracy * low:
            middle = float(np.sqrt(high * low))
            low, high = (middle, high) if holds(middle) else (low, middle)
    return low
