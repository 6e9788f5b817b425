"""Models and per-example losses. The only file that knows label conventions.

A model maps (B, *S) to (B, C) logits with labels 0 .. C-1, or to (B,) scores with labels -1 and +1.
"""

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from cgro._check import bad


class Model(Protocol):
    """Any callable (B, *S) -> (B, C) logits or (B,) scores; a `torch.nn.Module` is one. Inputs are in [0, 1]."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return logits or scores.

        Args:
            x: (B, *S) inputs.

        Returns:
            (B, C) logits or (B,) scores; an object with an attribute `logits` is taken for that.
        """
        ...


Loss = Callable[[Tensor, Tensor], Tensor]
"""(outputs, y) -> (B,), larger is worse for the classifier."""


def check_labels(outputs: Tensor, y: Tensor) -> None:
    """Check that labels fit the outputs.

    Args:
        outputs: (B, C) or (B,).
        y: (B,) labels.

    Raises:
        BadRequest: outputs are neither (B, C) with C >= 2 nor (B,), or a label is out of range.
    """
    if outputs.ndim == 2 and outputs.shape[1] >= 2:
        expected = f"0 .. {outputs.shape[1] - 1}"
        fits = (y >= 0) & (y < outputs.shape[1])
        if y.is_floating_point():
            raise bad("labels", expected="integers for (B, C) outputs", got=y.dtype)
    elif outputs.ndim == 1:
        expected = "-1 or +1 for a model with (B,) scores"
        fits = (y == 1) | (y == -1)
    else:
        remedy = "flatten to one row per example"
        if outputs.ndim == 2:
            remedy = "squeeze a single output"
        raise bad(
            "model output",
            expected="(B, C) logits with C >= 2, or (B,) scores",
            got=tuple(outputs.shape),
            remedy=remedy,
        )
    if y.shape != outputs.shape[:1]:
        expected = f"shape ({outputs.shape[0]},)"
        remedy = labels_remedy(y.shape)
        if outputs.ndim == 1 and len(y) == 1:
            remedy = "if this is one example, its outputs lost the axis of the batch: use squeeze(1), not squeeze()"
        raise bad("labels", expected=expected, got=tuple(y.shape), remedy=remedy)
    if not bool(fits.all()):
        wrong = sorted(set(y[~fits].tolist()))[:3]
        remedy = "relabel the data"
        if outputs.ndim == 2 and int(y.min()) >= 0:
            remedy = f"relabel the data, or give the network an output for each class, {int(y.max()) + 1} or more"
        elif outputs.ndim == 2 and outputs.shape[1] == 2:
            remedy = "relabel the data as 0 and 1, or of two logits z return z1 - z0"
        raise bad("labels", expected=expected, got=", ".join(map(str, wrong)), remedy=remedy)


def labels_remedy(shape: torch.Size) -> str:
    """How labels of another shape become one number per example.

    Args:
        shape: that they have.

    Returns:
        What to write; "" where nothing can be said.

    Example:
        >>> labels_remedy(torch.Size([8, 1])), labels_remedy(torch.Size([8, 10]))
        ('use y.squeeze(1)', 'give class numbers, such as y.argmax(1) of one-hot rows')
    """
    if len(shape) != 2:
        return ""
    if shape[1] == 1:
        return "use y.squeeze(1)"  # `argmax` would make them all 0
    return "give class numbers, such as y.argmax(1) of one-hot rows"


def margin(outputs: Tensor, y: Tensor) -> Tensor:
    """By how much the right answer wins: z_y - max_{j != y} z_j for logits, y f for scores.

    Positive exactly when the prediction is right; a tie, sgn f = 0 and NaN count as wrong.

    Args:
        outputs: (B, C) logits or (B,) scores.
        y: (B,) labels.

    Returns:
        (B,), in the unit of the outputs.

    Example:
        >>> margin(torch.tensor([[2.0, 5.0, 1.0]]), torch.tensor([1])), margin(torch.tensor([-3.0]), torch.tensor([1]))
        (tensor([3.]), tensor([-3.]))
    """
    if outputs.ndim == 1:
        return outputs * y
    right = outputs.gather(1, y[:, None]).squeeze(1)
    return right - outputs.scatter(1, y[:, None], -torch.inf).amax(1)


def is_wrong(outputs: Tensor, y: Tensor) -> Tensor:
    """Whether each example is misclassified.

    Args:
        outputs: (B, C) logits or (B,) scores.
        y: (B,) labels.

    Returns:
        (B,) bool.
    """
    return ~(margin(outputs, y) > 0)


def predict(outputs: Tensor) -> Tensor:
    """The predicted labels: argmax of logits, sign of scores (+1 at 0).

    Args:
        outputs: (B, C) logits or (B,) scores.

    Returns:
        (B,) int64: classes, or -1 and +1.

    Raises:
        BadRequest: logits of no classes.
    """
    if outputs.ndim == 1:
        return torch.where(outputs >= 0, 1, -1)
    if not outputs.shape[1]:
        raise bad("model output", expected="(B, C) logits with C >= 2, or (B,) scores", got=tuple(outputs.shape))
    return outputs.argmax(1)


