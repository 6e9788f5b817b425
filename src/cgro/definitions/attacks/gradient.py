"""What attacks along the gradient share: the loss, the precision, the step of infinite length. FGSM."""

import math
from collections.abc import Collection
from dataclasses import KW_ONLY, dataclass, fields
from typing import Literal

from torch import Tensor

from cgro._check import one_of
from cgro.definitions.attacks.base import Attack
from cgro.definitions.attacks.evaluator import Evaluator
from cgro.definitions.attacks.passes import image_layout as image_layout
from cgro.definitions.attacks.precision import PRECISIONS, Precision
from cgro.definitions.draws import Draws
from cgro.definitions.losses import LOSSES, Loss


@dataclass(frozen=True)
class GradientAttack(Attack):
    """What attacks along the gradient share.

    Args:
        threat: where x_adv may lie.
        loss: (outputs, y) -> (B,), increased by the search, or a name: `dlr`, `margin` or `default`. None means
            `default`: cross-entropy for (B, C) outputs and logistic for (B,) scores.
        precision: of the gradients alone. `auto` takes bfloat16 where the device has matrix instructions for it, else
            float32, and a copy of the network with BatchNorm folded where that can be; `float32` takes the network
            itself. Points are always evaluated by the network itself, in the precision of the input.
    """

    _: KW_ONLY
    loss: Loss | str | None = None
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self.precision, "precision", PRECISIONS)
        if isinstance(self.loss, str):
            one_of(self.loss, "loss", LOSSES)

    @property
    def search_precision(self) -> Precision:
        """The precision of the gradients."""
        return self.precision

    @property
    def objective(self) -> Loss:
        """The loss that the search increases."""
        if isinstance(self.loss, str):
            return LOSSES[self.loss]
        return self.loss or LOSSES["default"]

    def farthest(self, x: Tensor, gradient: Tensor) -> Tensor | None:
        """The step of infinite length, X + argmax <gradient, v>, which solves linear models exactly.

        For p = inf a step of finite length arrives there already.

        Args:
            x: (B, *S) clean inputs.
            gradient: (B, *S).

        Returns:
            (B, *S) for p = 1 and 2, None for p = inf.
        """
        if self.threat.p == math.inf:
            return None
        return self.threat.project(x + self.threat.steepest(gradient, x), x)


@dataclass(frozen=True)
class FGSM(GradientAttack):
    """The worst point of the linearized loss (Goodfellow, Shlens and Szegedy, ICLR 2015).

    X' = X + argmax_v <grad L(f(X), y), v> over ball and box; for p = inf X + radius * sign(grad L), cut at the box.
    Exact for linear models with (B,) scores.

    Args:
        threat: where x_adv may lie.
        loss: increased by the search; see `GradientAttack`.
        precision: of the gradients; see `GradientAttack`.
        keep: `best` returns the point or X, whichever has the lower margin; `last` returns the point, for losses other
            than the margin's, such as against soft labels: it promises ball and box only.

    Raises:
        BadRequest: another word.

    Example:
        >>> import torch
        >>> from cgro.definitions import ThreatModel
        >>> w = torch.tensor([[1.0, -2.0]])
        >>> x = torch.tensor([[0.5, 0.5]])
        >>> FGSM(ThreatModel("inf", 0.1))(lambda v: (v * w).sum(1), x, torch.tensor([1]))
        tensor([[0.4000, 0.6000]])
    """

    keep: Literal["best", "last"] = "best"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self.keep, "keep", ("best", "last"))

    def __repr__(self) -> str:
        """Every parameter; `keep` where it is not the default: results store this text."""
        return text_of(self, ("keep",))

    @property
    def n_gradients(self) -> int:
        """One."""
        return 1

    @property
    def keeps_clean(self) -> bool:
        """Not where the last point is asked for."""
        return self.keep == "best"

    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        """Take one step.

        Args:
            evaluator: the network and the batch.
            draws: not used.
        """
        x = evaluator.x
        _, gradient = evaluator.gradient(x, self.objective)
        evaluator.watch.see_gradient(gradient)
        point = self.threat.project(x + self.threat.steepest(gradient, x), x)
        if self.keep == "last":
            evaluator.best.replace(point, evaluator.margins(point), 0, evaluator.rows, among=evaluator.active)
            return
        evaluator.update(point)


def text_of(attack: Attack, quiet: Collection[str]) -> str:
    """Write an attack with its parameters.

    Args:
        attack: any.
        quiet: parameters that are left out where they have their default.

    Returns:
        What `repr` gives of a dataclass, without those.
    """
    shown: list[str] = []
    for parameter in fields(attack):
        value = getattr(attack, parameter.name)
        if parameter.name in quiet and value == parameter.default:
            continue
        shown.append(f"{parameter.name}={value!r}")
    return f"{type(attack).__qualname__}({', '.join(shown)})"
