"""Searches of an evaluation as graphs: on a GPU a batch is searched without Python once batches like it were.

An evaluation searches batch after batch of one shape on one network, and later, in training, the same again with other
weights. The first batches are searched as ever, which tunes the libraries and shows whether the search reads on the
host; the next one is captured, its images, labels and streams of random numbers in tensors that are written before each
replay. Weights are read where they lie, so that a replay is of the weights as they are then.

Nothing of this is believed: the first two replays, and every one whose number is a power of two, are searched as ever
too, and have to agree in every bit of points, margins and steps. Where they do not, or the search cannot be captured,
the network is attacked as ever, and the reason is told in one line.

Without something that captures, as on a CPU, nothing here has an effect.
"""

import contextlib
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from cgro._check import one_line
from cgro.definitions.attacks.base import Attack
from cgro.definitions.attacks.best import Best
from cgro.definitions.attacks.capturable import has_hooks, obstacle_of
from cgro.definitions.attacks.evaluator import SearchOptions
from cgro.definitions.attacks.passes import evaluated_outputs
from cgro.definitions.attacks.reads import LabelRange, read_batch, require_fine_search
from cgro.definitions.attacks.state import modes_of, preserve_state
from cgro.definitions.draws import Draws, draws_for
from cgro.definitions.graphs import Backend, Call, backend_on
from cgro.definitions.losses import Model
from cgro.definitions.random_state import random_states
from cgro.definitions.threat import require_radius_fits
from cgro.runs import say

N_WARM_UPS = 2
"""Batches before a capture. A choice: a search is many passes, so that one tunes the libraries."""
N_CHECKED = 2
"""First replays that are compared; see `cgro.training.capture`."""
MOST_PASSES = 1000
"""Gradients and queries of a search that is captured. A choice: each is some 250 kernels of a PreActResNet-18."""
MOST_GRAPHS = 4
"""Of one network; each keeps the memory of a search. A choice."""
MOST_CAPTURES = 8
"""After so many the tensors of the network move too often. A choice."""


@dataclass(frozen=True)
class Found:
    """What a search of a batch gave.

    Args:
        x: (B, *S) the points.
        margins: (B,) theirs.
        step: (B,) when an example was first wrong.
        flags: (4,) see `Watch.flags`.
    """

    x: Tensor
    margins: Tensor
    step: Tensor
    flags: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        """Give all of it.

        Returns:
            Points, margins, steps, flags.
        """
        return self.x, self.margins, self.step, self.flags

    def difference(self, other: "Found") -> str:
        """Compare to the bit.

        Args:
            other: of the same batch.

        Returns:
            In what they differ first; "" if in nothing.
        """
        for name, ours, theirs in zip(
            ("points", "margins", "steps", "checks"), self.tensors(), other.tensors(), strict=True
        ):
            if ours.shape != theirs.shape or not torch.equal(_bytes(ours), _bytes(theirs)):
                return name
        return ""

    def best(self, n: int, *, until_wrong: bool) -> Best:
        """The first examples, as an attack returns them.

        Args:
            n: how many.
            until_wrong: see `Attack.find`.

        Returns:
            Copies.
        """
        best = Best(self.x[:n], self.margins[:n], until_wrong=until_wrong)
        best.step = self.step[:n].clone()
        return best


@dataclass
class Batch:
    """What a search is given, which a replay finds in tensors of its own.

    Args:
        x: (B, *S).
        y: (B,).
        draws: (B,) streams.
        labels: their range.
    """

    x: Tensor
    y: Tensor
    draws: Draws
    labels: LabelRange

    def still(self) -> "Batch":
        """Copy everything to tensors that stay where they are.

        Returns:
            The copies.
        """
        return Batch(self.x.clone(), self.y.clone(), Draws(self.draws.keys.clone(), self.draws.position), self.labels)

    def write(self, other: "Batch") -> None:
        """Take over the values of another batch.

        Args:
            other: of the same shapes.
        """
        self.x.copy_(other.x)
        self.y.copy_(other.y)
        self.draws.keys.copy_(other.draws.keys)


