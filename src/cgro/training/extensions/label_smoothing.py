"""Label smoothing: part of each label's probability is spread over all classes.

Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception architecture for computer vision" (CVPR 2016). In
adversarial training: Pang, Yang, Dong, Su and Zhu, "Bag of tricks for adversarial training" (ICLR 2021).
"""

from collections.abc import Callable

from torch import Tensor, nn

from cgro._check import number
from cgro.data import Dataset
from cgro.training.extensions.base import Extension, with_parameters
from cgro.training.extensions.labels import Classes, against
from cgro.training.recipe import Recipe
from cgro.training.step import Step


class LabelSmoothing(Extension):
    """The labels of the loss are (1 - s) e_y + s / C, with C classes.

    Args:
        smoothing: s in [0, 1); 0 changes nothing.
        attack: whether the attack maximizes the loss against the smoothed labels, or against the labels as in Pang et
            al., whose code smooths the training loss alone.

    Raises:
        BadRequest: a number outside [0, 1); in the first step, an objective that does not take soft labels.

    Example:
        >>> LabelSmoothing(0.2)
        LabelSmoothing(smoothing=0.2, attack=False)
    """

    capturable = True

    def __init__(self, smoothing: float = 0.1, *, attack: bool = False) -> None:
        self.smoothing = number(smoothing, "label-smoothing: smoothing", low=0.0, below=1.0)
        self.attack = attack
        self._classes: Classes | None = None

    __repr__ = with_parameters

    def prepare(self, model: nn.Module, recipe: Recipe, data: Dataset) -> None:
        """Find the number of classes.

        Args:
            model: unused.
            recipe: unused.
            data: says it.
        """
        self._classes = Classes.of(data)

    def around(self, step: Step, compute: Callable[[], Tensor]) -> Tensor:
        """Gradients against the smoothed labels.

        Args:
            step: the batch.
            compute: sets the gradients of the objective.

        Returns:
            The loss against them.
        """
        assert self._classes is not None, "prepare comes first"
        labels = self._classes.labels_of(step)
        targets = (1 - self.smoothing) * labels + self.smoothing / self._classes.n
        return against(targets, step, compute, "label-smoothing", attack=self.attack or step.attack_targets)
