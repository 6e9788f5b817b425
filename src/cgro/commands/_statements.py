"""What a run of `cgro dynamics` can and cannot show, in words, within the conditions under which it holds."""

from collections.abc import Sequence

from cgro.dynamics import CALIBRATED, Setting
from cgro.trajectory import Outcome

STATEMENTS = {
    "theorem": "theorem: delta < alpha. The attack shrinks the signal to almost nothing but cannot turn it. Up to the "
    "sample threshold the noise of the training examples is memorized; that of an unseen example does not depend on "
    "its label, so its attacked margin is a coin flip: robust test error 1/2. With more examples the signal wins.",
    "table2": "table2 is CALIBRATED: two knobs fitted to the two test numbers of Table 2. delta > alpha, so the attack "
    "turns the signal around and robust test error can exceed 1/2. Outside the theorem, and no evidence for it.",
    "control": "control: standard training. The signal alone separates the data, so the noise is never memorized.",
}

FULL_BALL_STATEMENT = (
    "full ball: the attack may move every patch. The signal alone resists it up to delta = alpha / sqrt 2 (l2, two "
    "patches or more); beyond, the training set can be fitted by memory of long noise only, and unseen examples fall: "
    "docs/full_ball.md. Stages and theory above speak of the adversary along w*."
)
"""In the place of a preset's statement, which speaks of the adversary along w*."""
SHRINKS_TO_LITTLE = 0.9
"""delta / alpha from which the attack is said to shrink the signal to almost nothing. A choice."""


def statement_of(preset: str, setting: Setting) -> str:
    """What a run can and cannot show.

    Args:
        preset: its name.
        setting: that was simulated.

    Returns:
        The preset's statement, where its own condition holds; against a full ball another one, after that of a
        calibrated preset.

    Example:
        >>> from dataclasses import replace
        >>> from cgro.dynamics import PRESETS
        >>> statement_of("theorem", replace(PRESETS.get("theorem"), radius_ratio=1.5))[:48]
        'theorem, but delta / alpha is 1.5, not below 1: '
    """
    if not setting.full_ball:
        return _outside(preset, setting) or STATEMENTS[preset]
    if preset in CALIBRATED:
        return f"{STATEMENTS[preset]} {FULL_BALL_STATEMENT}"
    return FULL_BALL_STATEMENT


def _outside(preset: str, setting: Setting) -> str:
    """What holds in the place of a preset's statement where the options leave its condition; "" within it."""
    ratio, weight = setting.radius_ratio, setting.robust_weight
    if preset == "control" and weight > 0:
        return f"control, but the robust weight is {weight:g}: adversarial training; see theorem, and table2."
    if preset != "control" and weight == 0:
        return f"{preset}, but the robust weight is 0: standard training, outside of Theorem 5.9; see control."
    if preset == "theorem" and ratio >= 1:
        return (
            f"theorem, but delta / alpha is {ratio:g}, not below 1: outside the condition of Theorem 5.9, so the "
            "attack can turn the signal around and robust test error can exceed 1/2."
        )
    if preset == "theorem" and ratio < SHRINKS_TO_LITTLE:
        return (
            f"theorem, but delta / alpha is {ratio:g}: the attack leaves {1 - ratio:.0%} of the signal, on which the "
            "network can rest; noise is memorized only below a sample threshold that falls as this share grows."
        )
    if preset in CALIBRATED and ratio <= 1:
        return (
            f"{preset}, but delta / alpha is {ratio:g}, not above 1: the attack cannot turn the signal around, and "
            "nothing of what was calibrated holds here."
        )
    return ""


def unfinished(outcomes: Sequence[Outcome], statement: str) -> str:
    """What a run can show where seeds of it did not come to an end: a statement speaks of those that did.

    Args:
        outcomes: one per seed.
        statement: of those that ended.

    Returns:
        The statement where all did; else how many did not, before it where any did.

    Example:
        >>> unfinished([Outcome("diverged", "at step 3", 3)], "theorem: ...")
        'Nothing is shown: the training ended as diverged in 1 of 1 seeds; lower --lr.'
    """
    failed = [outcome for outcome in outcomes if not outcome.ok]
    if not failed:
        return statement
    kinds = " or ".join(sorted({outcome.kind for outcome in failed}))
    count = f"ended as {kinds} in {len(failed)} of {len(outcomes)} seeds; lower --lr."
    if len(failed) == len(outcomes):
        return f"Nothing is shown: the training {count}"
    return f"The training {count} What follows holds of the other seeds alone, means over all do not. {statement}"
