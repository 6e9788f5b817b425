"""The checks of the lint that attack nothing: is the model given what it was trained on, and are its answers scores?

A WARN of most of them explains high errors better than the model does; `findings.faults` says which."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from cgro._check import listed
from cgro.data import SOURCES
from cgro.definitions import ThreatModel, margin, predict
from cgro.definitions.attacks import evaluated_outputs, evaluation_flags, first_pass
from cgro.definitions.inputs import parts_of
from cgro.definitions.losses import Model, check_labels
from cgro.diagnosis.findings import Check, check

EDGE = 1e-6
"""How far inputs may lie outside of the box for rounding."""
ROUNDING = 1e-3
"""Share of the largest output up to which answers may differ by the order of a batch: a choice, well above the rounding
of float32 in deep networks, well below what statistics of the batch do."""
STATISTICS = {
    **{source.title: source.statistics for source in SOURCES.values() if source.statistics is not None},
    "ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5,), (0.5,)),
}
"""Channel means and deviations in common use."""
TWICE = (2.0, 30.0)
"""Spreads of the first layer's inputs that tell of normalizing twice: once gives 1, twice 3 to 5 for MNIST, CIFAR-10
and ImageNet, none below 0.5, and pixels in 0..255 above 50."""


def setup_checks(model: Model, x: Tensor, y: Tensor, threat: ThreatModel) -> list[Check]:
    """Check mode, range, radius, determinism, outputs, normalization and the order of the classes.

    Args:
        model: any; it is left in evaluation mode.
        x: (B, *S) examples.
        y: (B,) labels.
        threat: what the robust numbers are about.

    Returns:
        One `Check` each, in a fixed order.

    Raises:
        BadRequest: labels that do not fit, outputs that are not finite.
    """
    checks = [_mode(model, x)]
    if isinstance(model, nn.Module):
        evaluation_flags(model)
    outputs, model = first_pass(model, x)
    check_labels(outputs, y)
    checks += [_range(x, threat), _radius(x, threat), _determinism(model, x), _outputs(model, x, y)]
    normalization, by_conversion = _normalization(model, x, y)
    order, by_order = _class_order(model, x, y)
    checks.append(_unless_better(normalization, by_conversion, order, by_order))
    checks.append(_unless_better(order, by_order, normalization, by_conversion))
    return checks


def _unless_better(one: Check, gain: int, other: Check, other_gain: int) -> Check:
    """A check, but no warning where another one turns more answers right.

    Of two classes in the wrong order, say, whatever spoils the answers turns half of them right.
    """
    if 0 < gain < other_gain:
        return check(one.name, True, f"{one.finding}, which {other.name} explains better")
    return one


def _mode(model: Model, x: Tensor) -> Check:
    parts = parts_of(model)
    training = [part for part in parts if getattr(part, "training", False)]
    if not parts:
        return check("mode", True, "a plain function has no mode")
    if not training:
        return check("mode", True, "every part is in eval mode")
    now = predict(evaluated_outputs(model, x))
    for part in training:
        part.training = False
    changed = float((predict(evaluated_outputs(model, x)) != now).double().mean())
    return check("mode", False, f"{len(training)} parts in train mode; eval mode changes {changed:.0%} of the answers")


def _range(x: Tensor, threat: ThreatModel) -> Check:
    low, high = float(x.min()), float(x.max())
    text = f"inputs lie in [{low:.3g}, {high:.3g}]"
    if threat.box is None:
        return check("input range", True, text + "; no box was given to compare with")
    bottom, top = threat.box
    if low < bottom - EDGE:
        return check("input range", False, text + "; normalized outside the model?")
    if high > top + 2:
        return check("input range", False, text + "; not divided by 255?")
    if high > top + EDGE:
        return check("input range", False, text)
    used = (high - low) / (top - bottom)
    if used < 0.05:
        hint = f"only {used:.1%} of the box [{bottom:g}, {top:g}] is used: divided by 255 twice, or a box in pixels?"
        return check("input range", False, f"{text}; {hint}")
    return check("input range", True, text)


def _radius(x: Tensor, threat: ThreatModel) -> Check:
    """Against the spread of the data itself: a box that was given wrongly must not hide it."""
    spread = float(x.max() - x.min())
    size = threat.radius
    if threat.p != math.inf:
        size = threat.radius / x[0].numel() ** (1 / threat.p)
    share = size / spread if spread > 0 else math.inf
    text = f"radius {threat.radius:g} (l_{threat.p:g}) is {share:.2%} of the inputs' range, a coordinate"
    if share > 0.5:
        return check("radius", False, text + "; given in pixels?")
    if threat.p == math.inf and 0 < threat.radius < 0.5 / 255 * spread:
        return check("radius", False, text + "; divided by 255 twice?")
    return check("radius", True, text)


def _determinism(model: Model, x: Tensor) -> Check:
    """Two passes of the same batch, and one with half of the examples, each beside others than before."""
    first = evaluated_outputs(model, x)
    difference = float((first - evaluated_outputs(model, x)).abs().max())
    text = f"two forward passes differ by at most {difference:.3g}"
    if difference:
        return check("determinism", False, text)
    # As many as before: another number of rows is rounded otherwise, and not every network takes it.
    half = torch.from_numpy(np.random.default_rng(0).permutation(len(x))[: (len(x) + 1) // 2]).to(x.device)
    rows = half.repeat(2)[: len(x)]
    beside_others = float((first[rows] - evaluated_outputs(model, x[rows])).abs().max())
    if beside_others > ROUNDING * float(first.abs().max()):
        hint = "beside other examples: does it normalize by the batch?"
        return check("determinism", False, f"the answers depend on the batch, by up to {beside_others:.3g} {hint}")
    return check("determinism", True, text)


def _outputs(model: Model, x: Tensor, y: Tensor) -> Check:
    """Whether the answers are scores or logits, as many as the task has."""
    name = "classes and loss"
    out = evaluated_outputs(model, x)
    if out.ndim == 1:
        if _are_probabilities(out):
            return check(name, False, _probability_text(out, y))
        return check(name, True, "(B,) scores, labels -1 / +1: logistic loss")
    n_classes = out.shape[1]
    if bool((out >= 0).all()) and bool(((out.sum(1) - 1).abs() < 1e-3).all()):
        return check(name, False, "the outputs sum to 1: probabilities, not logits")
    if _are_probabilities(out):
        return check(name, False, "every output lies in [0, 1]: probabilities by a sigmoid, not logits")
    seen = int(y.max()) + 1
    if n_classes > 2 * max(seen, 5):
        return check(name, False, f"{n_classes} outputs for labels below {seen}: another head?")
    text = f"{n_classes} logits: cross-entropy and margins"
    if n_classes < 4:
        text += "; below 4 classes DLR has no targeted form, the margin stands in"
    return check(name, True, text)


def _are_probabilities(out: Tensor) -> bool:
    """Whether all lie in [0, 1], on both sides of one half.

    A collapsed network may answer one number between 0 and 1 everywhere; that it lies on both sides is what the output
    of a sigmoid has and scores of both signs do not.
    """
    low, high = float(out.min()), float(out.max())
    return 0 <= low < 0.5 < high <= 1


def _probability_text(out: Tensor, y: Tensor) -> str:
    at_zero = float((~(margin(out, y) > 0)).double().mean())
    at_half = float((~(margin(out - 0.5, y) > 0)).double().mean())
    return (
        f"the scores lie in [0, 1]: probabilities of a sigmoid? Clean error {at_zero:.1%} with the limit at 0, "
        f"{at_half:.1%} with the limit at 0.5"
    )


def _conversions(x: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    """Ways in which inputs are commonly converted once too often or too rarely."""
    found: dict[str, Callable[[Tensor], Tensor]] = {"x * 255": lambda v: v * 255, "x / 255": lambda v: v / 255}
    own = ((float(x.mean()),), (max(float(x.std()), 1e-6),))
    for name, (mean, std) in (STATISTICS | {"the data": own}).items():
        if x.ndim != 4 or len(mean) not in (1, x.shape[1]):
            continue
        m, s = (torch.tensor(v, dtype=x.dtype, device=x.device).view(1, -1, 1, 1) for v in (mean, std))
        found[f"(x - mean) / std of {name}: not normalized at all?"] = lambda v, m=m, s=s: (v - m) / s
        found[f"x * std + mean of {name}: normalized twice?"] = lambda v, m=m, s=s: v * s + m
    return found


def _first_layer_input(model: Model, x: Tensor) -> Tensor | None:
    """What the first layer with a weight matrix is given; None for a plain function or a network without one."""
    seen: list[Tensor] = []

    def note(layer: nn.Module, inputs: tuple[object, ...]) -> None:
        weight = layer.weight
        if not seen and isinstance(weight, Tensor) and weight.ndim > 1 and inputs and isinstance(inputs[0], Tensor):
            seen.append(inputs[0].detach())

    hooks = []
    for part in parts_of(model):
        if not isinstance(part, torch.jit.ScriptModule) and getattr(part, "weight", None) is not None:
            hooks.append(part.register_forward_pre_hook(note))
    try:
        evaluated_outputs(model, x)
    finally:
        for hook in hooks:
            hook.remove()
    return seen[0] if seen else None


def _clear_gain(right: Tensor, now: Tensor) -> int:
    """How many more examples are right now, if that is clear: by McNemar's test, and a third of those that were wrong.

    Args:
        right: (B,) bool, answered rightly as it is.
        now: (B,) bool, after a change.

    Returns:
        The gain; 0 where it is not clear.
    """
    more = int((now & ~right).sum())
    less = int((right & ~now).sum())
    gain = more - less
    # 10.8 is the 99.9% quantile of chi-square with one degree of freedom.
    if gain > int((~right).sum()) / 3 and gain**2 > 10.8 * max(1, more + less):
        return gain
    return 0


def _normalization(model: Model, x: Tensor, y: Tensor) -> tuple[Check, int]:
    """What the first layer sees, and McNemar's test of each conversion: does it turn many more answers right than
    wrong? And how many more."""
    right, best, gain = margin(evaluated_outputs(model, x), y) > 0, "", 0
    for name, convert in _conversions(x).items():
        now = margin(evaluated_outputs(model, convert(x)), y) > 0
        more = _clear_gain(right, now)
        if more > gain:
            best, gain = name, more
    error, given = 1 - float(right.double().mean()), _first_layer_input(model, x)
    text = f"clean error {error:.1%}"
    if best:
        return check("normalization", False, f"{text}, but {error - gain / len(x):.1%} on {best}"), gain
    if given is not None:
        spread = float(given.float().std())
        mean = float(given.float().mean())
        text += f"; the first layer sees mean {mean:.2g}, standard deviation {spread:.2g}"
        if TWICE[0] < spread < TWICE[1]:
            return check("normalization", False, text + ", not 0 and 1: normalized twice?"), 0
    return check("normalization", True, text + "; no usual conversion of the inputs lowers it much"), 0


def _class_order(model: Model, x: Tensor, y: Tensor) -> tuple[Check, int]:
    """Whether the outputs stand for the classes in another order than the labels, and how many more are right in it.

    The best order is fitted on one half of the examples and tried on the other (an assignment of many classes to few
    examples fits chance), so that its errors are those of examples that it has not seen.
    """
    name = "class order"
    outputs = evaluated_outputs(model, x)
    n_classes = 2
    if outputs.ndim == 2:
        n_classes = outputs.shape[1]
    predicted = predict(outputs).cpu().numpy()
    labels = y.cpu().numpy()
    # Ties and scores of 0 count as wrong elsewhere; here what is predicted is compared, before and after.
    right = torch.from_numpy(predicted == labels)
    now = np.zeros(len(labels), dtype=bool)
    shuffled = np.random.default_rng(0).permutation(len(labels))  # every other one would divide sorted classes unevenly
    halves = np.array_split(shuffled, 2)
    for half, other in (halves, halves[::-1]):
        order = _best_order(predicted[other], labels[other])
        now[half] = [order.get(output, output) for output in predicted[half].tolist()] == labels[half]
    error = 1 - float(right.double().mean())
    gain = _clear_gain(right, torch.from_numpy(now))
    if not gain:
        return check(name, True, f"no other order of the classes lowers the clean error, {error:.1%}, much"), 0
    order = _best_order(predicted, labels)
    text = f"clean error {error:.1%}, but {error - gain / len(labels):.1%} if the outputs are in another order"
    return check(name, False, f"{text}: {_order_text(order, n_classes, predicted, labels)}"), gain


def _best_order(predicted: np.ndarray, labels: np.ndarray) -> dict[int, int]:
    """Output -> class, one to one, with which most examples are right; outputs that never occurred keep theirs."""
    classes = np.unique(np.concatenate([predicted, labels]))
    counts = np.eye(len(classes)) * 1e-3  # where it changes nothing else, an output keeps its class
    np.add.at(counts, (np.searchsorted(classes, predicted), np.searchsorted(classes, labels)), 1)
    from scipy.optimize import linear_sum_assignment  # here, as the import takes half a second and few need it

    outputs, meant = linear_sum_assignment(counts, maximize=True)
    return dict(zip(classes[outputs].tolist(), classes[meant].tolist(), strict=True))


def _order_text(order: Mapping[int, int], n_classes: int, predicted: np.ndarray, labels: np.ndarray) -> str:
    """An order in words: a usual one, if it is as good as the best, else class by class."""
    best = _n_right(order, predicted, labels)
    for first in (0, 1):
        names = sorted(map(str, range(first, first + n_classes)))
        as_text = {output: int(text) - first for output, text in enumerate(names)}
        if n_classes > 2 and _n_right(as_text, predicted, labels) >= 0.95 * best:
            return f"that of their numbers as text ({', '.join(names[:4])}, ...)"
    for shift, words in ((1, "one too high"), (-1, "one too low")):
        shifted = {output: output + shift for output in order}
        if _n_right(shifted, predicted, labels) >= 0.95 * best:
            return f"each label is {words}"
    moved = [f"{output} is class {meant}" for output, meant in sorted(order.items()) if output != meant]
    return f"output {listed(moved, 4)}"


def _n_right(order: Mapping[int, int], predicted: np.ndarray, labels: np.ndarray) -> int:
    return sum(order.get(output) == label for output, label in zip(predicted.tolist(), labels.tolist(), strict=True))
