"""Errors (Definitions 3.1-3.3), and what each number proves."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cgro._check import BadRequest, bad, count
from cgro.definitions.attacks import Attack, NoAttack, evaluated_outputs, preserve_state, require_attack
from cgro.definitions.attacks.captured import find_captured
from cgro.definitions.attacks.reads import FINITE
from cgro.definitions.inputs import as_inputs, as_labels, in_full_precision, network_behind, ordinary_tensors
from cgro.definitions.losses import Model, check_labels, is_wrong, predict
from cgro.definitions.threat import require_no_bytes, require_radius_fits
from cgro.results import Bound, ErrorRate

QUANTIZED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")
"""Modules that only evaluate. `quantize_dynamic` makes them anew, with the flag of train mode that every module has."""


def require_eval(model: Model) -> None:
    """Refuse a module of which any part is in train mode: BatchNorm and dropout would falsify every number.

    Args:
        model: any. A function has no mode, but a method of a module and what `functools.partial` makes of one have.

    Raises:
        BadRequest: call `model.eval()` first.

    Example:
        >>> require_eval(torch.nn.Dropout().eval().forward)
    """
    inner = network_behind(model)
    if inner is not None and _trains(inner):
        remedy = "call model.eval() first"
        if _is_exported(inner):
            remedy = "torch.export keeps the mode of the network: export it in eval mode"
        raise bad("model", expected="eval mode", got="train mode", remedy=remedy)


def _trains(module: torch.nn.Module) -> bool:
    """Whether a part is in train mode. What torch.export makes is so by its graph; its flags are those of new modules.

    `torch.jit.freeze` leaves no flag.
    """
    if _is_exported(module):
        return any(_is_told_to_train(node) for node in module.graph.nodes)  # type: ignore[union-attr]
    if getattr(module, "training", False) and not type(module).__module__.startswith(QUANTIZED):
        return True
    return any(_trains(part) for part in module.children())


def _is_exported(module: torch.nn.Module) -> bool:
    """By the method that only raises, which torch.export puts there."""
    return isinstance(module, torch.fx.GraphModule) and "eval" in vars(module)


def _is_told_to_train(node: torch.fx.Node) -> bool:
    """Whether an operation of a graph, such as batch_norm, is given True for whether it is in training."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    for position, argument in enumerate(node.target._schema.arguments):
        if argument.name not in ("train", "training"):
            continue
        given = node.kwargs.get(argument.name, argument.default_value)
        if position < len(node.args):
            given = node.args[position]
        return given is True
    return False


class NotFinite(BadRequest):
    """A network answered NaN or infinity. Training, which may have made it so, tells it as its outcome."""


def checked_outputs(model: Model, x: Tensor, y: Tensor) -> Tensor:
    """Evaluate a network in float32 and check what it returned.

    Args:
        model: (B, *S) -> (B, C) or (B,).
        x: (B, *S) inputs.
        y: (B,) labels.

    Returns:
        (B, C) or (B,), finite.

    Raises:
        BadRequest: labels that do not fit, outputs that are not finite or no tensor.
    """
    outputs = evaluated_outputs(model, x)
    check_outputs(outputs, y)
    return outputs


def check_outputs(outputs: Tensor, y: Tensor) -> None:
    """Check what a network returned.

    Args:
        outputs: (B, C) or (B,).
        y: (B,) labels.

    Raises:
        BadRequest: labels that do not fit.
        NotFinite: outputs that are not finite.
    """
    check_labels(outputs, y)
    _require_finite(outputs)


def _require_finite(outputs: Tensor) -> None:
    if not bool(torch.isfinite(outputs).all()):
        raise NotFinite(f"model output: expected finite values, got NaN or inf; {FINITE}")


def check_set(model: Model, x: Tensor, y: Tensor) -> tuple[Model, Tensor, Tensor]:
    """Refuse train mode, no examples, and labels that do not match.

    Args:
        model: to be evaluated.
        x: (N, *S) inputs.
        y: (N,) labels.

    Returns:
        Network, inputs and labels to compute with, see `in_full_precision`, `as_inputs` and `as_labels`.

    Raises:
        BadRequest: one of these, or no tensors.
    """
    require_eval(model)
    x, y = checked_examples(x, y)
    return *in_full_precision(model, x), y


