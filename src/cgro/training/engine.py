"""`fit`: training that can be killed at any moment and resumed to the same bits, by one process or several.

Its pieces: what is asked of a network (`network`), a step (`step`, `steps`), what is remembered of epochs (`history`),
files (`store`), evaluations (`evaluation`), Ctrl-C (`interrupt`), what several processes share (`part`).

Several processes run the same loop. What one of them must not decide alone (to stop, to save by the clock, how an epoch
ended) is decided by all or by the first; what follows from numbers that all have is decided by each. The first has the
run directory, the progress bar and the trackers.
"""

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cgro._check import bad, seed_number
from cgro._progress import Update, progress
from cgro.data import Dataset, Split
from cgro.definitions.inputs import describe
from cgro.definitions.metrics import NotFinite
from cgro.definitions.random_state import seeded
from cgro.runs import Run, say
from cgro.training.capture import StepRunner, decision_of
from cgro.training.evaluation import Evaluation, Snapshot, evaluate, own_numbers
from cgro.training.extensions.base import (
    Extension,
    prepare_extensions,
    require_extensions,
    require_loadable,
)
from cgro.training.extensions.carried import with_memory
from cgro.training.fabric import make_fabric, own_fabric, ranks_of, require_whole
from cgro.training.history import EPOCH, LOSS, LR, History, Position, Row
from cgro.training.interrupt import StopRequest, stop_after_step
from cgro.training.network import require_storable, require_trainable, say_modes
from cgro.training.objectives.base import Objective, loss_of_guessing, require_objective
from cgro.training.part import require_same_weights
from cgro.training.recipe import Recipe
from cgro.training.step import derive_seed
from cgro.training.steps import Steps
from cgro.training.store import Store, task_of
from cgro.trajectory import Outcome, Probe, Trajectory

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SECONDS_BETWEEN_SAVES = 300.0
"""At most so many seconds of steps are lost to a kill, and the evaluation under way; when a checkpoint is written
changes no bit of the result. Not before every evaluation: all weights would be written twice an epoch. A choice."""


