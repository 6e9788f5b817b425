"""Lemma 4.5's classifier f_S, with hard indicators."""

import torch
from torch import Tensor, nn

from cgro.representation.memorizer import RobustMemorizer


class HardMemorizer(nn.Module):
    """Lemma 4.5's classifier f_S itself: the oracle of `RobustMemorizer`.

    f_S(X) = f_clean(X) (1 - 1{X in union of B_p(X_i, delta)}) + sum_i y_i 1{X in B_p(X_i, delta)}. Not a ReLU network,
    not continuous: a gradient finds nothing in it. For logits the sum is m_k - sum_(j != k) m_j.

    Args:
        memorizer: supplies data, norm, radius and clean model.
        radius: delta, of the balls; None takes the threat's own, `memorizer.supports.inner` the network's.

    Example:
        >>> from cgro.definitions import ThreatModel
        >>> x, y = torch.tensor([[0.2], [0.8]]), torch.tensor([1, -1])
        >>> F = RobustMemorizer(lambda v: v[:, 0] - 0.5, x, y, ThreatModel("inf", 0.1))
        >>> HardMemorizer(F)(torch.tensor([[0.25], [0.4]])).tolist()
        [1.0, -0.09999999403953552]
    """

    def __init__(self, memorizer: RobustMemorizer, radius: float | None = None) -> None:
        super().__init__()
        self.training = False
        self.memorizer = memorizer
        if radius is None:
            radius = memorizer.threat.radius
        self.radius = radius

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate f_S.

        Args:
            x: (B, *S) inputs.

        Returns:
            (B,) scores or (B, C) logits.
        """
        m = self.memorizer
        rows, kept = m.supports.near(x, self.radius - m.supports.inner)
        inside = m.supports.distance(x.flatten(1).double()[rows], kept) <= self.radius
        ones = torch.ones(int(inside.sum()), dtype=torch.float64)
        memory = m.sum_by_class(ones, rows[inside], kept[inside], len(x))
        outputs = m.clean_model(x)
        memory = memory.to(outputs.dtype)
        free = (memory.sum(1, keepdim=not m.binary) == 0).to(outputs.dtype)
        return outputs * free + m.combination.signed(memory)
