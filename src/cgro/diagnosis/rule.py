"""The thresholds of `diagnose`."""

from dataclasses import dataclass

from cgro.definitions import DEFAULT_RULE, VerdictRule


@dataclass(frozen=True)
class CurveRule:
    """Thresholds of `diagnose`. All ours, none from a paper; each is stored with the result.

    Args:
        min_epochs: fewer measured epochs are too little evidence for a curve.
        alpha: largest p-value of a rise that is believed.
        order: where the neighbors of every curve differ as much as strangers (rank von Neumann ratio, p-value above
            this), the rows are shuffled, or noise, and there is no verdict.
        jump: catastrophic overfitting is a rise of the robust error by this much, a fraction.
        jump_epochs: measured epochs within which it rises so.
        jump_to: and to at least this level, while the clean error stays lower by `jump`.
        near_drop: a rise that begins within this share of all epochs after a learning-rate drop is aligned with it.
        clean_ratio: a clean rise of more than this share of the robust one is ordinary overfitting; a smaller one is
            named behind the robust rise. An example that is newly wrong counts in both, so equal rises are ordinary;
            below 1 by the noise of two rises.
        clean_change: a clean error that changes by less than this, a fraction, over the robust rise is unchanged.
        point: thresholds of the verdict on the last epochs.
        n_boot: simulated curves.
    """

    min_epochs: int = 10
    alpha: float = 0.01
    order: float = 0.0005
    jump: float = 0.2
    jump_epochs: int = 2
    jump_to: float = 0.9
    near_drop: float = 0.1
    clean_ratio: float = 0.75
    clean_change: float = 0.001
    point: VerdictRule = DEFAULT_RULE
    n_boot: int = 999
