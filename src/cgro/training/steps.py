"""The steps of a training: which batch is the k-th of an epoch, and how it changes the weights.

Nothing random is carried from step to step. What happens to an example, its augmentation and the start of its attack,
is drawn from a stream of its own, keyed by (seed, purpose, epoch, its index in the data set): it depends neither on the
other examples of the batch nor on how the batches are cut. The order of an epoch, and the network's own noise (dropout)
in a step, come from generators seeded by (seed, purpose, epoch) and (seed, purpose, epoch, step). So a checkpoint needs
no generator states, and a resumed run draws what an undisturbed one would have drawn.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from cgro._check import bad
from cgro.data import Split, augmentation_by_name
from cgro.definitions.attacks.captured import is_plain
from cgro.definitions.attacks.layout import is_about_conversion
from cgro.definitions.attacks.passes import require_same_kind
from cgro.definitions.attacks.reads import LabelRange
from cgro.definitions.draws import Draws
from cgro.definitions.graphs import backend_on
from cgro.definitions.random_state import seed_generators, seed_torch
from cgro.ranks import ALONE, Ranks
from cgro.training.batch_norm import require_synchronizable, synchronized
from cgro.training.craft import CraftChecks
from cgro.training.extensions.base import Extension, evaluated_as_saved
from cgro.training.objectives.base import Objective, attack_of
from cgro.training.optimizers import TensorAdam, TensorSGD, on_tensors
from cgro.training.part import WHOLE, Part, add_gradients, average_statistics, require_gradients
from cgro.training.recipe import Recipe
from cgro.training.step import Moment, Step, Streams, derive_seed, passed_over
from cgro.training.watched import WatchedStep, watching_noise, watching_python

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Kind = TypeVar("Kind", bound=Step)


@dataclass
class Steps:
    """A network in training, step by step.

    Args:
        network: the module whose parameters are updated, on the device of `fabric`.
        data: the training examples, on the same device.
        objective: gives each example's loss.
        recipe: the loop.
        extensions: see `Extension`; the first is the outermost.
        seed: of order, attack, augmentation and dropout.
        fabric: device and precision of this process.
        ranks: the processes that train together.

    Attributes:
        graphs: what captures on this device; None where nothing does. Where something does, every step, captured or
            not, reads nothing on the host and has its learning rate in a tensor.
        capturing: whether a step is being captured: then its noise is seeded by whoever replays it.
    """

    network: nn.Module
    data: Split
    objective: Objective
    recipe: Recipe
    extensions: Sequence[Extension]
    seed: int
    fabric: "Fabric"
    ranks: Ranks = ALONE

    def __post_init__(self) -> None:
        self.augmentation = augmentation_by_name(self.recipe.augment)
        self.attack = attack_of(self.objective)
        self.replays: int = getattr(self.objective, "replays", 1)
        self.graphs = backend_on(self.fabric.device)
        self.capturing = False
        self._is_first = True
        self.checks = CraftChecks(LabelRange.of(self.data.y), reads=self.graphs is None)
        self._require_fits()
        self.ranks.copy_first([*self.network.parameters(), *self.network.buffers()])
        optimizer = self.recipe.build_optimizer(self.network)
        if self.graphs is not None:
            optimizer = on_tensors(optimizer) or optimizer
        self.model, self.optimizer = self.fabric.setup(self.network, optimizer)
        for extension in self.extensions:
            extension.begin(self.network)
        self.evaluated()  # refused now, not after an epoch

    def _require_fits(self) -> None:
        """Refuse what several processes cannot do alike."""
        if not self._synchronizes:
            return
        require_synchronizable(self.network)
        if self.attack is None or self.recipe.craft_mode == "eval":
            return
        for part in self.attack.parts:
            if part.reads_on_host or not is_plain(part):
                expected = f"an attack of as many passes in each process, with craft_mode {self.recipe.craft_mode}"
                raise bad("--batch-norm synchronized", expected=expected, got=part.name, remedy="use --craft-mode eval")

    def evaluated(self) -> nn.Module:
        """The network that is evaluated, selected and saved for use.

        Returns:
            See `evaluated_as_saved`.
        """
        return evaluated_as_saved(self.network, self.extensions)

    @property
    def _synchronizes(self) -> bool:
        return self.ranks.shared and self.recipe.batch_norm == "synchronized"

    @property
    def per_epoch(self) -> int:
        """Steps in an epoch; the last one may have a smaller batch."""
        return math.ceil(len(self.data) / self.recipe.batch_size)

    def order(self, epoch: int) -> Tensor:
        """The order of the examples in an epoch.

        Args:
            epoch: epochs that are over.

        Returns:
            (N,) int64, on the CPU.
        """
        pass_of_data, part = divmod(epoch, self.replays)
        generator = torch.Generator("cpu").manual_seed(derive_seed(self.seed, "order", pass_of_data))
        order = torch.randperm(len(self.data), generator=generator, device="cpu")
        return replayed(order, self.recipe.batch_size, self.replays, part)

    def lr(self, epoch: int, k: int) -> float:
        """The learning rate of a step.

        Args:
            epoch: epochs that are over.
            k: from 0.

        Returns:
            That of the schedule at the beginning of the step.
        """
        return self.recipe.lr_at(epoch + k / self.per_epoch)

    def radius(self, epochs: float) -> float:
        """The radius of the objective's attack, warm-up included.

        Args:
            epochs: that are over; a fraction within one.

        Returns:
            In units of the input; 0 without an attack.
        """
        if self.attack is None:
            return 0.0
        return self.attack.threat.radius * self.recipe.radius_fraction(epochs)

    def own(self, rows: Tensor) -> Tensor:
        """What this process takes of a batch.

        Args:
            rows: (B,) positions of the examples of the whole batch in the training data.

        Returns:
            Those of its part, where `Split.rows_on` says.
        """
        return rows[Part.of(len(rows), self.ranks).rows].to(self.data.rows_on)

    def make(self, epoch: int, k: int, rows: Tensor) -> Step:
        """The k-th step of an epoch, before it is taken.

        Args:
            epoch: epochs that are over.
            k: from 0.
            rows: (B,) positions of the examples of the whole batch in the training data.

        Returns:
            Its batch, of which it has the part of this process, is augmented; its network is in training mode.
        """
        part = Part.of(len(rows), self.ranks)
        rows = self.own(rows)
        streams = partial(self.streams, epoch, self.data.index[rows])
        return self.build(Step, rows, streams, self.moment(epoch, k), part)

    def build(
        self, kind: Callable[..., Kind], rows: Tensor, streams: Streams, moment: Moment, part: Part = WHOLE
    ) -> Kind:
        """A step of some rows.

        Args:
            kind: makes it.
            rows: (B,) positions of its examples in the training data, where `Split.rows_on` says.
            streams: of these examples.
            moment: when it is taken.
            part: of the batch that the rows are.

        Returns:
            Its batch is augmented; its network is in training mode.
        """
        x, y = self.data.batch(rows)
        x = self.augmentation(x, generator=streams("augment"))
        self.model.train()
        return kind(
            self.model,
            x,
            y,
            self.network,
            streams,
            attack=self.attack,
            progress=moment.progress,
            radius_share=moment.radius_share,
            craft_mode=self.recipe.craft_mode,
            epoch=moment.epoch,
            checks=self.checks,
            part=part,
            n_pieces=part.pieces(self.recipe.accumulate),
        )

    def moment(self, epoch: int, k: int) -> Moment:
        """When a step is taken.

        Args:
            epoch: epochs that are over.
            k: from 0.

        Returns:
            What it may know of the time.
        """
        share = self.recipe.radius_fraction(epoch + (k + 1) / self.per_epoch)
        return Moment(epoch, (epoch + k / self.per_epoch) / self.recipe.epochs, share)

    def take(self, step: Step, epoch: int, k: int) -> Tensor:
        """Update the weights.

        Args:
            step: as `make` gave it.
            epoch: epochs that are over.
            k: from 0.

        Returns:
            The mean loss of the batch, 0-dimensional and on the device: whoever reads it waits for the step.
        """
        self.set_rate(epoch, k)
        loss = self.update(step, epoch, k)
        self.close(epoch, k)
        return loss

    def set_rate(self, epoch: int, k: int) -> None:
        """Give the optimizer the learning rate of a step.

        Args:
            epoch: epochs that are over.
            k: from 0.
        """
        optimizer = self.optimizer.optimizer
        if isinstance(optimizer, TensorSGD | TensorAdam):
            optimizer.set_rate(self.lr(epoch, k))
            return
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr(epoch, k)

    def noise_seed(self, epoch: int, k: int) -> int:
        """The seed of the network's own noise (dropout) in a step, another one in each process.

        Args:
            epoch: epochs that are over.
            k: from 0.

        Returns:
            See `derive_seed`.
        """
        if self.ranks.writes:
            return derive_seed(self.seed, "network", epoch, k)
        return derive_seed(self.seed, "network", epoch, k, self.ranks.number)

    def update(self, step: Step, epoch: int, k: int) -> Tensor:
        """What a graph holds of a step: gradients, clipping, the optimizer, and extensions after it.

        Global generators are seeded, so that a training that code of others takes part in resumes to the same bits.
        `fit` gives them back.

        Args:
            step: as `make` gave it; the learning rate is set.
            epoch: epochs that are over.
            k: from 0.

        Returns:
            See `take`.
        """
        if self.capturing:
            return self._updated(step, epoch, k)
        # Another seed than dropout's, which is another one in each process: what an objective or extension of others
        # draws, such as noise that it adds to the weights, must be the same in all.
        seed_generators(derive_seed(self.seed, "others", epoch, k), step.x.device)
        if isinstance(step, WatchedStep):
            with watching_python(step.reads):
                return self._updated(step, epoch, k)
        return self._updated(step, epoch, k)

    def _updated(self, step: Step, epoch: int, k: int) -> Tensor:
        compute: Callable[[], Tensor] = partial(self._gradients, step, self.noise_seed(epoch, k))
        for extension in reversed(self.extensions):
            compute = partial(_around, extension, step, compute)
        with self._normalizing(step.part):
            loss = compute()
        if self.recipe.clip:
            # Not an error here: gradients that are not finite make the weights so, and the next loss, which ends the
            # training. Asking for it would also read a value on the host.
            self.fabric.clip_gradients(self.model, self.optimizer, max_norm=self.recipe.clip, error_if_nonfinite=False)
        self.optimizer.step()
        for extension in self.extensions:
            extension.after_step(self.network, epoch * self.per_epoch + k + 1)
        return loss

    def close(self, epoch: int, k: int) -> None:
        """After the last step of an epoch, tell the extensions that it is over.

        Args:
            epoch: epochs that were over before the step.
            k: from 0.
        """
        if k + 1 == self.per_epoch:
            seed_generators(derive_seed(self.seed, "others", epoch, "end"), self.data.y.device)
            for extension in self.extensions:
                extension.after_epoch(self.network, epoch + 1)

    def _gradients(self, step: Step, noise: int) -> Tensor:
        """Set the gradients to those of the objective's mean; again, with the same adversarial examples and dropout."""
        with self._seeded(step, noise):
            self._is_first = True
            losses = step.by_piece(partial(self._piece, step))
        loss = losses[0]
        if len(losses) > 1:
            loss = torch.stack(losses).sum()
        weights = [weight for weight in self.network.parameters() if weight.requires_grad]
        loss = add_gradients(weights, loss, self.ranks)
        require_gradients(weights)
        return loss

    def _piece(self, step: Step) -> Tensor:
        """Add the gradients of the examples that the step has now."""
        try:
            loss = step.mean_loss(self.objective)
        except RuntimeError as error:
            if is_about_conversion(error):
                require_same_kind(self.network, step.x)
            raise
        if self._is_first:
            self.optimizer.zero_grad(set_to_none=True)
        self._is_first = False
        self.fabric.backward(loss)
        return loss.detach()

    @contextlib.contextmanager
    def _normalizing(self, part: Part) -> Iterator[None]:
        """BatchNorm over all processes, or over each and its running averages over all."""
        if self._synchronizes:
            with synchronized(self.network, part):
                yield
            return
        yield
        average_statistics(self.network, part)

    @contextlib.contextmanager
    def _seeded(self, step: Step, noise: int) -> Iterator[None]:
        """The network's own noise is that of a seed; after it torch's generators go on where they were."""
        if self.capturing:
            # A graph draws from the device's generator, which is seeded before each replay.
            yield
            return
        devices: list[torch.device] = []
        if step.x.device.type == "cuda":
            devices.append(step.x.device)
        with torch.random.fork_rng(devices=devices):
            seed_torch(noise, step.x.device)
            if isinstance(step, WatchedStep):
                with watching_noise(step.reads, step.x.device):
                    yield
            else:
                yield

    def streams(self, epoch: int, index: Tensor, purpose: str) -> Draws:
        """Random numbers of examples.

        Args:
            epoch: epochs that are over.
            index: (B,) their indices in the data set.
            purpose: what the numbers are for.

        Returns:
            One stream per example.
        """
        return Draws.of(self.seed, self.stream_name(epoch, purpose), index)

    def stream_name(self, epoch: int, purpose: str) -> str:
        """How the streams of a purpose are called in an epoch.

        Args:
            epoch: epochs that are over.
            purpose: what the numbers are for.

        Returns:
            The name for `base_of`.
        """
        return f"{purpose} in epoch {epoch // self.replays}"


