"""When a simulated training ends before its last step, and how its seeds ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from cgro._check import number
from cgro.dynamics.recording import Record
from cgro.dynamics.rule import Array
from cgro.dynamics.setting import Setting
from cgro.dynamics.stability import MOST_HALVINGS, OVERSHOOT, largest_stable_lr, overshoots
from cgro.trajectory import Outcome

MEMORIZED_NOISE = 0.5
"""Of mean V, above which noise counts as memorized: Theta(1) growth, read as half a unit of margin."""
RECENT = 40
"""Records among which `memorized` looks for the highest rate of noise learning. A choice."""

StopName = Literal["never", "memorized"]


class StopRule(Protocol):
    """Reads the records so far and says whether training is over."""

    def __call__(self, records: Sequence[Record], /) -> str:
        """Return why to stop at the last record, or an empty text to go on."""
        ...


def never(records: Sequence[Record], /) -> str:
    """Train to the last step.

    Args:
        records: so far; not looked at.

    Returns:
        An empty text.
    """
    return ""


def memorized(records: Sequence[Record], /) -> str:
    """Stop when the third stage is over in all seeds.

    Args:
        records: so far.

    Returns:
        A reason once every training example resists the attack, mean V exceeds 0.5, and what V gained since the record
        before is below half of the most that it gained between two records; else an empty text. Records lie further
        apart as training goes on, so the rate per step has then fallen further.
    """
    last = records[-1]
    if len(records) <= 3 or last.robust_error_train.any():
        return ""
    noise = np.stack([record.noise_learned.mean(1) for record in records[-RECENT:]])
    rates = np.diff(noise, axis=0)
    if (noise[-1] > MEMORIZED_NOISE).all() and (2 * rates[-1] < rates.max(0)).all():
        return "every training example resists the attack and noise learning has slowed down in all seeds"
    return ""


@dataclass(frozen=True)
class LossBelow:
    """A stop rule: the training loss of all seeds is below a number.

    Args:
        limit: of the mixed loss (1-lambda) clean + lambda robust, >= 0.

    Raises:
        BadRequest: a limit that is negative or not a number.
    """

    limit: float

    def __post_init__(self) -> None:
        number(self.limit, "limit", low=0.0)

    def __call__(self, records: Sequence[Record], /) -> str:
        """Return the reason once it holds."""
        if (records[-1].loss < self.limit).all():
            return f"the loss is below {self.limit:g} in all seeds"
        return ""


STOP_RULES: Mapping[StopName, StopRule] = {"never": never, "memorized": memorized}


def all_diverged(records: Sequence[Record], steps: Array) -> bool:
    """Whether no seed is worth another step.

    Args:
        records: so far.
        steps: (R,) of these records.

    Returns:
        True if each seed has a margin that is not finite, or one that has just overshot.
    """
    if not np.isfinite(records[-1].clean_margin).all(1).any():
        return True
    if len(records) < 2:
        return False
    recent = np.stack([record.clean_margin for record in records[-2:]])
    return bool(overshoots(recent, steps[-2:])[1].all())


def outcomes_of(
    setting: Setting, seeds: Sequence[int], steps: Array, clean_margin: Array, *, stopped: str = ""
) -> tuple[Outcome, ...]:
    """How each seed ended.

    Args:
        setting: what was trained.
        seeds: S of them.
        steps: (R,) of the records.
        clean_margin: (R, S, N) at the records.
        stopped: why training ended before its last step; empty if it did not.

    Returns:
        One outcome per seed. The reason of a divergence names the largest stable step, measured on the first such seed.
    """
    overshot = overshoots(clean_margin, steps)
    last = int(steps[-1])
    finished = Outcome("completed", f"{last} steps", last)
    if stopped:
        finished = Outcome("stopped", stopped, last)
    outcomes: list[Outcome] = []
    # Measured once: a bisection of whole runs for every seed would take longer than the training did.
    advice = ""
    for s, seed in enumerate(seeds):
        if not overshot[:, s].any():
            outcomes.append(finished)
            continue
        at = int(steps[overshot[:, s].argmax()])
        if not advice:
            stable = largest_stable_lr(setting, seed, at)
            advice = f"no stable lr was found in {MOST_HALVINGS} halvings"
            if stable is not None:
                advice = f"the largest stable lr is about {stable:.3g}"
        reason = f"lr {setting.lr:g} overshoots: a margin moved by over {OVERSHOOT:g} in a step by step {at}; {advice}"
        outcomes.append(Outcome("diverged", reason, at))
    return tuple(outcomes)