@dataclass
class Search:
    """The searches of one attack in batches of one shape on one network.

    Args:
        attack: whose.
        until_wrong: see `Attack.find`.
        backend: what captures.

    Attributes:
        reason: why nothing is captured; "" while nothing is known against it.
        n_replays: so far.
        is_told: whether the user knows the reason.
    """

    attack: Attack
    until_wrong: bool
    backend: Backend
    reason: str = ""
    n_replays: int = 0
    is_told: bool = False
    _n_warm: int = 0
    _n_captures: int = 0
    _labels: LabelRange | None = None
    _graph: "_Graph | None" = None

    def of(self, model: nn.Module, batch: Batch) -> Found | None:
        """Search a batch.

        Args:
            model: in evaluation mode.
            batch: of the shape of those before.

        Returns:
            What was found; None where it is to be searched as ever.

        Raises:
            BadRequest: labels that do not fit.
        """
        graph = self._graph
        if graph is not None and graph.addresses != _addresses(model):
            self._graph = None
            self._n_warm = 0
        known = self._labels is not None and _holds(self._labels, batch.labels)
        if self._n_warm < N_WARM_UPS or not known:
            return self._warm_up(model, batch)
        if self._graph is None and not self._capture(model, batch):
            return None
        return self._replay(model, batch)

    def tell(self) -> None:
        """Say once why nothing is captured: a user waits longer."""
        if self.reason and not self.is_told:
            self.is_told = True
            say(f"evaluation: {self.attack.name} is not captured as a CUDA graph: {self.reason}")

    def _plain(self, model: nn.Module, batch: Batch) -> Found:
        options = SearchOptions(until_wrong=self.until_wrong, dropping="never", labels=batch.labels)
        found = self.attack.search_unread(model, batch.x, batch.y, batch.draws, options)
        best = found.best
        return Found(best.x, best.margins, best.step, found.watch.flags())

    def _as_ever(self, model: nn.Module, batch: Batch, *, strict: bool = False) -> Found:
        """By Python, where and how it is captured."""
        found: list[Found] = []

        def call() -> Tensor:
            found.append(self._plain(model, batch))
            return found[0].flags

        self.backend.warm_up(call, strict=strict)
        return found[0]

    def _warm_up(self, model: nn.Module, batch: Batch) -> Found | None:
        if self._n_warm == 0:
            self.reason = _drawing(model, batch)
            if self.reason:
                return None
        try:
            found = self._as_ever(model, batch, strict=self._n_warm > 0)
        except RuntimeError as error:
            self.reason = _words(error)
            return None
        self._n_warm += 1
        self._labels = batch.labels if self._labels is None else _union(self._labels, batch.labels)
        return found

    def _capture(self, model: nn.Module, batch: Batch) -> bool:
        self._n_captures += 1
        if self._n_captures > MOST_CAPTURES:
            self.reason = f"the tensors of the network have moved {MOST_CAPTURES} times"
            return False
        graph = _Graph(batch.still(), _copies(model), _addresses(model))
        results: list[Tensor] = []

        def call() -> Tensor:
            found = self._plain(model, graph.batch)
            for kept, value in zip(results, found.tensors()[:3], strict=True):
                kept.copy_(value)
            return found.flags

        # Made outside of the graph, which may use the memory of what it makes for something else.
        n = len(batch.x)
        results += [torch.empty_like(batch.x), batch.x.new_empty(n), batch.x.new_empty(n, dtype=torch.int64)]
        try:
            with _in_place_of_its_own(model, graph.held):
                graph.replay = self.backend.capture(call)
        except Exception as error:  # of any kind: the search as ever, which comes next, raises it if it is its own
            self.reason = _words(error)
            return False
        graph.results = tuple(results)
        self._graph = graph
        return True

    def _replay(self, model: nn.Module, batch: Batch) -> Found | None:
        graph = self._graph
        assert graph is not None
        found = graph.done(model, batch)
        self.n_replays += 1
        if self.n_replays > N_CHECKED and self.n_replays & (self.n_replays - 1):
            return found
        expected = self._as_ever(model, batch)
        different = found.difference(expected)
        if not different:
            return found
        self.n_replays -= 1
        self._graph = None
        if expected.difference(self._as_ever(model, batch)):
            self.reason = "two equal searches give other bits here, so that a replay cannot be checked"
        else:
            self.reason = f"a replay differs from the search in its {different}"
        return expected


