"""The captured step: on a GPU a whole step of training is one graph, done again and again without Python.

The first whole batches are taken as ever, which tunes the libraries and shows what the step reads of the host
(`watched`). As soon as `N_WARM_UPS` of them in a row have read the same, the next one is captured: its rows, the names
of its random streams and the numbers that move with the time lie in tensors (`Buffers`), which are written before each
replay. A step that would decide otherwise than the captured one, as when a warm-up ends, is taken as ever, and captured
anew when the new state lasts. The last, smaller batch of an epoch is never captured.

Nothing of this is believed: the first two replays, and the first one of every epoch, are taken twice from the same
state, by the graph and as ever, and have to agree in every bit of weights, buffers, optimizer and extensions. Where
they do not, or the step cannot be captured at all, training goes on as ever, and says why.

Steps of whole batches are taken with the compiled network where the training compiles (`compiling`), captured or not.
"""

import contextlib
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from cgro._check import one_of
from cgro.data import Split
from cgro.definitions.draws import Draws, base_of
from cgro.definitions.graphs import N_WARM_UPS, Call
from cgro.definitions.random_state import seed_torch
from cgro.training.capturable import obstacle
from cgro.training.compiling import OPTIONS, CompiledNetwork, Decision, decided, words
from cgro.training.extensions.base import step_cost
from cgro.training.state import TrainingState, addresses
from cgro.training.step import Moment
from cgro.training.steps import Steps
from cgro.training.watched import Reads, WatchedStep

MOST_CAPTURES = 8
"""After so many the step changes too often. A choice: each costs some four steps."""
N_CHECKED = 2
"""First replays of a capture that are taken twice. One is not enough: what a replay leaves in another place than the
one that it reads shows in the next."""


@dataclass(frozen=True)
class Taken:
    """A step that was taken.

    Args:
        loss: 0-dimensional, on the device; of a replay it is written anew by the next one.
        attack_seconds: time spent in attacks on the host; None for a replay, whose parts have no times.
    """

    loss: Tensor
    attack_seconds: float | None


class Buffers:
    """The tensors that a captured step reads where another reads the host.

    Args:
        reads: of the steps before.
        n: examples of the batch.
        data: that the rows are of; gives device and type.
    """

    def __init__(self, reads: Reads, n: int, data: Split) -> None:
        device = data.y.device
        dtype = data.dtype if data.dtype.is_floating_point else torch.float32
        self.rows = torch.zeros(n, dtype=torch.int64, device=device)
        self.bases = {purpose: torch.zeros((), dtype=torch.int64, device=device) for purpose in sorted(reads.purposes)}
        self.numbers = [torch.zeros((), dtype=dtype, device=device) for _ in reads.numbers]
        self._epoch = -1

    def write(self, steps: Steps, reads: Reads, rows: Tensor, moment: Moment) -> None:
        """Write what the next replay reads. Waits for nothing.

        Args:
            steps: name the streams.
            reads: of the captured step, whose rules give the numbers.
            rows: (B,) of the batch, on the device.
            moment: of the step.
        """
        self.rows.copy_(rows)
        for number, rule in zip(self.numbers, reads.numbers, strict=True):
            number.fill_(rule(moment))
        if moment.epoch != self._epoch:
            for purpose, base in self.bases.items():
                base.fill_(base_of(steps.seed, steps.stream_name(moment.epoch, purpose)))
            self._epoch = moment.epoch

    def streams(self, index: Tensor, purpose: str) -> Draws:
        """Random numbers of the batch.

        Args:
            index: (B,) indices of its examples.
            purpose: what they are for.

        Returns:
            One stream per example.

        Raises:
            RuntimeError: the steps before asked for no such streams.
        """
        if purpose not in self.bases:
            raise RuntimeError(f"the step asked for the random streams {purpose!r}, which the steps before it did not")
        return Draws.of_base(self.bases[purpose], index)


@dataclass
class _Captured:
    """A step that was captured."""

    reads: Reads
    buffers: Buffers
    replay: Call
    addresses: tuple[tuple[str, int], ...]
    n_replays: int = 0
    checked_epoch: int = -1


def decision_of(steps: Steps, option: str) -> Decision | None:
    """Whether a training that begins now compiles its network; see `decided`.

    Args:
        steps: of the training.
        option: auto, yes or no.

    Returns:
        The decision; None where nobody asked, and there is no GPU for which to ask.

    Raises:
        BadRequest: another option.
    """
    device = steps.fabric.device
    if steps.ranks.shared:
        one_of(option, "compiling", OPTIONS)
        return Decision(False, "several processes train together")
    n_whole = len(steps.data) // steps.recipe.batch_size * steps.recipe.batch_size
    operations = 0.0
    if option == "auto" and device.type == "cuda":
        operations = float(steps.recipe.epochs * n_whole * step_cost(steps.objective, steps.extensions).operations)
    decision = decided(option, steps.network, steps.data.shape[1:], operations=operations, device=device)
    if option != "yes" and device.type != "cuda":
        return None
    return decision


