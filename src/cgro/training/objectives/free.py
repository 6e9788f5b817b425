"""Free adversarial training: every batch is replayed, and one backward pass moves weights and perturbation.

Shafahi, Najibi, Ghiasi, Xu, Dickerson, Studer, Davis, Taylor and Goldstein, "Adversarial training for free!" (NeurIPS
2019), Algorithm 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from cgro._check import bad, count_field, number_field
from cgro.data import Split
from cgro.definitions import Attack
from cgro.definitions.attacks import require_attack
from cgro.training.objectives.cost import Cost
from cgro.training.part import WHOLE, Part
from cgro.training.step import Step


@dataclass(frozen=True)
class Free:
    """L(f(clip(X + delta)), y), where delta is what the gradients of the steps before have made of it.

    After each step delta <- clip(delta + step radius sign(grad_delta L), -radius, radius), with the gradient of the
    same backward pass that moved the weights. Each batch is taken `replays` times in a row; delta is kept from batch to
    batch, by the place in the batch and not by the example, and begins at 0: all as in the authors' code. So N examples
    are passed once in an epoch of the loop, which are N / replays different ones; `replays` epochs pass all. Where the
    batch size does not divide N, the last batch is filled up from the first.

    Args:
        attack: its threat alone is used, of norm inf.
        replays: of a batch; 8 in the authors' experiments on CIFAR-10.
        step: of the ascent, in radii; 1 in their code.

    Raises:
        BadRequest: no attack, another norm, no replay, a negative step.

    Example:
        >>> from cgro.definitions import PGD, ThreatModel
        >>> Free(PGD(ThreatModel("inf", "8/255"), n_steps=10)).cost
        Cost(n_forward=0, n_gradients=0, n_updates=1)
    """

    capturable: ClassVar[bool] = True

    attack: Attack
    replays: int = 8
    step: float = 1.0
    memory: "KeptPerturbation" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_attack(self.attack)
        if self.attack.threat.p != float("inf") or self.attack.threat.radius == 0:
            expected = "an attack in the norm inf, such as pgd10"
            raise bad("free", expected=expected, got=f"{self.attack.name}, norm {self.attack.threat.p}")
        count_field(self, "replays", "free: replays")
        number_field(self, "step", "free: step", low=0.0)
        object.__setattr__(self, "memory", KeptPerturbation(self.step))

    @property
    def cost(self) -> Cost:
        """One update: the gradient in the input comes with it."""
        return Cost(n_updates=1)

    def __call__(self, step: Step) -> Tensor:
        """The loss of each example.

        Args:
            step: the batch.

        Returns:
            (B,).
        """
        threat = self.attack.threat
        radius = threat.radius * step.radius_share
        x = self.memory.perturbed(step.x, radius, threat.box, first=step.first, part=step.part)
        return step.loss(step.model(x))


class KeptPerturbation:
    """The perturbation of each place of a batch, kept from step to step.

    Args:
        step: of the ascent, in radii.

    Example:
        >>> kept = KeptPerturbation(step=1.0)
        >>> kept.prepare(1, Split(torch.full((1, 1), 0.5), torch.tensor([1]), torch.tensor([0])))
        >>> for _ in range(2):
        ...     kept.perturbed(torch.full((1, 1), 0.5), 0.25, (0.0, 1.0)).square().sum().backward()
        ...     kept.after_step()
        >>> kept.state()["delta"]
        tensor([[0.2500]])
    """

    name = "free"
    capturable = True

    def __init__(self, step: float) -> None:
        self._step = step
        self._delta = torch.zeros(0)
        self._leaves: dict[int, Tensor] = {}
        self._radius = 0.0
        self._part = WHOLE

    def prepare(self, batch_size: int, train: Split) -> None:
        """Make room.

        Args:
            batch_size: of the training.
            train: its examples, on their device.
        """
        n = min(batch_size, len(train))
        self._delta = torch.zeros(n, *train.shape[1:], device=train.device)

    def begin(self) -> None:
        """Start from 0."""
        self._delta.zero_()

    def perturbed(
        self, x: Tensor, radius: float, box: tuple[float, float] | None, *, first: int = 0, part: Part = WHOLE
    ) -> Tensor:
        """The inputs of a step; their gradient is kept by the backward pass.

        Args:
            x: (B, *S) clean inputs.
            radius: of this step.
            box: of the inputs.
            first: place of the first of them in the batch.
            part: of the batch that this process has.

        Returns:
            (B, *S).
        """
        self._radius = radius
        self._part = part
        leaf = self._delta[first : first + len(x)].to(x.dtype).clamp(-radius, radius).requires_grad_()
        self._leaves[first] = leaf
        moved = x + leaf
        if box is None:
            return moved
        return moved.clamp(*box)

    @torch.no_grad()
    def after_step(self) -> None:
        """Ascend, by the gradient of the step's last backward pass; the places of other processes come from them."""
        n = 0
        whole = torch.zeros_like(self._delta)
        for first, leaf in self._leaves.items():
            gradient = leaf.grad
            assert gradient is not None, "a backward pass comes first"
            moved = leaf + self._step * self._radius * gradient.sign()
            n = max(n, first + len(leaf))
            whole[first : first + len(leaf)] = moved.clamp(-self._radius, self._radius).to(whole.dtype)
        self._leaves.clear()
        if self._part.copies == 1:
            self._part.ranks.add(whole)
        n = self._part.n or n
        self._delta[:n] = whole[:n]

    def state(self) -> Mapping[str, Tensor]:
        """What a resumed training needs.

        Returns:
            The perturbation.
        """
        return {"delta": self._delta}

    def load(self, delta: Tensor) -> None:
        """Take it back.

        Args:
            delta: as `state` returned it.
        """
        self._delta.copy_(delta)
