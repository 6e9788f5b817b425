"""DOM by removal: examples whose clean loss is small are left out of the step, late in the training.

Lin, Yu, Han, Su and Liu, "On the over-memorization during natural, robust and catastrophic overfitting" (ICLR 2024).
"""

from collections.abc import Callable

from torch import Tensor

from cgro._check import number, one_of
from cgro.definitions import default_loss
from cgro.training.extensions.base import Extension, with_parameters
from cgro.training.objectives.cost import Cost
from cgro.training.step import Step

MEANS = ("batch", "kept")


class DOM(Extension):
    """Examples with a clean loss of at most a threshold have weight 0 in the step; DOM_RE, Algorithm 1 of Lin et al.

    The clean loss is that of the attack's mode (`craft_mode`), without a gradient; in the authors' code it is mostly
    that of training mode, and updates BatchNorm's averages once more. The examples that are left out still pass through
    the network, as there, so BatchNorm sees them.

    Args:
        threshold: in nats; the authors' values for CIFAR-10 are 1.5 for PGD-10, 2.0 for FGSM with a random start and
            0.2 for standard training (CIFAR-100: 4.0, 4.6 and 0.45).
        start: share of the training after which it begins, in [0, 1); the authors take the second half.
        mean: over the whole `batch`, as in the authors' code, so that the step shrinks with every example that is left
            out; or over those that are `kept`. Where all are left out, both give a gradient of 0.

    Raises:
        BadRequest: a negative threshold, a start outside [0, 1), since nothing would be left of the training at 1,
            another word.

    Example:
        >>> DOM().cost(Cost(n_forward=2, n_gradients=10, n_updates=1))
        Cost(n_forward=3, n_gradients=10, n_updates=1)
    """

    capturable = True
    judges_examples = True

    def __init__(self, threshold: float = 1.5, start: float = 0.5, *, mean: str = "batch") -> None:
        self.threshold = number(threshold, "dom: threshold", low=0.0)
        self.start = number(start, "dom: start", low=0.0, below=1.0)
        self.mean = one_of(mean, "dom: mean", MEANS)

    __repr__ = with_parameters

    def cost(self, step: Cost) -> Cost:
        """A clean pass; none where the objective asks for it anyway (TRADES).

        Args:
            step: without it.

        Returns:
            With it, an upper bound.
        """
        return step + Cost(n_forward=1)

    def around(self, step: Step, compute: Callable[[], Tensor]) -> Tensor:
        """Gradients of the examples that are left.

        Args:
            step: the batch.
            compute: sets the gradients of the objective.

        Returns:
            The mean loss, those that are left out counted as 0 or not at all.
        """
        if step.decide(lambda moment: moment.progress < self.start):
            return compute()
        left = (default_loss(step.outputs(), step.y) > self.threshold).to(step.x.dtype)
        weights = left
        if self.mean == "kept":
            weights = left * step.n_batch / step.batch_sum(left).clamp_min(1.0)

        def weighted(losses: Tensor) -> Tensor:
            return losses * weights[step.rows]

        with step.reweighed(weighted):
            return compute()
