"""Attacks: searches for the X' of a threat model at which a model is wrong.

What a search finds bounds the robust error from below. An attack owns no model, no mode, no device and no global random
state: it leaves parameters, buffers, modes, gradients and the global generators bit-equal, also when it raises, and it
never returns a point outside ball and box (up to float32 rounding, see `ThreatModel.contains`) or one that is weaker
than the clean input. Only an attack that is asked for its last iterate (`PGD(keep="last")`) promises no more than ball
and box.
"""

import contextlib
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field, replace
from functools import partial, wraps
from typing import Self

import torch
from torch import Tensor

from cgro._check import bad, one_line
from cgro.definitions.attacks.best import Best
from cgro.definitions.attacks.capturable import declares_capturable
from cgro.definitions.attacks.dropping import Dropping, dropping_on
from cgro.definitions.attacks.evaluator import Evaluator, SearchOptions
from cgro.definitions.attacks.layout import fast_weights, is_about_conversion
from cgro.definitions.attacks.passes import on_copies
from cgro.definitions.attacks.precision import Precision, own_casts
from cgro.definitions.attacks.reads import read_batch
from cgro.definitions.attacks.state import code_of_others, modes_of, passes_of, preserve_state
from cgro.definitions.draws import Draws, draws_for
from cgro.definitions.inputs import (
    as_inputs,
    as_labels,
    describe,
    in_full_precision,
    in_type_of,
    network_behind,
    ordinary_tensors,
)
from cgro.definitions.losses import Model
from cgro.definitions.random_state import seeded
from cgro.definitions.threat import ThreatModel, require_radius_fits, require_threat
from cgro.named import misfit