@dataclass
class _Graph:
    """A search that was captured."""

    batch: Batch
    held: list[Tensor]
    addresses: tuple[object, ...]
    results: tuple[Tensor, ...] = ()
    replay: Call = field(default=lambda: torch.empty(0))

    def done(self, model: nn.Module, batch: Batch) -> Found:
        self.batch.write(batch)
        for kept, (_, _, value) in zip(self.held, _held_by(model), strict=True):
            kept.copy_(value)
        flags = self.replay()
        x, margins, step = (value.clone() for value in self.results)
        return Found(x, margins, step, flags.clone())


_SEARCHES: "weakref.WeakKeyDictionary[nn.Module, dict[object, Search]]" = weakref.WeakKeyDictionary()


def searches_of(model: nn.Module) -> list[Search]:
    """The searches of a network that came into question so far.

    Args:
        model: that was attacked.

    Returns:
        One per attack and shape.
    """
    return list(_SEARCHES.get(model, {}).values())


def find_captured(
    attack: Attack,
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    size: int,
    generator: torch.Generator | Draws | None = None,
    until_wrong: bool = False,
) -> Best | None:
    """As `Attack.find` of an evaluation, by a graph where there is something that captures.

    Args:
        attack: any.
        model: in evaluation mode; a function is never captured.
        x: (B, *S) in the box, float32 or float64.
        y: (B,) labels.
        size: examples of a whole batch. One that is at least half full is filled up, another is searched as ever.
        generator: source of all randomness, or one stream per example.
        until_wrong: see `Attack.find`.

    Returns:
        What was found; None where the caller is to search as ever: then nothing is drawn from the generator.

    Raises:
        BadRequest: see `Attack.find`.
    """
    n = len(x)
    backend = backend_on(x.device)
    if backend is None or not isinstance(model, nn.Module) or not 0 < n <= size <= 2 * n or not is_plain(attack):
        return None
    search = _search_of(model, attack, x, y, size, backend, until_wrong=until_wrong)
    if search is None:
        return None
    if search.reason:
        search.tell()
        return None
    draws = draws_for(generator, n, x.device)
    rows = torch.arange(size, device=x.device) % n
    require_radius_fits(attack.threat, x.shape[1:])
    labels = read_batch(attack.threat, x, y)
    found = search.of(model, Batch(x[rows], y[rows], draws.rows(rows), labels))
    if found is not None and not bool(found.flags[0]):
        search.reason = "the network writes on its input"
        found = None
    search.tell()
    if found is None:
        return attack.find(model, x, y, generator=draws, until_wrong=until_wrong)
    _, *fine = found.flags.tolist()
    require_fine_search(*fine)
    return found.best(n, until_wrong=until_wrong)


def is_plain(attack: Attack) -> bool:
    """Whether an attack is called and finds as all attacks do, so that its search is all that there is of it.

    Args:
        attack: any.

    Returns:
        False if its class has a call of its own.
    """
    kind = type(attack)
    return kind.__call__ is Attack.__call__ and kind.find is Attack.find


