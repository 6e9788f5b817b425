"""Reading the three stages of Theorem 5.9 off a trajectory: each boundary with its evidence, or why it is missing.

| stage | what happens |
| --- | --- |
| I | the signal component u = max_r <w_r, w*> grows until it reaches order 1/alpha |
| II | its growth stalls |
| III | the noise V_i grows until it is of order 1 for every training example: memorization |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from cgro._check import bad
from cgro.dynamics.rule import Array
from cgro.results.keys import ROBUST_TRAIN
from cgro.trajectory import Trajectory

FEWEST_RECORDS = 8
"""Of a trajectory whose stages can be read. A choice: derivatives and a half-maximum need a few points each."""
MIN_GAIN = 0.5  # of mean V since stage I: Theta(1) growth, read as half a unit of margin
MIN_SIGNAL = 0.5  # of alpha^q U where stage I ends: order 1, read as half a unit of margin too
# Of alpha^q U at the end of stage I that is left at the last record; a choice. For delta > alpha the theory leaves half
# of the plateau or more, and nothing where the signal dies.
MIN_KEPT = 0.25
# A curve that rises, and perhaps settles a little lower, varies by at most twice its range; a shuffled one, many times.
MAX_VARIATION = 3.0


class Stage(Enum):
    """The stages of adversarial training."""

    SIGNAL_GROWTH = "I: the signal component grows"
    SIGNAL_STALL = "II: its growth stalls"
    NOISE_MEMORIZATION = "III: the noise of every training example is memorized"


@dataclass(frozen=True)
class Boundary:
    """A step at which one stage gives way to the next, or why there is none.

    Args:
        step: of gradient descent, interpolated between records; None if it was not found.
        reason: the evidence for it, or what is missing.
    """

    step: float | None
    reason: str

    @property
    def found(self) -> bool:
        """Whether there is one."""
        return self.step is not None

    def before(self, step: float) -> bool:
        """Whether this boundary was found and lies at or before a step.

        Args:
            step: of gradient descent.

        Returns:
            False also where it was not found.
        """
        return self.step is not None and self.step <= step


@dataclass(frozen=True)
class Stages:
    """The boundaries of one seed's run.

    Args:
        signal_growth_end: between stages I and II.
        memorization_start: between stages II and III.
        memorization_end: from where on robust training accuracy is 100%.
    """

    signal_growth_end: Boundary
    memorization_start: Boundary
    memorization_end: Boundary

    def at(self, step: float) -> Stage:
        """The stage that a step belongs to, as far as boundaries were found.

        Args:
            step: of gradient descent.

        Returns:
            The last stage whose boundary lies at or before the step.
        """
        if not self.signal_growth_end.before(step):
            return Stage.SIGNAL_GROWTH
        if not self.memorization_start.before(step):
            return Stage.SIGNAL_STALL
        return Stage.NOISE_MEMORIZATION


BOUNDARIES = ("signal_growth_end", "memorization_start", "memorization_end")


def detect_stages(trajectory: Trajectory) -> tuple[Stages, ...]:
    """The three stages of adversarial training, by half-maximum rules that have nothing to tune.

    With s = d(alpha^q U)/dt and n = d(mean_i V_i)/dt: stage I ends where s falls below half its maximum after its peak,
    if alpha^q U is at least 0.5 there, and a quarter of it is left at the last record; else the signal was not learned,
    or died. Memorization starts at the first later step with n at half its maximum or above; it ends where robust
    training accuracy is 100% from then on. The last two also need mean V to have gained at least 0.5 since stage I. A
    boundary is interpolated in the logarithm of the step, so it is no finer than the records. It says nothing about
    causes.

    Args:
        trajectory: with `signal_margin` (R, S), `noise_learned` (R, S, N) and `robust_error/train` (R, S).

    Returns:
        One `Stages` per seed.

    Raises:
        BadRequest: fewer than 8 records.
    """
    n_records = len(trajectory.steps)
    if n_records < FEWEST_RECORDS:
        raise bad(
            "trajectory", expected=f"at least {FEWEST_RECORDS} records", got=n_records, remedy="record more often"
        )
    steps = trajectory.steps.astype(float)
    signal = trajectory["signal_margin"]
    noise = trajectory["noise_learned"].mean(2)
    robust_error = trajectory[ROBUST_TRAIN]
    found = []
    with np.errstate(all="ignore"):
        for s in range(signal.shape[1]):
            found.append(_stages_of_seed(steps, signal[:, s], noise[:, s], robust_error[:, s]))
    return tuple(found)


def _stages_of_seed(t: Array, signal: Array, noise: Array, robust_error: Array) -> Stages:
    for name, curve in (("signal", signal), ("noise", noise)):
        unreadable = _unreadable(curve, name)
        if unreadable:
            missing = Boundary(None, unreadable)
            return Stages(missing, missing, missing)
    first = _growth_end(t, np.gradient(signal, t), signal)
    if first.step is None:
        missing = Boundary(None, "stage I has no end to count from")
        return Stages(first, missing, missing)
    gain = float(noise[-1] - np.interp(first.step, t, noise))
    if gain < MIN_GAIN:
        missing = Boundary(None, f"mean V gained {gain:.2g} since stage I, below {MIN_GAIN}")
        return Stages(first, missing, missing)
    second = _memorization_start(t, np.gradient(noise, t), first.step)
    return Stages(first, second, _memorization_end(t, robust_error, second.step, gain))


def _unreadable(curve: Array, name: str) -> str:
    """Why no stages can be read off a curve, or nothing."""
    if not np.isfinite(curve).all():
        return f"the {name} is not finite: the run diverged"
    variation = np.abs(np.diff(curve)).sum()
    span = np.ptp(curve)
    if variation > MAX_VARIATION * span:
        return f"the {name} goes up and down: its total variation is {variation / span:.1f} times its range"
    return ""


def _growth_end(t: Array, rate: Array, signal: Array) -> Boundary:
    if signal.max() <= signal[0]:
        return Boundary(None, "the signal never grows")
    if signal.max() < MIN_SIGNAL:
        return Boundary(
            None, f"the signal stays below {MIN_SIGNAL} (alpha^q U at most {signal.max():.3g}): not learned"
        )
    halved = _halved_at_order_one(t, rate, signal)
    if isinstance(halved, str):
        return Boundary(None, halved)
    peak, step = halved
    reached = np.interp(step, t, signal)
    if signal[-1] < MIN_KEPT * reached:
        died = f"of alpha^q U = {reached:.3g} at step {step:.0f} only {signal[-1]:.3g} is left: the signal dies"
        return Boundary(None, died)
    reason = f"signal growth peaks at step {t[peak]:.0f} and has halved here, at alpha^q U = {reached:.3g}"
    return Boundary(step, reason)


def _halved_at_order_one(t: Array, rate: Array, signal: Array) -> tuple[int, float] | str:
    """The peak of the growth that takes the signal to order 1, and the step at which it has halved; or why not.

    U = sum_r sign(u_r) |u_r|^q also rises where filters of the wrong sign die, within the first steps and at times
    faster than ever after. A peak that has halved below order 1 is passed over.
    """
    start = 0
    while start < len(t):
        # From the peak on, as the rate also lies below half its maximum at the start, before growth sets in.
        peak = start + int(rate[start:].argmax())
        if rate[peak] <= 0:
            break
        below = np.flatnonzero(rate[peak:] < rate[peak] / 2)
        if not len(below):
            return "signal growth never falls below half its peak: train longer"
        start = peak + int(below[0])
        step = _crossing(t, rate, start, rate[peak] / 2)
        if np.interp(step, t, signal) >= MIN_SIGNAL:
            return peak, step
    return f"signal growth ends below {MIN_SIGNAL}: not learned"


def _memorization_start(t: Array, rate: Array, after: float) -> Boundary:
    later = t > after
    half = rate[later].max() / 2
    at = int(np.flatnonzero(later & (rate >= half))[0])
    step = float(t[at])
    # Where the rate was above half already, noise is learned from the first record after stage I on: no crossing.
    if rate[at - 1] < half:
        step = max(_crossing(t, rate, at, half), after)
    return Boundary(step, f"noise learning reaches half of its highest rate, {2 * half:.3g} per step")


def _memorization_end(t: Array, robust_error: Array, start: float | None, gain: float) -> Boundary:
    wrong = np.flatnonzero(robust_error > 0)
    first_right = 0
    if len(wrong):
        first_right = int(wrong[-1]) + 1
    if first_right == len(t):
        return Boundary(None, f"robust training error is still {robust_error[-1]:.3g} at the last step: train longer")
    at = float(t[first_right])
    if start is not None and at < start:
        return Boundary(None, "robust training accuracy was 100% before memorization began: not its doing")
    return Boundary(at, f"robust training accuracy is 100% from here on; mean V has gained {gain:.3g} since stage I")


def _crossing(t: Array, rate: Array, at: int, level: float) -> float:
    """Where the rate passes `level` between records at - 1 and at, on a logarithmic axis of steps."""
    if at == 0 or t[at - 1] <= 0 or rate[at] == rate[at - 1]:
        return float(t[at])
    share = np.clip((level - rate[at - 1]) / (rate[at] - rate[at - 1]), 0.0, 1.0)
    return float(t[at - 1] * (t[at] / t[at - 1]) ** share)


@dataclass(frozen=True)
class BoundarySummary:
    """One boundary over seeds.

    Args:
        mean: step; None unless every seed found it.
        sd: over seeds; None for one seed, or where the mean is.
        per_seed: step, or None where it was not found.
        n_found: seeds that found it.
        reason: of the first seed; where a seed did not find it, that of the first such seed.
    """

    mean: float | None
    sd: float | None
    per_seed: list[float | None]
    n_found: int
    reason: str


def summarize_stages(found: Sequence[Stages]) -> Mapping[str, BoundarySummary]:
    """Each boundary over seeds.

    Args:
        found: one `Stages` per seed, from `detect_stages`.

    Returns:
        name -> summary, in the order of `BOUNDARIES`.
    """
    return {
        "signal_growth_end": _over_seeds([stages.signal_growth_end for stages in found]),
        "memorization_start": _over_seeds([stages.memorization_start for stages in found]),
        "memorization_end": _over_seeds([stages.memorization_end for stages in found]),
    }


def _over_seeds(boundaries: list[Boundary]) -> BoundarySummary:
    steps: list[float | None] = []
    known: list[float] = []
    missing: list[str] = []
    for boundary in boundaries:
        steps.append(boundary.step)
        if boundary.step is None:
            missing.append(boundary.reason)
        else:
            known.append(boundary.step)
    if missing:
        return BoundarySummary(None, None, steps, len(known), missing[0])
    sd = None
    if len(known) > 1:
        sd = float(np.std(known, ddof=1))
    return BoundarySummary(float(np.mean(known)), sd, steps, len(known), boundaries[0].reason)