def replayed(order: Tensor, size: int, replays: int, part: int) -> Tensor:
    """The examples of an epoch where each batch is taken several times in a row.

    Args:
        order: (N,) of a pass over the data, which takes as many epochs as there are replays.
        size: of a batch. Where it does not divide N, the last batch is filled up from the first.
        replays: of each batch.
        part: epochs of this pass that are over.

    Returns:
        (N,) whose batches, in their order, are those of the epoch.

    Example:
        >>> order = torch.tensor([3, 1, 0, 2, 4, 5])
        >>> replayed(order, 2, 2, 0).tolist(), replayed(order, 2, 2, 1).tolist()
        ([3, 1, 3, 1, 0, 2], [0, 2, 4, 5, 4, 5])
    """
    if replays == 1:
        return order
    n_batches = math.ceil(len(order) / size)
    filled = order.repeat(2)
    batches: list[Tensor] = []
    for k in range(n_batches):
        first = (part * n_batches + k) // replays * size
        batches.append(filled[first : first + size])
    return torch.cat(batches)[: len(order)]


def _around(extension: Extension, step: Step, compute: Callable[[], Tensor]) -> Tensor:
    """What an extension does around a step, which may be of the caller's own."""
    who = f"extension {extension.name}"
    before = step.targets
    n_calls, is_passed_over = 0, False

    def watched() -> Tensor:
        nonlocal n_calls, is_passed_over
        n_calls += 1
        loss = compute()
        is_passed_over |= step.targets is not before and step.passes_over_targets
        return loss

    loss: object = extension.around(step, watched)
    if is_passed_over:  # said here, for those of this package say it themselves by the name that a user writes
        raise passed_over(who)
    if not n_calls:  # the optimizer would take the gradients of the step before
        expected = "a call of compute() in `around`, which sets the gradients"
        raise bad(who, expected=expected, got="none", remedy="return compute()")
    if not isinstance(loss, Tensor) or loss.ndim:
        got = "another shape" if isinstance(loss, Tensor) else type(loss).__name__
        expected = "the loss from `around`, 0-dimensional"
        raise bad(who, expected=expected, got=got, remedy="return what compute() gave")
    return loss
