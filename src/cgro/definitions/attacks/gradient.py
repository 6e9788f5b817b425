"""What attacks along the gradient share: the gradient, its precision, and how iterates are judged. FGSM."""

import math
from dataclasses import KW_ONLY, dataclass
from typing import Literal

import torch
from torch import Tensor

from cgro._check import bad, one_of
from cgro.definitions.attacks.base import Attack, Best
from cgro.definitions.attacks.passes import judge, outputs_of
from cgro.definitions.draws import Draws
from cgro.definitions.losses import LOSSES, Loss, Model, margin
from cgro.definitions.threat import ThreatModel

Precision = Literal["float32", "bfloat16", "auto"]


def bfloat16_pays(device: torch.device) -> bool:
    """Whether this device multiplies bfloat16 faster than float32 (native instructions, not emulation)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    native = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return device.type == "cpu" and any(test() for test in native if test is not None)


MIN_PARAMETERS = 2**18
"""Smaller networks without convolutions lose more by casting than they gain. Measured on a CPU with avx512_bf16: an
MLP 784-64-32 takes 1.5 times as long in bfloat16, one of width 1024 0.6 times, LeNet x1 to x8 0.9 to 0.6 times."""


def low_precision(precision: Precision, model: Model, x: Tensor) -> bool:
    """Whether a search at x runs in bfloat16; `auto` asks the device and the network's size, nothing that varies."""
    if x.dtype != torch.float32 or precision == "float32":
        return False
    if precision == "bfloat16":
        return True
    return bfloat16_pays(x.device) and _is_large(model)


def _is_large(model: Model) -> bool:
    if not isinstance(model, torch.nn.Module):
        return True
    parameters = list(model.parameters())
    return any(p.ndim == 4 for p in parameters) or sum(p.numel() for p in parameters) >= MIN_PARAMETERS


INNER_LAYERS = 4.0
"""Factor on `doubt` for what the layers before the last add. A choice; what was measured: docs/decisions.md."""


def doubt(outputs: Tensor) -> Tensor:
    """How far a margin of bfloat16 outputs may lie from that of float32: two roundings, 2^-8 each, of the largest. (B,)

    What the layers before add is not in it; it decides only which points float32 looks at.
    """
    return 2.0**-7 * outputs.abs().flatten(1).amax(1) if outputs.ndim == 2 else 2.0**-7 * outputs.abs()


