"""How memory overrides the clean model in Theorem 4.4: the formula of F, and the same as ReLU layers.

Scores: F = ReLU(c - B I) - ReLU(-c - B I) + m_+ - m_-, with c = f_clean clipped to [-1, 1], m_+- the sums of the soft
indicators of either label, I = m_+ + m_- and B = 1 + 2^-10.
Logits, one against rest: F_k = ReLU(f_k / s - B I) - ReLU(-f_k / s - B I) + m_k - sum_(j != k) m_j, s a power of two
>= |f| on the box. Where all indicators are 0, F is f_clean (scores clipped, logits divided by s): the same prediction.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cgro.bounds import Layer, compose, dense_layer

ABOVE_ONE = 1 + 2.0**-10
"""B: with any B > 1, rounding in the sum of indicators cannot let f_clean through."""

F64 = torch.float64


@dataclass(frozen=True)
class Combination:
    """F from the outputs of the clean model and the sums of the indicators.

    Args:
        n_classes: C; 2 for scores.
        binary: whether the clean model gives scores, with labels -1 / +1.
        scale: s, by which logits are divided; 1 for scores, which are clipped.
        clips: whether logits are clipped too, as those are for which no bound over the box is known.
    """

    n_classes: int
    binary: bool
    scale: float = 1.0
    clips: bool = False

    def signed(self, memory: Tensor) -> Tensor:
        """Return what memory alone says: m_+ - m_-, or m_k - sum_(j != k) m_j.

        Args:
            memory: (B, C) sums of the indicators of each class.

        Returns:
            (B,) for scores, else (B, C).
        """
        if self.binary:
            return memory[:, 1] - memory[:, 0]
        return 2 * memory - memory.sum(1, keepdim=True)

    def __call__(self, outputs: Tensor, memory: Tensor) -> Tensor:
        """Evaluate F.

        Args:
            outputs: (B,) or (B, C) of the clean model.
            memory: (B, C) sums of the indicators of each class.

        Returns:
            F, of the shape and precision of the outputs.
        """
        memory = memory.to(outputs.dtype)
        total = memory.sum(1, keepdim=not self.binary)
        clean = outputs / self.scale
        if self.binary or self.clips:
            clean = clean.clamp(-1, 1)
        free = (clean - ABOVE_ONE * total).clamp_min(0) - (-clean - ABOVE_ONE * total).clamp_min(0)
        return free + self.signed(memory)

    def branch(self, clean: list[Layer]) -> list[Layer]:
        """Continue the clean model's layers to outputs >= 0 that the tail can read.

        Scores: 1 - f and then 2 - ReLU(1 - f), so that c = ReLU(2 - ReLU(1 - f)) - 1. In this nesting interval
        arithmetic keeps c in [-1, 1]; ReLU(f + 1) - ReLU(f - 1) - 1 would not. Logits: +-f / s.

        Args:
            clean: layers of the clean model.

        Returns:
            Its layers with the continuation, before the ReLU that makes them >= 0.
        """
        *hidden, last = clean
        if self.binary:
            clip = dense_layer(_matrix([[-1.0]]), torch.tensor([2.0], dtype=F64))
            return [*hidden, compose(last, self._entry()), clip]
        # ReLU lets through the positive part of f / s and, from its negative, the negative part.
        eye = torch.eye(len(last.bias), dtype=F64) / self.scale
        return [*hidden, compose(last, dense_layer(torch.cat([eye, -eye])))]

    def _entry(self) -> Layer:
        """f -> 1 - f."""
        return dense_layer(_matrix([[-1.0]]), torch.tensor([1.0], dtype=F64))

    def tail(self) -> list[Layer]:
        """Build the layers from (outputs of the branch, m_1 .. m_C) to F.

        Returns:
            Two layers, with a ReLU before each.
        """
        b = ABOVE_ONE
        if self.binary:
            rows = [[1, -b, -b], [-1, -b, -b], [0, 1, 0], [0, 0, 1]]
            join = dense_layer(_matrix(rows), torch.tensor([-1.0, 1, 0, 0], dtype=F64))
            return [join, dense_layer(_matrix([[1, -1, -1, 1]]))]
        eye = torch.eye(self.n_classes, dtype=F64)
        ones = torch.ones(self.n_classes, self.n_classes, dtype=F64)
        none = torch.zeros(self.n_classes, self.n_classes, dtype=F64)
        # f+ enters only the first row block and f- only the second: the other part is 0 where a block can be positive.
        positive = torch.cat([eye, none, -b * ones], 1)
        negative = torch.cat([none, eye, -b * ones], 1)
        memory = torch.cat([none, none, eye], 1)
        join = dense_layer(torch.cat([positive, negative, memory]))
        return [join, dense_layer(torch.cat([eye, -eye, 2 * eye - ones], 1))]

    @property
    def added_depth(self) -> int:
        """By how many layers `branch` is deeper than the clean model, its last layer left out."""
        return 2 if self.binary else 1

    def tail_count(self, last: Layer, wait_of_memory: int) -> int:
        """Predict the non-zeros that joining the branches adds: continuation, waiting outputs and tail.

        Args:
            last: last layer of the clean model.
            wait_of_memory: by how many layers the clean branch is deeper than the memory; negative if it is shallower.

        Returns:
            The count. A branch that waits needs one weight per output and layer.
        """
        c = self.n_classes
        wait_of_clean = max(0, -wait_of_memory)
        wait_of_memory = max(0, wait_of_memory)
        if self.binary:
            # The bias b of the last layer becomes 1 - b; clip 2, join 10, output 4.
            changed = compose(last, self._entry()).n_nonzero - last.n_nonzero
            return 16 + changed + 2 * wait_of_memory + wait_of_clean
        waiting = c * wait_of_memory + 2 * c * wait_of_clean
        return last.n_nonzero + 2 * c * (1 + c) + c + c * (2 + c) + waiting


def _matrix(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows, dtype=F64)
