"""Attacks: searches for the X' of a threat model at which a model is wrong.

What a search finds bounds the robust error from below. An attack owns no model, no mode, no device and no global random
state: it leaves parameters, buffers, modes, gradients and the global generators bit-equal, also when it raises, and it
never returns a point outside ball and box or one that is weaker than the clean input.
"""

import contextlib
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Literal, Self

import torch
from torch import Tensor

from cgro._check import bad, count, number, one_of
from cgro.definitions.losses import Loss, Model, check_labels, default_loss, margin
from cgro.definitions.threat import ThreatModel, require_radius_fits

Precision = Literal["float32", "bfloat16", "auto"]


@contextlib.contextmanager
def untouched(model: Model, device: torch.device) -> Iterator[None]:
    """Restore a module's buffers, modes, gradients and frozen flags, and the global random state, whatever happens.

    Parameters themselves are not copied: attacks differentiate by the input alone and change none.
    """
    modules = list(model.modules()) if isinstance(model, torch.nn.Module) else []
    modes = [m.training for m in modules]
    buffers = [(b, b.detach().clone()) for m in modules for b in m.buffers(recurse=False)]
    parameters = [p for m in modules for p in m.parameters(recurse=False)]
    flags = [(p, p.requires_grad, p.grad) for p in parameters]
    buffers += [(p.grad, p.grad.clone()) for p in parameters if p.grad is not None]
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        try:
            yield
        finally:
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)
            for parameter, required, gradient in flags:
                parameter.requires_grad_(required).grad = gradient


def judge(model: Model, x: Tensor) -> Tensor:
    """The outputs that count: no gradients, no autocast, in the precision of x and the weights."""
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        return model(x)


def bfloat16_pays(device: torch.device) -> bool:
    """Whether this device multiplies bfloat16 faster than float32 (native instructions, not emulation)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    native = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return device.type == "cpu" and any(test() for test in native if test is not None)


def loss_gradient(model: Model, x: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """The outputs at x and the gradient of each example's loss by its input.

    Raises:
        BadRequest: the output does not depend differentiably on the input.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        outputs = model(x)
        value = loss(outputs.to(x.dtype), y).sum()
        if not value.requires_grad:
            raise bad(
                "model",
                expected="an output that is differentiable in the input",
                got="no gradient",
                remedy="remove no_grad, rounding and detach from the forward pass, or use a score-based attack",
            )
        (gradient,) = torch.autograd.grad(value, x)
    return outputs.detach().to(x.dtype), gradient


@dataclass(frozen=True)
class Attack(ABC):
    """A frozen value that maps (model, x, y) to x_adv. `repr` prints every parameter.

    Subclasses say how to search; what every attack promises is kept here, in one place.

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

    def __call__(self, model: Model, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Search an adversarial example for each input.

        Args:
            model: (B, *S) -> (B, C) or (B,).
            x: (B, *S) clean inputs in the box.
            y: (B,) labels.
            generator: source of all randomness; None means a fresh one seeded 0.

        Returns:
            (B, *S): of all points that were visited, x included, one of lowest margin.

        Raises:
            BadRequest: inputs out of range, labels that do not fit, outputs or gradients that are not finite.
        """
        self.threat.check_input(x)
        require_radius_fits(self.threat, x.shape[1:])
        generator = generator if generator is not None else torch.Generator(x.device).manual_seed(0)
        if not len(x):
            return x.clone()
        with untouched(model, x.device):
            clean = judge(model, x)
            check_labels(clean, y)
            if not bool(torch.isfinite(clean).all()):
                raise bad("model output", expected="finite values", got="NaN or inf", remedy="check the weights")
            best = Best(x, margin(clean, y))
            if self.threat.radius > 0:
                self.search(model, x, y, generator, best)
        return best.x

    @abstractmethod
    def search(self, model: Model, x: Tensor, y: Tensor, generator: torch.Generator, best: "Best") -> None:
        """Look for points of low margin and offer them to `best`, judged."""


class Best:
    """The point of lowest margin seen so far, per example."""

    def __init__(self, x: Tensor, margins: Tensor) -> None:
        self.x = x.detach().clone()
        self.margins = margins.detach().clone()

    def offer(self, x: Tensor, margins: Tensor, rows: Tensor | None = None) -> None:
        """Take over the points whose margin is lower; `rows` says which examples they belong to."""
        rows = torch.arange(len(self.x), device=x.device) if rows is None else rows
        better = margins < self.margins[rows]
        taken = rows[better]
        self.x[taken] = x[better]
        self.margins[taken] = margins[better]

    def standing(self) -> Tensor:
        """The rows that are still classified correctly."""
        return torch.nonzero(self.margins > 0).squeeze(1)


@dataclass(frozen=True)
class NoAttack(Attack):
    """Returns the input: standard training and clean error in the same code path.

    >>> x = torch.rand(2, 3)
    >>> bool((NoAttack()(lambda v: v, x, torch.tensor([0, 1])) == x).all())
    True
    """

    threat: ThreatModel = field(default_factory=lambda: ThreatModel(math.inf, 0.0, None))

    def search(self, model: Model, x: Tensor, y: Tensor, generator: torch.Generator, best: "Best") -> None:
        """Nothing to do: the clean input is the best point."""


