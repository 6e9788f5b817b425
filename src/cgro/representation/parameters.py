"""Parameter accounting of Theorem 4.4, poly(D) + O~(N D): what the formulas predict, and what the layers have."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.bounds import DENSE_LIMIT, Layer
from cgro.representation.indicators import N_CLAMP, Balls, is_clamped, shared_thresholds

if TYPE_CHECKING:
    from cgro.representation.memorizer import RobustMemorizer

EXPAND_LIMIT = 4 * DENSE_LIMIT
"""Non-zeros up to which the network is written out."""


@dataclass(frozen=True)
class Parameters:
    """Non-zero parameters of the whole network.

    Args:
        total: counted in the layers; None where they would not fit into memory.
        formula: predicted from the data; None if the clean model cannot be lowered.
        generic: of the indicator layers alone, if no input were zero.
        memorizer: `formula` without the clean model.
        clean: non-zeros of the lowered clean model, counted once.
        dense: entries if every matrix were dense; None where `total` is.
    """

    total: int | None
    formula: int | None
    generic: int
    memorizer: int
    clean: int
    dense: int | None


def generic_count(variant: str, n: int, dim: int, depth: int = 0, low: float = 0.0, *, unbounded: bool = False) -> int:
    """Count the parameters of the indicator layers when no input is zero (Theorem 4.4).

    box, compact: 6 N D + N (compact: at most). lean: 3 N D + 4 N + D. shared: N D + 4 N + (8 depth - 1) D + depth.
    A clamp adds 4 D to `shared`.

    Args:
        variant: construction of the indicators.
        n: N, memorized points.
        dim: D, inputs.
        depth: terms of the sawtooth (shared only).
        low: least coordinate of an input; if it is not 0, a few biases more are not 0.
        unbounded: whether inputs may lie outside of the range; `shared` then clamps them.

    Returns:
        The count.

    Example:
        >>> generic_count("box", 5000, 784), generic_count("lean", 5000, 784) + 5000 + 16
        (23525000, 11785800)
    """
    if is_clamped(variant, unbounded):
        return 4 * dim + generic_count(variant, n, dim, depth)
    shifted = int(low != 0)
    if variant in ("box", "compact"):
        return 6 * n * dim + n
    if variant == "lean":
        return 3 * n * dim + 4 * n + dim + shifted
    return n * dim + 4 * n + (8 * depth - 1) * dim + depth + shifted * (2 * dim + 2)


def expected_count(variant: str, b: Balls) -> int:
    """Predict the non-zeros of the indicator layers on given points: `generic_count` less the zeros of the data.

    box: a bias x_ij - inner that is 0. lean: a bias x_ij = 0. shared: a weight x_ij = 0. compact: counted by distinct
    thresholds, two per neuron of the first layer, one per use, one bias per point.

    Args:
        variant: construction of the indicators.
        b: centers and radii.

    Returns:
        The count.
    """
    n, dim = b.centers.shape
    if is_clamped(variant, b.unbounded):
        return (3 + int(b.high != 0)) * dim + expected_count(variant, b.from_zero())
    if variant == "compact":
        t = shared_thresholds(b)
        return 2 * len(t.column) - int((t.threshold == 0).sum()) + len(t.use) + n
    generic = generic_count(variant, n, dim, b.depth, b.low)
    if variant == "box":
        return generic - int((b.centers == b.inner).sum()) - int((b.centers == -b.inner).sum())
    zeros = int((b.centers == 0).sum())
    if variant == "lean":
        return generic - zeros - int(((b.centers - b.low).sum(1) == b.inner).sum())
    offsets = (b.centers**2).sum(1) - 2 * b.low * b.centers.sum(1)
    vanishing = int((offsets == b.threshold).sum())
    if -b.low / (b.high - b.low) == 0.5:
        vanishing += dim  # the bias of ReLU(u - 1/2)
    return generic - zeros - vanishing


def hidden_layers(variant: str, depth: int, *, unbounded: bool = False) -> int:
    """Count the hidden layers up to the indicators.

    Args:
        variant: construction of the indicators.
        depth: terms of the sawtooth (shared only).
        unbounded: see `generic_count`.

    Returns:
        2 (box, compact), 3 (lean), depth + 3 (shared), and 2 more with a clamp.
    """
    if is_clamped(variant, unbounded):
        return N_CLAMP + hidden_layers(variant, depth)
    if variant in ("box", "compact"):
        return 2
    return 3 if variant == "lean" else depth + 3


def dense_estimate(variant: str, n: int, dim: int, depth: int) -> int:
    """Estimate the entries of the largest matrices if they were dense.

    Args:
        variant: construction of the indicators.
        n: N, memorized points.
        dim: D, inputs.
        depth: terms of the sawtooth (shared only).

    Returns:
        About as many entries as `bounds.to_sequential` would need.
    """
    if variant == "shared":
        width = 3 * dim
        return width * (dim + depth * width) + n * dim
    width = n * dim if variant == "lean" else 2 * n * dim
    return width * (dim + n)


def count_parameters(memorizer: "RobustMemorizer", *, measure: bool = True) -> Parameters:
    """Count the parameters of the whole network: predicted from the data and, where it fits, counted in the layers.

    Args:
        memorizer: the network.
        measure: whether to write the layers out and count.

    Returns:
        The counts.
    """
    supports = memorizer.supports
    n = len(supports)
    indicators = expected_count(memorizer.variant, supports.balls())
    generic = generic_count(
        memorizer.variant, n, supports.points.dim, supports.depth, supports.low, unbounded=supports.unbounded
    )
    try:
        clean = memorizer.lowered_clean()
    except BadRequest:
        n_clean = sum(q.numel() for q in module_parameters(memorizer.clean_model))
        return Parameters(None, None, generic, indicators + n, n_clean, None)
    n_clean = _n_nonzero(clean)
    wait_of_memory = len(clean) - 1 + memorizer.combination.added_depth
    wait_of_memory -= hidden_layers(memorizer.variant, supports.depth, unbounded=supports.unbounded) + 1
    # Memory: the indicators, and one weight per point into the sum of its class.
    formula = indicators + n + n_clean + memorizer.combination.tail_count(clean[-1], wait_of_memory)
    if not measure or generic > EXPAND_LIMIT:
        return Parameters(None, formula, generic, formula - n_clean, n_clean, None)
    layers = memorizer.expand()
    n_dense = sum(layer.n_dense for layer in layers)
    return Parameters(_n_nonzero(layers), formula, generic, formula - n_clean, n_clean, n_dense)


def module_parameters(model: object) -> list[Tensor]:
    """Return the parameters of a module.

    Args:
        model: a module, or a plain function.

    Returns:
        Its parameters; none for a function.
    """
    return list(model.parameters()) if isinstance(model, nn.Module) else []


def _n_nonzero(layers: list[Layer]) -> int:
    return sum(layer.n_nonzero for layer in layers)
