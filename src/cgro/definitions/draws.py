"""Random numbers that belong to examples: what one example draws does not depend on the other examples of the batch."""

import hashlib
import math

import torch
from torch import Tensor

from cgro._check import bad, seed_number
from cgro.definitions.inputs import describe
from cgro.definitions.splitmix import GAMMA, mix, uniform_numbers


def base_of(seed: int, purpose: str) -> int:
    """What the streams of a purpose have in common (SHA-256).

    Args:
        seed: of the run.
        purpose: what the numbers are for.

    Returns:
        An integer in [-2^63, 2^63).

    Raises:
        BadRequest: a seed that is no integer.

    Example:
        >>> base_of(torch.tensor(5), "start") == base_of(5, "start") != base_of(6, "start")
        True
    """
    digest = hashlib.sha256(repr((seed_number(seed), purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


class Draws:
    """One stream of random numbers for each example: the k-th number is mix(key + k * gamma), nothing is carried.

    So examples may be dropped, batched or taken up later, and each goes on with its own numbers.

    Args:
        keys: (B,) int64, one per example.
        position: how many numbers are drawn already, the same for all streams.

    Example:
        >>> draws = Draws.of(0, "start", torch.arange(5))
        >>> some = draws.rows(torch.tensor([3, 1]))
        >>> bool((draws.uniform(4)[[3, 1]] == some.uniform(4)).all())
        True
    """

    def __init__(self, keys: Tensor, position: int = 0) -> None:
        self.keys = keys
        self.position = position

    @classmethod
    def of(cls, seed: int, purpose: str, index: Tensor) -> "Draws":
        """Streams named by a seed, a purpose and the examples' positions in their data set.

        Args:
            seed: of the run.
            purpose: what the numbers are for; streams of different purposes are independent.
            index: (B,) integer positions.

        Returns:
            One stream per example.
        """
        return cls.of_base(base_of(seed, purpose), index)

    @classmethod
    def of_base(cls, base: int | Tensor, index: Tensor) -> "Draws":
        """Streams whose name lies in a tensor: whoever writes another name into it draws from other streams.

        A step that is captured once draws anew in every epoch by this.

        Args:
            base: as `base_of` gives it; a 0-dimensional int64 tensor on the device of `index` gives the same bits.
            index: (B,) integer positions.

        Returns:
            One stream per example.

        Example:
            >>> base, index = torch.tensor(base_of(0, "start")), torch.arange(3)
            >>> torch.equal(Draws.of_base(base, index).keys, Draws.of(0, "start", index).keys)
            True
        """
        return cls(mix(mix(index.long() * GAMMA) + base))

    @classmethod
    def from_generator(cls, generator: torch.Generator, n: int) -> "Draws":
        """Streams for the next n examples of a generator. On CPUs cutting n into batches changes nothing.

        Args:
            generator: is advanced.
            n: number of examples.

        Returns:
            One stream per example, on the generator's device.
        """
        return cls(torch.randint(2**62, (n,), generator=generator, device=generator.device))

    def __len__(self) -> int:
        return len(self.keys)

    def rows(self, rows: Tensor | None) -> "Draws":
        """The streams of some examples, at their current position.

        Args:
            rows: (R,) int64, or (B,) bool; None for all.

        Returns:
            R streams, which go on independently of these.
        """
        if rows is None:
            return self.copy()
        return Draws(self.keys[rows], self.position)

    def copy(self) -> "Draws":
        """The same streams.

        Returns:
            Streams at their current position, which go on independently of these.
        """
        return Draws(self.keys, self.position)

    def seed(self) -> int:
        """A seed for what draws from a generator instead of streams. Reads the first example's key on the host.

        Returns:
            In [0, 2^31); another one for another first example or position.
        """
        return (int(self.keys[0]) + self.position * GAMMA) % 2**31

    def to(self, device: torch.device) -> "Draws":
        """The same streams on a device.

        Args:
            device: any.

        Returns:
            A copy, which goes on independently of these.
        """
        return Draws(self.keys.to(device), self.position)

    def uniform(self, n: int) -> Tensor:
        """Draw from the uniform distribution.

        Args:
            n: numbers per example.

        Returns:
            (B, n) float64, uniform on the multiples of 2^-53 in [0, 1).
        """
        drawn = self.position
        self.position += n
        return uniform_numbers(self.keys, drawn, n)

    def normal(self, n: int) -> Tensor:
        """Draw from the standard normal distribution (Box and Muller, 1958).

        Args:
            n: numbers per example.

        Returns:
            (B, n) float64.
        """
        half = (n + 1) // 2
        length = (-2 * torch.log1p(-self.uniform(half))).sqrt()
        angle = 2 * math.pi * self.uniform(half)
        return torch.cat([length * angle.cos(), length * angle.sin()], 1)[:, :n]

    def integers(self, high: int, n: int) -> Tensor:
        """Draw integers.

        Args:
            high: how many there are.
            n: numbers per example.

        Returns:
            (B, n) int64, uniform in 0 .. high - 1.
        """
        return (self.uniform(n) * high).long()


def draws_for(source: "torch.Generator | Draws | None", n: int, device: torch.device) -> Draws:
    """The streams of n examples; None means a fresh generator seeded 0.

    Args:
        source: where random numbers come from.
        n: number of examples.
        device: of the streams.

    Returns:
        One stream per example.

    Raises:
        BadRequest: streams of another number, or a source that is neither, such as a seed.
    """
    if isinstance(source, Draws):
        if len(source) != n:
            raise bad("draws", expected=f"{n} streams, one per example", got=len(source))
        if source.keys.device != device:
            return source.to(device)
        # The same object: what is drawn here counts for the caller.
        return source
    if source is not None and not isinstance(source, torch.Generator):
        raise bad(
            "generator",
            expected="a torch.Generator or Draws",
            got=describe(source),
            remedy="use torch.Generator().manual_seed(0)",
        )
    if source is None:
        source = torch.Generator(device).manual_seed(0)
    return Draws.from_generator(source, n).to(device)
