"""One step of training: what an objective may see of it, and how its loss becomes one update of the weights.

Between the parts of a step no value of a tensor is read on the host, so that a GPU is never waited for and a step can
be captured as a whole.
"""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from cgro._check import BadRequest, bad, seed_number
from cgro.definitions import (
    FGSM,
    PGD,
    Attack,
    GradientAttack,
    Loss,
    Model,
    SoftTargets,
    default_loss,
    soft_cross_entropy,
)
from cgro.definitions.attacks import evaluated_outputs, preserve_state, require_attack
from cgro.definitions.attacks.reads import read_batch
from cgro.definitions.inputs import describe, logits_of
from cgro.training.compiling import searching
from cgro.training.craft import CraftChecks
from cgro.training.part import WHOLE, Part, require_gradients
from cgro.training.pieces import Examples, Streams, joined_crafted, joined_outputs

CraftMode = Literal["eval", "train", "train_update_bn"]
"""Mode of BatchNorm and dropout while an attack of training runs; see `Recipe`."""


@dataclass(frozen=True)
class Moment:
    """When a step is taken: what it may know on the host that is another thing in another step.

    Args:
        epoch: epochs that are over.
        progress: share of the whole training that is over, in [0, 1).
        radius_share: factor on the radius of attacks (radius warm-up).
    """

    epoch: int = 0
    progress: float = 0.0
    radius_share: float = 1.0


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed that depends on all of its arguments (SHA-256).

    Args:
        seed: of the whole training.
        purpose: what the numbers are for, and in which epoch and step.

    Returns:
        An integer in [0, 2^63).

    Raises:
        BadRequest: a seed that is no integer.

    Example:
        >>> derive_seed(0, "order", 1) == derive_seed(0, "order", 1) != derive_seed(0, "order", 2)
        True
    """
    digest = hashlib.sha256(repr((seed_number(seed), *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@dataclass
class Step:
    """One batch and what may be done with it. Made by `fit`, given to the objective and to `Extension.around`.

    Args:
        model: (B, *S) -> (B, C) logits or (B,) scores, in training mode and in the precision of training. Its outputs
            are differentiable in the weights.
        x: (B, *S) clean inputs in the box, augmented.
        y: (B,) labels.
        network: the module behind `model`, whose parameters are updated.
        streams: purpose -> random numbers of the examples; the same for one purpose whenever the step is repeated.
        attack: the default of `craft`; None if the objective has none.
        radius_share: factor on the radius of attacks in this step (radius warm-up).
        craft_mode: mode of BatchNorm and dropout while an attack runs; see `Recipe`.
        epoch: epochs that are over, for what is scheduled.
        progress: share of the whole training that is over, in [0, 1), for what is annealed.
        targets: (B, C) probabilities of the classes that stand for the labels in `loss`, -1 before +1 for (B,) scores;
            None: the labels themselves. Set by extensions such as CutMix.
        attack_targets: whether attacks without a loss of their own maximize the loss against `targets` too.
        targets_used: whether `loss` was asked for since `targets` were set.
        reweigh: functions of the (B,) losses of the objective, applied before the mean is taken, the last one first.
        attack_seconds: time spent in attacks so far.
        n_crafted: calls of `craft` since the objective was called.
        crafted: what `craft` returned to the objective, in its order. Asked for its loss again, as by an extension that
            has moved the weights, the objective is given the same examples; after `crafted.clear()` they are searched
            anew.
        checks: of the training that the step belongs to; None has every attack check at once.
        part: which examples of the batch these are, where several processes train together.
        n_pieces: in how many pieces the objective is asked for these examples, one after another.

    Example:
        >>> from cgro.definitions import FGSM, ThreatModel
        >>> scores = nn.Sequential(nn.Linear(1, 1), nn.Flatten(0))  # f(x) = 2 x - 1
        >>> _ = nn.init.constant_(scores[0].weight, 2.0), nn.init.constant_(scores[0].bias, -1.0)
        >>> from cgro.definitions.draws import Draws
        >>> streams = lambda purpose: Draws.of(0, purpose, torch.arange(1))
        >>> attack = FGSM(ThreatModel("inf", 0.125))
        >>> Step(scores, torch.tensor([[0.75]]), torch.tensor([1]), scores, streams, attack).craft()
        tensor([[0.6250]])
    """

    model: Model
    x: Tensor
    y: Tensor
    network: nn.Module
    streams: Streams
    attack: Attack | None = None
    radius_share: float = 1.0
    craft_mode: CraftMode = "eval"
    epoch: int = 0
    progress: float = 0.0
    targets: Tensor | None = None
    attack_targets: bool = False
    targets_used: bool = False
    reweigh: list[Callable[[Tensor], Tensor]] = field(default_factory=list)
    attack_seconds: float = 0.0
    n_crafted: int = 0
    crafted: list[Tensor] = field(default_factory=list)
    checks: CraftChecks | None = None
    part: Part = WHOLE
    n_pieces: int = 1
    _rows: slice = field(default_factory=lambda: slice(None), init=False)
    _in_objective: bool = field(default=False, init=False)
    _seen: tuple[Tensor, Tensor] | None = field(default=None, init=False)

    @property
    def moment(self) -> Moment:
        """When it is taken."""
        return Moment(self.epoch, self.progress, self.radius_share)

    @property
    def n_batch(self) -> int:
        """Examples of the whole batch, those of other processes and pieces included."""
        return self.part.n or len(self.y)

    @property
    def rows(self) -> slice:
        """Of all examples that the step had when `Extension.around` was called, those that it has now; an objective
        that is asked piece by piece finds fewer."""
        return self._rows

    @property
    def first(self) -> int:
        """Place of the first example in the whole batch."""
        return self.part.first + (self._rows.start or 0)

    def batch_sum(self, values: Tensor) -> Tensor:
        """The sum over the whole batch, where what becomes of an example depends on the others.

        To be asked for by `Extension.around`, not by an objective, which may have a piece of the batch only.

        Args:
            values: (B,), one per example of the step.

        Returns:
            0-dimensional, the same in all processes.

        Example:
            >>> x = torch.zeros(3, 1)
            >>> step = Step(nn.Identity(), x, torch.zeros(3), nn.Identity(), lambda purpose: None)
            >>> step.batch_sum(torch.tensor([1.0, 2.0, 4.0]))
            tensor(7.)
        """
        return self.part.add(values.sum())

    def by_piece(self, work: Callable[[], Tensor]) -> list[Tensor]:
        """Call a function once per piece, while the step has the examples of this piece alone.

        Args:
            work: is to be done.

        Returns:
            What it returned, in the order of the pieces.
        """
        if self.n_pieces == 1:
            return [work()]
        whole = self._examples()
        n_pieces = self.n_pieces
        n_crafted = self.n_crafted
        kept = self.crafted
        found: list[Tensor] = []
        pieces: list[Examples] = []
        self.n_pieces = 1
        try:
            for k in range(n_pieces):
                self._have(whole.piece(n_pieces, k))
                self.n_crafted = n_crafted
                found.append(work())
                pieces.append(self._examples())
        finally:
            self._have(whole)
            self.n_pieces = n_pieces
            self.crafted = kept  # the list itself: an extension may hold it
        kept[:] = joined_crafted(pieces)
        outputs = joined_outputs(pieces)
        if outputs is not None:
            self._seen = (self.x, outputs)
        return found

    def _examples(self) -> Examples:
        """What it has per example now."""
        return Examples(self.x, self.y, self.streams, self.targets, self.crafted, self._seen, self._rows)

    def _have(self, examples: Examples) -> None:
        """Have these examples alone."""
        self.x = examples.x
        self.y = examples.y
        self.streams = examples.streams
        self.targets = examples.targets
        self.crafted = list(examples.crafted)
        self._seen = examples.seen
        self._rows = examples.rows

    def decide(self, rule: Callable[[Moment], bool]) -> bool:
        """A decision by the time, such as whether a warm-up is over.

        On a GPU a step is taken down once and done again (`cgro.training.capture`). One that asks in this way is done
        again as long as the rule decides as it did. Reading `epoch`, `progress` or `radius_share` itself is as right,
        but then the step is done anew wherever that number is another one.

        Args:
            rule: of the moment alone.

        Returns:
            What the rule says of this step.

        Example:
            >>> step = Step(nn.Identity(), torch.zeros(1), torch.zeros(1), nn.Identity(), lambda purpose: None, epoch=3)
            >>> step.decide(lambda moment: moment.epoch < 5)
            True
        """
        return rule(self.moment)

    def number(self, rule: Callable[[Moment], float]) -> Tensor:
        """A number that moves with the time, such as an annealed temperature, where a step may use it.

        Args:
            rule: of the moment alone.

        Returns:
            0-dimensional, of the type and on the device of x; a step that is done again finds the number of its own
            moment in it.
        """
        return torch.full((), rule(self.moment), dtype=self.x.dtype, device=self.x.device)

    def craft(self, attack: Attack | None = None, *, loss: Loss | str | None = None) -> Tensor:
        """Adversarial examples for the batch, under the schedule of the radius and in the attack's mode.

        Args:
            attack: None means that of the objective.
            loss: (outputs, y) -> (B,) that the attack increases in place of its own; only for attacks along the
                gradient. It may depend on the rows of the batch (`cgro.definitions.FromClean`).

        Returns:
            (B, *S), constants. The second call in a step draws other random starts than the first.

        Raises:
            BadRequest: no attack, a loss for an attack that takes none, and what the attack raises; in `fit` the latter
                mostly at the end of the epoch.
        """
        if self._in_objective and self.n_crafted < len(self.crafted):
            self.n_crafted += 1
            return self.crafted[self.n_crafted - 1]
        started = time.perf_counter()
        attack = self._scheduled(attack, loss)
        purpose = "attack"
        if self.n_crafted > 0:
            purpose = f"attack {self.n_crafted}"
        self.n_crafted += 1
        with self._attacked() as target:
            draws = self.streams(purpose)
            checks = self.checks
            if checks is None:
                checks = CraftChecks(read_batch(attack.threat, self.x, self.y))
            whole = self.craft_mode != "eval"
            x_adv = checks.craft(attack, target, self.x, self.y, draws, whole=whole)
            if self.checks is None:
                checks.require()
        if self._in_objective:
            self.crafted.append(x_adv)
        self.attack_seconds += time.perf_counter() - started
        return x_adv

    def loss(self, outputs: Tensor) -> Tensor:
        """The loss of training against the labels, or against `targets` where an extension has set them.

        Args:
            outputs: (B, C) logits or (B,) scores of `model`, or an object that has them as `.logits`.

        Returns:
            (B,): cross-entropy or the logistic loss.
        """
        outputs = logits_of(outputs)
        if self.targets is None:
            return default_loss(outputs, self.y)
        self.targets_used = True
        return soft_cross_entropy(outputs, self.targets)

    def outputs(self) -> Tensor:
        """f(x) as an attack sees it: in the attack's mode, without gradients, in the precision of the weights.

        Computed once per step and x: asked again, also after the weights were moved, they are the same.

        Returns:
            (B, C) or (B,), constants.
        """
        if self._seen is not None and self._seen[0] is self.x:
            return self._seen[1]
        if self.n_pieces > 1:
            return torch.cat(self.by_piece(self.outputs))
        started = time.perf_counter()
        with self._attacked() as target, preserve_state(target, self.x.device):
            outputs = evaluated_outputs(target, self.x)
        self._seen = (self.x, outputs)
        self.attack_seconds += time.perf_counter() - started
        return outputs

    def mean_loss(self, objective: Callable[["Step"], Tensor]) -> Tensor:
        """The mean of an objective's loss over the batch. Asked again, it is that of the same adversarial examples.

        Where the step has a part of the batch, the share of this part: sum of the losses / examples of the batch.

        Args:
            objective: step -> (B,).

        Returns:
            0-dimensional, differentiable in the weights.

        Raises:
            BadRequest: the objective returned another shape, or no tensor.
        """
        self.n_crafted = 0
        self._in_objective = True
        try:
            losses: object = objective(self)
        finally:
            self._in_objective = False
        expected = f"a loss per example, of shape {tuple(self.y.shape)}"
        if not isinstance(losses, Tensor):
            raise bad("objective", expected=expected, got=describe(losses))
        if losses.shape != self.y.shape:
            raise bad("objective", expected=expected, got=tuple(losses.shape), remedy="leave the mean to the loop")
        if torch.is_grad_enabled() and not losses.requires_grad:
            expected = "a loss that depends on the weights"
            remedy = "leave out no_grad and detach, and do not freeze the weights"
            raise bad("objective", expected=expected, got="one that does not", remedy=remedy)
        for function in reversed(self.reweigh):
            losses = function(losses)
        if losses.shape != self.y.shape:
            got = tuple(losses.shape)
            raise bad("reweigh", expected=expected, got=got, remedy="use step.rows for what is kept per example")
        if len(self.y) == self.n_batch and self.part.copies == 1:
            return losses.mean()
        return losses.sum() / (self.n_batch * self.part.copies)

    @contextlib.contextmanager
    def reweighed(self, function: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """Have a function change the losses per example, within a block; for `Extension.around`.

        Args:
            function: the losses of the examples in `rows` -> what is minimized of each; see `reweigh`.

        Yields:
            Nothing; the gradients are to be computed in the block.
        """
        self.reweigh.append(function)
        try:
            yield
        finally:
            self.reweigh.remove(function)

    @property
    def passes_over_targets(self) -> bool:
        """Whether there are soft labels and the objective has not asked `loss` since they were set."""
        return self.targets is not None and not self.targets_used

    def _scheduled(self, attack: Attack | None, loss: Loss | str | None) -> Attack:
        if attack is None:
            attack = self.attack
        if attack is None:
            raise bad("craft", expected="an attack", got="none", remedy="pass one, or give the objective an `attack`")
        require_attack(attack)
        if loss is not None:
            if not isinstance(attack, GradientAttack):
                raise bad("craft", expected="an attack along the gradient with this loss", got=attack.name)
            attack = replace(attack, loss=loss)
        elif self.targets is not None and self.attack_targets:
            attack = _against(self.targets, attack)
        if self.radius_share != 1.0:
            attack = attack.at(attack.threat.radius * self.radius_share)
        return attack

    @contextlib.contextmanager
    def _attacked(self) -> Iterator[Model]:
        """The network as attacks may use it. Afterwards it is in training mode again."""
        self.network.train(self.craft_mode != "eval")
        try:
            with searching(self.network):
                if self.craft_mode == "train_update_bn":
                    # An attack restores a module's buffers; behind a plain function it cannot see them, and the updates
                    # stay.
                    yield lambda x: self.network(x)
                else:
                    yield self.network
        finally:
            self.network.train()


def passed_over(who: str) -> BadRequest:
    """The refusal of soft labels that change nothing.

    Args:
        who: the extension that set them.

    Returns:
        To be raised.
    """
    expected = "an objective that takes soft labels, by step.loss(outputs)"
    return bad(who, expected=expected, got="one that does not", remedy="use adversarial, trades or kd")


def _against(targets: Tensor, attack: Attack) -> Attack:
    """The attack on the loss against soft labels. What it would keep by the margin of one label is its last iterate."""
    has_own_loss = isinstance(attack, GradientAttack) and attack.loss is not None
    if has_own_loss or attack.threat.radius == 0:
        return attack
    if not isinstance(attack, PGD | FGSM):
        expected = "one that can maximize the loss against soft labels"
        raise bad("attack", expected=expected, got=attack.name, remedy="use pgd10 or fgsm")
    return replace(attack, keep="last", loss=SoftTargets(targets))


def descend(step: Step, objective: Callable[[Step], Tensor], optimizer: torch.optim.Optimizer) -> Tensor:
    """One step of training for a loop with neither schedule nor extensions; the optimizer's learning rate holds.

    Args:
        step: the batch.
        objective: step -> (B,).
        optimizer: of the parameters of `step.network`.

    Returns:
        The mean loss before the update, 0-dimensional and on the device.

    Raises:
        BadRequest: see `Step.mean_loss`; a loss that reaches none of these parameters.

    Example:
        >>> from cgro.definitions.draws import Draws
        >>> w = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(w.weight, 3.0)
        >>> ones = torch.ones(1, 1)
        >>> step = Step(w, ones, torch.ones(1), w, lambda purpose: Draws.of(0, purpose, torch.arange(1)))
        >>> loss = descend(step, lambda s: s.model(s.x)[:, 0] ** 2, torch.optim.SGD(w.parameters(), lr=0.25))
        >>> loss.item(), w.weight.item()  # 3 - 0.25 * 2 * 3
        (9.0, 1.5)
    """
    loss = step.mean_loss(objective)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    require_gradients([weight for group in optimizer.param_groups for weight in group["params"]])
    optimizer.step()
    return loss.detach()