def _search_of(
    model: nn.Module, attack: Attack, x: Tensor, y: Tensor, size: int, backend: Backend, *, until_wrong: bool
) -> Search | None:
    cudnn = torch.backends.cudnn
    flags = (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, torch.get_float32_matmul_precision())
    key = (attack, until_wrong, size, tuple(x.shape[1:]), x.dtype, y.dtype, x.device, flags)
    try:
        hash(key)
    except TypeError:
        return None  # such as a loss with tensors of its own, which may be another one each time
    searches = _SEARCHES.setdefault(model, {})
    if key in searches:
        return searches[key]
    search = Search(attack, until_wrong, backend, reason=_obstacle(model, attack))
    while len(searches) >= MOST_GRAPHS:
        del searches[next(iter(searches))]
    searches[key] = search
    return search


def _obstacle(model: nn.Module, attack: Attack) -> str:
    n_passes = attack.n_gradients + sum(getattr(part, "n_queries", 0) for part in attack.parts)
    if n_passes > MOST_PASSES:
        return f"its search has {n_passes} passes, more than {MOST_PASSES}"
    if has_hooks(model):
        return "the network has hooks, which a graph would not call"
    return obstacle_of(attack)


def _drawing(model: nn.Module, batch: Batch) -> str:
    """Whether the network draws random numbers in evaluation: by one pass."""
    with preserve_state(model, batch.x.device):
        before = random_states(batch.x.device)
        evaluated_outputs(model, batch.x)
        if before != random_states(batch.x.device):
            return "the network draws random numbers"
    return ""


def _addresses(model: nn.Module) -> tuple[object, ...]:
    """What a graph knows of a network: where its weights lie, which other tensors it has, and its modes."""
    weights = [(name, value.data_ptr(), value.stride()) for name, value in model.named_parameters()]
    held = [(name, value.shape, value.dtype) for _, name, value in _held_by(model)]
    return (*weights, *held, *modes_of(model))


def _held_by(model: nn.Module) -> list[tuple[nn.Module, str, Tensor]]:
    """The tensors of a network that are no weights, each with module and name: buffers, and plain attributes, as the
    mean of the data often is.
    """
    found: list[tuple[nn.Module, str, Tensor]] = []
    for module in model.modules():
        for held in (module._buffers, vars(module)):
            found += [(module, name, value) for name, value in held.items() if isinstance(value, Tensor)]
    return found


def _hold(module: nn.Module, name: str, value: Tensor) -> None:
    if name in module._buffers:
        module._buffers.update({name: value})
    else:
        vars(module)[name] = value


def _copies(model: nn.Module) -> list[Tensor]:
    """Copies of them in their order; of one that is found twice there is one."""
    copies: dict[int, Tensor] = {}
    for _, _, value in _held_by(model):
        if id(value) not in copies:
            copies[id(value)] = value.detach().clone()
    return [copies[id(value)] for _, _, value in _held_by(model)]


@contextlib.contextmanager
def _in_place_of_its_own(model: nn.Module, held: Sequence[Tensor]) -> Iterator[None]:
    """Give a network other tensors for those of `_held_by`, of the same values.

    Its own move from evaluation to evaluation, as `preserve_state` sets them aside.
    """
    before = _held_by(model)
    try:
        for (module, name, _), value in zip(before, held, strict=True):
            _hold(module, name, value)
        yield
    finally:
        for module, name, value in before:
            _hold(module, name, value)


def _holds(known: LabelRange, labels: LabelRange) -> bool:
    within = known.low <= labels.low and labels.high <= known.high
    return within and (labels.are_signs or not known.are_signs)


def _union(a: LabelRange, b: LabelRange) -> LabelRange:
    return LabelRange(min(a.low, b.low), max(a.high, b.high), are_signs=a.are_signs and b.are_signs)


def _bytes(value: Tensor) -> Tensor:
    return value.detach().reshape(-1).contiguous().view(torch.uint8)


def _words(error: Exception) -> str:
    return one_line(str(error).strip().split("\n")[0], 160) or type(error).__name__
