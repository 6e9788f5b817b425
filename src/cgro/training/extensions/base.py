"""The protocol of extensions: every method is the identity until an extension says otherwise."""

import difflib
import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, TypeAlias

from torch import Tensor, nn

from cgro._check import bad, one_line
from cgro.data import Dataset, Split
from cgro.definitions.inputs import describe
from cgro.remedy_names import EXTENSION_NAMES
from cgro.training.objectives.base import Objective
from cgro.training.objectives.cost import Cost
from cgro.training.recipe import Recipe
from cgro.training.step import Step
from cgro.training.weights.same import difference

State: TypeAlias = Mapping[str, Tensor | bool | int | float | str | None]
"""What an extension carries from step to step: tensors and plain values by name."""


HOOKS = ("around", "after_step", "after_epoch", "evaluated_model", "prepare", "begin", "state", "load")
"""Methods that `fit` calls."""


class Extension:
    """Something added to training: at each step, or to the network that is evaluated.

    `fit` calls `prepare` and `begin` once, `load` if it resumes a run, for each step `around` and `after_step`, and
    `after_epoch` after the last step of an epoch. Of several extensions the first is the outermost: its `around`
    contains the others', and its `evaluated_model` is given theirs.

    What an extension carries from step to step it returns from `state` and takes back in `load`; then a training that
    was killed goes on to the same bits. It must draw no global random numbers: `step.streams` has those of its
    examples.

    Example:
        >>> class Count(Extension):
        ...     def begin(self, model):
        ...         self.n_steps = 0
        ...     def after_step(self, model, k):
        ...         self.n_steps = k
        ...     def state(self):
        ...         return {"n_steps": self.n_steps}
        ...     def load(self, state):
        ...         self.n_steps = state["n_steps"]
        >>> Count().name
        'count'

    Attributes:
        capturable: True, in the very class, of an extension whose `around` and `after_step` do nothing on the host that
            another step would need anew: no counter, no plain number, no read. Then steps with it are captured on a
            GPU; see `cgro.training.capturable`.
        evaluates_its_own: True of an extension whose own network is evaluated, whatever those behind it have; a
            training has at most one of them. Of a class that says nothing it is True if it has an `evaluated_model`;
            one that builds on the network it is given says False.
        brings_examples: True of an extension that puts other examples into the batch.
        judges_examples: True of an extension that looks at each example before those behind it have their turn; one
            that brings examples must stand before it.
    """

    capturable: ClassVar[bool] = False
    evaluates_its_own: ClassVar[bool | None] = None
    brings_examples: ClassVar[bool] = False
    judges_examples: ClassVar[bool] = False

    @property
    def flat_below(self) -> float:
        """Loss below which examples have no gradient with it; 0 of most."""
        return 0.0

    @property
    def looks_below(self) -> float:
        """Loss up to which examples count for what it does; all of most."""
        return math.inf

    @property
    def idle_epochs(self) -> int:
        """Epochs at the beginning in which it does nothing, so that steps cost what they do without it; 0 of most."""
        return 0

    @property
    def name(self) -> str:
        """Under which its state stands in a checkpoint; no two extensions of one training have the same."""
        return type(self).__name__.lower()

    def prepare(self, model: nn.Module, recipe: Recipe, data: Dataset) -> None:
        """Called before any work, to refuse what does not fit and to keep what is needed later. Draws nothing.

        Args:
            model: the network that will be trained.
            recipe: the loop.
            data: all parts; in `fit` its training part is on the device.

        Raises:
            BadRequest: the extension makes no sense with them.
        """

    def cost(self, step: Cost) -> Cost:
        """What one example costs in one step with this extension. Only estimates of time and operations ask.

        Args:
            step: the cost without it, attack included.

        Returns:
            The cost with it.
        """
        return step

    def begin(self, model: nn.Module) -> None:
        """Called before the first step of every `fit`, with the initial weights on their device.

        Args:
            model: the network that is trained; to be read only.
        """

    def around(self, step: Step, compute: Callable[[], Tensor]) -> Tensor:
        """Compute the gradients of a step.

        Args:
            step: the batch; `step.network` has the weights, which may be changed if they are given back.
            compute: sets the weights' gradients to those of the objective, and returns its mean. Called again, it keeps
                the adversarial examples, unless `step.crafted` was cleared, and the noise of the network.

        Returns:
            The loss to record, 0-dimensional and on the device; no value may be read on the host here.
        """
        return compute()

    def after_step(self, model: nn.Module, k: int) -> None:
        """Called after the optimizer's step.

        Args:
            model: the network that is trained.
            k: number of steps taken since the start of the training, this one included.
        """

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        """Called after the last `after_step` of an epoch, before the epoch is evaluated.

        Args:
            model: the network that is trained.
            epoch: number of epochs that are over, this one included.
        """

    def evaluated_model(self, model: nn.Module) -> nn.Module:
        """The network that is evaluated, selected and saved for use, such as one of averaged weights.

        Args:
            model: that of the extensions behind this one, or the network that is trained; not to be changed.

        Returns:
            A network of the same parts and keys: its weights are saved, and whoever uses them loads them into a new one
            of the kind that is trained. `fit` asks for it before the first step, too.
        """
        return model

    def state(self) -> State:
        """What a resumed training needs.

        Returns:
            Tensors and plain values by name, which the caller does not change; empty if nothing is carried from step to
            step. `fit` asks for it before the first step, too.
        """
        return {}

    def load(self, state: State) -> None:
        """Take back what `state` returned.

        Args:
            state: tensors are on the CPU.
        """