class StepRunner:
    """Takes the steps of a training, by a graph where there is one.

    Args:
        steps: of the training.
        compiling: whether the network is compiled for them; None where nobody asked.
        asked: whether the caller counts on it, and is told why it is not.

    Attributes:
        reason: why no step is captured any more; "" while nothing is known against it.
        n_replays: steps that were taken by a graph.
    """

    def __init__(self, steps: Steps, compiling: Decision | None = None, *, asked: bool = False) -> None:
        self.steps = steps
        self._decision = compiling
        self._asked = asked
        self._begun_compiled = False
        self._compiled: CompiledNetwork | None = None
        self.reason = ""
        self.n_replays = 0
        self._size = min(steps.recipe.batch_size, len(steps.data))
        self._captured: _Captured | None = None
        self._reads: Reads | None = None
        self._n_alike = 0
        self._n_captures = 0
        self._changing: list[str] = []
        if steps.graphs is not None:
            self.reason = obstacle(steps)

    @property
    def note(self) -> str:
        """How steps were taken, for the record of a run.

        Returns:
            One line; "" where nothing captures.
        """
        if self.steps.graphs is None:
            return ""
        if self.reason:
            return f"eager: {self.reason}"
        if self.n_replays:
            return "captured"
        if self._changing:
            return f"eager: the step reads {' and '.join(self._changing)}, which is another number in every step"
        return f"eager: fewer than {N_WARM_UPS + 1} whole batches"

    @property
    def compiling(self) -> Decision | None:
        """Whether the network is compiled for whole batches, as it turned out so far; None where nobody asked."""
        if self._compiled is not None and self._compiled.reason:
            return Decision(False, self._compiled.reason)
        return self._decision

    def keep(self, text: object) -> None:
        """Go on as a training was begun.

        Args:
            text: that of its checkpoint, see `Decision`; None of one that says nothing.
        """
        if text is None and (self._decision is None or not self._decision.compiles):
            return
        self._decision = Decision.of_text(text)
        self._begun_compiled = self._decision.compiles

    @property
    def refusal(self) -> str:
        """Why the network is not compiled though it was to be; "" where it is, or nobody counts on it."""
        decision = self.compiling
        if decision is None or decision.compiles or not (self._asked or self._compiled is not None):
            return ""
        if self._begun_compiled:
            return f"{decision.reason}; the run was begun compiled, and does not go on to the same bits"
        return decision.reason

    def take(self, epoch: int, k: int, rows: Tensor) -> Taken:
        """Take the k-th step of an epoch.

        Args:
            epoch: epochs that are over.
            k: from 0.
            rows: (B,) positions of its examples in the training data.

        Returns:
            Its mean loss.
        """
        steps = self.steps
        whole = len(rows) == self._size
        with self._compiled_where(whole):
            if steps.graphs is None or self.reason or not whole:
                step = steps.make(epoch, k, rows)
                steps.set_rate(epoch, k)
                loss = steps.update(step, epoch, k)
                taken = Taken(loss, step.attack_seconds)
            else:
                steps.set_rate(epoch, k)
                taken = self._take(epoch, k, rows.to(steps.data.y.device))
        # Extensions may pass batches through the network after an epoch: that is none of the step.
        steps.close(epoch, k)
        return taken

    def _compiled_where(self, whole: bool) -> contextlib.AbstractContextManager[None]:
        """The network compiled in steps of whole batches, where the training compiles."""
        if self._decision is None or not self._decision.compiles or not whole:
            return contextlib.nullcontext()
        if self._compiled is None:
            self._compiled = CompiledNetwork(self.steps.network, self._size)
        return self._compiled.in_step()

    def _note_capturing(self, capturing: bool) -> None:
        self.steps.capturing = capturing
        if self._compiled is not None:
            self._compiled.capturing = capturing

    def _take(self, epoch: int, k: int, rows: Tensor) -> Taken:
        moment = self.steps.moment(epoch, k)
        self._forget_moved(epoch)
        captured = self._captured
        if captured is None or not captured.reads.holds(moment):
            if not self._lasts(moment):
                return self._watched(epoch, k, rows)
            captured = self._capture(epoch, k, rows)
            if captured is None:
                return self._eager(epoch, k, rows)
        captured.buffers.write(self.steps, captured.reads, rows, moment)
        if captured.n_replays < N_CHECKED or captured.checked_epoch != epoch:
            return self._checked(captured, epoch, k, rows)
        return self._replay(captured, epoch, k)

    def _forget_moved(self, epoch: int) -> None:
        """At the beginning of an epoch: whoever ran since the last may have moved tensors."""
        captured = self._captured
        if captured is None or captured.checked_epoch == epoch:
            return
        if captured.addresses != addresses(self.steps):
            self._captured = None
            self._n_alike = 0

    def _lasts(self, moment: Moment) -> bool:
        """Whether the steps before were alike, and this one would be."""
        return self._n_alike >= N_WARM_UPS and self._reads is not None and self._reads.holds(moment)

    def _eager(self, epoch: int, k: int, rows: Tensor) -> Taken:
        step = self.steps.make(epoch, k, rows)
        loss = self.steps.update(step, epoch, k)
        return Taken(loss, step.attack_seconds)

    def _watched(self, epoch: int, k: int, rows: Tensor) -> Taken:
        """A step as ever, of which is noted what it reads."""
        steps = self.steps
        assert steps.graphs is not None
        reads = Reads(steps.moment(epoch, k))
        seconds: list[float] = []

        def call() -> Tensor:
            streams = partial(self._noted, reads, epoch, steps.data.index[rows])
            step = steps.build(partial(WatchedStep, reads=reads), rows, streams, reads.moment)
            loss = steps.update(step, epoch, k)
            seconds.append(step.attack_seconds)
            return loss

        # The last one before a capture shows where the host reads: a capture that fails on it leaves traces.
        strict = self._n_alike == N_WARM_UPS - 1
        before = TrainingState(steps) if strict else None
        try:
            loss = steps.graphs.warm_up(call, strict=strict)
        except RuntimeError as error:
            if before is None:
                raise
            before.restore(steps)
            self._give_up(words(error))
            return self._eager(epoch, k, rows)
        self._remember(reads)
        return Taken(loss, seconds[0])

    def _noted(self, reads: Reads, epoch: int, index: Tensor, purpose: str) -> Draws:
        reads.purposes.add(purpose)
        return self.steps.streams(epoch, index, purpose)

    def _remember(self, reads: Reads) -> None:
        before = self._reads
        alike = before is not None and before.holds(reads.moment) and before.is_like(reads)
        self._n_alike = self._n_alike + 1 if alike else 1
        self._changing = [] if before is None else before.changed(reads.moment)
        self._reads = reads
        self._give_up(reads.obstacle())

    def _give_up(self, reason: str) -> None:
        if reason:
            self.reason = reason
            self._captured = None

    def _capture(self, epoch: int, k: int, rows: Tensor) -> _Captured | None:
        """Capture the step; None, with the reason noted, where that cannot be."""
        steps = self.steps
        assert steps.graphs is not None
        assert self._reads is not None
        self._captured = None  # its memory first
        self._n_captures += 1
        if self._n_captures > MOST_CAPTURES:
            self._give_up(f"what the step decides by the time has changed {MOST_CAPTURES} times")
            return None
        reads = Reads(steps.moment(epoch, k))
        buffers = Buffers(self._reads, len(rows), steps.data)
        buffers.write(steps, self._reads, rows, reads.moment)

        def call() -> Tensor:
            streams = partial(self._captured_streams, reads, buffers, steps.data.index[buffers.rows])
            kind = partial(WatchedStep, reads=reads, buffers=buffers.numbers)
            return steps.update(steps.build(kind, buffers.rows, streams, reads.moment), epoch, k)

        before = TrainingState(steps)
        lie_at = addresses(steps)
        self._note_capturing(True)
        try:
            replay = steps.graphs.capture(call)
        except Exception as error:  # of any kind: the step as ever, which comes next, raises it if it is its own
            self._give_up(words(error))
        finally:
            self._note_capturing(False)
            before.restore(steps)
        if not self.reason and not self._reads.is_like(reads):
            self._give_up("the step asks for other things each time")
        moved = [name for name, place in addresses(steps) if (name, place) not in lie_at]
        if not self.reason and moved:
            self._give_up(f"a step replaces tensors, such as {moved[0]}")
        if self.reason:
            return None
        self._captured = _Captured(reads, buffers, replay, lie_at)
        return self._captured

    def _captured_streams(self, reads: Reads, buffers: Buffers, index: Tensor, purpose: str) -> Draws:
        reads.purposes.add(purpose)
        return buffers.streams(index, purpose)

    def _replay(self, captured: _Captured, epoch: int, k: int) -> Taken:
        device = self.steps.data.y.device
        devices = [device] if device.type == "cuda" else []
        self.steps.model.train()
        with torch.random.fork_rng(devices=devices):
            seed_torch(self.steps.noise_seed(epoch, k), device)
            loss = captured.replay()
        captured.n_replays += 1
        self.n_replays += 1
        return Taken(loss, None)

    def _checked(self, captured: _Captured, epoch: int, k: int, rows: Tensor) -> Taken:
        """Take the step as ever and by the graph, from the same state; keep the latter if both agree."""
        steps = self.steps
        before = TrainingState(steps)
        expected = self._eager(epoch, k, rows)
        eager = TrainingState(steps)
        before.restore(steps)
        taken = self._replay(captured, epoch, k)
        captured.checked_epoch = epoch
        different = eager.differences(TrainingState(steps))
        if not different and torch.equal(expected.loss.nan_to_num(), taken.loss.nan_to_num()):
            return taken
        self.n_replays -= 1
        before.restore(steps)
        again = self._eager(epoch, k, rows)
        if eager.differences(TrainingState(steps)):
            self._give_up("two equal steps give other bits here, so that a replay cannot be checked")
        else:
            self._give_up(f"a replay differs from the step in {_names(different or ['the loss'])}")
        return again


def _names(different: list[str]) -> str:
    if len(different) == 1:
        return different[0]
    return f"{different[0]} and {len(different) - 1} more"
