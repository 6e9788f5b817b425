"""Reading the three stages of Theorem 5.9 off a trajectory: each boundary with its evidence, or why it is missing."""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from cgro._check import bad
from cgro.dynamics.rule import Array
from cgro.trajectory import Trajectory

MIN_GAIN = 0.5  # of mean V since stage I: Theta(1) growth, read as half a unit of margin
# A curve that rises, and perhaps settles a little lower, varies by at most twice its range; a shuffled one, many times.
MAX_VARIATION = 3.0


class Stage(Enum):
    """The stages of adversarial training."""

    SIGNAL_GROWTH = "I: the signal component grows"
    SIGNAL_STALL = "II: its growth stalls"
    NOISE_MEMORIZATION = "III: the noise of every training example is memorised"


@dataclass(frozen=True)
class Boundary:
    """A step at which one stage gives way to the next, or None, and why."""

    step: float | None
    reason: str

    @property
    def found(self) -> bool:
        """Whether there is one."""
        return self.step is not None


@dataclass(frozen=True)
class Stages:
    """The boundaries of one seed's run."""

    signal_growth_end: Boundary
    memorization_start: Boundary
    memorization_end: Boundary

    def at(self, step: float) -> Stage:
        """The stage that a step belongs to, as far as boundaries were found."""
        if not self.signal_growth_end.found or step < self.signal_growth_end.step:  # type: ignore[operator]
            return Stage.SIGNAL_GROWTH
        if not self.memorization_start.found or step < self.memorization_start.step:  # type: ignore[operator]
            return Stage.SIGNAL_STALL
        return Stage.NOISE_MEMORIZATION


BOUNDARIES = ("signal_growth_end", "memorization_start", "memorization_end")


def detect_stages(trajectory: Trajectory) -> tuple[Stages, ...]:
    """The three stages of adversarial training, by half-maximum rules that have nothing to tune.

    With s = d(alpha^q U)/dt and n = d(mean_i V_i)/dt: stage I ends where s falls below half its maximum after its peak;
    memorization starts at the first later step with n at half its maximum or above; it ends where robust training
    accuracy is 100% from then on. The last two also need mean V to have gained at least 0.5 since stage I. A boundary
    is interpolated in the logarithm of the step, so it is no finer than the records. It says nothing about causes.

    Args:
        trajectory: with `signal_margin` (R, S), `noise_learned` (R, S, N) and `robust_error/train` (R, S).

    Returns:
        One `Stages` a seed.

    Raises:
        BadRequest: fewer than 8 records.
    """
    if len(trajectory.steps) < 8:
        raise bad("trajectory", expected="at least 8 records", got=len(trajectory.steps), remedy="record more often")
    noise = trajectory["noise_learned"].mean(2)
    columns = zip(trajectory["signal_margin"].T, noise.T, trajectory["robust_error/train"].T, strict=True)
    with np.errstate(all="ignore"):
        return tuple(_one_seed(trajectory.steps.astype(float), *column) for column in columns)


def _one_seed(t: Array, signal: Array, noise: Array, robust_error: Array) -> Stages:
    for name, curve in (("signal", signal), ("noise", noise)):
        if why := _unreadable(curve, name):
            return Stages(*(Boundary(None, why) for _ in BOUNDARIES))
    first = _growth_end(t, np.gradient(signal, t), signal)
    if first.step is None:
        missing = Boundary(None, "stage I has no end to count from")
        return Stages(first, missing, missing)
    gain = noise[-1] - np.interp(first.step, t, noise)
    if gain < MIN_GAIN:
        missing = Boundary(None, f"mean V gained {gain:.2g} since stage I, below {MIN_GAIN}")
        return Stages(first, missing, missing)
    second = _memorization_start(t, np.gradient(noise, t), first.step)
    return Stages(first, second, _memorization_end(t, robust_error, second.step, gain))


def _unreadable(curve: Array, name: str) -> str:
    """Why no stages can be read off a curve, or nothing."""
    if not np.isfinite(curve).all():
        return f"the {name} is not finite: the run diverged"
    variation, span = np.abs(np.diff(curve)).sum(), np.ptp(curve)
    if variation > MAX_VARIATION * span:
        return f"the {name} goes up and down: its total variation is {variation / span:.1f} times its range"
    return ""


def _growth_end(t: Array, rate: Array, signal: Array) -> Boundary:
    peak = int(rate.argmax())
    below = np.nonzero(rate[peak:] < rate[peak] / 2)[0]
    if signal.max() <= signal[0]:
        return Boundary(None, "the signal never grows")
    if not len(below):
        return Boundary(None, "signal growth never falls below half its peak: train longer")
    step = _crossing(t, rate, peak + int(below[0]), rate[peak] / 2)
    reached = np.interp(step, t, signal)
    return Boundary(
        step, f"signal growth peaks at step {t[peak]:.0f} and has halved here, at alpha^q U = {reached:.3g}"
    )


def _memorization_start(t: Array, rate: Array, after: float) -> Boundary:
    later = t > after
    half = rate[later].max() / 2
    at = int(np.nonzero(later & (rate >= half))[0][0])
    step = max(_crossing(t, rate, at, half), after) if rate[at - 1] < half else float(t[at])
    return Boundary(step, f"noise learning reaches half of its highest rate, {2 * half:.3g} a step")


def _memorization_end(t: Array, robust_error: Array, start: float | None, gain: float) -> Boundary:
    wrong = np.nonzero(robust_error > 0)[0]
    if len(wrong) and wrong[-1] == len(t) - 1:
        return Boundary(None, f"robust training error is still {robust_error[-1]:.3g} at the last step: train longer")
    at = float(t[wrong[-1] + 1]) if len(wrong) else float(t[0])
    if start is not None and at < start:
        return Boundary(None, "robust training accuracy was 100% before memorisation began: not its doing")
    return Boundary(at, f"robust training accuracy is 100% from here on; mean V has gained {gain:.3g} since stage I")


def _crossing(t: Array, rate: Array, at: int, level: float) -> float:
    """Where the rate passes `level` between records at - 1 and at, on a logarithmic axis of steps."""
    if at == 0 or t[at - 1] <= 0 or rate[at] == rate[at - 1]:
        return float(t[at])
    share = np.clip((level - rate[at - 1]) / (rate[at] - rate[at - 1]), 0.0, 1.0)
    return float(t[at - 1] * (t[at] / t[at - 1]) ** share)


def summarize_stages(found: tuple[Stages, ...]) -> dict[str, dict]:
    """Each boundary over seeds: {mean, sd, per_seed, n_found, reason} in steps; no mean unless every seed found it."""
    result = {}
    for name in BOUNDARIES:
        boundaries = [getattr(stages, name) for stages in found]
        steps = [b.step for b in boundaries]
        known = [s for s in steps if s is not None]
        complete = len(known) == len(steps)
        told = boundaries[0] if complete else next(b for b in boundaries if not b.found)
        result[name] = {
            "mean": float(np.mean(known)) if complete else None,
            "sd": float(np.std(known, ddof=1)) if complete and len(known) > 1 else None,
            "per_seed": steps,
            "n_found": len(known),
            "reason": told.reason,
        }
    return result
