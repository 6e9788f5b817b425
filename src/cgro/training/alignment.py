"""Gradient alignment: whether one step along the gradient still says where the loss is high.

Andriushchenko and Flammarion, "Understanding and improving fast adversarial training" (NeurIPS 2020): training with
single-step attacks breaks down (catastrophic overfitting) as the alignment falls, before the errors show it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cgro._check import count_field
from cgro.definitions import Attack, Draws, Model, ThreatModel, default_loss
from cgro.definitions.inputs import as_labels, logits_of
from cgro.training.evaluation import Snapshot

KEY = "gradient_alignment/train"


def gradient_alignment(
    model: Model, x: Tensor, y: Tensor, threat: ThreatModel, *, generator: torch.Generator | Draws | None = None
) -> Tensor:
    """cos( grad_x L(f(X), y), grad_x L(f(X + d), y) ) with X + d uniform in the ball; the term of GradAlign.

    Args:
        model: (B, *S) -> (B, C) logits or (B,) scores, in evaluation mode.
        x: (B, *S) clean inputs.
        y: (B,) labels.
        threat: the ball.
        generator: of the points, or one stream per example; None means a fresh one seeded 0.

    Returns:
        (B,) in [-1, 1]: 1 for a model that is linear in the ball; 0 where a gradient is.

    Example:
        >>> x, y = torch.rand(3, 2), torch.tensor([1, -1, 1])
        >>> gradient_alignment(lambda v: v[:, 0] - v[:, 1], x, y, ThreatModel("inf", 0.1)).round()
        tensor([1., 1., 1.])
    """
    if generator is None:
        generator = torch.Generator(x.device).manual_seed(0)
    y = as_labels(y, x.device)
    near = threat.sample(x, generator)
    first = _gradient(model, x, y)
    second = _gradient(model, near, y)
    return torch.nn.functional.cosine_similarity(first.flatten(1), second.flatten(1), dim=1)


def _gradient(model: Model, x: Tensor, y: Tensor) -> Tensor:
    point = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(default_loss(logits_of(model(point)), y).sum(), point)
    return gradient


@dataclass(frozen=True)
class GradientAlignment:
    """A `Probe` for `fit(probes=...)`: the mean alignment on the first training examples, two gradients of each.

    `cgro train` records it where the attack of training takes a single step.

    Args:
        threat: the ball.
        n: examples.

    Raises:
        BadRequest: no examples.

    Example:
        >>> GradientAlignment(ThreatModel("inf", 0.1), n=64).n
        64
    """

    threat: ThreatModel
    n: int = 128

    def __post_init__(self) -> None:
        count_field(self, "n")

    def __call__(self, snapshot: Snapshot) -> Mapping[str, float]:
        """Observe an epoch.

        Args:
            snapshot: of the training.

        Returns:
            `gradient_alignment/train`.
        """
        head = snapshot.data.train.head(self.n)
        device = next(snapshot.model.parameters()).device
        x, y = head.x.to(device), head.y.to(device)
        return {KEY: float(gradient_alignment(snapshot.model, x, y, self.threat).mean())}


def alignment_probes(attack: Attack | None) -> tuple[GradientAlignment, ...]:
    """What should be watched in a training with some attack.

    Args:
        attack: of the objective.

    Returns:
        The alignment for an attack of a single step along the gradient; else nothing.

    Example:
        >>> from cgro.definitions import FGSM, PGD
        >>> threat = ThreatModel("inf", 0.1)
        >>> [len(alignment_probes(attack)) for attack in (FGSM(threat), PGD(threat, n_steps=7), None)]
        [1, 0, 0]
    """
    if attack is None or not attack.uses_gradient or attack.n_gradients != 1:
        return ()
    return (GradientAlignment(attack.threat),)
