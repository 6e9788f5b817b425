"""What a search has to know of its batch before its first pass, and of its passes after the last: one read each.

A search between them is a function of tensors. A read makes a GPU wait for the host, and ends what a CUDA graph or
`torch.compile` can take in one piece; a label out of range that is used as an index on a GPU ends the process.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from cgro._check import bad
from cgro.definitions.losses import check_labels
from cgro.definitions.threat import ThreatModel

FINITE = "check the weights (classes are masked by -1e9, not by -inf)"
"""What to do where a network's outputs are not finite."""


@dataclass(frozen=True)
class LabelRange:
    """What a search must know of labels, whose classes are only known after a pass.

    Args:
        low: smallest label.
        high: largest label.
        are_signs: whether all are -1 or +1.
    """

    low: float
    high: float
    are_signs: bool

    @classmethod
    def of(cls, y: Tensor) -> "LabelRange":
        """Read it.

        Args:
            y: (N,) labels, N at least 1.

        Returns:
            Their range.
        """
        values = [*torch.aminmax(y), (y.abs() == 1).all()]
        low, high, are_signs = torch.stack([value.double() for value in values]).tolist()
        return cls(low, high, bool(are_signs))

    def check(self, outputs: Tensor, y: Tensor) -> None:
        """Refuse labels that do not fit the outputs. Reads nothing unless they do not.

        Args:
            outputs: (B, C) or (B,).
            y: (B,) the labels, or some of those, for the message.

        Raises:
            BadRequest: see `check_labels`.
        """
        integers = not y.is_floating_point()
        if y.shape == outputs.shape[:1]:
            if outputs.ndim == 1 and self.are_signs:
                return
            if (
                outputs.ndim == 2
                and outputs.shape[1] >= 2
                and integers
                and 0 <= self.low <= self.high < outputs.shape[1]
            ):
                return
        check_labels(outputs, y)


def read_batch(threat: ThreatModel, x: Tensor, y: Tensor) -> LabelRange:
    """The one read before a search: inputs in the box, and the range of the labels.

    Args:
        threat: whose box the inputs must lie in.
        x: (B, *S).
        y: (B,).

    Returns:
        The range of the labels.

    Raises:
        BadRequest: see `ThreatModel.check_input`.
    """
    if not (x.is_floating_point() and x.numel() and y.numel()):
        threat.check_input(x)
        return LabelRange(0.0, 0.0, are_signs=False)
    values = [*torch.aminmax(x), *torch.aminmax(y), (y.abs() == 1).all()]
    low, high, first, last, are_signs = torch.stack([value.double() for value in values]).tolist()
    threat.check_range(low, high)
    return LabelRange(first, last, bool(are_signs))


@dataclass
class Watch:
    """What the passes of a search are to be judged by once it is over: tensors that nobody has read.

    Args:
        written: () bool tensors, whether the network wrote on its input.
        outputs: () bool tensors, whether outputs at clean inputs were finite, and margins elsewhere numbers; at least
            one after a first pass.
        gradients: () tensors that are finite where all of a gradient is.
        inside: () bool tensors, whether the points of an attack of others lie in its ball and box.
    """

    written: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    gradients: list[Tensor] = field(default_factory=list)
    inside: list[Tensor] = field(default_factory=list)

    def see_gradient(self, gradient: Tensor) -> None:
        """Take note of a gradient: by its extremes, which NaN and infinity pass through.

        On a CPU a thirtieth of the time of `isfinite` or of the maximum norm.

        Args:
            gradient: of any shape.
        """
        if gradient.numel():
            self.gradients += [gradient.amax(), gradient.amin()]

    def see_margins(self, margins: Tensor) -> None:
        """Take note of margins of points that a search proposes: NaN is never lower, so it would pass for robust.

        Args:
            margins: (B,), evaluated in the precision that decides.
        """
        fine = ~margins.isnan().any()
        if self.outputs:
            fine = fine & self.outputs.pop()
        self.outputs.append(fine)

    def flags(self) -> Tensor:
        """What was seen, in one tensor.

        Returns:
            (4,) bool: the network did not write on its input, outputs are finite, gradients are finite, points lie in
                ball and box.
        """
        true = torch.ones_like(self.outputs[0])
        unwritten, gradients, inside = true, true, true
        if self.written:
            unwritten = ~torch.stack(self.written).any()
        if self.gradients:
            gradients = torch.stack(self.gradients).isfinite().all()
        if self.inside:
            inside = torch.stack(self.inside).all()
        return torch.stack([unwritten, torch.stack(self.outputs).all(), gradients, inside])

    def wrote_on_input(self) -> bool:
        """The one read after a search.

        Returns:
            Whether the network wrote on its input, so that the search means nothing.

        Raises:
            BadRequest: outputs or gradients that were not finite, or points outside ball or box, where the network did
                not write on its input.
        """
        if not self.outputs:
            return False
        unwritten, *fine = self.flags().tolist()
        if not unwritten:
            return True
        require_fine_search(*fine)
        return False


def require_fine_search(outputs: bool, gradients: bool, inside: bool = True) -> None:
    """Refuse a search whose passes were not finite, or whose points left ball or box.

    Args:
        outputs: whether outputs were finite.
        gradients: whether gradients were.
        inside: whether the points lie in ball and box, and the labels were left as they are.

    Raises:
        BadRequest: they were or do not.
    """
    if not outputs:
        remedy = f"{FINITE}, and in an attack of your own its points"
        raise bad("model output", expected="finite values", got="NaN or inf", remedy=remedy)
    if not gradients:
        remedy = "the loss overflows or is singular here"
        raise bad("gradient", expected="finite values", got="NaN or inf", remedy=remedy)
    if not inside:
        expected = "points inside its own ball and box, and labels left as they are"
        remedy = "project them, as `self.threat.project(x, clean)` does, and change copies of `evaluator.y`"
        raise bad("attack", expected=expected, got="others", remedy=remedy)


def require_finite(finite: Tensor) -> None:
    """Refuse gradients that were not finite, at once. `Watch.see_gradient` leaves that to the end of the search.

    Args:
        finite: () bool, whether all gradients were. It is read on the host.

    Raises:
        BadRequest: they were not.
    """
    require_fine_search(outputs=True, gradients=bool(finite))
