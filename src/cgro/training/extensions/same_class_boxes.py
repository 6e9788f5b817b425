"""Same-class boxes: a box of another training example of the same class is pasted, and the label stays.

A remedy from the theory of the paper (Li and Li, ICML 2025): what is not signal should be new at every step, at an
unchanged label, so that the noise of no example can be memorized. Not published before; a proposal of this package.
"""

from cgro.training.extensions.mixing import Pasting


class SameClassBoxes(Pasting):
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

    capturable = True

    def __init__(self, probability: float = 0.7, alpha: float = 1.0) -> None:
        super().__init__(alpha, probability, same_class=True)
