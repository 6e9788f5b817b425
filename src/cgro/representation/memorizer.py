"""The CGRO classifier of Theorem 4.4 as a network: from memory near the training points, as the clean model elsewhere.

supports      where each point is remembered: radii, ramps, the soft indicators in structured form
indicators    the indicators as ReLU layers; sawtooth: squares for p = 2
combination   how memory overrides the clean model, as a formula and as layers
parameters    how many parameters it has
certificate   y F >= margin on every training ball; verify: independent checks
hard_memorizer   Lemma 4.5's f_S, of which it is the network
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from cgro._check import BadRequest, bad, listed, number, one_of
from cgro.bounds import (
    DENSE_LIMIT,
    Interval,
    Layer,
    propagate_intervals,
    side_by_side,
    sparse_layer,
    to_layers,
    to_sequential,
)
from cgro.definitions.inputs import as_inputs, as_labels, describe
from cgro.definitions.losses import Model, check_labels
from cgro.definitions.metrics import require_eval
from cgro.definitions.threat import ThreatModel
from cgro.representation.combination import Combination
from cgro.representation.indicators import DEFAULT_VARIANT, LAYERS, NORM_OF, indicator_layers
from cgro.representation.parameters import (
    EXPAND_LIMIT,
    Parameters,
    count_parameters,
    dense_estimate,
    generic_count,
    module_parameters,
)
from cgro.representation.points import TrainingPoints
from cgro.representation.separation import Separation
from cgro.representation.separation import separation as separation_of
from cgro.representation.supports import SLACK, Supports

CHUNK = 1024
"""Memorized points at a time in the full pass."""

CLEAN_RANGE = 64
"""Logits that intervals cannot bound are scaled by this multiple of their largest on the data, and clip beyond it."""


class RobustMemorizer(nn.Module):
    """The CGRO classifier of Theorem 4.4, an explicit ReLU network on the user's own data.

    F = ReLU(c - B I) - ReLU(-c - B I) + m_+ - m_-, with c the clipped clean score, m_+- the sums of the soft indicators
    of either label and I = m_+ + m_-; for logits one against rest (see `combination`). Outside the supports of the
    indicators F makes the prediction of f_clean; on every training ball it makes the right one, which `certify` proves.
    It has poly(D) + O~(N D) parameters.

    `forward` evaluates it in structured form on the indicators that are not 0, which is exact; `expand` writes it out.
    What it does NOT say: that it is robust anywhere but near the memorized points.

    Args:
        clean_model: (B, *S) -> (B,) scores or (B, C) logits (Assumption 4.3).
        x: (N, *S) training points.
        y: (N,) labels, -1 / +1 for scores.
        threat: norm, radius and box (Assumption 4.1). Without a box all of this holds for every input, with 4 D
            parameters more for p = 2: the layers clamp inputs that no support reaches.
        variant: `box` or `compact` for p = inf, `lean` for p = 1, `shared` for p = 2; None takes the norm's first.
        ramp: width on which an indicator falls to 0; None takes per point what keeps other classes' balls free, at most
            the radius. A given one may be too wide: `certify` says so.
        memorize: (M,) different positions, integers, or (N,) bool of the points to memorize; a tensor, an array or a
            list, which may be empty. None for all.
        separation: of (x, y), if it is already known (Assumption 4.2).

    Raises:
        BadRequest: (2 + slack) radius >= separation, equal points with different labels, data outside the box, labels
            that do not fit the outputs, a variant of another norm, a ramp that is not positive, points to memorize that
            are not of the data.

    Example:
        >>> x, y = torch.tensor([[0.2], [0.8]]), torch.tensor([-1, 1])
        >>> wrong = lambda v: 0.3 - v[:, 0]                     # a clean model that errs on both points
        >>> F = RobustMemorizer(wrong, x, y, ThreatModel("inf", 0.1))
        >>> F(torch.tensor([[0.2], [0.29], [0.5], [0.8]])).tolist()
        [-1.0, -1.0, -0.19999998807907104, 1.0]
    """

    def __init__(
        self,
        clean_model: Model,
        x: Tensor,
        y: Tensor,
        threat: ThreatModel,
        *,
        variant: str | None = None,
        ramp: float | None = None,
        memorize: Tensor | np.ndarray | Sequence[int] | Sequence[bool] | None = None,
        separation: Separation | None = None,
    ) -> None:
        super().__init__()
        require_eval(clean_model)
        self.training = False
        self.clean_model = clean_model
        self.threat = threat
        self.variant = one_of(variant or DEFAULT_VARIANT[threat.p], "variant", LAYERS)
        if NORM_OF[self.variant] != threat.p:
            raise bad("variant", expected=f"one for p = {threat.p:g}", got=variant, remedy="leave it out")
        number(threat.radius, "radius", low=1e-9)
        x = as_inputs(x)
        if isinstance(y, Tensor):
            y = y.to(x.device)
        y = as_labels(y, x.device)
        self.y = y.cpu()
        self.shape = tuple(x.shape[1:])
        self.combination = self._task(x)
        self.training_points = TrainingPoints.of(x)
        self.separation = separation or separation_of(x, y, threat.p)
        self.separation.require(threat.radius, SLACK)
        memorized = _positions(memorize, len(x))
        self.supports = Supports(self.training_points, memorized, threat, self.separation.nearest, ramp)
        self.classes = self.class_of(self.y)
        self._lowered: list[Layer] | None = None
        self._expanded: list[Layer] | None = None
        if not self.binary:
            self.combination = self._scaled()

    def _task(self, x: Tensor) -> Combination:
        """Check data and labels, and ask the clean model whether it gives scores or logits."""
        if self.threat.box is not None and x.dtype != torch.uint8:
            self.threat.check_input(x)
        if len(x) != len(self.y):
            raise bad("labels", expected=f"{len(x)}, one per point", got=len(self.y))
        some = x[:2]
        if x.dtype == torch.uint8:
            some = some / 255
        with torch.no_grad():
            outputs = self.clean_model(self.shaped(some))
        check_labels(outputs[:1].expand(len(self.y), *outputs.shape[1:]), self.y)
        if outputs.ndim == 1:
            return Combination(2, True)
        return Combination(outputs.shape[1], False)

    def _scaled(self) -> Combination:
        """Logits with a power of two above |f_clean|: over the box by intervals, or `CLEAN_RANGE` times the data's."""
        clips = False
        try:
            box = torch.full((1, self.dim), 1.0, dtype=torch.float64)
            inputs = Interval(self.supports.low * box, self.supports.high * box)
            with torch.no_grad():
                low, high = propagate_intervals(self.lowered_clean(), inputs)[-1]
            top = max(float(-low.min()), float(high.max()))
        except BadRequest:
            with torch.no_grad():
                some = self.shaped(self.points(torch.arange(min(256, len(self.y)))))
                top = CLEAN_RANGE * float(self.clean_model(some).abs().max())
            clips = True
        return Combination(self.n_classes, False, 2.0 ** math.ceil(math.log2(max(top, 1.0))), clips)

    @property
    def binary(self) -> bool:
        """Whether F gives scores, with labels -1 / +1."""
        return self.combination.binary

    @property
    def n_classes(self) -> int:
        """C, the number of classes."""
        return self.combination.n_classes

    @property
    def n_memorized(self) -> int:
        """M, the number of memorized points."""
        return len(self.supports)

    @property
    def dim(self) -> int:
        """D, the number of inputs."""
        return self.training_points.dim

    @property
    def pixels(self) -> Tensor | None:
        """(N, *S) the training points as uint8, if they are pixels k / 255."""
        return self.training_points.pixels

    def class_of(self, labels: Tensor) -> Tensor:
        """Number the classes from 0.

        Args:
            labels: (B,), -1 / +1 for scores.

        Returns:
            (B,) int64 in 0 .. C - 1.
        """
        return ((labels + 1) // 2 if self.binary else labels).long()

    def kept_classes(self, kept: Tensor) -> Tensor:
        """Return the classes of memorized points.

        Args:
            kept: (n,) in 0 .. M - 1.

        Returns:
            (n,) int64 in 0 .. C - 1.
        """
        return self.classes[self.supports.memorized[kept]]

    def shaped(self, x: Tensor) -> Tensor:
        """Give inputs the shape and precision of the clean model.

        Args:
            x: (B, D) or (B, *S).

        Returns:
            (B, *S).
        """
        parameters = module_parameters(self.clean_model)
        dtype = parameters[0].dtype if parameters else torch.float32
        return x.to(dtype).view(-1, *self.shape)

    def points(self, positions: Tensor) -> Tensor:
        """Return training points.

        Args:
            positions: (n,) in 0 .. N - 1.

        Returns:
            (n, D) float64.
        """
        return self.training_points.at(positions)

    def indicators(self, x: Tensor) -> Tensor:
        """Evaluate all soft indicators: the full pass, which looks at every memorized point.

        Args:
            x: (B, *S) inputs.

        Returns:
            (B, M) float64.
        """
        out = [torch.zeros(0, dtype=torch.float64)]
        for row in range(len(x)):
            for kept in torch.arange(self.n_memorized).split(CHUNK):
                out.append(self.supports.values(x[row : row + 1], torch.zeros_like(kept), kept))
        return torch.cat(out).view(len(x), self.n_memorized)

    def memory(self, x: Tensor) -> Tensor:
        """Evaluate m_k, the sum of the indicators of class k, by the active set; differentiable in x.

        Args:
            x: (B, *S) inputs.

        Returns:
            (B, C) float64.
        """
        with torch.no_grad():
            rows, kept = self.supports.near(x)
        if not len(rows):
            return torch.zeros(len(x), self.n_classes, dtype=torch.float64)
        return self.sum_by_class(self.supports.values(x, rows, kept), rows, kept, len(x))

    def sum_by_class(self, values: Tensor, rows: Tensor, kept: Tensor, n_rows: int) -> Tensor:
        """Add values of pairs (input, memorized point) up by input and class.

        Args:
            values: (n,) of the pairs.
            rows: (n,) row of the input.
            kept: (n,) memorized point.
            n_rows: B, number of inputs.

        Returns:
            (B, C) sums, in the precision of the values.
        """
        cell = rows * self.n_classes + self.kept_classes(kept)
        sums = torch.zeros(n_rows * self.n_classes, dtype=values.dtype)
        return sums.index_add(0, cell, values).view(n_rows, self.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate F by the active set.

        Args:
            x: (B, *S) inputs.

        Returns:
            (B,) scores or (B, C) logits.
        """
        return self.combination(self.clean_model(x), self.memory(x))

    def lowered_clean(self) -> list[Layer]:
        """Return the clean model as affine layers with ReLU between them.

        Returns:
            Its layers, on flat inputs.

        Raises:
            BadRequest: it has a module that cannot be lowered (named), or is no module.
        """
        if self._lowered is None:
            if not isinstance(self.clean_model, nn.Module):
                raise bad("clean model", expected="an nn.Sequential", got=type(self.clean_model).__name__)
            self._lowered = to_layers(self.clean_model, self.shape, what="clean model")
        return self._lowered

    def expand(self, *, limit: int = EXPAND_LIMIT) -> list[Layer]:
        """Write the network out as sparse affine layers with ReLU between them.

        They are the function of `forward` on the box, and without a box everywhere.

        Args:
            limit: the most non-zeros that it may have.

        Returns:
            The layers, on flat inputs, outputs (B, 1) or (B, C).

        Raises:
            BadRequest: more than `limit` non-zeros, or a clean model that cannot be lowered.
        """
        supports = self.supports
        n_nonzero = generic_count(
            self.variant, len(supports), self.dim, supports.depth, supports.low, unbounded=supports.unbounded
        )
        if n_nonzero > limit:
            raise bad(
                "network",
                expected=f"at most {limit:,} non-zeros to write out",
                got=f"{n_nonzero:,}",
                remedy="memorize fewer points, or evaluate it in structured form",
            )
        if self._expanded is None:
            # Memory: every indicator into the sum of its class.
            every = torch.arange(len(supports))
            bias = torch.zeros(self.n_classes)
            sums = sparse_layer(self.kept_classes(every), every, torch.ones(len(supports)), bias, len(supports))
            memory = [*indicator_layers(self.variant, supports.balls()), sums]
            clean = self.combination.branch(self.lowered_clean())
            self._expanded = [*side_by_side([clean, memory]), *self.combination.tail()]
        return self._expanded

    def to_sequential(self, *, limit: int = DENSE_LIMIT) -> nn.Sequential:
        """Write the network out with `nn.Linear` and `nn.ReLU`; small N only.

        Args:
            limit: the most dense entries that it may have.

        Returns:
            The module, float64, on flat inputs.

        Raises:
            BadRequest: the dense matrices would have more than `limit` entries.
        """
        n_dense = dense_estimate(self.variant, self.n_memorized, self.dim, self.supports.depth)
        if n_dense > limit:
            raise bad(
                "network",
                expected=f"at most {limit:,} dense entries",
                got=f"about {n_dense:,}",
                remedy="memorize fewer points, or use expand()",
            )
        return to_sequential(self.expand(), limit=limit)

    def parameters_of(self, *, measure: bool = True) -> Parameters:
        """Count the parameters: predicted from the data and, where it fits, counted in the layers.

        Args:
            measure: whether to write the layers out and count.

        Returns:
            The counts.
        """
        return count_parameters(self, measure=measure)


def _positions(memorize: Tensor | np.ndarray | Sequence[int] | Sequence[bool] | None, n: int) -> Tensor:
    """The points to memorize as sorted positions."""
    if memorize is None:
        return torch.arange(n)
    expected = f"different positions in 0 .. {n - 1}, or {n} booleans"
    try:
        given = torch.as_tensor(memorize).detach().cpu()
    except (TypeError, ValueError, RuntimeError):  # a word, a list of lists of different lengths
        raise bad("memorize", expected=expected, got=describe(memorize)) from None
    if given.dtype == torch.bool and given.shape == (n,):
        return torch.nonzero(given).squeeze(1)
    if given.shape == (0,) and given.dtype != torch.bool:  # an empty list becomes an empty tensor of floats
        return given.long()
    if given.ndim != 1 or given.dtype == torch.bool or given.is_floating_point() or given.is_complex():
        raise bad("memorize", expected=expected, got=f"shape {tuple(given.shape)} of {given.dtype}")
    kept = given.long().sort().values
    if kept[0] < 0 or kept[-1] >= n or len(kept.unique()) < len(kept):
        raise bad("memorize", expected=expected, got=listed(kept.tolist()))
    return kept
