"""Steps that are too long: how they are noticed, and the largest one that is not."""

from dataclasses import replace

import numpy as np

from cgro.data.patches import SMALLEST_POSITIVE
from cgro.dynamics.backends import place
from cgro.dynamics.recording import record_steps
from cgro.dynamics.rule import Array
from cgro.dynamics.setting import Setting

# A step below 2 / curvature moves the margin of a correct example by at most 2 / (1 - p) <= 4, p = sigmoid(-margin):
# five times that in one step is an overshoot. The margin itself may grow large: near delta = alpha only a part rho^q
# of it counts.
OVERSHOOT = 20.0
MOST_HALVINGS = 40
"""Of a step size that diverges, before the search for a stable one is given up: a factor of 1e12. A choice."""


def overshoots(clean_margin: Array, steps: Array) -> Array:
    """Whether a margin moved, on average since the record before, further than a stable step can.

    Args:
        clean_margin: (R, S, N) at R records; NaN counts as moved.
        steps: (R,) of the records.

    Returns:
        (R, S), False at the first record.
    """
    moved = np.abs(np.diff(clean_margin, axis=0)) / np.diff(steps)[:, None, None]
    return np.concatenate([np.zeros((1, clean_margin.shape[1]), bool), ~(moved < OVERSHOOT).all(2)])


def largest_stable_lr(setting: Setting, seed: int, n_steps: int, *, accuracy: float = 1.05) -> float | None:
    """The largest step size that does not diverge for one seed, by bisection over the same time eta * t.

    Measured, not derived: it holds for this seed and this stretch of training, at least as long as stage I takes (up to
    20,000 steps; 500 against a full ball). Stable means that no step overshoots; to follow the gradient flow closely
    takes smaller steps.

    Args:
        setting: one that diverges by step `n_steps`.
        seed: whose run.
        n_steps: when the divergence was seen.
        accuracy: ratio of the two ends at which the bisection stops.

    Returns:
        A step size that does not overshoot; None if none was found in 40 halvings.
    """
    # Divergence strikes while the signal first reaches order 1/alpha; this much time holds stage I for usual starts,
    # and K directions share the examples.
    time = max(setting.lr * n_steps, 400 * 0.3 / setting.strength**2 * setting.data.n_signals)
    # By hand, as scipy's root finders want a function with a sign that is continuous; this one answers yes or no.
    with np.errstate(all="ignore"):
        high = setting.lr
        low = high / 2
        smallest = max(high / 2**MOST_HALVINGS, SMALLEST_POSITIVE)
        while low >= smallest and not _is_stable(replace(setting, lr=low), seed, time):
            high = low
            low = low / 2
        if low < smallest:
            return None
        while high > accuracy * low:
            middle = float(np.sqrt(high * low))
            if _is_stable(replace(setting, lr=middle), seed, time):
                low = middle
            else:
                high = middle
    return low


def _is_stable(setting: Setting, seed: int, time: float) -> bool:
    """Whether no step of a run over this much time eta * t overshoots; a slow back end looks at fewer steps."""
    batch, _ = place(setting, [seed], "auto")
    most = 20_000
    if setting.full_ball:
        most = 500
    steps = record_steps(min(int(np.ceil(time / setting.lr)), most), 100)
    margins = []
    done = 0
    for k, step in enumerate(steps):
        if step > done:
            batch.advance(int(step) - done, compiled=not setting.full_ball)
        done = int(step)
        margins.append(batch.rule.margins(batch.u, batch.activations(), batch.y, batch.group)[0])
        # Looked at on the way: what diverges does so early, and the steps after it say nothing more.
        if overshoots(np.stack(margins[-2:]), steps[max(k - 1, 0) : k + 1]).any():
            return False
    return True