@dataclass(frozen=True)
class Attack(ABC):
    """A frozen value that maps (model, x, y) to x_adv. `repr` prints every parameter.

    Subclasses say how to search; what every attack promises is kept here, in one place. An attack may be called
    anywhere in a training loop, also between a forward pass and its backward pass: nothing of the network is written,
    see `preserve_state`. Threads that attack the same module take turns; one network behind several wrappers or
    functions must not be attacked from two threads at once.

    Args:
        threat: where x_adv may lie.

    Example:
        An attack is one method. This one tries random points, and finds the third example.

        >>> @dataclass(frozen=True)
        ... class RandomPoint(Attack):
        ...     def search(self, evaluator, draws):
        ...         for step in range(10):
        ...             evaluator.update(self.threat.sample(evaluator.x, draws), step)
        >>> attack = RandomPoint(ThreatModel("inf", 0.1))
        >>> x, y = torch.tensor([[0.1], [0.3], [0.55], [0.9]]), torch.tensor([-1, -1, 1, 1])
        >>> found = attack.find(lambda v: v[:, 0] - 0.5, x, y)
        >>> found.margins > 0
        tensor([ True,  True, False,  True])
    """

    threat: ThreatModel

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "__init__" in vars(cls):  # written by hand: the decorator `dataclass` has not run yet
            setattr(cls, "__init__", _made_by_hand(cls.__init__))  # noqa: B010

    def __post_init__(self) -> None:
        require_threat(self.threat)

    @property
    def exact(self) -> bool:
        """Whether the attack provably minimizes the margin over the threat model."""
        return False

    @property
    def n_gradients(self) -> int:
        """Gradients with respect to the input that one example takes, over all starts; 0 for attacks by queries."""
        return 0

    @property
    def uses_gradient(self) -> bool:
        """Whether the model has to be differentiable in its input."""
        return self.n_gradients > 0

    @property
    def search_precision(self) -> Precision:
        """In which precision the search calls the model; results are always evaluated in that of the input."""
        return "float32"

    @property
    def lowest_precision(self) -> Precision:
        """The lowest precision in which it, or a part of it, calls the model: what that needs is done around them."""
        return self.search_precision

    @property
    def keeps_clean(self) -> bool:
        """Whether the clean input counts as a point found, so that the result is never weaker than it."""
        return True

    @property
    def reads_on_host(self) -> bool:
        """Whether its search runs code of others, which reads what it likes: then the first pass is checked before."""
        return False

    @property
    def of_others(self) -> bool:
        """Whether its class was written outside this package."""
        return type(self).__module__.partition(".")[0] != __name__.partition(".")[0]

    def at(self, radius: float) -> Self:
        """The same attack at another radius.

        Args:
            radius: in units of the input.

        Returns:
            A new attack.
        """
        return replace(self, threat=self.threat.at(radius))

    @property
    def name(self) -> str:
        """What per-example results call it, and what its random streams are named after."""
        return type(self).__name__.lower()

    @property
    def parts(self) -> "tuple[Attack, ...]":
        """The attacks it is made of, in the order in which they are tried; itself unless it is an ensemble."""
        return (self,)

    def __call__(
        self, model: Model, x: Tensor, y: Tensor, *, generator: torch.Generator | Draws | None = None
    ) -> Tensor:
        """Search an adversarial example for each input.

        Args:
            model: (B, *S) -> (B, C) or (B,).
            x: (B, *S) clean inputs in the box.
            y: (B,) labels.
            generator: source of all randomness, or one stream per example; None means a fresh one seeded 0.

        Returns:
            (B, *S): of all points that were visited, x included, one of lowest margin.

        Raises:
            BadRequest: inputs out of range, labels that do not fit, outputs or gradients that are not finite, a network
                whose dtype or device is not that of the inputs, a network that is not differentiable in its input.
        """
        return self.find(model, x, y, generator=generator).x

    @ordinary_tensors
    def find(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        *,
        generator: torch.Generator | Draws | None = None,
        until_wrong: bool = False,
        dropping: Dropping | None = None,
        reached: Tensor | None = None,
    ) -> Best:
        """As calling it, with the margins and steps beside the points.

        Args:
            model: (B, *S) -> (B, C) or (B,).
            x: (B, *S) clean inputs in the box.
            y: (B,) labels.
            generator: source of all randomness, or one stream per example; None means a fresh one seeded 0.
            until_wrong: evaluation, not training: an example is left alone at the first point at which it is wrong,
                so margins of wrong examples are not the lowest ones.
            dropping: how the search goes on with fewer examples; None chooses by the device, see `dropping_on`.
            reached: (B,) margins that other attacks reached on these examples: `Square` gives up walks far from them.
                None if there were none.

        Returns:
            For each example the point, its margin, and the step at which it was first wrong.

        Raises:
            BadRequest: as calling it.
        """
        require_threat(self.threat)  # once more: a class may have an `__init__` of its own
        given = as_inputs(x)
        network = model
        model, x = in_full_precision(model, given)
        y = as_labels(y, x.device)
        labels = read_batch(self.threat, x, y)
        require_radius_fits(self.threat, x.shape[1:])
        draws = draws_for(generator, len(x), x.device)
        if not len(x):
            return Best(given.clone(), torch.zeros(0, dtype=x.dtype, device=x.device), until_wrong=until_wrong)
        if dropping is None and _is_training(model):
            dropping = "never"  # BatchNorm mixes the examples: what one gives depends on the others of its batch
        elif dropping is None:
            dropping = dropping_on(x.device)
        if reached is not None:
            reached = reached.to(x)
        options = SearchOptions(until_wrong=until_wrong, dropping=dropping, labels=labels, reached=reached)
        evaluator = self.search_unread(model, x, y, draws, options)
        if evaluator.watch.wrote_on_input():
            evaluator = self.search_unread(on_copies(model), x, y, draws, options)
            evaluator.watch.wrote_on_input()
        evaluator.best.x = in_type_of(given, evaluator.best.x, rounds=model is not network)
        return evaluator.best

    def search_unread(self, model: Model, x: Tensor, y: Tensor, draws: Draws, options: SearchOptions) -> Evaluator:
        """The search in the precision and memory layout that are fast, or plainly where the network refuses these.

        The network is left alone, but nothing is checked: neither the batch before nor what the passes gave after.

        Args:
            model: (B, *S) -> (B, C) or (B,).
            x: (B, *S) float32 or float64, finite, in the box; B at least 1.
            y: (B,) labels, int64 or floating point.
            draws: (B,) streams; are not advanced.
            options: see `search_batch`.

        Returns:
            As `search_batch`.

        Raises:
            RuntimeError: what the network raises, also when it is called plainly.
            BadRequest: labels that do not fit the outputs; a network that does not run in bfloat16, where that was
                asked for.
        """
        lowest = self.lowest_precision
        with preserve_state(model, x.device), own_casts(x.device), fast_weights(model, x, lowest) as converted:
            try:
                return self.search_batch(model, x, y, draws.copy(), options)
            except RuntimeError as error:
                chosen = converted or lowest != "float32"
                if not chosen or not is_about_conversion(error):
                    raise
        with preserve_state(model, x.device), own_casts(x.device):
            try:
                return self.search_batch(model, x, y, draws.copy(), replace(options, plain=True))
            except RuntimeError as error:
                if lowest != "bfloat16" or not is_about_conversion(error):
                    raise
                told = one_line(str(error).strip().split("\n")[0], 120)
                expected = "float32 or auto for a network that torch cannot run in bfloat16 here"
                remedy = "use auto, which takes float32 then"
                raise bad("precision", expected=expected, got=f"bfloat16: {told}", remedy=remedy) from error

    def search_batch(self, model: Model, x: Tensor, y: Tensor, draws: Draws, options: SearchOptions) -> Evaluator:
        """The whole search as a function of tensors: with `dropping="never"` it reads no value on the host.

        What `find` promises is left to the caller: the checks before and after, and `preserve_state` around it.

        Args:
            model: (B, *S) -> (B, C) or (B,).
            x: (B, *S) float32 or float64, finite, in the box; B at least 1.
            y: (B,) labels, int64 or floating point.
            draws: (B,) streams; are advanced.
            options: what is known of the batch, and how to search.

        Returns:
            Its `best` is the result if its `watch` finds nothing to complain of.
        """
        # A quick first look is worth its second one where the search is a few gradients, not thousands of queries.
        certain = options.until_wrong or self.threat.radius == 0 or not self.uses_gradient
        begin = partial(
            Evaluator.begin,
            y=y,
            precision=self.search_precision,
            certain=certain,
            keep_clean=self.keeps_clean,
            options=options,
        )
        # A copy: it is the search's own, whatever a network does to what it is given.
        known = y
        if self.of_others:
            y = known.clone()  # its search may write on it, too, and the caller goes on with the labels
            begin = partial(begin, y=y)
        evaluator = begin(model, x.clone())
        if self.reads_on_host and evaluator.watch.wrote_on_input():
            evaluator = begin(on_copies(model), x.clone())
        if self.threat.radius > 0:
            with evaluator.searching():
                if self.of_others:
                    self._search_guarded(evaluator, draws)
                else:
                    self.search(evaluator, draws)
        evaluator.finish()
        if self.of_others:
            # Those of this package are tested to stay inside, so they are spared the passes over the batch.
            evaluator.watch.inside += [self.threat.contains(evaluator.best.x, x).all(), (y == known).all()]
        return evaluator

    def _search_guarded(self, evaluator: Evaluator, draws: Draws) -> None:
        """The search of an attack of others. Its points were evaluated while it ran, so that the network must be right.

        One that leaves another mode or a hook and has found no point did no harm: that is put back.
        """
        model = evaluator.model
        with code_of_others(model, evaluator.x.device):
            before = modes_of(model), passes_of(model)
            self.run_search(evaluator, draws)
            after = modes_of(model), passes_of(model)
        if after == before or torch.equal(evaluator.best.x, evaluator.x):
            return
        what = "mode"
        if after[0] == before[0]:
            what = "layers, hooks and forward"
        expected = f"the network's {what} left as it is"
        remedy = "put it back before `evaluator.update`"
        raise bad(f"attack {self.name}", expected=expected, got="another", remedy=remedy)

    def run_search(self, evaluator: Evaluator, draws: Draws) -> None:
        """Call `search` as code of others: with gradients enabled, and told where it is no search.

        What a class of others draws from the global generators of torch, NumPy and Python begins at the stream of the
        first example, unless it is to be captured: a graph draws from generators of its own.

        Args:
            evaluator: the network and the batch.
            draws: (B,) streams.

        Raises:
            BadRequest: a method with other parameters, or one that returns its points in place of handing them over.
        """
        try:
            with torch.enable_grad(), self._own_numbers(draws):
                found: object = self.search(evaluator, draws)
        except TypeError:
            parameters = inspect.signature(self.search)
            if not misfit(self.search, evaluator, draws):
                raise  # of the search itself
            remedy = "a function (model, x, y) -> x_adv is wrapped as FunctionAttack(threat, function)"
            got = f"search(self, {str(parameters)[1:]}"
            raise bad(
                f"attack {self.name}", expected="search(self, evaluator, draws)", got=got, remedy=remedy
            ) from None
        if found is not None:
            expected = "a search that hands its points to evaluator.update"
            remedy = "write evaluator.update(x_adv) in place of return x_adv"
            raise bad(f"attack {self.name}", expected=expected, got=f"{describe(found)} returned", remedy=remedy)

    def _own_numbers(self, draws: Draws) -> contextlib.AbstractContextManager[None]:
        if not self.of_others or declares_capturable(self):
            return contextlib.nullcontext()
        return seeded(draws.seed(), draws.keys.device)

    @abstractmethod
    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        """Look for points of low margin, and hand them to the evaluator, which keeps the best.

        Args:
            evaluator: the network, the batch and the best points so far; `evaluator.x` are the clean inputs. Points
                that it is given must lie in `threat`.
            draws: (B,) one stream of random numbers per example.
        """