def logistic(outputs: Tensor, y: Tensor) -> Tensor:
    """log(1 + exp(-y f)); not softplus, which turns linear above 20.

    Args:
        outputs: (B,) scores.
        y: (B,) labels -1 and +1.

    Returns:
        (B,), in nats.

    Example:
        >>> logistic(torch.tensor([0.0]), torch.tensor([1]))
        tensor([0.6931])
    """
    return torch.logaddexp(outputs.new_zeros(()), -outputs * y)


LINEAR = 80.0
"""From here on log(1 + exp d) is d to the last bit of float64, and below exp d is finite in float32."""


def cross_entropy(outputs: Tensor, y: Tensor) -> Tensor:
    """-log softmax(z)_y, as log(1 + exp(log sum_{j != y} exp z_j - z_y)).

    So it is precise for confident networks, too. In the usual form softmax(z)_y is 1 in float32 from a margin of 17 on:
    the loss is 0 there, and its gradient has lost the label's row, so that an attack goes another way.

    Args:
        outputs: (B, C) logits.
        y: (B,) int64 classes.

    Returns:
        (B,), in nats.

    Example:
        >>> cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
        tensor([0.6931])
        >>> z = torch.tensor([[40.0, 0.0]], requires_grad=True)
        >>> torch.autograd.grad(cross_entropy(z, torch.tensor([0])), z)[0]
        tensor([[-4.2484e-18,  4.2484e-18]])
    """
    own = y[:, None]
    outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
    # Not -inf: where all others are -inf as well, the gradient of their sum would be NaN.
    others = outputs.scatter(1, own, torch.finfo(outputs.dtype).min).logsumexp(1)
    return F.softplus(others - outputs.gather(1, own).squeeze(1), threshold=LINEAR)


def cross_entropy_slope(outputs: Tensor, y: Tensor) -> Tensor:
    """The gradient of `cross_entropy` with respect to the logits: softmax(z)_j, and for the label minus their sum.

    Half of the operations that autograd needs for it, which a small network notices in every step of an attack.

    Args:
        outputs: (B, C) logits.
        y: (B,) int64 classes.

    Returns:
        (B, C).

    Example:
        >>> cross_entropy_slope(torch.tensor([[0.0, 0.0], [40.0, 0.0]]), torch.tensor([1, 0]))
        tensor([[ 5.0000e-01, -5.0000e-01],
                [-4.2484e-18,  4.2484e-18]])
    """
    own = y[:, None]
    others = outputs.softmax(1).scatter_(1, own, 0.0)
    return others.scatter_(1, own, -others.sum(1, keepdim=True))


def default_loss(outputs: Tensor, y: Tensor) -> Tensor:
    """The logistic loss for (B,) scores, cross-entropy for (B, C) logits.

    Args:
        outputs: (B, C) logits or (B,) scores.
        y: (B,) labels.

    Returns:
        (B,), in nats.
    """
    if outputs.ndim == 1:
        return logistic(outputs, y)
    return cross_entropy(outputs, y)


def negative_margin(outputs: Tensor, y: Tensor) -> Tensor:
    """-margin: the loss of Carlini and Wagner (2017), whose gradient does not vanish for confident models.

    Args:
        outputs: (B, C) logits or (B,) scores.
        y: (B,) labels.

    Returns:
        (B,).
    """
    return -margin(outputs, y)


def dlr(outputs: Tensor, y: Tensor) -> Tensor:
    """Difference of logits ratio: -(z_y - max_{j != y} z_j) / (z_(1) - z_(3)) (Croce and Hein, ICML 2020).

    z_(k) is the k-th largest logit. Neither a shift nor a positive factor of the logits changes it. Of two logits
    every function with both properties is constant on each side of the boundary, so its gradient says nothing: for two
    classes and for (B,) scores it is the negative margin, whose direction of ascent no factor changes.

    Args:
        outputs: (B, C) logits or (B,) scores.
        y: (B,) labels.

    Returns:
        (B,).

    Example:
        >>> z = torch.tensor([[4.0, 3.0, 2.0, 0.0]])
        >>> dlr(z, torch.tensor([0])), dlr(100 * z - 7, torch.tensor([0]))
        (tensor([-0.5000]), tensor([-0.5000]))
    """
    if outputs.ndim == 1 or outputs.shape[1] < 3:
        return -margin(outputs, y)
    top = outputs.topk(3, dim=1).values
    return -margin(outputs, y) / (top[:, 0] - top[:, 2]).clamp_min(_TINY)