def checked_examples(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Refuse no examples, and labels that do not match.

    Args:
        x: (N, *S) inputs.
        y: (N,) labels.

    Returns:
        Inputs and labels to compute with, see `as_inputs` and `as_labels`.

    Raises:
        BadRequest: one of these, or no tensors.
    """
    x = as_inputs(x)
    y = as_labels(y, x.device)
    if not len(x):
        raise bad("examples", expected="at least one", got=0)
    if len(x) != len(y):
        raise bad("labels", expected=f"{len(x)}, one per example", got=len(y))
    return x, y


@dataclass(frozen=True)
class WrongExamples:
    """Which examples of a set are wrong.

    Args:
        clean: (N,) bool, wrong without an attack.
        robust: (N,) bool, wrong when clean or after the attack.
        exact: whether the attack was, so that the others are proved right.
    """

    clean: Tensor
    robust: Tensor
    exact: bool = False

    @property
    def clean_error(self) -> ErrorRate:
        """The clean error (Definition 3.1)."""
        return ErrorRate(int(self.clean.sum()), len(self.clean), "exact")

    @property
    def robust_error(self) -> ErrorRate:
        """The robust error (Definitions 3.2 and 3.3) that the attack proves."""
        bound: Bound = "lower"
        if self.exact:
            bound = "exact"
        return ErrorRate(int(self.robust.sum()), len(self.robust), bound)


@ordinary_tensors
def wrong_examples(
    model: Model,
    x: Tensor,
    y: Tensor,
    attack: Attack,
    *,
    batch: int = 256,
    generator: torch.Generator | None = None,
    progress: Callable[[int], object] | None = None,
) -> WrongExamples:
    """Find the examples that are wrong when clean, and those that are wrong after an attack, in one clean pass.

    Only examples that are right when clean are attacked. The attack's output is not trusted: a point outside the threat
    model is an error of the attack.

    Args:
        model: in eval mode if it is a module.
        x: (N, *S) inputs in the box.
        y: (N,) labels.
        attack: any.
        batch: examples at a time; affects speed and memory only.
        generator: source of the attack's randomness; None means a fresh one seeded 0.
        progress: called with the number of examples done after each batch.

    Returns:
        Both, example by example; their `clean_error` and `robust_error`.

    Raises:
        BadRequest: train mode, empty set, labels out of range, inputs outside the box, outputs that are not finite, an
            attack that leaves its threat model.

    Example:
        >>> from cgro.definitions import PGD, ThreatModel
        >>> x, y = torch.tensor([[0.30], [0.45], [0.60], [0.40]]), torch.tensor([-1, -1, 1, 1])
        >>> found = wrong_examples(lambda v: v[:, 0] - 0.5, x, y, PGD(ThreatModel("inf", 0.06), n_steps=5))
        >>> found.clean_error.value, found.robust_error.value
        (0.25, 0.5)
    """
    require_attack(attack)
    batch = count(batch, "batch")
    model, x, y = check_set(model, x, y)
    attack.threat.check_input(x)
    require_radius_fits(attack.threat, x.shape[1:])
    if generator is None:
        generator = torch.Generator(x.device).manual_seed(0)
    clean = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    robust = torch.zeros_like(clean)
    with preserve_state(model, x.device):
        for first in range(0, len(x), batch):
            part = slice(first, first + batch)
            clean[part] = is_wrong(checked_outputs(model, x[part], y[part]), y[part])
            robust[part] = clean[part]
            rows = first + torch.nonzero(~clean[part]).squeeze(1)
            if len(rows) and attack.threat.radius > 0:
                robust[rows] = _broken(model, x[rows], y[rows], attack, generator, batch)
            if progress:
                progress(min(first + batch, len(x)))
    return WrongExamples(clean, robust, attack.exact)


def _broken(model: Model, x: Tensor, y: Tensor, attack: Attack, generator: torch.Generator, batch: int) -> Tensor:
    """Which examples an attack breaks, (B,) bool; its output is checked and evaluated anew."""
    found = find_captured(attack, model, x, y, size=batch, generator=generator)
    x_adv = attack(model, x, y, generator=generator) if found is None else found.x
    require_inside(attack, x_adv, x)
    return is_wrong(checked_outputs(model, x_adv, y), y)


def require_inside(attack: Attack, x_adv: Tensor, x: Tensor) -> None:
    """Refuse what an attack returned unless it lies in the attack's own threat model.

    Args:
        attack: that returned it, for the message.
        x_adv: (B, *S) its points.
        x: (B, *S) clean inputs.

    Raises:
        BadRequest: a point outside ball or box.
    """
    if not bool(attack.threat.contains(x_adv, x).all()):
        raise BadRequest(f"{attack!r} returned points outside its own threat model; project them first")


def wrong_under(
    model: Model,
    x: Tensor,
    y: Tensor,
    attack: Attack,
    *,
    batch: int = 256,
    generator: torch.Generator | None = None,
    progress: Callable[[int], object] | None = None,
) -> Tensor:
    """Find the examples that are wrong when clean or after an attack; see `wrong_examples` for both apart.

    Args:
        model: in eval mode if it is a module.
        x: (N, *S) inputs in the box.
        y: (N,) labels.
        attack: any.
        batch: examples at a time; affects speed and memory only.
        generator: source of the attack's randomness; None means a fresh one seeded 0.
        progress: called with the number of examples done after each batch.

    Returns:
        (N,) bool.

    Raises:
        BadRequest: see `wrong_examples`.
    """
    found = wrong_examples(model, x, y, attack, batch=batch, generator=generator, progress=progress)
    return found.robust


def robust_error(
    model: Model, x: Tensor, y: Tensor, attack: Attack, *, batch: int = 256, generator: torch.Generator | None = None
) -> ErrorRate:
    """Robust error on a set (Definitions 3.2 and 3.3): the mean of max over X' of 1{sgn f(X') != y}.

    On the training set it is the robust training error, on fresh examples it estimates the robust test error. An
    example that is wrong when clean counts as wrong. Unless the attack is exact the result is a LOWER bound: it
    says that these examples can be broken, and nothing about the others.

    Args:
        model: in eval mode if it is a module.
        x: (N, *S) inputs in the box.
        y: (N,) labels.
        attack: any `Attack`.
        batch: examples at a time; affects speed and memory only.
        generator: source of the attack's randomness; None means a fresh one seeded 0.

    Returns:
        The share, with what it proves and its 95% interval.

    Raises:
        BadRequest: train mode, empty set, labels out of range, inputs outside the box, outputs not finite.

    Example:
        A linear score w.x errs exactly when its margin is at most radius * ‖w‖_1.

        >>> from cgro.definitions import PGD, ThreatModel
        >>> x, y = torch.tensor([[0.30], [0.45], [0.60], [0.80]]), torch.tensor([-1, -1, 1, 1])
        >>> robust_error(lambda v: v[:, 0] - 0.5, x, y, PGD(ThreatModel("inf", 0.11), n_steps=5)).value
        0.5
    """
    return wrong_examples(model, x, y, attack, batch=batch, generator=generator).robust_error


def clean_error(model: Model, x: Tensor, y: Tensor, *, batch: int = 1024) -> ErrorRate:
    """Clean error (Definition 3.1): the share with sgn f(X) != y. Same code path as the robust error.

    Args:
        model: in eval mode if it is a module.
        x: (N, *S) inputs.
        y: (N,) labels.
        batch: examples at a time; affects speed and memory only.

    Returns:
        The share, exact for these examples, with its 95% interval.

    Raises:
        BadRequest: see `robust_error`; images in 0..255.

    Example:
        >>> x, y = torch.tensor([[0.30], [0.60]]), torch.tensor([-1, -1])
        >>> clean_error(lambda v: v[:, 0] - 0.5, x, y).value
        0.5
    """
    require_no_bytes(as_inputs(x))
    return wrong_examples(model, x, y, NoAttack(), batch=batch).clean_error


@ordinary_tensors
def predicted_shares(model: Model, x: Tensor, *, batch: int = 1024) -> list[float]:
    """The share of predictions that each class takes.

    Args:
        model: in eval mode if it is a module.
        x: (N, *S) inputs.
        batch: examples at a time; affects speed and memory only.

    Returns:
        One share per class, in the order of the classes; for (B,) scores of -1 and +1.

    Raises:
        BadRequest: train mode, no inputs, outputs that are no tensor.
        NotFinite: outputs that are not finite, which predict nothing.

    Example:
        >>> predicted_shares(lambda v: v[:, 0] - 0.5, torch.tensor([[0.1], [0.2], [0.3], [0.9]]))
        [0.75, 0.25]
    """
    require_eval(model)
    batch = count(batch, "batch")
    model, x = in_full_precision(model, as_inputs(x))
    if not len(x):
        raise bad("examples", expected="at least one", got=0)
    with preserve_state(model, x.device):
        outputs = torch.cat([evaluated_outputs(model, part) for part in x.split(batch)])
    _require_finite(outputs)
    labels = predict(outputs)
    if outputs.ndim == 1:
        classes = torch.tensor([-1, 1], device=labels.device)
    else:
        classes = torch.arange(outputs.shape[1], device=labels.device)
    # The mean of 0s and 1s in float64, as sums of integers would round elsewhere.
    return (labels[:, None] == classes).double().mean(0).tolist()