def fit(
    model: nn.Module,
    data: Dataset,
    objective: Objective,
    recipe: Recipe,
    *,
    extensions: Sequence[Extension] = (),
    evaluation: Evaluation | None = None,
    seed: int = 0,
    run: Run | None = None,
    fabric: "Fabric | None" = None,
    probes: Sequence[Probe] = (),
    compiling: str = "auto",
) -> Trajectory:
    """Train a network to minimize the mean over the examples of an objective's loss.

    Args:
        model: (B, *S) -> (B, C) logits or (B,) scores; trained in place. Under extensions that average weights
            `cgro.training.evaluated(model, extensions)` is the network to use.
        data: its `train` part is learned, `validation` selects, `test` is only measured. Moved to the device as a
            whole, unless it is streamed.
        objective: such as `Adversarial(attack)` or `TRADES(attack, beta=6.0)`; see `Objective`.
        recipe: the loop.
        extensions: such as `(EMA(0.999),)`; see `Extension`. The first is the outermost.
        evaluation: train and test errors after an epoch; None for none, and then nothing is selected.
        seed: of order, attack, augmentation and dropout.
        run: where rows and checkpoints go; a run that has a checkpoint is resumed from it.
        fabric: device, precision and trackers; None means one CPU in float32. With strategy `ddp` all its processes
            call `fit` alike, `run` given in the first alone; see docs/distributed.md.
        probes: further observers after evaluated epochs (all without an evaluation), called with a `Snapshot`; they
            return numbers by name, and must change nothing.
        compiling: whether the network is compiled for the steps: yes, no, or auto: on a GPU, where the training is long
            enough; decided once, and kept by a run that is resumed. See `cgro.training.compiling`.

    Returns:
        One record per evaluated epoch: the four errors (fractions), lr, radius, loss, seconds. NaN, divergence and
        collapse end in the outcome, never in an exception. An interrupt (Ctrl-C) saves after the step.

    Raises:
        BadRequest: no objective or extension, a loss that reaches no weight, an extension whose network or state cannot
            be saved, sharded weights, a checkpoint of another network, of other extensions or of another training
            (recipe, objective, data, seed; more epochs are fine where the learning rate does not depend on them), a
            full disk, patience without an evaluation or a validation part, `keep_every` without a run; processes that
            were given other things, one that has ended or does not answer; inference mode or autocast around the call.

    Example:
        >>> from cgro.data import load
        >>> from cgro.definitions import PGD, ThreatModel
        >>> from cgro.models import build
        >>> from cgro.training import EMA, TRADES
        >>> data = load("digits", n_train=40, n_test=20)
        >>> attack = PGD(ThreatModel("inf", 0.1), n_steps=2)
        >>> model = build("mlp", data.shape, 10, width=8)
        >>> ema = EMA(0.9)
        >>> trajectory = fit(model, data, TRADES(attack, beta=6.0), Recipe(epochs=2), extensions=(ema,))
        >>> trajectory.end.kind, trajectory.steps.tolist()
        ('completed', [1, 2])
    """
    seed = seed_number(seed)
    _require_kinds(data, recipe, evaluation, run)
    _require_observed(fabric, probes)
    _require_surroundings(torch.device("cpu") if fabric is None else fabric.device)
    require_trainable(model)
    if run is not None:
        require_storable(model)
    require_objective(objective)
    require_extensions(extensions)
    extensions = with_memory(objective, extensions)
    require_validation(recipe, data, evaluation)
    if fabric is None:
        fabric = make_fabric("cpu")
    require_whole(model)
    ranks = ranks_of(fabric)
    ranks.require_same("what the processes train", f"{recipe!r} {seed} {data.sha256} {len(data.train)}")
    if run is not None and not ranks.writes:
        raise bad("run", expected="one in the first process alone", got=f"one in process {ranks.number}")
    if evaluation is not None and evaluation.keep_every and run is None and ranks.writes:
        remedy = "give fit a run, or leave keep_every out"
        raise bad("keep_every", expected="a run, which keeps the checkpoints", got="none", remedy=remedy)
    fabric = own_fabric(fabric, ranks)
    if ranks.writes:
        say_modes(model)
    train = data.train.to(fabric.device)
    parts = {
        "validation": data.validation.to(fabric.device),
        "test": data.test.to(fabric.device),
        "train": train,
    }
    with seeded(derive_seed(seed, "others"), fabric.device):
        prepare_extensions(extensions, model, recipe, data, train)
        steps = Steps(model.to(fabric.device), train, objective, recipe, extensions, seed, fabric, ranks)
        require_loadable(extensions)
        history = History(recipe, loss_of_guessing(objective, max(2, data.n_outputs)))
        runner = StepRunner(steps, decision_of(steps, compiling), asked=compiling == "yes")
        store = Store(run, runner, task_of(recipe, objective, data, seed))
        position = store.resume(history)
        loop = _Loop(data, parts, runner, history, store, position, evaluation, probes)
        with deterministic_kernels(), torch.enable_grad():  # also where the caller evaluates under `no_grad`
            outcome = loop.run()
    ranks.wait("the end of the training")  # none goes before the first has saved: a launcher ends the others then
    model.eval()
    return history.trajectory(outcome, evaluated=evaluation is not None, step=runner.note, compiling=runner.compiling)


def require_validation(recipe: Recipe, data: Dataset, evaluation: Evaluation | None) -> None:
    """Refuse a patience that nothing is measured for.

    Args:
        recipe: says the patience.
        data: whose validation part is evaluated.
        evaluation: after epochs; None for none.

    Raises:
        BadRequest: a patience without an evaluation or a validation part.
    """
    if recipe.patience and (evaluation is None or not len(data.validation)):
        expected = "an evaluation and a validation part"
        remedy = "set --validation 0.05, in Python load(..., validation=0.05)"
        raise bad("patience", expected=expected, got="none", remedy=remedy)


