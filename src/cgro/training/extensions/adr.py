"""ADR: labels are rectified by the moving average of the network's own weights, with annealed temperature.

Wu, Wang and Chen, "Annealing self-distillation rectification improves adversarial training" (ICLR 2024).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from cgro._check import number
from cgro.data import Dataset
from cgro.definitions import log_probabilities
from cgro.definitions.inputs import logits_of
from cgro.training.extensions.base import Extension, State, with_parameters
from cgro.training.extensions.ema import EMA
from cgro.training.extensions.labels import Classes, against
from cgro.training.objectives.cost import Cost
from cgro.training.recipe import Recipe, along_cosine
from cgro.training.step import Step


class ADR(Extension):
    """The labels of loss and attack are a p_T + (1 - a) e_y with p_T = softmax(f_avg(x) / T) of averaged weights.

    a = clip(lambda - (max p_T - p_T,y), 0, 1) for each example; T falls from `hot` to `cold` and lambda rises from
    `low` to `high` along half a cosine over the training. The averaged network passes the clean inputs in evaluation
    mode. It is not the one that is evaluated: add `ema` for that, as the authors do with weight averaging.

    Args:
        hot: temperature at the beginning; 2.5 in the authors' configuration of ResNet-18 on CIFAR-10, whose values the
            defaults are.
        cold: temperature at the end; 2 there, with AWP (gamma 0.005) 1.5.
        low: lambda at the beginning; 0.7.
        high: lambda at the end; 0.95, with AWP 0.85.
        decay: of the average; 0.995.

    Raises:
        BadRequest: a temperature that is not positive, a lambda or decay outside [0, 1]; in the first step, an
            objective that does not take soft labels.

    Example:
        >>> [round(ADR().temperature(share), 2) for share in (0.0, 0.5, 1.0)]
        [2.5, 2.25, 2.0]
    """

    capturable = True

    def __init__(
        self, hot: float = 2.5, cold: float = 2.0, low: float = 0.7, high: float = 0.95, decay: float = 0.995
    ) -> None:
        self.hot = number(hot, "adr: hot", above=0.0)
        self.cold = number(cold, "adr: cold", above=0.0)
        self.low = number(low, "adr: low", low=0.0, high=1.0)
        self.high = number(high, "adr: high", low=0.0, high=1.0)
        self.decay = number(decay, "adr: decay", low=0.0, below=1.0)
        self._teacher = EMA(self.decay)
        self._classes: Classes | None = None
        self._made: tuple[Step, Tensor] | None = None

    __repr__ = with_parameters

    def temperature(self, progress: float) -> float:
        """The temperature at a time.

        Args:
            progress: share of the training that is over.

        Returns:
            T.
        """
        return along_cosine(self.hot, self.cold, progress)

    def share(self, progress: float) -> float:
        """The largest share of the averaged network at a time.

        Args:
            progress: share of the training that is over.

        Returns:
            lambda.
        """
        return along_cosine(self.low, self.high, progress)

    def prepare(self, model: nn.Module, recipe: Recipe, data: Dataset) -> None:
        """Find the number of classes.

        Args:
            model: unused.
            recipe: unused.
            data: says it.
        """
        self._classes = Classes.of(data)

    def cost(self, step: Cost) -> Cost:
        """A pass of the averaged network.

        Args:
            step: without it.

        Returns:
            With it.
        """
        return step + Cost(n_forward=1)

    def begin(self, model: nn.Module) -> None:
        """Start the average from the initial weights.

        Args:
            model: the network that is trained.
        """
        self._teacher.begin(model)
        self._teacher.evaluated_model(model).eval()
        self._made = None

    def around(self, step: Step, compute: Callable[[], Tensor]) -> Tensor:
        """Gradients against the rectified labels.

        Args:
            step: the batch.
            compute: sets the gradients of the objective.

        Returns:
            The loss against them.
        """
        assert self._classes is not None, "prepare comes first"
        if self._made is None or self._made[0] is not step:
            teacher = self._teacher.evaluated_model(step.network)
            with torch.no_grad():
                outputs = logits_of(teacher(step.x))
            temperature = step.number(lambda moment: self.temperature(moment.progress))
            share = step.number(lambda moment: self.share(moment.progress))
            self._made = (step, _rectified(outputs, self._classes.labels_of(step), temperature, share))
        return against(self._made[1], step, compute, "adr", attack=True)

    def rectified(self, outputs: Tensor, labels: Tensor, progress: float) -> Tensor:
        """The labels of the step.

        Args:
            outputs: (B, C) logits or (B,) scores of the averaged network.
            labels: (B, C) probabilities, mostly of one class.
            progress: share of the training that is over.

        Returns:
            (B, C) probabilities.
        """
        return _rectified(outputs, labels, self.temperature(progress), self.share(progress))

    def after_step(self, model: nn.Module, k: int) -> None:
        """Move the average.

        Args:
            model: the network that is trained.
            k: number of steps taken.
        """
        self._teacher.after_step(model, k)

    def state(self) -> State:
        """The average.

        Returns:
            Its state dict.
        """
        return self._teacher.state()

    def load(self, state: State) -> None:
        """Take the average back.

        Args:
            state: as `state` returned it.
        """
        self._teacher.load(state)


def _rectified(outputs: Tensor, labels: Tensor, temperature: Tensor | float, most: Tensor | float) -> Tensor:
    """a p + (1 - a) labels, a at most `most` less how far the largest p is ahead of that of the label."""
    p = log_probabilities(outputs / temperature).exp()
    ahead = p.amax(1) - (p * labels).sum(1)
    share = (most - ahead).clamp(0.0, 1.0)[:, None]
    return share * p + (1 - share) * labels
