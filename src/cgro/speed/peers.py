"""Other ways to do the same: the loop that everyone writes, in float32 without care for speed, and torchattacks."""

import importlib.util
import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from cgro.definitions import PGD, Attack
from cgro.definitions.losses import default_loss

TORCHATTACKS = "torchattacks"


def common_attack(model: nn.Module, x: Tensor, y: Tensor, attack: PGD) -> Tensor:
    """PGD in l_inf as it is usually written: the last iterate, nothing checked, nothing evaluated.

    Args:
        model: (B, *S) -> (B, C) or (B,).
        x: (B, *S) in [0, 1].
        y: (B,) labels.
        attack: says radius, step and number of steps.

    Returns:
        (B, *S) in ball and box.
    """
    radius = attack.threat.radius
    x_adv = (x + torch.empty_like(x).uniform_(-radius, radius)).clamp(0, 1)
    for _ in range(attack.n_steps):
        x_adv.requires_grad_()
        loss = default_loss(model(x_adv), y).mean()
        gradient = torch.autograd.grad(loss, x_adv)[0]
        x_adv = x_adv.detach() + attack.step * gradient.sign()
        x_adv = torch.min(torch.max(x_adv, x - radius), x + radius).clamp(0, 1)
    return x_adv


def common_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[tuple[Tensor, Tensor]],
    attack: PGD,
) -> None:
    """An epoch of adversarial training as it is usually written.

    Args:
        model: trained in place.
        optimizer: of its parameters.
        batches: of inputs and labels.
        attack: see `common_attack`.
    """
    for x, y in batches:
        model.eval()
        x_adv = common_attack(model, x, y, attack)
        model.train()
        loss = default_loss(model(x_adv), y).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def is_common(attack: Attack) -> bool:
    """Whether the common loop does the same work.

    Args:
        attack: any.

    Returns:
        True for PGD in l_inf with one random start in the box [0, 1].
    """
    if not isinstance(attack, PGD) or attack.start_std is not None or attack.loss is not None:
        return False
    once = attack.n_restarts == 1 and attack.random_start
    return once and attack.threat.p == math.inf and attack.threat.box == (0.0, 1.0)


def torchattacks_peer(model: nn.Module, attack: PGD) -> Callable[[Tensor, Tensor], Tensor] | None:
    """The same attack by torchattacks.

    Args:
        model: (B, *S) -> (B, C), in evaluation mode.
        attack: one that `is_common` accepts.

    Returns:
        (x, y) -> x_adv; None where the package is not installed.
    """
    if importlib.util.find_spec(TORCHATTACKS) is None:
        return None
    package = importlib.import_module(TORCHATTACKS)
    return package.PGD(model, eps=attack.threat.radius, alpha=attack.step, steps=attack.n_steps, random_start=True)
