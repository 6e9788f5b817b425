"""Mixup: convex combinations of two training examples and of their labels.

Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: beyond empirical risk minimization" (ICLR 2018). In adversarial training:
Rice, Wong and Kolter, "Overfitting in adversarially robust deep learning" (ICML 2020).
"""

from torch import Tensor

from cgro.definitions import Draws
from cgro.training.extensions.mixing import Mixing


class Mixup(Mixing):
    """x~ = s x + (1 - s) x_j and y~ = s e_y + (1 - s) e_(y_j), with s from Beta(alpha, alpha) for each example.

    Loss and attack take y~, as in the code of Rice et al., who draw one s for a batch.

    Args:
        alpha: of the beta distribution; 1.4 in Rice et al.
        probability: of an example to be mixed at all; 1 as published.

    Raises:
        BadRequest: a number out of its range; before work, no images; in the first step, an objective that does not
            take soft labels.

    Example:
        >>> Mixup()
        Mixup(alpha=1.4, probability=1.0)
    """

    capturable = True

    def __init__(self, alpha: float = 1.4, probability: float = 1.0) -> None:
        super().__init__(alpha, probability, same_class=False)

    def mixed(self, x: Tensor, other: Tensor, share: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """The convex combinations.

        Args:
            x: (B, C, H, W).
            other: of the same shape.
            share: (B,) of x.
            draws: unused.

        Returns:
            x~ and s.
        """
        s = share.view(-1, 1, 1, 1)
        return s * x + (1 - s) * other, share