def loss_gradient(model: Model, x: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """The outputs at x and the gradient of each example's loss by its input.

    Raises:
        BadRequest: the output does not depend differentiably on the input.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        outputs = model(x)
        value = loss(outputs.to(x.dtype), y).sum()
        # Without a gradient the loss may still hang on weights, where the network detaches its input.
        (gradient,) = torch.autograd.grad(value, x, allow_unused=True) if value.requires_grad else (None,)
    if gradient is None:
        raise bad(
            "model",
            expected="an output that is differentiable in the input",
            got="no gradient",
            remedy="remove no_grad, rounding and detach from the forward pass, or use a score-based attack",
        )
    return outputs.detach().to(x.dtype), gradient


def image_layout(x: Tensor, model: Model) -> Tensor:
    """Channels last where the model's weights are: faster there, and unsafe elsewhere (`view` in a forward pass)."""
    if x.ndim != 4 or not isinstance(model, torch.nn.Module):
        return x
    weights = (p for p in model.parameters() if p.ndim == 4 and not p.is_contiguous())
    last = any(p.is_contiguous(memory_format=torch.channels_last) for p in weights)
    return x.contiguous(memory_format=torch.channels_last) if last else x


def require_finite(finite: Tensor) -> None:
    """Checked once a search, not once a step: reading a flag back makes a GPU wait."""
    if not bool(finite):
        raise bad(
            "gradient", expected="finite values", got="NaN or inf", remedy="the loss overflows or is singular here"
        )


@dataclass(frozen=True)
class GradientAttack(Attack):
    """What attacks along the gradient share.

    Args:
        loss: (outputs, y) -> (B,), increased by the search, or a name: `dlr`, `margin` or `default`. None means
            `default`: cross-entropy for (B, C) outputs and logistic for (B,) scores.
        precision: of the gradients alone. `auto` takes bfloat16 where the device multiplies it natively. Points
            are always judged in the precision of the input.
    """

    _: KW_ONLY
    loss: Loss | str | None = None
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        one_of(self.precision, "precision", ("float32", "bfloat16", "auto"))
        if isinstance(self.loss, str):
            one_of(self.loss, "loss", LOSSES)

    def in_low_precision(self, model: Model, x: Tensor) -> bool:
        """Whether gradients at x are taken in bfloat16."""
        return low_precision(self.precision, model, x)

    def crafting(self, model: Model, x: Tensor) -> torch.autocast:
        """The context in which gradients are taken. One context a search: the weights are cast once."""
        return torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=self.in_low_precision(model, x))

    def laid_out(self, model: Model, x: Tensor) -> Tensor:
        """Images channels last where the weights are."""
        return image_layout(x, model)

    def first_look(self, model: Model, x: Tensor, *, sure: bool) -> tuple[Tensor, Tensor | None]:
        """In bfloat16 where the gradients are: the search makes most clean inputs matter no more."""
        if sure or not self.in_low_precision(model, x):
            return outputs_of(model, x), None
        outputs = outputs_of(model, x, bfloat16=True).to(x.dtype)
        return outputs, INNER_LAYERS * doubt(outputs)

    @property
    def objective(self) -> Loss:
        """The loss that the search increases."""
        return LOSSES[self.loss] if isinstance(self.loss, str) else self.loss or LOSSES["default"]

    def admit(
        self, model: Model, x: Tensor, y: Tensor, outputs: Tensor, best: Best, rows: Tensor | None, step: int
    ) -> None:
        """Offer an iterate with the outputs of its forward pass.

        In bfloat16 these only nominate: an evaluation judges the examples that may be wrong at once, in float32,
        so that one that is wrong can be left alone.
        """
        margins = margin(outputs, y)
        if not self.in_low_precision(model, x):
            best.offer(x, margins, rows, step)
        elif best.until_wrong:
            known = best.margins if rows is None else best.margins[rows]
            suspects = torch.nonzero(~(margins > doubt(outputs)) & (known > 0)).squeeze(1)
            if len(suspects):
                mine = suspects if rows is None else rows[suspects]
                best.offer(x[suspects], margin(judge(model, x[suspects]), y[suspects]), mine, step)

    def farthest(self, threat: ThreatModel, x: Tensor, gradient: Tensor) -> Tensor | None:
        """X + argmax <gradient, v> for p = 1 and 2, the step of infinite length, which makes linear models exact."""
        return None if threat.p == math.inf else threat.project(x + threat.steepest(gradient, x), x)


@dataclass(frozen=True)
class FGSM(GradientAttack):
    """The worst point of the linearised loss: X + argmax_v <grad L, v> over ball and box (Goodfellow et al., 2015).

    For p = inf this is X + radius * sign(grad L), cut at the box. Exact for linear models with (B,) scores.

    Example:
        >>> w = torch.tensor([[1.0, -2.0]])
        >>> x = torch.tensor([[0.5, 0.5]])
        >>> FGSM(ThreatModel("inf", 0.1))(lambda v: (v * w).sum(1), x, torch.tensor([1]))
        tensor([[0.4000, 0.6000]])
    """

    def search(self, model: Model, x: Tensor, y: Tensor, draws: Draws, best: Best) -> None:
        """One step."""
        with self.crafting(model, x):
            _, gradient = loss_gradient(model, x, y, self.objective)
        require_finite(torch.isfinite(gradient).all())
        x_adv = self.threat.project(x + self.threat.steepest(gradient, x), x)
        best.offer(x_adv, margin(judge(model, x_adv), y))
