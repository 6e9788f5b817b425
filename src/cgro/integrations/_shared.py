"""What the callbacks share."""

from cgro._check import BadRequest
from cgro.diagnosis.monitor import Monitor
from cgro.diagnosis.verdict import Diagnosis
from cgro.runs import say


def rate_of(optimizer: object | None = None) -> float | None:
    """The learning rate that an optimizer has now.

    Args:
        optimizer: of torch, or a wrapper of one; its first group counts.

    Returns:
        The rate; None without one.

    Example:
        >>> import torch
        >>> rate_of(torch.optim.SGD([torch.zeros(1)], lr=0.5)), rate_of()
        (0.5, None)
    """
    groups = getattr(optimizer, "param_groups", None)
    if not groups:
        return None
    rate = groups[0].get("lr")
    if rate is None:
        return None
    return float(rate)


def verdict_of(monitor: Monitor) -> Diagnosis | None:
    """The verdict at the end of a training. Where there is none it says why: the training is over and keeps its result.

    Args:
        monitor: of the training.

    Returns:
        The diagnosis; None in processes other than the first, and where no epoch was evaluated.
    """
    try:
        return monitor.verdict()
    except BadRequest as error:
        say(f"cgro.Monitor, no verdict: {error}")
        return None