@dataclass(frozen=True)
class GradientAttack(Attack):
    """What attacks along the gradient share.

    Args:
        loss: (outputs, y) -> (B,), increased by the search; None means cross-entropy for (B, C) outputs and
            logistic for (B,) scores.
        precision: of the gradients alone. `auto` takes bfloat16 where the device multiplies it natively. Points
            are always judged in the precision of the input.
    """

    _: KW_ONLY
    loss: Loss | None = None
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        one_of(self.precision, "precision", ("float32", "bfloat16", "auto"))

    def in_low_precision(self, x: Tensor) -> bool:
        """Whether gradients at x are taken in bfloat16."""
        if x.dtype != torch.float32:
            return False
        return self.precision == "bfloat16" or (self.precision == "auto" and bfloat16_pays(x.device))

    def crafting(self, x: Tensor) -> torch.autocast:
        """The context in which gradients are taken. One context a search: the weights are cast once."""
        return torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=self.in_low_precision(x))


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

    def search(self, model: Model, x: Tensor, y: Tensor, generator: torch.Generator, best: Best) -> None:
        """One step."""
        with self.crafting(x):
            _, gradient = loss_gradient(model, x, y, self.loss or default_loss)
        _require_finite(torch.isfinite(gradient).all())
        x_adv = self.threat.project(x + self.threat.steepest(gradient, x), x)
        best.offer(x_adv, margin(judge(model, x_adv), y))


@dataclass(frozen=True)
class PGD(GradientAttack):
    """Projected gradient ascent on the loss (Madry et al., 2018), best iterate kept.

    X_(k+1) = Proj_(ball and box) ( X_k + step_size * direction(grad L(f(X_k), y)) ), from a uniform random point of
    the ball or from X. For p = 1 and 2, where steps of fixed length only creep towards the boundary's optimum, the last
    step is also tried at infinite length, X + argmax <grad, v>: so linear models are solved exactly. Restarts after the
    first go on with the examples that still stand. The result is a lower bound on the robust error: failing to find
    a point proves nothing.

    Args:
        threat: where x_adv may lie.
        n_steps: gradient steps a restart.
        step_size: in units of the input; None means 2.5 * radius / n_steps.
        n_restarts: number of starts.
        random_start: start at a random point of the ball; otherwise at X.

    Raises:
        BadRequest: no steps, no restarts, a negative step, several restarts from the same point.

    Example:
        >>> w = torch.tensor([[1.0, -2.0]])
        >>> attack = PGD(ThreatModel(1, 0.2), n_steps=20)
        >>> attack(lambda v: (v * w).sum(1), torch.tensor([[0.5, 0.5]]), torch.tensor([1]))
        tensor([[0.5000, 0.7000]])
    """

    _: KW_ONLY
    n_steps: int
    step_size: float | None = None
    n_restarts: int = 1
    random_start: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        count(self.n_steps, "n_steps")
        count(self.n_restarts, "n_restarts")
        if self.step_size is not None:
            number(self.step_size, "step_size", low=0.0)
        if self.n_restarts > 1 and not self.random_start:
            raise bad("n_restarts", expected="1 without a random start", got=self.n_restarts, remedy="set random_start")

    @property
    def step(self) -> float:
        """The step size in force, in units of the input."""
        return 2.5 * self.threat.radius / self.n_steps if self.step_size is None else float(self.step_size)

    def search(self, model: Model, x: Tensor, y: Tensor, generator: torch.Generator, best: Best) -> None:
        """All restarts. Starts are drawn for every row, so that what one example gets does not hang on another."""
        for restart in range(self.n_restarts):
            start = self.threat.sample(x, generator) if self.random_start else x
            if restart == 0:
                self._ascend(model, start, x, y, best, None)
                continue
            rows = best.standing()
            if len(rows):
                self._ascend(model, start[rows], x[rows], y[rows], best, rows)

    def _ascend(self, model: Model, start: Tensor, x: Tensor, y: Tensor, best: Best, rows: Tensor | None) -> None:
        current, loss = _image_layout(start), self.loss or default_loss
        crafted = Best(current, torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device))
        gradient, finite = torch.zeros_like(current), torch.ones((), dtype=torch.bool, device=x.device)
        with self.crafting(x):
            for _ in range(self.n_steps):
                outputs, gradient = loss_gradient(model, current, y, loss)
                crafted.offer(current, margin(outputs, y))
                finite = finite & torch.isfinite(gradient).all()
                current = self.threat.project(current + self.step * self.threat.direction(gradient), x)
        _require_finite(finite)
        finals = [current]
        if self.threat.p != math.inf:
            finals.append(self.threat.project(x + self.threat.steepest(gradient, x), x))
        if self.in_low_precision(x):
            # bfloat16 margins only nominate a candidate; float32 decides.
            finals.append(crafted.x)
        else:
            best.offer(crafted.x, crafted.margins, rows)
        for candidate in finals:
            best.offer(candidate, margin(judge(model, candidate), y), rows)


def _image_layout(x: Tensor) -> Tensor:
    """Channels last, which convolutions prefer on CPUs and tensor cores."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def _require_finite(finite: Tensor) -> None:
    """Checked once a search, not once a step: reading a flag back makes a GPU wait."""
    if not bool(finite):
        raise bad(
            "gradient", expected="finite values", got="NaN or inf", remedy="the loss overflows or is singular here"
        )


def attack_by_name(name: str, threat: ThreatModel, *, precision: Precision = "float32") -> Attack:
    """The attack that a name stands for: `none`, `fgsm`, `pgdK` (K steps) or `pgdKxR` (R restarts).

    >>> attack_by_name("pgd50x10", ThreatModel("inf", 0.1)).n_restarts
    10
    """
    if name == "none":
        return NoAttack(threat.at(0.0))
    if name == "fgsm":
        return FGSM(threat, precision=precision)
    match = re.fullmatch(r"pgd(\d+)(?:x(\d+))?", name)
    if match is None or not int(match[1]) or match[2] == "0":
        raise bad("attack", expected="none, fgsm, pgdK or pgdKxR, such as pgd10 or pgd50x10", got=repr(name))
    return PGD(threat, n_steps=int(match[1]), n_restarts=int(match[2] or 1), precision=precision)