def with_parameters(self: Extension) -> str:
    """How an extension is shown, as its `__repr__`: the call that makes it.

    Args:
        self: the extension; it has each parameter of its class as an attribute of that name.

    Returns:
        Such as "EMA(decay=0.999)".
    """
    shown = [f"{name}={getattr(self, name)!r}" for name in inspect.signature(type(self)).parameters]
    return f"{type(self).__name__}({', '.join(shown)})"


def evaluated(model: nn.Module, extensions: Sequence[Extension]) -> nn.Module:
    """The network that is evaluated under some extensions; `model` itself if none of them averages weights.

    Args:
        model: as `fit` left it.
        extensions: those given to `fit`.

    Returns:
        A network in the mode in which it is kept; call `.eval()` before use.

    Raises:
        BadRequest: an `evaluated_model` that returns none.
    """
    for extension in reversed(extensions):
        model = _evaluated_by(extension, model)
    return model


def evaluated_as_saved(model: nn.Module, extensions: Sequence[Extension]) -> nn.Module:
    """The same of a training, which saves the weights alone: whoever loads them must get what was evaluated.

    Args:
        model: that is trained.
        extensions: those given to `fit`.

    Returns:
        A network in the mode in which it is kept.

    Raises:
        BadRequest: an `evaluated_model` that returns none, or one that is built otherwise than `model`.
    """
    for extension in reversed(extensions):
        network = _evaluated_by(extension, model)
        if network is not model:
            got = difference(network, model)
            if got:
                expected = "from `evaluated_model` a network built as the one that is trained"
                remedy = "its weights alone are saved: put what else it computes into the network that is trained"
                raise bad(f"extension {extension.name}", expected=expected, got=got, remedy=remedy)
        model = network
    return model


def _evaluated_by(extension: Extension, model: nn.Module) -> nn.Module:
    network: object = extension.evaluated_model(model)
    if not isinstance(network, nn.Module):
        expected = "a network from `evaluated_model`"
        raise bad(f"extension {extension.name}", expected=expected, got=describe(network), remedy="return the model")
    return network


def prepare_extensions(
    extensions: Sequence[Extension], model: nn.Module, recipe: Recipe, data: Dataset, train: Split
) -> None:
    """Call `prepare` of all, before any work.

    Args:
        extensions: in their order.
        model: the network that will be trained.
        recipe: the loop.
        data: all parts.
        train: its training part, on the device.

    Raises:
        BadRequest: one of them makes no sense with the others.
    """
    data = replace(data, train=train)
    for extension in extensions:
        extension.prepare(model, recipe, data)


def step_cost(objective: Objective, extensions: Sequence[Extension]) -> Cost:
    """What one example costs in one step, in passes through the network.

    Args:
        objective: with its attack.
        extensions: in their order; the first is the outermost.

    Returns:
        The cost of the objective with what each extension adds to those behind it.
    """
    cost = objective.cost
    for extension in reversed(extensions):
        cost = extension.cost(cost)
    return cost


def require_extensions(extensions: Sequence[object]) -> None:
    """Refuse what is no extension, two of one name, and those of which one would undo the other, before any work.

    Args:
        extensions: whatever was given for them.

    Raises:
        BadRequest: says which.
    """
    if isinstance(extensions, Extension) or not isinstance(extensions, Sequence):
        remedy = f"give ({extensions!r},)"
        if extensions is None:
            remedy = "give () for none"
        raise bad("extensions", expected="several of them in a tuple", got=describe(extensions), remedy=remedy)
    names: list[str] = []
    for extension in extensions:
        if not isinstance(extension, Extension):
            raise bad("extension", expected="an extension such as EMA(0.999)", got=describe(extension))
        if extension.name in names or "/" in extension.name:
            raise bad("extensions", expected="names of their own without /", got=f"{extension.name} twice or with /")
        names.append(extension.name)
        _require_hooks(extension)
    _require_fitting([extension for extension in extensions if isinstance(extension, Extension)])


