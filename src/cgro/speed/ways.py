"""The ways to attack, train and evaluate one network that are timed beside each other."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from cgro._check import BadRequest, one_line
from cgro.data import Dataset
from cgro.definitions import PGD, Attack, robust_error
from cgro.definitions.graphs import capturing_by
from cgro.models import fast_layout
from cgro.results import Work
from cgro.speed.capture import captured_epoch, captured_search
from cgro.speed.passes import counted_cost
from cgro.speed.peers import TORCHATTACKS, common_attack, common_epoch, is_common, torchattacks_peer
from cgro.training import Adversarial, Cost, Recipe, fit
from cgro.training.objectives import attack_cost

EAGER = "eager"
CAPTURED = "captured"
COMPILED = "compiled"
COMMON = "common loop"
PEERS = "peers"
STANDING = Recipe(epochs=1, optimizer="sgd", lr=0.0)
"""At a learning rate of 0 a step does all of its work, and every repetition starts from the same weights."""


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Args:
        model: in evaluation mode, in the layout that the caller has, on the device; left as it is.
        data: its training part is the epoch, its test part is evaluated; both on the device.
        y: (N,) labels that the network itself gives the test part: then every example is attacked, as of a network
            that is right.
        attack: of training.
        eval_attack: of the evaluation.
        batch_size: of the attack and of a step.
        fabric: device and precision of training.
    """

    model: nn.Module
    data: Dataset
    y: Tensor
    attack: Attack
    eval_attack: Attack
    batch_size: int
    fabric: Fabric

    @property
    def batch(self) -> tuple[Tensor, Tensor]:
        """The batch that is attacked: the first of the test part."""
        return self.data.test.x[: self.batch_size], self.y[: self.batch_size]


@dataclass(frozen=True)
class Way:
    """One way to do one work.

    Args:
        work: what is done.
        name: of the way.
        ours: whether it is this project's own code.
        n: examples in a call.
        call: does it once.
        cost: passes of a call that the work must do, of all examples together.
    """

    work: Work
    name: str
    ours: bool
    n: int
    call: Callable[[], object]
    cost: Cost

    @property
    def key(self) -> str:
        """Its name among all ways."""
        return f"{self.work}, {self.name}"


@dataclass
class Ways:
    """The ways that are there, and why others are not.

    Args:
        found: in the order of their turns.
        left_out: key -> reason.
    """

    found: list[Way] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def ways_of(subject: Subject, *, compiled: bool, captured: bool) -> Ways:
    """Every way to attack a batch, train for an epoch and evaluate.

    Args:
        subject: what is measured.
        compiled: also with the network compiled, which takes half a minute on a CPU.
        captured: also as a CUDA graph.

    Returns:
        The ways; what this device, network or installation does not have is left out with its reason.
    """
    ways = Ways()
    _attacks(subject, ways, compiled=compiled, captured=captured)
    _epochs(subject, ways, captured=captured)
    _evaluations(subject, ways, compiled=compiled)
    return ways


def _attacks(subject: Subject, ways: Ways, *, compiled: bool, captured: bool) -> None:
    x, y = subject.batch
    attack = subject.attack
    cost = _times(attack_cost(attack), len(x))

    def add(name: str, call: Callable[[], object], *, ours: bool) -> None:
        ways.found.append(Way("attack", name, ours, len(x), call, cost))

    add(EAGER, lambda: attack(subject.model, x, y), ours=True)
    if compiled:
        network = _compiled(subject.model)
        add(COMPILED, lambda: attack(network, x, y), ours=True)
    if captured:
        try:
            add(CAPTURED, captured_search(attack, _own_copy(subject.model), x, y), ours=True)
        except (RuntimeError, BadRequest) as error:
            ways.left_out[f"attack, {CAPTURED}"] = one_line(str(error), 160)
    if not isinstance(attack, PGD) or not is_common(attack):
        ways.left_out[f"attack, {PEERS}"] = "they are PGD in l_inf from one random start"
        return
    add(COMMON, lambda: common_attack(subject.model, x, y, attack), ours=False)
    if y.is_floating_point() or int(y.min()) < 0:
        ways.left_out[f"attack, {TORCHATTACKS}"] = "it attacks logits only, these are scores"
        return
    peer = torchattacks_peer(subject.model, attack)
    if peer is None:
        ways.left_out[f"attack, {TORCHATTACKS}"] = "not installed"
        return
    add(TORCHATTACKS, lambda: peer(x, y), ours=False)


def _epochs(subject: Subject, ways: Ways, *, captured: bool) -> None:
    objective = Adversarial(subject.attack)
    n = len(subject.data.train)
    recipe = replace(STANDING, batch_size=subject.batch_size)
    network = fast_layout(copy.deepcopy(subject.model))

    def epoch() -> None:
        with capturing_by(None):
            end = fit(network, subject.data, objective, recipe, fabric=subject.fabric).end
        if not end.ok:
            raise BadRequest(f"the epoch that was timed broke off: {end.reason}")

    ways.found.append(Way("epoch", EAGER, True, n, epoch, _times(objective.cost, n)))
    if captured:
        try:
            own = fast_layout(copy.deepcopy(subject.model))
            call = captured_epoch(own, subject.data, objective, recipe, subject.fabric)
            ways.found.append(Way("epoch", CAPTURED, True, n, call, _times(objective.cost, n)))
        except (RuntimeError, BadRequest) as error:
            ways.left_out[f"epoch, {CAPTURED}"] = one_line(str(error), 160)
    if not isinstance(subject.attack, PGD) or not is_common(subject.attack):
        return
    other = copy.deepcopy(subject.model)
    call = partial(_common_epoch, other, recipe.build_optimizer(other), subject)
    ways.found.append(Way("epoch", COMMON, False, n, call, _times(objective.cost, n)))


def _common_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, subject: Subject) -> None:
    assert isinstance(subject.attack, PGD)
    common_epoch(model, optimizer, _batches(subject), subject.attack)


def _batches(subject: Subject) -> Iterator[tuple[Tensor, Tensor]]:
    train = subject.data.train
    for rows in torch.randperm(len(train)).split(subject.batch_size):
        yield train.batch(rows.to(train.y.device))


def _evaluations(subject: Subject, ways: Ways, *, compiled: bool) -> None:
    x = subject.data.test.x
    evaluate = partial(_evaluate, subject, x)
    # An example that breaks early is left alone from there on, so no formula says how many passes there are.
    forward, differentiated = counted_cost(subject.model, lambda: evaluate(subject.model))
    cost = Cost(n_forward=forward, n_gradients=differentiated)
    ways.found.append(Way("evaluation", EAGER, True, len(x), lambda: evaluate(subject.model), cost))
    if compiled:
        network = _compiled(subject.model)
        ways.found.append(Way("evaluation", COMPILED, True, len(x), lambda: evaluate(network), cost))


def _evaluate(subject: Subject, x: Tensor, model: nn.Module) -> object:
    return robust_error(model, x, subject.y, subject.eval_attack)


def _times(cost: Cost, n: int) -> Cost:
    """The passes of n examples."""
    return Cost(n_forward=n * cost.n_forward, n_gradients=n * cost.n_gradients, n_updates=n * cost.n_updates)


def _own_copy(model: nn.Module) -> nn.Module:
    """A network that nobody else changes, in the layout that is fast."""
    return fast_layout(copy.deepcopy(model)).eval()


def _compiled(model: nn.Module) -> nn.Module:
    """The same network, compiled at its first call."""
    network = torch.compile(_own_copy(model), dynamic=False)
    assert isinstance(network, nn.Module)
    return network
