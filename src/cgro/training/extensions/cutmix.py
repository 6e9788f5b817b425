"""CutMix: a box of another training example is pasted, and the labels are mixed by area.

Yun, Han, Oh, Chun, Choe and Yoo, "CutMix: regularization strategy to train strong classifiers with localizable
features" (ICCV 2019). In adversarial training: Rebuffi, Gowal, Calian, Stimberg, Wiles and Mann, "Data augmentation can
improve robustness" (NeurIPS 2021).
"""

from cgro.training.extensions.mixing import Pasting


class CutMix(Pasting):
    """x~ = x outside of a random box and x_j inside, y~ = s e_y + (1 - s) e_(y_j), s the share of pixels outside.

    The box is drawn to cover 1 - s of the image, s from Beta(alpha, alpha); s is that of the pixels afterwards, as the
    border cuts boxes off. Loss and attack take y~.

    Args:
        alpha: of the beta distribution; 1 in Yun et al.
        probability: of an example to be mixed at all; 1 in Rebuffi et al., 0.5 in Yun et al.

    Raises:
        BadRequest: a number out of its range; before work, no images; in the first step, an objective that does not
            take soft labels.

    Example:
        >>> CutMix()
        CutMix(alpha=1.0, probability=1.0)
    """

    capturable = True

    def __init__(self, alpha: float = 1.0, probability: float = 1.0) -> None:
        super().__init__(alpha, probability, same_class=False)
