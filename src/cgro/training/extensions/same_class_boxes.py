"""Same-class boxes: a box of another training example of the same class is pasted, and the label stays.

A remedy from the theory of the paper (Li and Li, ICML 2025): what is not signal should be new at every step, at an
unchanged label, so that the noise of no example can be memorized. Not published before; a proposal of this package.
"""

import torch
from torch import Tensor

from cgro.definitions import Draws
from cgro.training.extensions.mixing import Mixing, box


class SameClassBoxes(Mixing):
    """x~ = x outside of a random box and x_j inside, with x_j of the class of x; the label does not change.

    Args:
        probability: of an example to be pasted on.
        alpha: the box is drawn to cover 1 - s of the image, s from Beta(alpha, alpha).

    Raises:
        BadRequest: a number out of its range; before work, no images.

    Example:
        >>> SameClassBoxes()
        SameClassBoxes(alpha=1.0, probability=0.7)
    """

    def __init__(self, probability: float = 0.7, alpha: float = 1.0) -> None:
        super().__init__(alpha, probability, same_class=True)

    def mixed(self, x: Tensor, other: Tensor, share: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """The pasted boxes.

        Args:
            x: (B, C, H, W).
            other: of the same shape.
            share: (B,) of x that is asked for.
            draws: place the boxes.

        Returns:
            x~ and the share of pixels of x.
        """
        inside = box(share, draws, x.shape[2], x.shape[3])
        return torch.where(inside, other, x), 1 - inside.to(x.dtype).mean((1, 2, 3))
