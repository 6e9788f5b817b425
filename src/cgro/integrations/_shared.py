"""What the callbacks share."""


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