def _require_kinds(data: object, recipe: object, evaluation: object, run: object) -> None:
    """Refuse what is of another type before any work: an evaluation would be asked for after the first epoch only."""
    if not isinstance(data, Dataset):
        remedy = "see docs/own_data_and_network.md for data of your own"
        raise bad("data", expected='a Dataset such as cgro.data.load("digits")', got=describe(data), remedy=remedy)
    if not isinstance(recipe, Recipe):
        raise bad("recipe", expected="one such as Recipe(epochs=20)", got=describe(recipe))
    if evaluation is not None and not isinstance(evaluation, Evaluation):
        expected = "one such as Evaluation(attack), or None"
        raise bad("evaluation", expected=expected, got=describe(evaluation))
    if run is not None and not isinstance(run, Run):
        raise bad("run", expected="a Run, as Run.start gives it, or None", got=describe(run))


def _require_observed(fabric: object, probes: object) -> None:
    """Refuse other types for them, which would be met after an epoch only."""
    if fabric is not None and not hasattr(fabric, "setup_module"):
        remedy = 'use cgro.training.make_fabric("cpu")'
        raise bad("fabric", expected="a lightning_fabric.Fabric, or None", got=describe(fabric), remedy=remedy)
    if not isinstance(probes, Sequence) or not all(map(callable, probes)):
        raise bad("probes", expected="functions in a tuple", got=describe(probes), remedy="give (probe,)")


def _require_surroundings(device: torch.device) -> None:
    """Refuse what would change the training without a word, or end it in torch's own errors."""
    if torch.is_inference_mode_enabled():
        raise bad("fit", expected="a call outside of torch.inference_mode()", got="one inside of it")
    if torch.is_autocast_enabled(device.type):
        remedy = 'say it by fabric=make_fabric("auto", precision="bfloat16")'
        raise bad("fit", expected="a call outside of torch.autocast", got="one inside of it", remedy=remedy)


@contextlib.contextmanager
def deterministic_kernels() -> Iterator[None]:
    """Convolutions that give the same bits on a GPU from run to run; the caller's flag is put back.

    Without it, resuming to the same bits holds on CPUs alone. Measured on an H100: no cost.

    Returns:
        A context manager.
    """
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


class Tally:
    """The losses of an epoch, summed on the device, and the first that was not finite.

    A loss that is not finite makes the weights so, and every loss after it: nothing is lost by finding out late. The
    sum in float64 is what Python's would be.

    Args:
        loss_sum: of the steps before.
        device: of the losses.

    Example:
        >>> tally = Tally(1.0, torch.device("cpu"))
        >>> for k, loss in enumerate((0.5, float("nan"), 0.25)):
        ...     tally.add(torch.tensor(loss), 2, k)
        >>> tally.read()
        (nan, 1)
    """

    def __init__(self, loss_sum: float, device: torch.device) -> None:
        # A device without float64 sums in float32.
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self._sum = torch.full((), loss_sum, dtype=dtype, device=device)
        self._broken = torch.full((), -1, dtype=torch.int64, device=device)

    def add(self, loss: Tensor, n: int, k: int) -> None:
        """Add a step.

        Args:
            loss: 0-dimensional, the mean over its examples.
            n: number of them.
            k: number of the step.
        """
        self._sum = self._sum + loss.to(self._sum.dtype) * n
        first = (self._broken < 0) & ~torch.isfinite(loss)
        self._broken = torch.where(first, k, self._broken)

    def read(self) -> tuple[float, int | None]:
        """Wait for the device.

        Returns:
            The sum over the examples, and the number of the first step whose loss was not finite; None if all were.
        """
        broken = int(self._broken)
        return float(self._sum), broken if broken >= 0 else None


