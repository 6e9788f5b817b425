"""What a step of adversarial training cannot do without, written plainly: the floor of the table's rows."""

import torch
from torch import Tensor, nn

from cgro.definitions.attacks import loss_gradient
from cgro.definitions.losses import default_loss

PADDING = 4
"""Pixels around an image before it is cropped, as usual on CIFAR-10."""


def bare_passes(model: nn.Module, x: Tensor, y: Tensor, n: int) -> Tensor:
    """Forward passes with gradients to the input, in bfloat16.

    Args:
        model: (B, *S) -> (B, C).
        x: (B, *S).
        y: (B,) labels.
        n: how many.

    Returns:
        (B, *S) the last gradient.
    """
    gradient = x
    # Without the cache of casts: it would outlive a captured graph.
    with torch.autocast(x.device.type, dtype=torch.bfloat16, cache_enabled=False):
        for _ in range(n):
            _, gradient = loss_gradient(model, x, y, default_loss)
    return gradient


class BareStep:
    """Crop and flip, random start, ten passes, update by SGD with momentum: a function of tensors on the device.

    Args:
        model: trained in place, in training mode; its parameters stay where they are.
        x: (B, C, H, W) clean images.
        y: (B,) labels.
        radius: of l_inf.
    """

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor, radius: float) -> None:
        self.model = model
        self.x = x
        self.y = y
        self.radius = radius
        self.lr = torch.zeros((), device=x.device)  # of any value; at 0 the weights stay
        self.parameters = [p.detach() for p in model.parameters()]
        self.momenta = [torch.zeros_like(p) for p in self.parameters]

    def __call__(self) -> Tensor:
        """Take the step.

        Returns:
            The loss, 0-dimensional.
        """
        x = cropped_and_flipped(self.x)
        radius = self.radius
        x_adv = (x + torch.empty_like(x).uniform_(-radius, radius)).clamp(0, 1)
        for _ in range(10):
            gradient = self._gradient(x_adv)
            x_adv = x_adv + radius / 4 * gradient.sign()
            x_adv = torch.min(torch.max(x_adv, x - radius), x + radius).clamp(0, 1)
        return self._update(x_adv)

    def _gradient(self, x_adv: Tensor) -> Tensor:
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        return bare_passes(self.model, x_adv, self.y, 1)

    def _update(self, x_adv: Tensor) -> Tensor:
        leaves = list(self.model.parameters())
        for parameter in leaves:
            parameter.requires_grad_(True)
        with torch.autocast(x_adv.device.type, dtype=torch.bfloat16, cache_enabled=False):
            loss = default_loss(self.model(x_adv).float(), self.y).mean()
        gradients = torch.autograd.grad(loss, leaves)
        # One launch for all weights, where a loop is hundreds.
        torch._foreach_mul_(self.momenta, 0.9)  # pyright: ignore[reportPrivateImportUsage]
        torch._foreach_add_(self.momenta, gradients)  # pyright: ignore[reportPrivateImportUsage]
        moves = torch._foreach_mul(self.momenta, self.lr)  # pyright: ignore[reportPrivateImportUsage]
        torch._foreach_sub_(self.parameters, moves)  # pyright: ignore[reportPrivateImportUsage]
        return loss.detach()


def cropped_and_flipped(x: Tensor) -> Tensor:
    """A random crop of the padded image and a random flip, per example, on the device.

    Args:
        x: (B, C, H, W).

    Returns:
        (B, C, H, W).
    """
    n, _, height, width = x.shape
    flips = torch.rand(n, 1, 1, 1, device=x.device) < 0.5
    x = torch.where(flips, x.flip(3), x)
    padded = nn.functional.pad(x, [PADDING] * 4)
    shifts = torch.randint(0, 2 * PADDING + 1, (2, n), device=x.device)
    rows = shifts[0, :, None] + torch.arange(height, device=x.device)
    columns = shifts[1, :, None] + torch.arange(width, device=x.device)
    examples = torch.arange(n, device=x.device)[:, None, None]
    found = padded.permute(0, 2, 3, 1)[examples, rows[:, :, None], columns[:, None, :]]
    return found.permute(0, 3, 1, 2)
