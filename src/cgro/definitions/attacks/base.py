"""Attacks: searches for the X' of a threat model at which a model is wrong.

What a search finds bounds the robust error from below. An attack owns no model, no mode, no device and no global random
state: it leaves parameters, buffers, modes, gradients and the global generators bit-equal, also when it raises, and it
never returns a point outside ball and box or one that is weaker than the clean input. Only an attack that is asked for its
last iterate (`PGD(keep="last")`) promises no more than ball and box.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from cgro._check import bad
from cgro.definitions.attacks.passes import first_pass, judge, outputs_of
from cgro.definitions.attacks.state import preserve_state
from cgro.definitions.draws import Draws, draws_for
from cgro.definitions.inputs import as_inputs, as_labels, describe, ordinary_tensors
from cgro.definitions.losses import Model, check_labels, margin
from cgro.definitions.threat import ThreatModel, require_radius_fits


@dataclass(frozen=True)
class Attack(ABC):
    """A frozen value that maps (model, x, y) to x_adv. `repr` prints every parameter.

    Subclasses say how to search; what every attack promises is kept here, in one place. An attack may be called anywhere
    in a training loop, also between a forward pass and its backward pass: nothing of the network is written, see
    `preserve_state`. Threads that attack the same module take turns; one network behind several wrappers or functions
    must not be attacked from two threads at once.

    Args:
        threat: where x_adv may lie.
    """

    threat: ThreatModel

    @property
    def exact(self) -> bool:
        """Whether the attack provably minimises the margin over the threat model."""
        return False

    def at(self, radius: float) -> Self:
        """The same attack at another radius."""
        return replace(self, threat=self.threat.at(radius))

    @property
    def name(self) -> str:
        """What per-example results call it, and what its random streams are named after."""
        return type(self).__name__.lower()

    @property
    def parts(self) -> "tuple[Attack, ...]":
        """The attacks it is made of, in the order in which they are tried; itself unless it is an ensemble."""
        return (self,)

    def __call__(
        self, model: Model, x: Tensor, y: Tensor, *, generator: torch.Generator | Draws | None = None
    ) -> Tensor:
        """Search an adversarial example for each input.

        Args:
            model: (B, *S) -> (B, C) or (B,).
            x: (B, *S) clean inputs in the box.
            y: (B,) labels.
            generator: source of all randomness, or one stream an example; None means a fresh one seeded 0.

        Returns:
            (B, *S): of all points that were visited, x included, one of lowest margin.

        Raises:
            BadRequest: inputs out of range, labels that do not fit, outputs or gradients that are not finite, a network
                whose dtype or device is not that of the inputs, a network that is not differentiable in its input.
        """
        return self.find(model, x, y, generator=generator).x

    @ordinary_tensors
    def find(
        self, model: Model, x: Tensor, y: Tensor, *, generator: torch.Generator | Draws | None = None,
        until_wrong: bool = False,
    ) -> "Best":  # fmt: skip
        """As calling it, with the margins and steps beside the points.

        Args:
            until_wrong: evaluation, not training: an example is left alone at the first point at which it is wrong,
                so margins of wrong examples are not the lowest ones.
        """
        x = as_inputs(x).clone()  # a search's own, whatever a network does to what it is given
        y = as_labels(y, x.device)
        self.threat.check_input(x)
        require_radius_fits(self.threat, x.shape[1:])
        draws = draws_for(generator, len(x), x.device).rows(torch.arange(len(x), device=x.device))
        if not len(x):
            return Best(x, torch.zeros(0, dtype=x.dtype, device=x.device), until_wrong=until_wrong)
        sure = until_wrong or self.threat.radius == 0
        with preserve_state(model, x.device):
            (clean, doubt), model = first_pass(
                model, self.laid_out(model, x), lambda m, v: self.first_look(m, v, sure=sure)
            )
            check_labels(clean, y)
            if not bool(torch.isfinite(clean).all()):
                raise bad("model output", expected="finite values", got="NaN or inf", remedy="check the weights")
            margins = margin(clean, y)
            best = Best(x, margins if doubt is None else torch.full_like(margins, math.inf), until_wrong=until_wrong)
            if self.threat.radius > 0:
                self.search(model, x, y, draws, best)
            if doubt is not None:
                self.second_look(model, x, y, margins - doubt, best)
        return best

    def laid_out(self, model: Model, x: Tensor) -> Tensor:
        """The clean inputs in the memory layout in which the network is called."""
        return x

    def first_look(self, model: Model, x: Tensor, *, sure: bool) -> tuple[Tensor, Tensor | None]:
        """Outputs at the clean inputs, and how far their margins may be off; None for not at all, as if `sure`."""
        return outputs_of(model, x), None

    @staticmethod
    def second_look(model: Model, x: Tensor, y: Tensor, at_least: Tensor, best: "Best") -> None:
        """Judge the clean inputs that may be no stronger than what the search found."""
        rows = torch.nonzero(at_least <= best.margins).squeeze(1)
        if len(rows):
            best.offer(x[rows], margin(judge(model, x[rows]), y[rows]), rows)

    @abstractmethod
    def search(self, model: Model, x: Tensor, y: Tensor, draws: Draws, best: "Best") -> None:
        """Look for points of low margin and offer them to `best`, judged. Rows of x, y, draws and best agree."""


def require_attack(attack: object) -> None:
    """Refuse what is no attack: a name, or a class in place of its value.

    Args:
        attack: whatever was given for one.

    Raises:
        BadRequest: says how to make one.
    """
    if isinstance(attack, Attack):
        return
    remedy = 'use attack_by_name("pgd10", threat)' if isinstance(attack, str) else "make one from a ThreatModel"
    raise bad("attack", expected="an attack such as PGD(threat, n_steps=10)", got=describe(attack), remedy=remedy)


class Best:
    """The point of lowest margin seen so far, per example, and when the example was first wrong.

    Args:
        x: (B, *S). margins: (B,). until_wrong: take nothing more for an example that is wrong.
    """

    def __init__(self, x: Tensor, margins: Tensor, *, until_wrong: bool = False) -> None:
        self.x = x.detach().clone()
        self.margins = margins.detach().clone()
        self.until_wrong = until_wrong
        self.step = torch.where(self.margins > 0, -1, 0)

    def offer(self, x: Tensor, margins: Tensor, rows: Tensor | None = None, step: int | Tensor = 0) -> None:
        """Take over the points whose margin is lower.

        Args:
            rows: which examples they belong to; None means all.
            step: number of the step that found them, or one per example.
        """
        margins = margins.to(self.margins)  # a network may answer in another precision than that of its input
        known = self.margins if rows is None else self.margins[rows]
        better = margins < known
        if self.until_wrong:
            better &= known > 0
        if rows is None:
            self.step = torch.where((self.step < 0) & better & ~(margins > 0), step, self.step)
            self.x = torch.where(better.view(-1, *[1] * (x.ndim - 1)), x, self.x)
            self.margins = torch.where(better, margins, self.margins)
            return
        taken = torch.nonzero(better).squeeze(1)
        if not len(taken):
            return
        mine = rows[taken]
        newly = (self.step[mine] < 0) & ~(margins[taken] > 0)
        self.step[mine[newly]] = step[taken[newly]] if isinstance(step, Tensor) else step
        self.x[mine] = x[taken]
        self.margins[mine] = margins[taken]

    def replace(self, x: Tensor, margins: Tensor, step: int) -> None:
        """Take over all points, whatever their margins: for an attack that is asked for its last iterate.

        Args:
            x: (B, *S), in ball and box.
            margins: (B,).
            step: number of the step that found them.
        """
        self.x = x
        self.margins = margins.to(self.margins)
        self.step = torch.where(self.margins > 0, -1, step)

    def standing(self) -> Tensor:
        """The rows that are still classified correctly."""
        return torch.nonzero(self.margins > 0).squeeze(1)

    def active(self, *, first: bool) -> Tensor:
        """The rows that a restart works on: those that stand, or all in the first restart of a training attack."""
        everything = first and not self.until_wrong
        return torch.arange(len(self.x), device=self.x.device) if everything else self.standing()


@dataclass(frozen=True)
class NoAttack(Attack):
    """Returns the input: standard training and clean error in the same code path.

    >>> x = torch.rand(2, 3)
    >>> bool((NoAttack()(lambda v: v, x, torch.tensor([0, 1])) == x).all())
    True
    """

    threat: ThreatModel = field(default_factory=lambda: ThreatModel(math.inf, 0.0, None))

    @property
    def name(self) -> str:
        """What per-example results call it."""
        return "none"

    def search(self, model: Model, x: Tensor, y: Tensor, draws: Draws, best: Best) -> None:
        """Nothing to do: the clean input is the best point."""
