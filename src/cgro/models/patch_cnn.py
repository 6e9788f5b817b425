"""The two-layer patch network of Section 5, with its closed forms."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from cgro._check import bad, count, number, one_of

Activation = Literal["odd", "halves"]


class PatchCNN(nn.Module):
    """The two-layer convolution f_W(X) = sum_r sum_j a_r phi(<w_r, X[j]>); only the filters w_r are trained.

    `odd`: phi(z) = sign(z)|z|^q and a_r = 1. `halves`: phi(z) = ReLU(z)^q and a_r = +1 for the first half of the
    filters, -1 for the second. For odd q the odd form equals halves with the filters w and -w tied in pairs.

    Args:
        patch_dim: d, coordinates of a patch.
        n_filters: m; even for `halves`.
        activation_power: q >= 2; any real number.
        activation: "odd" or "halves".
        init_std: standard deviation of each coordinate at the start.
        generator: source of the initial filters.

    Raises:
        BadRequest: q < 2, no filters, an odd number of filters for `halves`.

    Example:
        >>> net = PatchCNN(2, 1, generator=torch.Generator())
        >>> _ = net.filters.data.copy_(torch.tensor([[2.0, 0.0]]))
        >>> net(torch.tensor([[[1.0, 5.0], [-0.5, 0.0]]], dtype=torch.float64)).tolist()  # 2^3 + (-1)^3
        [7.0]
    """

    signs: Tensor

    def __init__(
        self,
        patch_dim: int,
        n_filters: int,
        *,
        activation_power: float = 3,
        activation: Activation = "odd",
        init_std: float = 0.03,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        count(patch_dim, "patch_dim")
        count(n_filters, "n_filters")
        self.activation_power = number(activation_power, "activation_power", low=2.0)
        self.activation = one_of(activation, "activation", ("odd", "halves"))
        start = torch.randn(n_filters, patch_dim, generator=generator, dtype=torch.float64)
        self.filters = nn.Parameter(number(init_std, "init_std", low=0.0) * start)
        self.register_buffer("signs", second_layer(n_filters, activation))

    def response(self, z: Tensor) -> Tensor:
        """phi(z), before the second layer.

        Args:
            z: <w_r, X[j]>, of any shape.

        Returns:
            The same shape.
        """
        if self.activation == "odd":
            return z * z.abs() ** (self.activation_power - 1)
        return z.clamp_min(0) ** self.activation_power

    def forward(self, x: Tensor) -> Tensor:
        """f_W(X) of each example.

        Args:
            x: (B, P, d).

        Returns:
            (B,) scores.

        Raises:
            BadRequest: patches of another dimension.
        """
        if x.ndim != 3 or x.shape[2] != self.filters.shape[1]:
            raise bad("x", expected=f"shape (B, P, {self.filters.shape[1]})", got=tuple(x.shape))
        return (self.response(x @ self.filters.T) @ self.signs).sum(1)

    def class_signal(self, direction: Tensor) -> tuple[float, float]:
        """y f of the patch y w*, for y = +1 and y = -1. Equal, and called U, in the odd form.

        Args:
            direction: w*, (d,), unit.

        Returns:
            U_+ and U_-.
        """
        u = self.filters.detach() @ direction.to(self.filters)
        return float(self.response(u) @ self.signs), -float(self.response(-u) @ self.signs)

    def worst_strength(self, direction: Tensor, signal_strength: float, radius: float) -> tuple[float, float]:
        """The signal strength that the adversary along w* leaves, for y = +1 and y = -1, in closed form.

        argmin over |x - alpha| <= delta of y f(y x w*). In x it is x^q U_y for x >= 0 and -|x|^q U_{-y} for x < 0:
        monotone on both sides of zero, so the minimum is an end point or, when inside, x = 0.

        Args:
            direction: w*, (d,), unit.
            signal_strength: alpha.
            radius: delta >= 0.

        Returns:
            The two minimizers.

        Example:
            >>> net = PatchCNN(2, 3, generator=torch.Generator())
            >>> _ = net.filters.data.abs_()
            >>> net.worst_strength(torch.tensor([1.0, 0.0]), 3.0, 1.0)
            (2.0, 2.0)
        """
        radius = number(radius, "radius", low=0.0)
        low = signal_strength - radius
        high = signal_strength + radius
        candidates = [low, high]
        if low < 0 < high:
            candidates.append(0.0)
        plus, minus = self.class_signal(direction)
        return self._worst(candidates, plus, minus), self._worst(candidates, minus, plus)

    def _worst(self, candidates: Sequence[float], of_class: float, of_other: float) -> float:
        """The candidate of the least margin, where U_y is `of_class` and U_{-y} is `of_other`."""

        def margin(x: float) -> float:
            power = abs(x) ** self.activation_power
            return power * of_class if x >= 0 else -power * of_other

        return min(candidates, key=margin)


def second_layer(n_filters: int, activation: Activation) -> Tensor:
    """a_r: all ones for `odd`; +1 then -1, half each, for `halves`.

    Args:
        n_filters: m.
        activation: "odd" or "halves".

    Returns:
        (m,) float64.

    Raises:
        BadRequest: an odd number of filters for `halves`.
    """
    signs = torch.ones(n_filters, dtype=torch.float64)
    if activation == "halves":
        if n_filters % 2:
            raise bad("n_filters", expected="an even number, half of each sign", got=n_filters)
        signs[n_filters // 2 :] = -1.0
    return signs