def targeted_dlr(outputs: Tensor, y: Tensor, targets: Tensor) -> Tensor:
    """-(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2) for a target class t != y (Croce and Hein, ICML 2020).

    Of three logits, where z_(4) is missing and z_y - z_t over z_(1) - z_(3) would be constant for the last target, the
    mean is that of z_(2) and z_(3). For two classes and for (B,) scores it is the negative margin (see `dlr`).

    Args:
        outputs: (B, C) logits or (B,) scores.
        y: (B,) labels.
        targets: (B,) int64 wrong classes; of scores they are not used.

    Returns:
        (B,).

    Example:
        >>> targeted_dlr(torch.tensor([[4.0, 3.0, 2.0, 0.0]]), torch.tensor([0]), torch.tensor([2]))
        tensor([-0.6667])
    """
    if outputs.ndim == 1 or outputs.shape[1] < 3:
        return -margin(outputs, y)
    top = outputs.topk(min(4, outputs.shape[1]), dim=1).values
    right = outputs.gather(1, y[:, None]).squeeze(1)
    target = outputs.gather(1, targets[:, None]).squeeze(1)
    return (target - right) / (top[:, 0] - top[:, -2:].mean(1)).clamp_min(_TINY)


def most_likely_others(outputs: Tensor, y: Tensor, n: int) -> Tensor:
    """The n most likely classes other than y.

    Args:
        outputs: (B, C) logits or (B,) scores.
        y: (B,) labels.
        n: number of classes, at most C - 1.

    Returns:
        (B, n) int64, the most likely first; of scores (B, 1), -y.

    Example:
        >>> most_likely_others(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0]), 2)
        tensor([[2, 1]])
    """
    if outputs.ndim == 1:
        return -y[:, None]
    return outputs.scatter(1, y[:, None], -torch.inf).topk(n, dim=1).indices


def divergence(clean: Tensor, outputs: Tensor) -> Tensor:
    """KL(p || q) = sum_c p_c (log p_c - log q_c) with p = softmax(clean) and q = softmax(outputs).

    Scores f stand for the logits (0, f). Both enter as logarithms: of a probability that is 0 in floating point the
    derivative of p log p would be infinite.

    Args:
        clean: (B, C) logits or (B,) scores that give p.
        outputs: of the same shape, giving q.

    Returns:
        (B,), in nats; differentiable in both arguments.

    Example:
        >>> divergence(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 1.0986123]]))
        tensor([0.1438])
        >>> divergence(torch.tensor([2.0]), torch.tensor([2.0]))
        tensor([0.])
    """
    log_p, log_q = log_probabilities(clean), log_probabilities(outputs)
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)


def log_probabilities(outputs: Tensor) -> Tensor:
    """log softmax of the logits; scores f stand for the logits (0, f).

    Args:
        outputs: (B, C) logits or (B,) scores.

    Returns:
        (B, C), or (B, 2) with the class -1 first.

    Example:
        >>> log_probabilities(torch.tensor([0.0])).exp()
        tensor([[0.5000, 0.5000]])
    """
    if outputs.ndim == 1:
        outputs = torch.stack([torch.zeros_like(outputs), outputs], 1)
    return F.log_softmax(outputs, 1)


class FromClean:
    """A `Loss` that compares outputs with those at the clean inputs: (outputs, y) -> KL(f(x) || outputs).

    An attack that works on some rows only asks for the loss of these rows by `rows`; see `loss_of_rows`.

    Args:
        clean: (B, C) logits or (B,) scores at the clean inputs; taken as constants.

    Raises:
        BadRequest: when called, on another number of rows than it was made for.

    Example:
        >>> loss = FromClean(torch.tensor([0.0, 5.0]))
        >>> loss.rows(torch.tensor([1]))(torch.tensor([5.0]), torch.tensor([1]))
        tensor([0.])
    """

    def __init__(self, clean: Tensor) -> None:
        self.clean = clean.detach()

    def __call__(self, outputs: Tensor, y: Tensor, /) -> Tensor:
        """Return the divergence from the clean outputs.

        Args:
            outputs: (B, C) or (B,), of the shape of the clean ones.
            y: not used.

        Returns:
            (B,), in nats; larger is farther from the clean outputs.

        Raises:
            BadRequest: outputs of another shape.
        """
        if outputs.shape != self.clean.shape:
            expected = f"outputs of shape {tuple(self.clean.shape)}, as the clean ones have"
            remedy = "use PGD, which asks a loss for the rows it works on"
            raise bad("loss", expected=expected, got=tuple(outputs.shape), remedy=remedy)
        return divergence(self.clean, outputs)

    def rows(self, rows: Tensor) -> "FromClean":
        """The loss of some examples.

        Args:
            rows: (R,) int64, their rows.

        Returns:
            A loss for (R, C) or (R,) outputs.
        """
        return FromClean(self.clean[rows])


def loss_of_rows(loss: Loss, rows: Tensor | None) -> Loss:
    """The loss for some rows of a batch: `loss.rows(rows)` where it depends on the rows, else the loss itself.

    Args:
        loss: of the whole batch.
        rows: (R,) positions in the batch; None means all.

    Returns:
        A loss for (R, C) or (R,) outputs.
    """
    part = getattr(loss, "rows", None)
    if rows is None or part is None:
        return loss
    return part(rows)


_TINY = 1e-12

LOSSES: dict[str, Loss] = {"default": default_loss, "dlr": dlr, "margin": negative_margin}
"""Losses by name: a name, unlike a function, prints the same in every process."""