@dataclass
class _Loop:
    """The order in which the pieces of one `fit` are called."""

    data: Dataset
    parts: dict[str, Split]
    runner: StepRunner
    history: History
    store: Store
    position: Position
    evaluation: Evaluation | None
    probes: Sequence[Probe]

    def __post_init__(self) -> None:
        self.steps = self.runner.steps
        self.ranks = self.steps.ranks
        self._has_said = False
        self._has_said_refusal = False

    def run(self) -> Outcome:
        """All epochs that are left."""
        epochs = self.steps.recipe.epochs
        with stop_after_step(self.ranks) as stop, self._progress(epochs * self.steps.per_epoch) as update:
            while self.position.epoch < epochs and not self.history.out_of_patience():
                failure = self._epoch(stop, update)
                self.store.write(self.position, self.history)
                if failure is not None:
                    return failure
                asked, _ = self._agree(stop)
                if asked:
                    return self._interrupted()
        return self.history.ending(self.position.epoch)

    def _epoch(self, stop: StopRequest, update: Update) -> Outcome | None:
        """The rest of the current epoch and its evaluation; an interrupt leaves `position` in the middle of it."""
        n_replays = self.runner.n_replays
        ended = self._take_steps(stop, update)
        if ended is not None:
            return ended
        at = self.position
        n_steps = self.steps.per_epoch
        row: Row = {
            EPOCH: at.epoch + 1,
            LOSS: at.loss_sum / len(self.steps.data),
            LR: self.steps.lr(at.epoch, n_steps - 1),
            "seconds": at.seconds,
        }
        if at.attack_seconds is not None:
            row |= {"attack_seconds": at.attack_seconds}
        row |= {"radius": self.steps.radius(at.epoch + 1)}
        require_same_weights(self.steps.network.parameters(), self.ranks)
        self.ranks.copy_first(self.steps.network.buffers())
        if self.steps.graphs is not None:
            row |= {"captured_steps": self.runner.n_replays - n_replays}
        self._say_once()
        at.begin(at.epoch + 1)
        return self._finish(row, at.epoch)

    def _take_steps(self, stop: StopRequest, update: Update) -> Outcome | None:
        """The steps that are left of the current epoch, saved now and then; an outcome where training ends in them."""
        at = self.position
        n_steps = self.steps.per_epoch
        size = self.steps.recipe.batch_size
        order = self.steps.order(at.epoch).to(self.steps.data.rows_on)
        self.steps.data.expect(map(self.steps.own, order[at.step * size :].split(size)))
        tally = Tally(at.loss_sum, self.steps.fabric.device)
        started = time.perf_counter()
        for k in range(at.step, n_steps):
            rows = order[k * size : (k + 1) * size]
            taken = self.runner.take(at.epoch, k, rows)
            tally.add(taken.loss, len(rows), k)
            at.add_attack(taken.attack_seconds)
            update(at.epoch * n_steps + k + 1, self.history.note(), self.history.curves())
            at.step = k + 1
            asked, is_due = self._agree(stop)
            if not (is_due or asked or at.step == n_steps):
                continue
            # The only values of an epoch's steps that are read on the host, after all of them are under way.
            at.loss_sum, broken = tally.read()
            at.seconds += time.perf_counter() - started
            if broken is not None:
                at.step = broken + 1
                return self._non_finite(broken)
            self._require_fine_attacks()
            if asked:
                return self._interrupted()
            if is_due:
                self.store.write(at, self.history)
            started = time.perf_counter()  # what is saved between them is no time of the steps
        return None

    def _interrupted(self) -> Outcome:
        return Outcome("interrupted", "stopped on request; resumable", self.position.epoch)

    def _progress(self, total: int) -> contextlib.AbstractContextManager[Update]:
        """A bar in the first process; the others are silent."""
        if self.ranks.writes:
            return progress(total, "training")
        return contextlib.nullcontext(lambda done, note="", curves=None, /: None)

    def _agree(self, stop: StopRequest) -> tuple[bool, bool]:
        """Whether to stop, and whether it is time to save, by the clock of the first; a request to one is one to all.

        A request may come at any moment, also during the exchange: it is read once, what all agreed on is what counts,
        and nothing is taken back, so that one that comes too late for this step is found after the next.
        """
        asked = stop.made
        is_due = time.monotonic() - self.store.saved_at > SECONDS_BETWEEN_SAVES
        if not self.ranks.shared:
            return asked, is_due
        any_asked, due = self.ranks.largest([int(asked), int(is_due and self.ranks.writes)])
        return bool(any_asked), bool(due)

    def _require_fine_attacks(self) -> None:
        """Refuse what an attack in any process would have refused."""
        noted = self.steps.checks.noted
        if self.ranks.shared and noted is not None:
            fine = self.ranks.smallest([int(value) for value in noted.tolist()])
            noted.copy_(torch.tensor(fine, dtype=torch.bool))
        self.steps.checks.require()

    def _say_once(self) -> None:
        """Why steps are not captured on a GPU, or not compiled though they were to be: a user waits longer."""
        if self.runner.reason and not self._has_said:
            self._has_said = True
            say(f"training: steps are not captured as CUDA graphs: {self.runner.reason}")
        if self.runner.refusal and not self._has_said_refusal:
            self._has_said_refusal = True
            say(f"training: the network is not compiled: {self.runner.refusal}")

    def _non_finite(self, k: int) -> Outcome:
        epoch = self.position.epoch
        reason = (
            f"the loss was NaN or infinite in epoch {epoch + 1}, step {k + 1}; lower lr (now "
            f"{self.steps.lr(epoch, k):g}) or warm the radius up"
        )
        return Outcome("non_finite", reason, epoch + 1)

    def _outputs_not_finite(self, row: Row) -> Outcome:
        epoch = self.position.epoch
        reason = f"the network answers NaN or infinity after epoch {epoch}; lower lr (now {row[LR]:g})"
        return Outcome("non_finite", reason, epoch)

    def _finish(self, row: Row, epoch: int) -> Outcome | None:
        """Evaluate an epoch whose steps are taken, and record it."""
        evaluation = self.evaluation
        diverged = self.history.divergence(row)
        if diverged is not None:
            self.history.rows.append(row)
            return diverged
        if evaluation is None:
            row |= self._observed(self.steps.evaluated(), epoch, row)
        else:
            if evaluation.keep_every and epoch % evaluation.keep_every == 0:
                self.store.keep(epoch)
            if epoch == self.steps.recipe.epochs or epoch % evaluation.every == 0:
                try:
                    row |= self._evaluated(evaluation, epoch, row)
                except NotFinite:  # made so by the last step, whose loss was computed before it
                    self.history.rows.append(row)
                    return self._outputs_not_finite(row)
        row = self._of_first(row)
        self.history.rows.append(row)
        numbers = {key: value for key, value in row.items() if isinstance(value, int | float)}
        self.steps.fabric.log_dict(numbers, step=epoch)
        return None

    def _evaluated(self, evaluation: Evaluation, epoch: int, measured: Row) -> Row:
        network = self.steps.evaluated()
        self.ranks.copy_first(network.buffers())
        row: Row = evaluate(network, self.parts, evaluation, self.ranks)
        row |= self._observed(network, epoch, {**measured, **row})
        if self.history.selects({EPOCH: epoch, **row}):
            assert self.history.selected is not None
            self.store.select(self.history.selected)
        return row

    def _of_first(self, row: Row) -> Row:
        """The row of the first process, whose times and probes count."""
        if not self.ranks.shared:
            return row
        return json.loads(self.ranks.bytes_of_first(json.dumps(row).encode()))

    def _observed(self, network: nn.Module, epoch: int, known: Row) -> Row:
        """What the probes see beside what is known; an observer finds the network in evaluation mode."""
        row: Row = {}
        network.eval()
        with self.ranks.failing_together("a probe"):
            if self.ranks.writes:
                for probe in self.probes:
                    row |= own_numbers(probe(Snapshot(network, self.data, epoch)), {**known, **row})
        return row