def _require_hooks(extension: Extension) -> None:
    """Refuse a class whose methods would not be called, called otherwise than they can be, or not be resumed."""
    own = type(extension)
    changed = [name for name in HOOKS if name in vars(extension) or getattr(own, name) is not getattr(Extension, name)]
    what = f"extension {extension.name}"
    further = [name for name in dir(own) if not (name.startswith("_") or hasattr(Extension, name))]
    for name in further:
        near = difflib.get_close_matches(name, HOOKS, n=1, cutoff=0.85)
        if callable(getattr(own, name)) and (near or not changed):
            expected = ", ".join(near or HOOKS[:4])
            raise bad(what, expected=expected, got=f"{name}, which nothing calls", remedy="is it misspelt?")
    for name in changed:
        n_given = len(inspect.signature(getattr(Extension, name)).parameters) - 1
        try:
            inspect.signature(getattr(extension, name)).bind(*range(n_given))
        except TypeError as error:
            expected = f"{name}{inspect.signature(getattr(Extension, name))}"
            raise bad(what, expected=expected, got=f"another signature ({error})") from None


def state_of(extension: Extension) -> tuple[dict[str, Tensor], dict[str, object]]:
    """The state of an extension, which may be of the caller's own, as a checkpoint holds it.

    Args:
        extension: after `begin`.

    Returns:
        Its tensors and its plain values, by name.

    Raises:
        BadRequest: no mapping, names that are no text, values that are neither.
    """
    state: object = extension.state()
    what = f"extension {extension.name}"
    expected = "a state of tensors, numbers and text by name"
    if not isinstance(state, Mapping):
        raise bad(what, expected=expected, got=describe(state), remedy='return {"n": self.n}, or {} for none')
    tensors: dict[str, Tensor] = {}
    plain: dict[str, object] = {}
    for name, value in state.items():
        if not isinstance(name, str):
            raise bad(what, expected=expected, got=f"the name {name!r}", remedy="names are text")
        if isinstance(value, Tensor):
            tensors[name] = value
        else:
            plain[name] = value
    try:
        json.dumps(plain)
    except (TypeError, ValueError) as error:
        raise bad(what, expected=expected, got=one_line(str(error), 120)) from None
    return tensors, plain


def require_loadable(extensions: Sequence[Extension]) -> None:
    """Refuse a state that no checkpoint holds, or that nobody takes back: a resumed training would go on otherwise.

    Args:
        extensions: after `begin`.

    Raises:
        BadRequest: see `state_of`; one has a state and no `load`.
    """
    for extension in extensions:
        has_state = any(state_of(extension))
        if has_state and type(extension).load is Extension.load and "load" not in vars(extension):
            expected = "load(self, state), which takes back what state returned"
            raise bad(f"extension {extension.name}", expected=expected, got="state alone")


def _require_fitting(extensions: Sequence[Extension]) -> None:
    """One network that is evaluated, gradients for each, and nothing judged by examples that are replaced behind it."""
    own = [_called(extension) for extension in extensions if _evaluates_its_own(extension)]
    if len(own) > 1:
        remedy = (
            "one would not be evaluated, without a word: leave one out, or say evaluates_its_own = False in the class "
            "of one that builds on the network it is given"
        )
        raise bad("extensions", expected="one that has its own network evaluated", got=" and ".join(own), remedy=remedy)
    _require_gradients(extensions)
    judge = ""
    for extension in extensions:
        if extension.brings_examples and judge:
            brings = _called(extension)
            remedy = f"{judge} would judge examples that {brings} replaces: name {brings} first"
            raise bad("extensions", expected=f"{brings} before {judge}", got=f"{judge} before {brings}", remedy=remedy)
        if extension.judges_examples:
            judge = _called(extension)


def _require_gradients(extensions: Sequence[Extension]) -> None:
    """Refuse an extension that would do nothing, in either order: where it looks another leaves no gradient."""
    for extension in extensions:
        for other in extensions:
            if 0 < other.flat_below >= extension.looks_below:
                idle, flat = _called(extension), _called(other)
                expected = f"an l_min of {idle} above the {other.flat_below:g} of {flat}"
                remedy = f"{flat} leaves no gradient below it, {idle} would do nothing: leave one out"
                raise bad("extensions", expected=expected, got=f"{extension.looks_below:g}", remedy=remedy)


def _evaluates_its_own(extension: Extension) -> bool:
    said = extension.evaluates_its_own
    if said is None:
        return type(extension).evaluated_model is not Extension.evaluated_model
    return said


def _called(extension: Extension) -> str:
    """What the caller may have typed for it."""
    kind = type(extension)
    for name, remedy in EXTENSION_NAMES.items():
        if f"{kind.__module__}:{kind.__name__}" == f"cgro.training.{remedy.place}":
            return name
    return extension.name
