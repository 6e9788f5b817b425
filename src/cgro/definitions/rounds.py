"""Examples in chunks, divided among processes: the one place where an evaluation by several processes is divided.

The chunks are those of one process, and each is computed whole by one process, so every number has the bits that one
process gives it. In a round every process has one chunk at most; after it all of them know the results of all. What
goes wrong in one process goes wrong in all, and a request to stop is met by all in the same round.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cgro._check import BadRequest, one_line
from cgro._interrupt import acknowledge, interrupt, stop_requests
from cgro.definitions.losses import Model
from cgro.definitions.metrics import NotFinite
from cgro.ranks import Ranks

TOLD = "raised alike by several processes; the first one tells it"
"""A note on such errors: whoever prints them need do so once."""

DTYPES = {
    str(dtype): dtype
    for dtype in (torch.bool, torch.uint8, torch.int64, torch.bfloat16, torch.float16, torch.float32, torch.float64)
}
"""Types of results that processes tell one another, by name."""
FINE, REFUSED, NOT_FINITE, BROKEN, STOPPED = range(5)
"""How a block ended in a process."""


@dataclass(frozen=True)
class Round:
    """Chunks that are computed at the same time, one by each process.

    Args:
        chunks: (R,) int64 positions of examples each, in order; the k-th is that of process k. Never more than
            processes, never none.
        ranks: the processes.
    """

    chunks: tuple[Tensor, ...]
    ranks: Ranks

    @property
    def rows(self) -> Tensor:
        """The positions of all examples of the round, in order."""
        return torch.cat(self.chunks)

    def decided(self, ask: Callable[[], bool]) -> bool:
        """A decision of the first process, such as one that its clock makes.

        Args:
            ask: makes it; asked in the first process alone.

        Returns:
            Its answer, in every process.

        Raises:
            BadRequest: a process has ended, or does not answer.
        """
        answer = ask() if self.ranks.writes else False
        return self.ranks.of_first([int(answer)]) == [1]

    def found(self, find: Callable[[Tensor], Sequence[Tensor]]) -> list[Tensor]:
        """Compute the chunk of this process, and learn what the others found for theirs.

        Args:
            find: positions (R,) of one chunk -> results (R, *S), as many and of the same types and S for every chunk.

        Returns:
            The results for `rows`, on the CPU, the same in every process, to the bit.

        Raises:
            BadRequest: what the first failing chunk raised, in every process; a process has ended, or does not answer.
            KeyboardInterrupt: a process was asked to stop.
        """
        ranks = self.ranks
        if not ranks.shared:
            return [values.detach().cpu() for values in find(self.rows)]
        own: list[Tensor] = []
        with alike(ranks):
            if ranks.number < len(self.chunks):
                own = [values.detach().cpu() for values in find(self.chunks[ranks.number])]
        layout = _Layout.of(own).of_first(ranks)
        sizes = [len(chunk) for chunk in self.chunks]
        places = torch.arange(sum(sizes), device="cpu")
        mine = torch.zeros(0, dtype=torch.int64, device="cpu")
        if ranks.number < len(sizes):
            mine = places.split(sizes)[ranks.number]
        return layout.unpacked(ranks.in_order(layout.packed(own), mine, len(places)))


def rounds(rows: Tensor, batch: int, ranks: Ranks) -> list[Round]:
    """Divide examples among processes: the chunks of one process, dealt out in order.

    Args:
        rows: (N,) int64 positions of the examples.
        batch: examples of a chunk; the last one may be smaller.
        ranks: the processes. One process has a round for each chunk.

    Returns:
        The rounds; none of no examples.

    Example:
        >>> [[len(chunk) for chunk in one.chunks] for one in rounds(torch.arange(10), 4, Ranks(size=2))]
        [[4, 4], [2]]
    """
    if not len(rows):
        return []
    chunks = rows.split(batch)
    return [Round(chunks[first : first + ranks.size], ranks) for first in range(0, len(chunks), ranks.size)]


def require_same_task(ranks: Ranks, model: Model, what: str, *tensors: Tensor) -> None:
    """Refuse to evaluate where the processes were given different networks or examples.

    Args:
        ranks: the processes.
        model: the weights of a module are compared; a function cannot be.
        what: the settings, in words.
        tensors: that must be the same, to the bit.

    Raises:
        BadRequest: they are not; a process has ended, or does not answer.
    """
    if not ranks.shared:
        return
    digest = hashlib.sha256(what.encode())
    weights: list[Tensor] = []
    if isinstance(model, torch.nn.Module):
        weights = [value for value in model.state_dict().values() if isinstance(value, Tensor)]
    for tensor in [*weights, *tensors]:
        digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    ranks.require_same("what the processes evaluate", digest.hexdigest())


@dataclass(frozen=True)
class _Layout:
    """Types and shapes of the results of one example, and the bytes that hold them."""

    types: tuple[torch.dtype, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, values: Sequence[Tensor]) -> "_Layout":
        return cls(tuple(one.dtype for one in values), tuple(tuple(one.shape[1:]) for one in values))

    def of_first(self, ranks: Ranks) -> "_Layout":
        """That of the first process, which always has a chunk: others may have none."""
        text = json.dumps([[str(one) for one in self.types], self.shapes]).encode()
        types, shapes = json.loads(ranks.bytes_of_first(text))
        return _Layout(tuple(DTYPES[name] for name in types), tuple(tuple(shape) for shape in shapes))

    def packed(self, values: Sequence[Tensor]) -> Tensor:
        """(R, bytes of an example)."""
        if not values:
            return torch.zeros(0, sum(self._sizes), dtype=torch.uint8, device="cpu")
        rows = [one.reshape(len(one), -1).contiguous().view(torch.uint8) for one in values]
        return torch.cat(rows, 1)

    def unpacked(self, rows: Tensor) -> list[Tensor]:
        """(R, *S) of each type."""
        found: list[Tensor] = []
        for piece, dtype, shape in zip(rows.split(self._sizes, 1), self.types, self.shapes, strict=True):
            found.append(piece.contiguous().view(dtype).reshape(len(rows), *shape))
        return found

    @property
    def _sizes(self) -> list[int]:
        sizes: list[int] = []
        for dtype, shape in zip(self.types, self.shapes, strict=True):
            sizes.append(torch.Size(shape).numel() * dtype.itemsize)
        return sizes


@dataclass
class _Requests:
    """Requests to stop: they interrupt what one process computes by itself, and never an exchange with the others.

    Args:
        made: whether one has come.
        open: whether it may interrupt now.
    """

    made: bool = False
    open: bool = False

    def request(self) -> None:
        self.made = True
        if self.open:
            interrupt()


_IN_FORCE: list[_Requests] = []
"""The one of this process, while it works with others."""


@contextlib.contextmanager
def stopping_alike(ranks: Ranks) -> Iterator[None]:
    """Within, a request to stop (Ctrl-C, and what a command takes for the same) ends all processes together.

    It is met where a process computes by itself, see `alike`; in an exchange it waits until then.

    Args:
        ranks: the processes. For one process nothing changes.

    Yields:
        Nothing.

    Raises:
        KeyboardInterrupt: on leaving, if a request came after the last such place.
    """
    if not ranks.shared or _IN_FORCE:
        yield
        return
    requests = _Requests()
    _IN_FORCE.append(requests)
    try:
        with stop_requests(requests.request):
            yield
    finally:
        _IN_FORCE.remove(requests)
    if requests.made:
        interrupt()


@contextlib.contextmanager
def alike(ranks: Ranks) -> Iterator[None]:
    """What goes wrong in the block in one process goes wrong in all of them, with one error.

    Within the block nothing may be exchanged: a process that fails leaves it early.

    Args:
        ranks: the processes. For one process nothing changes.

    Yields:
        Nothing.

    Raises:
        BadRequest: what the first failing process raised, which is what one process alone would have met first. What
            this process itself raised comes as it is where it says the same.
        KeyboardInterrupt: a process was asked to stop.
    """
    if not ranks.shared:
        yield
        return
    with stopping_alike(ranks):
        (requests,) = _IN_FORCE
        error: BaseException | None = None
        try:
            requests.open = True
            if requests.made:
                interrupt()
            yield
            requests.open = False
        except (Exception, KeyboardInterrupt, SystemExit) as raised:
            requests.open = False
            acknowledge()
            error = raised
        _fail_together(ranks, error)


def _fail_together(ranks: Ranks, error: BaseException | None) -> None:
    """Tell the others how a block ended, and end as the first that failed did."""
    ends = [FINE] * ranks.size
    ends[ranks.number] = _end_of(error)
    ends = ranks.sums(ends)
    if STOPPED in ends:
        raise KeyboardInterrupt from error
    if not any(ends):
        return
    number = next(k for k, end in enumerate(ends) if end)
    text = torch.zeros(0, dtype=torch.uint8, device="cpu")
    if ranks.number == number:
        text = torch.tensor(list(_words(error, ranks).encode()), dtype=torch.uint8, device="cpu")
    (n,) = ranks.sums([len(text)])
    words = bytes(ranks.in_order(text, torch.arange(len(text), device="cpu"), n).tolist()).decode()
    if isinstance(error, BadRequest) and str(error) == words:
        error.add_note(TOLD)
        raise error
    if error is not None and ranks.number == number:
        raise error
    if ends[number] == NOT_FINITE:
        found: BadRequest = NotFinite(words)
    else:
        found = BadRequest(words)
    found.add_note(TOLD)
    raise found from error


def _end_of(error: BaseException | None) -> int:
    if error is None:
        return FINE
    if isinstance(error, KeyboardInterrupt):
        return STOPPED
    if isinstance(error, NotFinite):
        return NOT_FINITE
    if isinstance(error, BadRequest):
        return REFUSED
    return BROKEN


def _words(error: BaseException | None, ranks: Ranks) -> str:
    if isinstance(error, BadRequest):
        return str(error)
    return one_line(f"process {ranks.number + 1} of {ranks.size}: {type(error).__name__}: {error}", 500)
