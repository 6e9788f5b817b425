"""What is recorded of a simulated training, and when."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from cgro.dynamics.batch import Batch
from cgro.dynamics.rule import Array
from cgro.dynamics.unseen import UnseenExamples, unseen_margins


def record_steps(n_steps: int, n_records: int) -> Array:
    """0, then steps 1 .. n_steps spaced evenly in the logarithm, without repetition.

    Args:
        n_steps: the last step.
        n_records: steps after 0, at most.

    Returns:
        (R,) increasing integers.

    Example:
        >>> record_steps(100, 5).tolist()
        [0, 1, 3, 10, 32, 100]
    """
    return np.unique(np.r_[0, np.geomspace(1, n_steps, n_records).round().astype(int)])


@dataclass(frozen=True)
class Record:
    """Everything that is recorded at one step, over S seeds. The symbols are those of Section 5.

    Args:
        signal_component: (S,) u = max_r <w_r, w*>.
        signal_learned: (S,) U = sum_r phi(<w_r, w*>), mean over signal directions and classes.
        signal_margin: (S,) alpha^q U.
        noise_component: (S, N, P-1) v_ij = max_r y_i <w_r, X_i[j]>.
        noise_learned: (S, N) V_i = y_i sum_r sum_j phi(<w_r, X_i[j]>).
        clean_margin: (S, N) y_i f(X_i).
        robust_margin: (S, N) at the worst signal strength.
        loss: (S,) (1-lambda) clean plus lambda robust, mean over examples.
        clean_error_train: (S,) share of margins that are not positive; NaN counts as wrong.
        robust_error_train: (S,) the same under attack; a clean mistake counts as one.
        clean_error_test: (S,) on unseen examples.
        robust_error_test: (S,) on unseen examples.
        filter_signal: (S, m) <w_r, w*> of the first signal direction.
        filter_noise: (S, m) max over noise patches of y_i <w_r, X_i[j]>.
    """

    signal_component: Array
    signal_learned: Array
    signal_margin: Array
    noise_component: Array
    noise_learned: Array
    clean_margin: Array
    robust_margin: Array
    loss: Array
    clean_error_train: Array
    robust_error_train: Array
    clean_error_test: Array
    robust_error_test: Array
    filter_signal: Array
    filter_noise: Array


def columns(records: Sequence[Record]) -> dict[str, Array]:
    """Records as the columns of a `Trajectory`, errors under the keys of `summary.json`, such as `clean_error/train`.

    Args:
        records: R of them, at least one.

    Returns:
        name -> (R, S, ...).
    """
    found = {}
    for field in fields(Record):
        key = field.name.replace("_error_", "_error/")
        found[key] = np.stack([getattr(record, field.name) for record in records])
    return found


def observe(batch: Batch, unseen: Sequence[UnseenExamples]) -> Record:
    """Read everything off the filters. Pure: the batch is not changed.

    Args:
        batch: S seeds.
        unseen: test examples of each seed.

    Returns:
        The record of this step.
    """
    rule = batch.rule
    z = batch.activations()
    u = batch.u
    y = batch.y
    clean, robust = rule.margins(u, z, y, batch.group)
    learned = rule.class_signal(u).mean((1, 2))
    covariances = batch.covariance()
    test = np.array([unseen_margins(rule, u[s], covariances[s], examples) for s, examples in enumerate(unseen)])
    # A margin that is NaN, after a divergence, is a mistake: hence "not above 0" throughout.
    wrong = ~(test > 0)
    return Record(
        signal_component=u.max((1, 2)),
        signal_learned=learned,
        signal_margin=rule.strength**rule.power * learned,
        noise_component=(y[:, :, None, None] * z.reshape(*y.shape, -1, z.shape[-1])).max(-1),
        noise_learned=rule.noise_margin(z, y),
        clean_margin=clean,
        robust_margin=robust,
        loss=rule.loss(clean, robust),
        clean_error_train=(~(clean > 0)).mean(1),
        robust_error_train=(~(robust > 0) | ~(clean > 0)).mean(1),
        clean_error_test=wrong[:, 0].mean(1),
        robust_error_test=wrong.any(1).mean(1),
        filter_signal=u[:, 0].copy(),
        filter_noise=(np.repeat(y, z.shape[1] // y.shape[1], 1)[..., None] * z).max(1),
    )