def _is_training(model: Model) -> bool:
    """Whether a network, or a callable that says so, is in training mode."""
    network: object = network_behind(model)
    if network is None:
        network = model
    return bool(getattr(network, "training", False))


def _made_by_hand(init: Callable[..., None]) -> Callable[..., None]:
    """An `__init__` of others, which says how an attack is made where it assigns to a field as ordinary classes do."""

    @wraps(init)
    def told(self: Attack, *args: object, **kwargs: object) -> None:
        try:
            init(self, *args, **kwargs)
        except FrozenInstanceError as error:
            name = type(self).__name__
            remedy = f"leave __init__ out, and write @dataclass(frozen=True) above class {name} with k: int = 3 in it"
            got = f"an assignment in __init__ ({error})"
            raise bad(f"attack {name}", expected="a frozen dataclass", got=got, remedy=remedy) from None

    return told


def require_attack(attack: object) -> None:
    """Refuse what is no attack: a name, or a class in place of its value.

    Args:
        attack: whatever was given for one.

    Raises:
        BadRequest: says how to make one.
    """
    if isinstance(attack, Attack):
        require_threat(attack.threat)
        return
    remedy = "make one from a ThreatModel"
    if isinstance(attack, str):
        remedy = 'use attack_by_name("pgd10", threat)'
    elif callable(attack) and not isinstance(attack, type):
        remedy = "wrap a function (model, x, y) -> x_adv as FunctionAttack(threat, function)"
    raise bad("attack", expected="an attack such as PGD(threat, n_steps=10)", got=describe(attack), remedy=remedy)


def require_attack_on(attack: object, threat: ThreatModel, what: str = "attack") -> None:
    """Refuse what is no attack, and one that searches elsewhere: its errors would be recorded as those of the threat.

    Args:
        attack: whatever was given for one.
        threat: where it is to search.
        what: how the message calls it.

    Raises:
        BadRequest: no attack, or one on another threat model.
    """
    require_attack(attack)
    assert isinstance(attack, Attack)
    if attack.threat != threat:
        remedy = "make it from this threat"
        raise bad(what, expected=f"one on threat, {threat}", got=f"one on {attack.threat}", remedy=remedy)


@dataclass(frozen=True)
class NoAttack(Attack):
    """Returns the input: standard training and clean error in the same code path.

    Args:
        threat: any; the default allows the input alone.

    Example:
        >>> x = torch.rand(2, 3)
        >>> bool((NoAttack()(lambda v: v, x, torch.tensor([0, 1])) == x).all())
        True
    """

    threat: ThreatModel = field(default_factory=lambda: ThreatModel(math.inf, 0.0, None))

    @property
    def name(self) -> str:
        """What per-example results call it."""
        return "none"

    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        """Nothing to do: the clean input is the best point.

        Args:
            evaluator: not used.
            draws: not used.
        """
